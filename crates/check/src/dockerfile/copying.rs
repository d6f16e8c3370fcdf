//! `COPY` and `ADD`: which of them, where to, in which order, and what should not be copied.

use coracle_dockerfile::{CopySource, Instruction, Statement, Word};
use coracle_report::{Severity, Span};

use super::view::{View, ends_in, found_in};
use crate::project::Findings;
use crate::shell::Word as ShellWord;
use crate::{Family, Fix, Rule};

pub(super) static RULES: &[&Rule] = &[
    &ARCHIVE_BY_ADD,
    &COPY_NOT_ADD,
    &MANY_NEED_DIRECTORY,
    &RELATIVE_DESTINATION,
    &COPY_BEFORE_INSTALL,
    &SECRET_COPIED,
    &ADD_WITHOUT_CHECKSUM,
];

static ARCHIVE_BY_ADD: Rule = Rule {
    id: "DL3010",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "An archive is copied and then unpacked: `ADD` does both",
    explanation: "`COPY` puts the archive into one layer and `tar` its files into the next, so that the image holds both. `ADD archive.tar.gz /destination/` unpacks it in one step and leaves the archive out.",
    example: Some(("COPY app.tar.gz /tmp/\nRUN tar -xzf /tmp/app.tar.gz -C /srv", "ADD app.tar.gz /srv/")),
    ..Rule::PLAIN
};

static COPY_NOT_ADD: Rule = Rule {
    id: "DL3020",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`ADD` is used where `COPY` would do",
    explanation: "`ADD` unpacks archives and fetches URLs; for plain files the two do the same, and whoever reads `COPY` knows that nothing else happens.",
    example: Some(("ADD app.py /srv/", "COPY app.py /srv/")),
    fixable: true,
    ..Rule::PLAIN
};

static MANY_NEED_DIRECTORY: Rule = Rule {
    id: "DL3021",
    family: Family::Dockerfile,
    severity: Severity::Error,
    title: "Several sources are copied to something that is no directory",
    explanation: "With more than one source the destination must be a directory and end with `/`; the build ends here otherwise.",
    example: Some(("COPY a.py b.py /srv", "COPY a.py b.py /srv/")),
    fixable: true,
    ..Rule::PLAIN
};

static RELATIVE_DESTINATION: Rule = Rule {
    id: "DL3045",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Files are copied to a relative path without a `WORKDIR`",
    explanation: "The path goes on from wherever the base image stands, as a rule the root directory, where application files lie among the system's. Write `WORKDIR /app` before it, or an absolute path.",
    example: Some(("FROM python:3.13\nCOPY . .", "FROM python:3.13\nWORKDIR /app\nCOPY . .")),
    ..Rule::PLAIN
};

static COPY_BEFORE_INSTALL: Rule = Rule {
    id: "CopyBeforeInstall",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Everything is copied before the dependencies are installed",
    explanation: "Each change of any file of the context gives `COPY . .` another result, and the installation after it is done again, minutes for a changed comma. Copy the files that list the dependencies first, install, then copy the rest.",
    example: Some(("COPY . .\nRUN npm ci", "COPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .")),
    ..Rule::PLAIN
};

static SECRET_COPIED: Rule = Rule {
    id: "SecretCopied",
    family: Family::Dockerfile,
    severity: Severity::Error,
    title: "A file with secrets is copied into the image",
    explanation: "Whoever has the image can read every file of every layer, also when a later step removes it. Give secrets to a step with `RUN --mount=type=secret`, and to a container when it starts.",
    example: Some(("COPY .env /app/", "RUN --mount=type=secret,id=env,target=/app/.env ./build.sh")),
    ..Rule::PLAIN
};

static ADD_WITHOUT_CHECKSUM: Rule = Rule {
    id: "AddWithoutChecksum",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "A file from the network is added unchecked",
    explanation: "What the server gives today may be something else tomorrow, by its owner's will or another's. `ADD --checksum=sha256:...` takes only the file that was meant, and the build need not ask the server whether it has changed.",
    example: Some((
        "ADD https://example.org/tool.tar.gz /tmp/",
        "ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.org/tool.tar.gz /tmp/",
    )),
    ..Rule::PLAIN
};

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (index, stage) in view.file.stages.iter().enumerate() {
        for statement in &stage.instructions {
            let instruction = match &statement.instruction {
                Instruction::OnBuild(trigger) => &trigger.trigger.value,
                other => other,
            };
            match instruction {
                Instruction::Copy(copy) => {
                    several(statement, &copy.sources, &copy.dest, findings);
                    if copy.from.is_none() && !view.is_thrown_away(index) {
                        secrets(statement, &copy.sources, findings);
                    }
                    relative(view, index, statement, &copy.dest, findings);
                }
                Instruction::Add(add) => {
                    several(statement, &add.sources, &add.dest, findings);
                    if !view.is_thrown_away(index) {
                        secrets(statement, &add.sources, findings);
                    }
                    plain(statement, add, findings);
                }
                _ => {}
            }
        }
        archives(view, index, findings);
        order(view, index, findings);
    }
}

fn paths(sources: &[CopySource]) -> impl Iterator<Item = &Word> {
    sources.iter().filter_map(|source| match source {
        CopySource::Path(word) => Some(word),
        CopySource::Heredoc(_) => None,
    })
}

fn several(statement: &Statement, sources: &[CopySource], dest: &Word, findings: &mut Findings) {
    let path = dest.value.trim_matches(['"', '\'']);
    // Lists have the place of the whole; a variable may hold anything.
    if sources.len() < 2 || path.ends_with(['/', '.']) || path.contains('$') || path.is_empty() {
        return;
    }
    let message = format!("{} sources cannot be copied to the one file `{path}`", sources.len());
    let finding = found_in(findings, &MANY_NEED_DIRECTORY, statement, &dest.span, message);
    finding.hint(format!("write `{path}/`"));
    let one = dest.span.start.line == dest.span.end.line
        && (dest.span.end.column - dest.span.start.column) as usize == dest.value.chars().count();
    if one && path == dest.value {
        finding.fix(Fix::replace("make it a directory", &dest.span, format!("{path}/")));
    }
}

fn is_remote(path: &str) -> bool {
    ["http://", "https://", "git@", "git://", "ssh://"].iter().any(|prefix| path.starts_with(prefix))
        || path.split('#').next().is_some_and(|path| ends_in(path, &["git"]))
}

fn is_archive(path: &str) -> bool {
    const ENDS: &[&str] = &[
        ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz", ".zst", ".tzst", ".Z", ".lz", ".lzma",
        ".tlz", ".tz2", ".tZ",
    ];
    ENDS.iter().any(|end| path.ends_with(end))
}

fn plain(statement: &Statement, add: &coracle_dockerfile::AddFiles, findings: &mut Findings) {
    let paths: Vec<&Word> = paths(&add.sources).collect();
    let own = |path: &&Word| {
        let path = path.value.trim_matches(['"', '\'']);
        !is_remote(path) && !is_archive(path) && !path.contains(['$', '*', '?', '['])
    };
    if !paths.is_empty() && paths.iter().all(own) && add.unpack.is_none() && add.checksum.is_none() {
        let finding = found_in(
            findings,
            &COPY_NOT_ADD,
            statement,
            &statement.keyword.span,
            "`ADD` does nothing here that `COPY` does not",
        );
        finding.hint("write `COPY`");
        let lower = statement.keyword.value == "add";
        if matches!(statement.instruction, Instruction::Add(_)) {
            let word = if lower { "copy" } else { "COPY" };
            finding.fix(Fix::replace("write `COPY`", &statement.keyword.span, word));
        }
    }
    if add.checksum.is_none() {
        let remote = |path: &&&Word| {
            let path = path.value.trim_matches(['"', '\'']);
            path.starts_with("http") && is_remote(path) && !path.contains(".git")
        };
        if let Some(word) = paths.iter().find(remote) {
            let message = "whatever the server gives is taken";
            found_in(findings, &ADD_WITHOUT_CHECKSUM, statement, &word.span, message)
                .hint("write `ADD --checksum=sha256:DIGEST URL ...`");
        }
    }
}

fn relative(view: &View<'_>, stage: usize, statement: &Statement, dest: &Word, findings: &mut Findings) {
    let path = dest.value.trim_matches(['"', '\'']);
    let windows = path.get(1..3).is_some_and(|rest| rest == ":\\" || rest == ":/");
    if path.starts_with(['/', '$', '\\'])
        || windows
        || matches!(statement.instruction, Instruction::OnBuild(_))
    {
        return;
    }
    let workdir = view
        .before(stage, statement.span.start)
        .any(|own| matches!(own.instruction, Instruction::Workdir(_)));
    // `scratch` and a stage below with nothing set stand at the root; other images may have set one.
    if workdir || view.base(stage).is_some_and(|base| base.contains('$')) {
        return;
    }
    let message = format!("`{path}` goes on from wherever the base image stands");
    found_in(findings, &RELATIVE_DESTINATION, statement, &dest.span, message)
        .hint("write `WORKDIR /app` before it, or an absolute path");
}

fn secrets(statement: &Statement, sources: &[CopySource], findings: &mut Findings) {
    for word in paths(sources) {
        let path = word.value.trim_matches(['"', '\'']);
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
        let (what, severity) = match name {
            // They may hold nothing secret.
            ".env" | ".env.prod" | ".env.production" | ".env.staging" | ".env.local" => {
                ("settings and as a rule passwords", Severity::Warning)
            }
            "id_rsa" | "id_ed25519" | "id_ecdsa" | "id_dsa" => ("a private key", Severity::Error),
            ".netrc" | ".git-credentials" | ".pgpass" => ("passwords", Severity::Error),
            ".aws" | ".ssh" | ".gnupg" | ".kube" => ("a person's credentials", Severity::Error),
            _ => continue,
        };
        let message = format!("`{path}` holds {what}, and stays readable in the image");
        found_in(findings, &SECRET_COPIED, statement, &word.span, message)
            .severity(severity)
            .hint("give it to the step that needs it: `RUN --mount=type=secret,id=...`, or to the container when it starts");
    }
}

/// Archives that are copied and unpacked by a later step.
fn archives(view: &View<'_>, stage: usize, findings: &mut Findings) {
    let statements = &view.file.stages[stage].instructions;
    let copies = statements.iter().filter_map(|statement| match &statement.instruction {
        Instruction::Copy(copy) if copy.from.is_none() => Some((statement, copy)),
        _ => None,
    });
    for (statement, copy) in copies {
        for word in paths(&copy.sources) {
            let path = word.value.trim_matches(['"', '\'']);
            if !is_archive(path) || path.contains(['*', '$']) {
                continue;
            }
            let name = path.rsplit('/').next().unwrap_or(path);
            let whole = copy.dest.value.as_str();
            let named =
                |own: &ShellWord| own.file_name() == name || (!whole.ends_with('/') && own.text == whole);
            let unpacks = view.commands().any(|(piece, command)| {
                piece.stage == stage
                    && piece.statement.span.start > statement.span.start
                    && matches!(command.name(), "tar" | "bsdtar")
                    && !command
                        .arguments()
                        .iter()
                        .any(|word| word.text.contains("strip") || word.text.contains("exclude"))
                    && command.arguments().iter().any(named)
                    && command
                        .arguments()
                        .first()
                        .is_some_and(|first| first.text.trim_start_matches('-').contains('x'))
            });
            if unpacks {
                let message = format!("the image holds `{name}` and its files");
                found_in(findings, &ARCHIVE_BY_ADD, statement, &word.span, message)
                    .hint(format!("write `ADD {path} DIRECTORY/`, which unpacks it"));
            }
        }
    }
}

/// `COPY . .` before an installation that needs only lists of dependencies.
fn order(view: &View<'_>, stage: usize, findings: &mut Findings) {
    let mut all: Option<(&Statement, Span)> = None;
    for statement in &view.file.stages[stage].instructions {
        match &statement.instruction {
            Instruction::Copy(copy) if copy.from.is_none() => {
                let whole = paths(&copy.sources).find(|word| matches!(word.value.as_str(), "." | "./" | "*"));
                if let (Some(word), true) = (whole, all.is_none() && copy.options.exclude.is_empty()) {
                    all = Some((statement, word.span.clone()));
                }
            }
            Instruction::Run(_) => {
                let Some((copy, span)) = &all else { continue };
                let piece = view.pieces.iter().find(|piece| piece.statement.span == statement.span);
                let Some((piece, script)) = piece.and_then(|piece| Some((piece, piece.snippet.script()?)))
                else {
                    continue;
                };
                let install = script.commands.iter().find_map(|command| Some((command, lists_of(command)?)));
                let Some((command, lists)) = install else { continue };
                // Whoever copied a list before installs from the cache already.
                let before = view.before(stage, copy.span.start).any(|own| match &own.instruction {
                    Instruction::Copy(own) => paths(&own.sources).any(|word| names(word, lists)),
                    Instruction::Run(run) => run.mounts.iter().any(|mount| names(&mount.text, lists)),
                    _ => false,
                });
                let mounted =
                    piece.run.is_some_and(|run| run.mounts.iter().any(|mount| names(&mount.text, lists)));
                if !before && !mounted {
                    let message = "every change of any file installs all dependencies again";
                    found_in(findings, &COPY_BEFORE_INSTALL, copy, span, message)
                        .also(&piece.snippet.span(&command.range), "done again")
                        .hint(format!(
                            "write `COPY {} ./` before this installation, and `COPY . .` after it",
                            lists[0]
                        ));
                }
                return;
            }
            _ => {}
        }
    }
}

/// Returns the lists of dependencies that a command installs from.
fn lists_of(command: &crate::shell::Command) -> Option<&'static [&'static str]> {
    let arguments = command.arguments();
    let verb = command.plain_arguments().next().map_or("", |word| word.text.as_str());
    // Installing the project itself needs its sources.
    let editable = command.has_argument(&["-e", "--editable", "."]);
    match command.name() {
        "pip" | "pip3" | "python" | "python3" if !editable => {
            let list =
                arguments.iter().position(|word| matches!(word.text.as_str(), "-r" | "--requirement"))?;
            arguments.get(list + 1).filter(|word| !word.expands())?;
            Some(&["requirements.txt"])
        }
        "npm" if verb == "ci" || (verb == "install" && command.plain_arguments().count() == 1) => {
            Some(&["package.json", "package*.json", "package-lock.json"])
        }
        "yarn" if verb == "install" || arguments.is_empty() => {
            Some(&["package.json", "package*.json", "package-lock.json"])
        }
        "pnpm" if verb == "install" || verb == "i" => Some(&["package.json", "pnpm-lock.yaml"]),
        "bundle" if verb == "install" => Some(&["Gemfile"]),
        "go" if verb == "mod" && command.has_argument(&["download"]) => Some(&["go.mod"]),
        "composer" if verb == "install" && command.has_argument(&["--no-scripts"]) => {
            Some(&["composer.json"])
        }
        _ => None,
    }
}

/// Says whether a text names one of these files, perhaps by a pattern.
fn names(text: &str, lists: &[&str]) -> bool {
    lists.iter().any(|list| {
        let stem = list.split(['.', '*']).next().unwrap_or(list);
        text.contains(stem)
    })
}

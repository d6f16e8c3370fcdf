//! `RUN` itself: programs that have no place in a build, steps that belong together, work that is lost.

use coracle_dockerfile::{CommandForm, Instruction};
use coracle_report::Severity;

use super::view::{View, found, found_in};
use crate::project::Findings;
use crate::shell::{Command, Joint, Piece, Role, Script};
use crate::{Family, Rule};

pub(super) static RULES: &[&Rule] = &[
    &POINTLESS_PROGRAM,
    &CD_NOT_WORKDIR,
    &SUDO,
    &SHELL_BY_LINK,
    &PIPE_FAILS_SILENTLY,
    &CONSECUTIVE_RUNS,
    &REMOVED_LATER,
    &HEREDOC_GOES_ON,
];

static POINTLESS_PROGRAM: Rule = Rule {
    id: "DL3001",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "A program is run that has no use in a build",
    explanation: "A build step has no terminal, no services and no other machine's processes: `vim`, `top`, `service`, `shutdown` and the like do nothing there, or nothing that lasts. A service that `service x start` starts is gone when the step ends.",
    example: Some(("RUN service postgresql start", "CMD [\"postgres\"]")),
    ..Rule::PLAIN
};

static CD_NOT_WORKDIR: Rule = Rule {
    id: "DL3003",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "A step changes its directory with `cd` where `WORKDIR` would say it",
    explanation: "`cd` holds for one `RUN` only; the next one starts where `WORKDIR` stands again. `WORKDIR /src` says once where things happen. Found where `cd` is the first command of the step.",
    example: Some(("RUN cd /src && make", "WORKDIR /src\nRUN make")),
    ..Rule::PLAIN
};

static SUDO: Rule = Rule {
    id: "DL3004",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`sudo` is used in a build",
    explanation: "Steps run as root unless `USER` says otherwise, so that `sudo` does nothing, as a rule is not there, and where it is lets the container's processes become root. Switch with `USER root` and back.",
    example: Some(("RUN sudo apt-get update", "USER root\nRUN apt-get update\nUSER app")),
    ..Rule::PLAIN
};

static SHELL_BY_LINK: Rule = Rule {
    id: "DL4005",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`/bin/sh` is replaced to change the shell",
    explanation: "The system's own scripts run with `/bin/sh` too. `SHELL [\"/bin/bash\", \"-c\"]` changes what the build uses, and nothing else.",
    example: Some(("RUN ln -sf /bin/bash /bin/sh", "SHELL [\"/bin/bash\", \"-c\"]")),
    ..Rule::PLAIN
};

static PIPE_FAILS_SILENTLY: Rule = Rule {
    id: "DL4006",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "A failure on the left of a pipe goes unnoticed",
    explanation: "The shell looks at the last command of a pipe only: when `curl` in `curl URL | tar -x` is cut off, `tar` may be content, and the step is kept in the cache as a success. Write `SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]` before it (Alpine: `/bin/ash`), or `set -o pipefail &&` in the step. Commands that cannot fail in earnest (`echo`, `printf`, `yes`) are not reported.",
    example: Some((
        "RUN curl -fsSL URL | tar -xz",
        "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN curl -fsSL URL | tar -xz",
    )),
    ..Rule::PLAIN
};

static CONSECUTIVE_RUNS: Rule = Rule {
    id: "DL3059",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "Two single commands follow one another as steps of their own",
    explanation: "Each `RUN` is a layer and an entry of the cache. Commands that belong together are one step: `RUN a && b`. Where they change apart from one another, leave them.",
    example: Some(("RUN mkdir /srv/app\nRUN chown app /srv/app", "RUN mkdir /srv/app && chown app /srv/app")),
    ..Rule::PLAIN
};

static REMOVED_LATER: Rule = Rule {
    id: "RemovedInLaterLayer",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Files are removed in a later layer than they were added",
    explanation: "A layer keeps what was put into it: a later `rm` only hides the files, the image is as large as before, and whoever has it can still read them. Do not copy them at all (`.dockerignore`), mount them for the step (`RUN --mount=type=bind,source=app.tar,target=/tmp/app.tar`), or fetch, use and remove in one `RUN`.",
    example: Some((
        "COPY app.deb /tmp/\nRUN dpkg -i /tmp/app.deb\nRUN rm /tmp/app.deb",
        "RUN --mount=type=bind,source=app.deb,target=/tmp/app.deb dpkg -i /tmp/app.deb",
    )),
    ..Rule::PLAIN
};

static HEREDOC_GOES_ON: Rule = Rule {
    id: "HeredocWithoutErrexit",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "A script in `RUN <<EOF` goes on after a failure",
    explanation: "The lines are run by a shell that does not stop at errors: only the last command decides whether the step has failed. Begin with `set -e` (bash: `set -eo pipefail`), or chain the lines with `&&`.",
    example: Some((
        "RUN <<EOF\napt-get update\napt-get install -y curl\nrm -rf /var/lib/apt/lists/*\nEOF",
        "RUN <<EOF\nset -e\napt-get update\napt-get install -y curl\nrm -rf /var/lib/apt/lists/*\nEOF",
    )),
    ..Rule::PLAIN
};

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (piece, script) in view.runs() {
        programs(piece, script, findings);
        directory(piece, script, findings);
        pipes(piece, script, findings);
        heredoc(piece, script, findings);
    }
    consecutive(view, findings);
    for stage in 0..view.file.stages.len() {
        removed_later(view, stage, findings);
    }
}

fn programs(piece: &Piece<'_>, script: &Script, findings: &mut Findings) {
    const POINTLESS: &[&str] = &[
        "ssh",
        "vim",
        "vi",
        "nano",
        "shutdown",
        "reboot",
        "service",
        "systemctl",
        "ps",
        "free",
        "top",
        "htop",
        "kill",
        "mount",
        "ifconfig",
    ];
    for command in &script.commands {
        let Some(word) = command.program() else { continue };
        if POINTLESS.contains(&word.text.as_str()) && !is_useful(command, piece) {
            let message = match command.name() {
                "service" | "systemctl" => "what is started here is gone when the step ends".to_owned(),
                name => format!("`{name}` has no use in a build"),
            };
            found(findings, &POINTLESS_PROGRAM, piece, &word.range, message);
        }
        let first = command.words.first();
        if let Some(sudo) = first.filter(|word| matches!(word.text.as_str(), "sudo" | "doas")) {
            found(
                findings,
                &SUDO,
                piece,
                &sudo.range,
                "`sudo` does nothing for root, and lets others become root",
            )
            .hint("leave it out, or write `USER root` before the step");
        }
        let to_sh = command.arguments().last().is_some_and(|word| word.is("/bin/sh"));
        if command.name() == "ln" && to_sh {
            found(
                findings,
                &SHELL_BY_LINK,
                piece,
                &command.range,
                "the system's own scripts get another shell",
            )
            .hint("write `SHELL [\"/bin/bash\", \"-c\"]`");
        }
    }
}

/// Says whether one of those programs does something after all.
fn is_useful(command: &Command, piece: &Piece<'_>) -> bool {
    match command.name() {
        // Settings that last; a server for the tests of the same step.
        "systemctl" => command.has_argument(&["enable", "disable", "mask", "set-default", "preset"]),
        "service" => piece.snippet.script().is_some_and(|script| script.commands.len() > 1),
        "kill" | "ps" => piece.snippet.script().is_some_and(|script| {
            script.commands.iter().any(|own| own.around.background) || command.has_argument(&["-0"])
        }),
        // With an agent mounted it is meant: for instance to learn a host's key.
        "ssh" => piece.run.is_some_and(|run| {
            run.mounts.iter().any(|mount| matches!(mount.kind, coracle_dockerfile::MountKind::Ssh { .. }))
        }),
        "vim" | "vi" => command.arguments().iter().any(|word| word.text.starts_with(['+', '-'])),
        "mount" => piece.run.is_some_and(|run| run.security != coracle_dockerfile::Security::Sandbox),
        _ => command.has_argument(&["--version"]),
    }
}

fn directory(piece: &Piece<'_>, script: &Script, findings: &mut Findings) {
    let Some(first) = script.commands.first() else { return };
    let absolute =
        first.arguments().first().is_some_and(|word| word.text.starts_with('/') && !word.expands());
    let alone = first.name() == "cd" && first.words.len() == 2 && !first.around.subshell && !first.is_piped();
    // Where it goes somewhere else after, `WORKDIR` says less.
    let once = script.runs(&["cd"]).count() == 1;
    let goes_on =
        script.commands.get(1).is_some_and(|next| next.joint == Joint::And || next.joint == Joint::First);
    if absolute && alone && once && goes_on && !piece.triggered {
        let path = &first.arguments()[0].text;
        found(findings, &CD_NOT_WORKDIR, piece, &first.range, "the directory holds for this step only")
            .hint(format!("write `WORKDIR {path}` before it"));
    }
}

/// Says whether a command can fail so that the rest of the pipe would not notice.
fn may_fail(command: &Command) -> bool {
    !matches!(
        command.name(),
        "echo"
            | "printf"
            | "yes"
            | "true"
            | ":"
            | ""
            | "sort"
            | "uniq"
            | "head"
            | "tail"
            | "tr"
            | "cut"
            | "uname"
            | "date"
            | "pwd"
    )
}

fn pipes(piece: &Piece<'_>, script: &Script, findings: &mut Findings) {
    if piece.exec || piece.shell.pipefail || sets(script, "pipefail") {
        return;
    }
    let left =
        script.commands.iter().find(|command| command.is_piped() && may_fail(command) && !command.handled);
    let Some(left) = left else { return };
    // One finding a step, as hadolint's.
    let reader = script.pipeline(left).find(|own| own.at == left.at + 1).map_or("", Command::name);
    let message = if reader.is_empty() {
        format!("a failure of `{}` goes unnoticed", left.name())
    } else {
        format!("a failure of `{}` goes unnoticed when `{reader}` is content", left.name())
    };
    found(findings, &PIPE_FAILS_SILENTLY, piece, &left.range, message)
        .hint("write `SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]` before it, or `set -o pipefail &&` in the step");
}

/// Says whether a script sets an option of the shell.
fn sets(script: &Script, option: &str) -> bool {
    script.runs(&["set"]).any(|command| command.has_argument(&[option]))
}

/// Says whether a script stops at errors from a command on.
fn stops(script: &Script) -> bool {
    script.runs(&["set"]).any(|command| {
        command.has_argument(&["errexit"])
            || command.arguments().iter().any(|word| {
                word.text.strip_prefix('-').is_some_and(|own| !own.starts_with('-') && own.contains('e'))
            })
    })
}

fn heredoc(piece: &Piece<'_>, script: &Script, findings: &mut Findings) {
    let Some(run) = piece.run else { return };
    let [heredoc] = run.heredocs.as_slice() else { return };
    let CommandForm::Shell(text) = &run.command else { return };
    if text.trim() != heredoc.word.value.trim() || piece.shell.errexit || stops(script) {
        return;
    }
    let interpreter = piece.snippet.text.lines().next().and_then(|line| line.strip_prefix("#!"));
    if interpreter.is_some_and(|line| {
        line.split_whitespace().skip(1).any(|word| word.starts_with('-') && word.contains('e'))
    }) {
        return;
    }
    // A list whose failure nobody sees, and something after it.
    let last = script.commands.iter().map(|command| command.list).max().unwrap_or_default();
    let lost = script.commands.iter().find(|command| {
        command.list < last
            && !command.handled
            && command.last
            && !command.around.function
            && !command.around.substitution
            && !matches!(command.name(), "set" | "export" | "cd" | "echo" | "")
    });
    if let Some(command) = lost {
        let message = format!("the step goes on when `{}` fails", command.name());
        found(findings, &HEREDOC_GOES_ON, piece, &command.range, message)
            .hint(format!("begin with a line `set -e` after `<<{}`", heredoc.name));
    }
}

fn consecutive(view: &View<'_>, findings: &mut Findings) {
    for stage in &view.file.stages {
        let single = |index: usize| {
            let statement = stage.instructions.get(index)?;
            let Instruction::Run(run) = &statement.instruction else { return None };
            let piece = view.pieces.iter().find(|piece| piece.statement.span == statement.span)?;
            let script = piece.snippet.script()?;
            let one = script.commands.len() == 1 && run.heredocs.is_empty();
            one.then_some((statement, run))
        };
        for index in 1..stage.instructions.len() {
            if let (Some((_, before)), Some((statement, own))) = (single(index - 1), single(index))
                && before.mounts == own.mounts
                && before.network == own.network
                && before.security == own.security
            {
                let message = "this command and the one before are steps of their own";
                found_in(findings, &CONSECUTIVE_RUNS, statement, &statement.keyword.span, message)
                    .hint("write `RUN first && second` where they belong together");
            }
        }
    }
}

fn removed_later(view: &View<'_>, stage: usize, findings: &mut Findings) {
    if view.is_thrown_away(stage) {
        return;
    }
    let mut added: Vec<(String, &coracle_dockerfile::Statement)> = Vec::new();
    for statement in &view.file.stages[stage].instructions {
        match &statement.instruction {
            Instruction::Copy(copy) => {
                for source in &copy.sources {
                    let coracle_dockerfile::CopySource::Path(word) = source else { continue };
                    added.extend(destination(&word.value, &copy.dest.value).map(|path| (path, statement)));
                }
            }
            Instruction::Add(add) => {
                for source in &add.sources {
                    let coracle_dockerfile::CopySource::Path(word) = source else { continue };
                    added.extend(destination(&word.value, &add.dest.value).map(|path| (path, statement)));
                }
            }
            Instruction::Run(_) => {
                let piece = view.pieces.iter().find(|piece| piece.statement.span == statement.span);
                let Some((piece, script)) = piece.and_then(|piece| Some((piece, piece.snippet.script()?)))
                else {
                    continue;
                };
                if piece.role != Role::Run {
                    continue;
                }
                for command in script.runs(&["rm"]) {
                    for word in command.plain_arguments().filter(|word| !word.expands()) {
                        let path = word.text.trim_end_matches("/*").trim_end_matches('/');
                        let copied = added.iter().find(|(own, _)| own == path);
                        if let Some((_, by)) = copied {
                            let message = format!("`{}` stays in the layer that it was copied to", word.text);
                            found(findings, &REMOVED_LATER, piece, &word.range, message)
                                .also(&by.span, "added here")
                                .hint("mount it for the step that needs it: `RUN --mount=type=bind,source=...,target=...`");
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Returns where a source comes to lie, when that is sure: a plain file at an absolute path.
fn destination(source: &str, dest: &str) -> Option<String> {
    if source.contains(['*', '?', '[', '$', '"']) || dest.contains(['$', '"']) || !dest.starts_with('/') {
        return None;
    }
    let name =
        source.trim_end_matches('/').rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."))?;
    // A directory's content lies at the destination itself.
    if !name.contains('.') {
        return None;
    }
    Some(if dest.ends_with('/') { format!("{dest}{name}") } else { dest.to_owned() })
}

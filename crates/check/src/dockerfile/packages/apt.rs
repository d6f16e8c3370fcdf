//! `apt-get` and `apt`.

use coracle_report::{Severity, Span};

use super::{listed, packages};
use crate::dockerfile::view::{View, ends_in, found, keeps_out_of_layer};
use crate::project::Findings;
use crate::shell::{Command, Script, Word};
use crate::{Edit, Family, Fix, Rule};

pub(in crate::dockerfile) static RULES: &[&Rule] =
    &[&DIST_UPGRADE, &APT_VERSIONS, &APT_LISTS, &APT_YES, &APT_RECOMMENDS, &APT_NOT_GET, &APT_UPDATE_ALONE];

static DIST_UPGRADE: Rule = Rule {
    id: "DL3005",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`apt-get dist-upgrade` should not be run in an image",
    explanation: "It takes the image to another state of the distribution than its tag says, different at every build. Take a newer base image instead: `FROM debian:13`.",
    example: Some(("RUN apt-get update && apt-get -y dist-upgrade", "FROM debian:13")),
    ..Rule::PLAIN
};

static APT_VERSIONS: Rule = Rule {
    id: "DL3008",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "Versions of Debian packages are not pinned",
    explanation: "The same Dockerfile gives another image when the distribution has newer packages. `apt-get install curl=8.14.1-2` names one version, but Debian's mirrors keep only the newest: where a build must work again next month, pin the base image by its digest, or use a snapshot mirror (`snapshot.debian.org`). Advice, once for each `RUN`.",
    example: Some(("RUN apt-get install -y curl", "RUN apt-get install -y curl=8.14.1-2")),
    ..Rule::PLAIN
};

static APT_LISTS: Rule = Rule {
    id: "DL3009",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "Package lists stay in the image after `apt-get`",
    explanation: "`apt-get update` leaves some 20 to 40 MB in `/var/lib/apt/lists`, which nobody needs at run time. Remove them in the same `RUN`, since a later one only hides them, or keep them out of the layer with `--mount=type=cache,target=/var/lib/apt`.",
    example: Some((
        "RUN apt-get update && apt-get install -y curl",
        "RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*",
    )),
    ..Rule::PLAIN
};

static APT_YES: Rule = Rule {
    id: "DL3014",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`apt-get install` asks and nobody answers",
    explanation: "When more than the named packages is to be installed, `apt-get` asks whether to go on, and a build has nobody to answer: it ends with \"Abort\". Write `apt-get install -y`.",
    example: Some(("RUN apt-get install curl", "RUN apt-get install -y curl")),
    fixable: true,
    ..Rule::PLAIN
};

static APT_RECOMMENDS: Rule = Rule {
    id: "DL3015",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`apt-get install` takes recommended packages too",
    explanation: "Recommended packages are what a desktop would want: `build-essential` brings dbus and fonts with it. `--no-install-recommends` installs what was named and what that needs. If something is missing then, name it.",
    example: Some((
        "RUN apt-get update && apt-get install -y build-essential",
        "RUN apt-get update && apt-get install -y --no-install-recommends build-essential",
    )),
    ..Rule::PLAIN
};

static APT_NOT_GET: Rule = Rule {
    id: "DL3027",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`apt` is made for people, `apt-get` for scripts",
    explanation: "`apt` says itself that its command line is not stable. `apt-get` and `apt-cache` do the same and stay as they are.",
    example: Some(("RUN apt install -y curl", "RUN apt-get install -y curl")),
    fixable: true,
    ..Rule::PLAIN
};

static APT_UPDATE_ALONE: Rule = Rule {
    id: "AptUpdateAlone",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`apt-get update` in a `RUN` of its own goes stale in the cache",
    explanation: "The step is kept in the build cache for as long as its text stays the same. When the list of packages in a later `RUN` changes, that one installs from old lists: packages of versions that the mirror no longer has, \"404 Not Found\". Write both in one `RUN`.",
    example: Some((
        "RUN apt-get update\nRUN apt-get install -y curl",
        "RUN apt-get update && apt-get install -y curl",
    )),
    ..Rule::PLAIN
};

const WITH_VALUE: &[&str] =
    &["-t", "--target-release", "--default-release", "-o", "--option", "-c", "--config-file", "-a"];

fn is_apt(command: &Command) -> bool {
    matches!(command.name(), "apt-get" | "apt")
}

fn does(command: &Command, verb: &str) -> bool {
    is_apt(command) && command.has_argument(&[verb])
}

/// Says whether a word names a package whose version is open.
fn is_open(word: &Word) -> bool {
    let pinned = word.text.contains(['=', '/', '*']) || ends_in(&word.text, &["deb"]);
    !pinned && !word.expands() && !word.text.is_empty() && !word.text.ends_with(['-', '+'])
}

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    // `APT::Install-Recommends` in a configuration file or an option speaks for all that follows.
    let configured = view.file.source.lines().iter().any(|line| line.contains("Install-Recommends"));
    for (piece, script) in view.runs() {
        let installs: Vec<&Command> =
            script.commands.iter().filter(|command| does(command, "install")).collect();
        let mut open = Vec::new();
        for command in &installs {
            open.extend(
                packages(command, &["install"], WITH_VALUE)
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|word| is_open(word)),
            );
            let verb = command.arguments().iter().find(|word| word.is("install"));
            let Some(verb) = verb else { continue };
            if !is_answered(script, command) {
                let after = piece.snippet.position(verb.range.end);
                let place = Span::new(view.file.source.file(), after, after);
                found(
                    findings,
                    &APT_YES,
                    piece,
                    &command.range,
                    "`apt-get install` without `-y` waits for an answer",
                )
                .hint("write `apt-get install -y`")
                .fix(Fix {
                    title: "add `-y`".to_owned(),
                    edits: vec![Edit { span: place, text: " -y".to_owned() }],
                });
            }
            if !configured && !command.has_option("", &["no-install-recommends"]) {
                found(
                    findings,
                    &APT_RECOMMENDS,
                    piece,
                    &verb.range,
                    "recommended packages are installed too",
                )
                .hint("write `apt-get install -y --no-install-recommends`");
            }
        }
        if let Some(first) = open.first() {
            let message = match open.as_slice() {
                [_] => format!("the version of {} is not pinned", listed(&open)),
                _ => format!("the versions of {} are not pinned", listed(&open)),
            };
            found(findings, &APT_VERSIONS, piece, &first.range, message)
                .hint(format!("write `{}=VERSION`, or pin the base image by its digest", first.text));
        }
        for command in script.commands.iter().filter(|command| is_apt(command)) {
            if ["dist-upgrade", "full-upgrade"].iter().any(|verb| does(command, verb)) {
                let message = "the image leaves the state that its base's tag names";
                found(findings, &DIST_UPGRADE, piece, &command.range, message)
                    .hint("take a newer base image");
            }
            if let Some(word) = command.program().filter(|word| word.is("apt")) {
                let span = piece.snippet.span(&word.range);
                found(findings, &APT_NOT_GET, piece, &word.range, "`apt` has no stable command line")
                    .hint("write `apt-get`")
                    .fix(Fix::replace("write `apt-get`", &span, "apt-get"));
            }
        }
        lists(view, piece, script, findings);
    }
    updates_alone(view, findings);
}

/// Says whether a question of the command has an answer.
fn is_answered(script: &Script, command: &Command) -> bool {
    let assumes = command.has_option("y", &["yes", "assume-yes", "force-yes"])
        || command.arguments().iter().any(|word| {
            let letters = word.text.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
            letters.is_some_and(|letters| letters.matches('q').count() > 1 || letters == "q=2")
        })
        || command.arguments().iter().filter(|word| matches!(word.text.as_str(), "-q" | "--quiet")).count()
            > 1
        || command
            .arguments()
            .iter()
            .any(|word| word.text.contains("Assume-Yes") || word.expands() && word.text.starts_with('$'))
        || command.has_option("s", &["simulate", "dry-run", "print-uris", "download-only"]);
    assumes
        || (command.at > 0
            && script
                .pipeline(command)
                .next()
                .is_some_and(|first| first.name() == "yes" || first.name() == "echo"))
}

fn lists(view: &View<'_>, piece: &crate::shell::Piece<'_>, script: &Script, findings: &mut Findings) {
    let update = script.commands.iter().find(|command| does(command, "update"));
    let Some(update) = update else { return };
    let removes = script.commands.iter().any(|command| {
        let lists = |word: &Word| word.text.contains("/var/lib/apt") || word.text.contains("/var/lib/*");
        (matches!(command.name(), "rm" | "find") && command.arguments().iter().any(lists))
            || (command.name() == "apt-get" && command.has_argument(&["distclean"]))
            || command.name().contains("clean")
    });
    let unknown = script.commands.iter().any(|command| command.program().is_some_and(Word::expands));
    if removes
        || unknown
        || view.is_thrown_away(piece.stage)
        || keeps_out_of_layer(piece, &["/var/lib/apt/lists", "/var/lib/apt"])
    {
        return;
    }
    found(findings, &APT_LISTS, piece, &update.range, "the package lists stay in the image")
        .hint("end the same RUN with `&& rm -rf /var/lib/apt/lists/*`");
}

fn updates_alone(view: &View<'_>, findings: &mut Findings) {
    let mut open: Option<(usize, &crate::shell::Piece<'_>, &Command)> = None;
    for (piece, script) in view.runs() {
        let update = script.commands.iter().find(|command| does(command, "update"));
        let install = script.commands.iter().find(|command| does(command, "install"));
        match (update, install, open) {
            (Some(update), None, _) if !keeps_out_of_layer(piece, &["/var/lib/apt/lists"]) => {
                open = Some((piece.stage, piece, update));
            }
            (None, Some(install), Some((stage, before, update))) if stage == piece.stage => {
                open = None;
                found(
                    findings,
                    &APT_UPDATE_ALONE,
                    before,
                    &update.range,
                    "the lists that this step keeps in the cache grow old",
                )
                .also(&piece.snippet.span(&install.range), "installed from here")
                .hint("write `RUN apt-get update && apt-get install -y ...` as one step");
            }
            (_, Some(_), _) => open = None,
            _ => {}
        }
    }
}

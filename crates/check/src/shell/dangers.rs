//! Commands that do more than was meant: words that fall apart, variables that are empty, doors left open.

use coracle_report::{Severity, Span};

use super::parse::Unread;
use super::script::{Command, RedirectKind};
use super::setting::Setting;
use super::snippet::Snippet;
use super::word::Word;
use crate::project::Findings;
use crate::{Family, Fix, Rule};

pub(super) static RULES: &[&Rule] = &[
    &SHELL_SYNTAX,
    &UNQUOTED_VARIABLE,
    &REMOVES_TOO_MUCH,
    &CD_WITHOUT_EXIT,
    &PIPE_TO_SHELL,
    &WORLD_WRITABLE,
    &PASSWORD_IN_STEP,
];

static SHELL_SYNTAX: Rule = Rule {
    id: "ShellSyntax",
    aliases: &["SC1073", "SC1072", "SC1009"],
    family: Family::Shell,
    severity: Severity::Error,
    title: "The shell cannot read this",
    explanation: "A quote that is never closed, or an operator with nothing before or after it: the shell ends with \"Syntax error\" before it runs anything. Often a line lacks its `\\` at the end, or has one too many.",
    example: Some(("RUN apt-get update &&", "RUN apt-get update")),
    ..Rule::PLAIN
};

static UNQUOTED_VARIABLE: Rule = Rule {
    id: "UnquotedVariable",
    aliases: &["SC2086"],
    family: Family::Shell,
    severity: Severity::Warning,
    title: "A variable without quotes falls apart at blanks",
    explanation: "The shell splits what `$NAME` holds at blanks and looks for files that match it: `rm $FILE` removes two other files when the name holds a blank, and `[ $X = y ]` is a syntax error when X is empty. Write `\"$NAME\"`. Found only where it does harm: `rm`, `mv`, `cp`, `[`, `test`; and only of variables whose value is not known.",
    example: Some(("rm -f $FILE", "rm -f \"$FILE\"")),
    url: Some("https://www.shellcheck.net/wiki/SC2086"),
    ..Rule::PLAIN
};

static REMOVES_TOO_MUCH: Rule = Rule {
    id: "RemovesRootWhenEmpty",
    aliases: &["SC2115"],
    family: Family::Shell,
    severity: Severity::Warning,
    title: "`rm -r \"$X/\"` removes the root directory when X is empty",
    explanation: "When the variable is empty or unset, `\"$X/\"` is `/` and `\"$X\"/*` is everything. `${X:?}` ends the script instead, with a message.",
    example: Some(("rm -rf \"$BUILD_DIR/\"*", "rm -rf \"${BUILD_DIR:?}/\"*")),
    url: Some("https://www.shellcheck.net/wiki/SC2115"),
    fixable: true,
    ..Rule::PLAIN
};

static CD_WITHOUT_EXIT: Rule = Rule {
    id: "CdWithoutExit",
    aliases: &["SC2164", "SC2103"],
    family: Family::Shell,
    severity: Severity::Warning,
    title: "When `cd` fails, the commands after it run in the wrong directory",
    explanation: "The shell prints an error and goes on where it stands: what was to be built, copied or removed in that directory is then built, copied or removed here. Write `cd DIRECTORY || exit 1`, `cd DIRECTORY && ...`, or begin the script with `set -e`.",
    example: Some(("cd /srv/app\nrm -rf build", "cd /srv/app || exit 1\nrm -rf build")),
    url: Some("https://www.shellcheck.net/wiki/SC2164"),
    ..Rule::PLAIN
};

static PIPE_TO_SHELL: Rule = Rule {
    id: "PipedToShell",
    family: Family::Shell,
    severity: Severity::Note,
    title: "A script from the network is run unseen",
    explanation: "Whatever the server gives at that moment is run, and of a transfer that is cut off the first half. Take a version that is named in the address, save it, compare its checksum, then run it. Over plain `http://` anybody between can put in what they like.",
    example: Some((
        "RUN curl -fsSL https://example.org/install.sh | sh",
        "ADD --checksum=sha256:... https://example.org/1.2/install.sh /tmp/\nRUN sh /tmp/install.sh",
    )),
    ..Rule::PLAIN
};

static WORLD_WRITABLE: Rule = Rule {
    id: "WorldWritable",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "Everybody may write",
    explanation: "`chmod 777` lets every process of the container change the files, those of an intruder too. As a rule one user needs to write: `chown app:app DIRECTORY`, or `COPY --chown=app:app`.",
    example: Some(("RUN chmod -R 777 /srv/data", "RUN chown -R app:app /srv/data")),
    ..Rule::PLAIN
};

static PASSWORD_IN_STEP: Rule = Rule {
    id: "PasswordInStep",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "A password stands in the text of a step",
    explanation: "The text of each step is kept in the image's history (`docker history`), where whoever has the image can read it. Give it to the step as a secret: `RUN --mount=type=secret,id=password ...`; or do without: a container needs no account to log in to.",
    example: Some((
        "RUN echo 'root:hunter2' | chpasswd",
        "RUN --mount=type=secret,id=root chpasswd < /run/secrets/root",
    )),
    ..Rule::PLAIN
};

/// Reports a text that no shell can read.
pub(super) fn syntax(snippet: &Snippet, instruction: Option<&Span>, findings: &mut Findings) {
    if let Err(Unread::Wrong(why, at)) = &snippet.script {
        let end =
            snippet.text.get(*at..).and_then(|rest| rest.chars().next()).map_or(*at, |c| at + c.len_utf8());
        let finding = findings.add(&SHELL_SYNTAX, &snippet.span(&(*at..end)), *why);
        if let Some(span) = instruction {
            finding.lines = span.clone();
        }
    }
}

pub(super) fn run(setting: &Setting<'_>, findings: &mut Findings) {
    for command in &setting.script.commands {
        match command.name() {
            "rm" | "mv" | "cp" => {
                unquoted(setting, command, command.arguments(), findings);
                removes(setting, command, findings);
            }
            "[" | "test" => unquoted(setting, command, command.arguments(), findings),
            "cd" => directory(setting, command, findings),
            "chmod" => writable(setting, command, findings),
            "sh" | "bash" | "ash" | "dash" | "zsh" => piped(setting, command, findings),
            "chpasswd" | "passwd" if setting.instruction.is_some() => password(setting, command, findings),
            _ => {}
        }
    }
}

fn unquoted(setting: &Setting<'_>, command: &Command, words: &[Word], findings: &mut Findings) {
    for word in words {
        let bare = word.variables.iter().find(|variable| {
            let special = matches!(variable.name.as_str(), "?" | "#" | "$" | "!" | "-" | "@" | "*");
            !variable.quoted
                && !variable.length
                && !special
                && !setting.is_plain(&variable.name)
                // Several words are meant: options, lists.
                && !is_list(&variable.name)
        });
        let Some(variable) = bare else { continue };
        let shown = &word.raw[variable.range.clone()];
        let message = match command.name() {
            "[" | "test" => format!(
                "`{shown}` without quotes: the test is wrong or an error when it is empty or holds blanks"
            ),
            name => {
                format!("`{shown}` without quotes: `{name}` gets other files when it holds a blank or a star")
            }
        };
        setting
            .found(findings, &UNQUOTED_VARIABLE, &word.part(&variable.range), message)
            .hint(format!("write `\"{shown}\"`"));
        // One a command says it.
        return;
    }
}

/// Says whether a name tells that it holds several words.
fn is_list(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["opt", "opts", "options", "args", "flags", "list", "files", "packages", "pkgs", "deps", "dirs", "paths"]
        .iter()
        .any(|end| lower.ends_with(end))
}

fn removes(setting: &Setting<'_>, command: &Command, findings: &mut Findings) {
    if command.name() != "rm" || !command.has_option("rR", &["recursive"]) {
        return;
    }
    for word in command.plain_arguments() {
        let Some(variable) = word.variables.first() else { continue };
        let lead = word.raw[..variable.range.start].trim_matches('"');
        let rest = &word.text[word.text.find(&word.raw[variable.range.clone()]).unwrap_or_default()..];
        let rest = rest.get(variable.range.len()..).unwrap_or_default();
        let everything = matches!(rest, "/" | "/*" | "/.*" | "/**");
        if !lead.is_empty() || !everything || variable.is_never_empty() || setting.nounset {
            continue;
        }
        if setting.is_plain(&variable.name)
            || setting.snippet.text.contains(&format!("${{{}:?", variable.name))
        {
            continue;
        }
        let name = &variable.name;
        let range = word.part(&variable.range);
        let message = format!("when `{name}` is empty this removes `{rest}`");
        let span = setting.snippet.span(&range);
        setting
            .found(findings, &REMOVES_TOO_MUCH, &range, message)
            .hint(format!("write `${{{name}:?}}`, which ends with a message instead"))
            .fix(Fix::replace("end when it is empty", &span, format!("${{{name}:?}}")));
    }
}

fn directory(setting: &Setting<'_>, command: &Command, findings: &mut Findings) {
    let alone = command.joint == super::Joint::First && command.last && command.of == 1;
    let goes_on = setting.script.commands.iter().any(|next| {
        next.range.start > command.range.end
            && next.list > command.list
            && next.around.function == command.around.function
    });
    let target = command.arguments().first();
    // Home and back are there.
    let sure =
        target.is_none_or(|word| matches!(word.text.as_str(), "-" | "/" | "/tmp" | "~" | ".." | "$HOME"));
    let made =
        setting.script.runs(&["mkdir", "install", "git"]).any(|own| own.range.start < command.range.start);
    if !alone
        || !goes_on
        || sure
        || made
        || command.handled
        || command.around.condition
        || command.around.background
        || setting.stops_at(command)
    {
        return;
    }
    let message = "when this fails, what follows runs in the wrong directory";
    setting
        .found(findings, &CD_WITHOUT_EXIT, &command.range, message)
        .hint("write `cd DIRECTORY || exit 1`, or `cd DIRECTORY && ...`");
}

fn writable(setting: &Setting<'_>, command: &Command, findings: &mut Findings) {
    let Some(mode) = command.plain_arguments().next() else { return };
    let text = mode.text.as_str();
    let octal = text.trim_start_matches('0');
    let open = (octal.len() == 3
        && octal.ends_with(['7', '6', '3', '2'])
        && octal.chars().all(|c| ('0'..='7').contains(&c)))
        || matches!(text, "a+rwx" | "a+w" | "o+w" | "ugo+rwx" | "ugo+w" | "+rwx" | "o+rwx" | "a=rwx");
    // Devices and sockets, and directories where everybody is meant to write.
    let meant = command
        .plain_arguments()
        .skip(1)
        .any(|word| ["/tmp", "/var/tmp", "/dev/", "/run/"].iter().any(|own| word.text.starts_with(own)));
    if open && !meant {
        let message = format!("`{text}` lets every process change it");
        setting
            .found(findings, &WORLD_WRITABLE, &mode.range, message)
            .hint("give it to the one user that writes: `chown USER:GROUP PATH`");
    }
}

fn piped(setting: &Setting<'_>, command: &Command, findings: &mut Findings) {
    if command.at == 0 || command.has_option("c", &[]) {
        return;
    }
    let Some(fetch) = setting.script.pipeline(command).find(|own| matches!(own.name(), "curl" | "wget"))
    else {
        return;
    };
    let plain_http = fetch
        .arguments()
        .iter()
        .any(|word| word.text.starts_with("http://") && !word.text.contains("localhost"));
    let message = "whatever the server gives is run unseen";
    let finding = setting.found(findings, &PIPE_TO_SHELL, &fetch.range, message);
    finding.hint("save it, compare its checksum, then run it");
    if plain_http {
        finding.severity(Severity::Warning).note("over plain http anybody between can change it");
    }
}

fn password(setting: &Setting<'_>, command: &Command, findings: &mut Findings) {
    let text = command.redirects.iter().find(|own| own.kind == RedirectKind::Text).map(|own| &own.target);
    let before = setting.script.pipeline(command).find(|own| matches!(own.name(), "echo" | "printf"));
    let word = text.or_else(|| before.and_then(|echo| echo.plain_arguments().next()));
    let Some(word) = word.filter(|word| !word.expands() && !word.text.is_empty()) else { return };
    setting
        .found(findings, &PASSWORD_IN_STEP, &word.range, "this password is readable in the image's history")
        .hint("give it with `RUN --mount=type=secret,id=...`, or do without an account");
}

//! Variables in commands that no shell reads.

use coracle_dockerfile::{CommandForm, Instruction, Statement};
use coracle_report::{Severity, Span};

use crate::project::{Build, Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&EXEC_FORM_VARIABLE], run: Run::Build(of_build) };
pub(super) static COMMANDS: Check = Check { rules: &[], run: Run::Subject(of_services) };

static EXEC_FORM_VARIABLE: Rule = Rule {
    id: "ExecFormVariable",
    family: Family::Across,
    severity: Severity::Error,
    title: "Variables in a list of words are expanded by nobody",
    explanation: "`CMD [\"server\", \"--workers\", \"${WORKERS}\"]` runs the program itself: no shell is there to replace `${WORKERS}`, and the program gets these ten characters. The same holds for `command:` in a compose file once `$$` has become `$`. Write the shell form with `exec`, so that the program still gets signals, or let the program read its environment.",
    example: Some((
        "CMD [\"gunicorn\", \"--workers\", \"${WORKERS}\", \"app:app\"]",
        "CMD exec gunicorn --workers \"$WORKERS\" app:app",
    )),
    ..Rule::PLAIN
};

fn of_build(_: &Subject<'_>, build: &Build, findings: &mut Findings) {
    // Only the last of each counts, and only in the stages that the image is made on; alone, every stage may.
    let mut stages = build.chain();
    if build.services.is_empty() {
        stages = (0..build.dockerfile.stages.len()).collect();
    }
    let mut last: [Option<&Statement>; 2] = [None, None];
    for stage in stages {
        if build.services.is_empty() {
            last = [None, None];
        }
        for statement in &build.dockerfile.stages[stage].instructions {
            match statement.instruction {
                Instruction::Cmd(_) => last[0] = Some(statement),
                Instruction::Entrypoint(_) => {
                    last[1] = Some(statement);
                }
                _ => {}
            }
        }
        if build.services.is_empty() {
            report(build, last, findings);
        }
    }
    if !build.services.is_empty() {
        report(build, last, findings);
    }
}

fn report(build: &Build, [cmd, entrypoint]: [Option<&Statement>; 2], findings: &mut Findings) {
    let form = |statement: &Statement| match &statement.instruction {
        Instruction::Cmd(form) | Instruction::Entrypoint(form) => Some(form.clone()),
        _ => None,
    };
    // An entry point may be a script that expands its arguments.
    let behind = entrypoint.is_some();
    for statement in cmd.filter(|_| !behind).into_iter().chain(entrypoint) {
        let Some(CommandForm::Exec(words)) = form(statement) else { continue };
        let names = unexpanded(&words);
        let Some(first) = names.first() else { continue };
        let span = build.place_of(statement, first);
        let keyword = statement.instruction.keyword();
        let rest = if names.len() > 1 { format!(" (and {} more)", names.len() - 1) } else { String::new() };
        let message = format!(
            "`{first}`{rest} reaches `{}` as it is written: no shell reads the list of {keyword}",
            words[0]
        );
        let finding = findings.add(&EXEC_FORM_VARIABLE, &span, message);
        finding.lines = statement.span.clone();
        finding.hint(format!("write `{keyword} exec {}`", shell_form(&words)));
        for name in &names[1..] {
            finding.also(&build.place_of(statement, name), "neither is this");
        }
    }
}

fn of_services(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(loaded) = subject.loaded else { return };
    for service in subject.services() {
        let lists = [("command", &service.command), ("entrypoint", &service.entrypoint)];
        for (key, words) in lists {
            let Some(words) = words else { continue };
            // An entry point of the image or of the service may expand its arguments.
            if key == "command" && (service.entrypoint.is_some() || has_entrypoint(subject, &service.name)) {
                continue;
            }
            let names = unexpanded(words);
            let Some(first) = names.first() else { continue };
            let path = ["services", &service.name, key];
            let span: Span = loaded.span_of(&path).unwrap_or_else(|| service.span.clone());
            let message =
                format!("`{first}` reaches `{}` as it is written: no shell reads `{key}`", words[0]);
            findings.add(&EXEC_FORM_VARIABLE, &span, message).of(&service.name).hint(format!(
                "write `{key}: [\"sh\", \"-c\", '{}']`",
                format!("exec {}", shell_form(words)).replace('$', "$$")
            ));
        }
    }
}

/// Says whether the image that a service runs may have an entry point that expands its arguments.
fn has_entrypoint(subject: &Subject<'_>, service: &str) -> bool {
    match subject.build_of(service) {
        Some(build) => build
            .instructions()
            .any(|(_, statement)| matches!(statement.instruction, Instruction::Entrypoint(_))),
        None => true,
    }
}

/// Returns the variables in a list of words that a shell would replace.
fn unexpanded(words: &[String]) -> Vec<String> {
    let Some(program) = words.first() else { return Vec::new() };
    let name = program.rsplit('/').next().unwrap_or(program);
    let reads = [
        "sh",
        "bash",
        "ash",
        "dash",
        "zsh",
        "ksh",
        "fish",
        "cmd",
        "powershell",
        "pwsh",
        "envsubst",
        "awk",
        "perl",
        "node",
        "python",
        "python3",
        "ruby",
        "php",
        "su",
        "gosu",
        "su-exec",
        "env",
        "make",
        "jq",
        "sed",
    ];
    let shell =
        |word: &String| matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "zsh"));
    if reads.contains(&name) || words.iter().any(shell) {
        return Vec::new();
    }
    words.iter().skip(1).filter_map(|word| variable(word)).collect()
}

/// Returns the first variable of a word, as written.
fn variable(word: &str) -> Option<String> {
    let at = word.find('$')?;
    let rest = &word[at + 1..];
    // nginx, Caddy and regular expressions have dollars of their own: upper case is the environment's.
    let named = |text: &str| {
        let length = text
            .find(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit())
            .unwrap_or(text.len());
        (length > 1 && !text.starts_with(|c: char| c.is_ascii_digit())).then_some(length)
    };
    match rest.strip_prefix('{') {
        Some(inner) => {
            named(inner)?;
            let end = inner.find('}')?;
            Some(word[at..=at + 2 + end].to_owned())
        }
        None => Some(word[at..=at + named(rest)?].to_owned()),
    }
}

fn shell_form(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        if word.contains('$') {
            format!("\"{word}\"")
        } else if word.is_empty()
            || word.contains(|c: char| c.is_whitespace() || "\"'\\;&|<>*?()".contains(c))
        {
            format!("'{}'", word.replace('\'', "'\\''"))
        } else {
            word.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

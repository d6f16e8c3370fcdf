//! `EXPOSE`, `ENV`, `LABEL`, `HEALTHCHECK`.

use coracle_dockerfile::{Instruction, PairForm};
use coracle_report::{Position, Severity, Span};

use super::view::{View, found_in};
use crate::project::Findings;
use crate::{Family, Rule};

pub(super) static RULES: &[&Rule] =
    &[&PORT_RANGE, &SELF_REFERENCE, &LABEL_KEY, &HEALTHCHECK_THROWN_AWAY, &CMD_IGNORED];

static PORT_RANGE: Rule = Rule {
    id: "DL3011",
    family: Family::Dockerfile,
    severity: Severity::Error,
    title: "A port lies beyond 65535",
    explanation: "Ports are numbers from 0 to 65535; an engine refuses the image or the build.",
    example: Some(("EXPOSE 80000", "EXPOSE 8000")),
    ..Rule::PLAIN
};

static SELF_REFERENCE: Rule = Rule {
    id: "DL3044",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`ENV` uses a variable that the same instruction sets",
    explanation: "All values of one `ENV` are those before it: `ENV A=1 B=$A` sets B to what A was before, as a rule nothing. Write two instructions.",
    example: Some(("ENV HOME_DIR=/srv BIN=$HOME_DIR/bin", "ENV HOME_DIR=/srv\nENV BIN=$HOME_DIR/bin")),
    ..Rule::PLAIN
};

static LABEL_KEY: Rule = Rule {
    id: "DL3048",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "A label's name is outside of the conventions",
    explanation: "Names of labels are lower-case words parted by single dots or dashes, and begin and end with a letter or digit: `org.opencontainers.image.source`. The prefixes `com.docker.`, `io.docker.` and `org.dockerproject.` are Docker's own.",
    example: Some(("LABEL My_Label=x", "LABEL org.example.my-label=x")),
    ..Rule::PLAIN
};

static HEALTHCHECK_THROWN_AWAY: Rule = Rule {
    id: "HealthcheckThrownAway",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "A health check stands in a stage that no container runs",
    explanation: "`COPY --from` takes files from a stage and nothing of its settings: a `HEALTHCHECK` there checks nothing. Move it to the stage that is run.",
    example: Some((
        "FROM golang:1.25 AS build\nHEALTHCHECK CMD /app --ping\nFROM alpine:3.22\nCOPY --from=build /app /app",
        "FROM golang:1.25 AS build\nFROM alpine:3.22\nCOPY --from=build /app /app\nHEALTHCHECK CMD /app --ping",
    )),
    ..Rule::PLAIN
};

static CMD_IGNORED: Rule = Rule {
    id: "EntrypointShellForm",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`ENTRYPOINT` as text takes no arguments: `CMD` is not used",
    explanation: "The shell form of `ENTRYPOINT` is run by `/bin/sh -c` as it is: what `CMD` says, and what is given to `docker run IMAGE ...`, is an argument of that shell which nobody reads. Write the list form: `ENTRYPOINT [\"program\"]`.",
    example: Some((
        "ENTRYPOINT python app.py\nCMD [\"--port\", \"80\"]",
        "ENTRYPOINT [\"python\", \"app.py\"]\nCMD [\"--port\", \"80\"]",
    )),
    ..Rule::PLAIN
};

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (index, stage) in view.file.stages.iter().enumerate() {
        let (mut entrypoint, mut cmd) = (None, None);
        for statement in &stage.instructions {
            match &statement.instruction {
                Instruction::Expose(words) => {
                    for word in words {
                        let number = word.value.split('/').next().unwrap_or_default();
                        let number = number.rsplit([':', '-']).next().unwrap_or(number);
                        let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
                        if digits && number.parse::<u32>().map_or(true, |port| port > 65535) {
                            let message = format!("{number} is no port");
                            found_in(findings, &PORT_RANGE, statement, &word.span, message)
                                .hint("ports end at 65535");
                        }
                    }
                }
                Instruction::Env(pairs) if pairs.len() > 1 => {
                    for (at, pair) in pairs.iter().enumerate() {
                        let value = crate::shell::Word::new(&pair.value.value, 0);
                        let own = value.variables.iter().find(|variable| {
                            let same = |(other, own): (usize, &coracle_dockerfile::EnvPair)| {
                                other != at && own.name.value == variable.name
                            };
                            // One that was set before keeps its meaning, whatever is set here again.
                            pairs.iter().enumerate().any(same)
                                && !view.sets(index, statement.span.start, &[variable.name.as_str()])
                        });
                        if let Some(variable) = own {
                            let message =
                                format!("`${}` is not yet what this instruction makes it", variable.name);
                            let start = pair.value.span.start;
                            let columns = pair.value.value[..variable.range.start].chars().count() as u32;
                            let length = pair.value.value[variable.range.clone()].chars().count() as u32;
                            let place = Span::new(
                                view.file.source.file(),
                                Position::new(start.line, start.column + columns),
                                Position::new(start.line, start.column + columns + length),
                            );
                            found_in(findings, &SELF_REFERENCE, statement, &place, message).hint(format!(
                                "write `ENV {}=...` as an instruction of its own, after this one",
                                pair.name.value
                            ));
                        }
                    }
                }
                Instruction::Label(pairs) => {
                    for pair in pairs.iter().filter(|pair| pair.form == PairForm::Equals) {
                        let name = pair.name.value.trim_matches(['"', '\'']);
                        if let Some(why) = label_fault(name) {
                            let message = format!("`{name}` {why}");
                            found_in(findings, &LABEL_KEY, statement, &pair.name.span, message);
                        }
                    }
                }
                Instruction::Healthcheck(_) if view.is_thrown_away(index) && !is_base(view, index) => {
                    let message = "no container runs this stage: the check is never made";
                    found_in(findings, &HEALTHCHECK_THROWN_AWAY, statement, &statement.keyword.span, message)
                        .hint("move it to the stage that is run");
                }
                Instruction::Entrypoint(form) => {
                    // A `CMD` before it, in the same stage, is forgotten or meant for it all the same.
                    entrypoint = Some((statement, form));
                }
                Instruction::Cmd(form) => cmd = Some((statement, form)),
                _ => {}
            }
        }
        use coracle_dockerfile::CommandForm::{Exec, Shell};
        if let (Some((entry, Shell(text))), Some((cmd, Exec(list)))) = (entrypoint, cmd)
            && !list.is_empty()
            && !text.contains("$@")
            && !text.contains("$*")
            && !text.contains("$0")
        {
            let message = "`CMD` is not used: an `ENTRYPOINT` as text takes no arguments";
            found_in(findings, &CMD_IGNORED, entry, &entry.keyword.span, message)
                .also(&cmd.span, "not used")
                .hint("write `ENTRYPOINT [\"program\", \"argument\"]`");
        }
    }
}

/// Says whether another stage starts from this one.
fn is_base(view: &View<'_>, stage: usize) -> bool {
    (0..view.file.stages.len()).any(|other| other != stage && view.chain(other).contains(&stage))
}

fn label_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.contains('$') {
        return None;
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if ["com.docker.", "io.docker.", "org.dockerproject."].iter().any(|prefix| name.starts_with(prefix)) {
        return Some("begins as Docker's own labels do");
    }
    if !name.chars().all(|c| inner(c) || c == '.' || c == '-') {
        return Some("holds something else than lower-case letters, digits, dots and dashes");
    }
    if !name.starts_with(inner) || !name.ends_with(inner) {
        return Some("begins or ends with something else than a letter or digit");
    }
    (name.contains("..") || name.contains("--")).then_some("has two dots or dashes in a row")
}

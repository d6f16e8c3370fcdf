//! What a build context lets into images.

use coracle_dockerfile::Instruction;
use coracle_report::Severity;

use crate::image::{Made, Origin};
use crate::project::{Build, Check, FileKind, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&CONTEXT_LETS_THROUGH], run: Run::Build(run) };

static CONTEXT_LETS_THROUGH: Rule = Rule {
    id: "ContextLetsThrough",
    family: Family::Across,
    title: "The whole context is copied, and the ignore file lets secrets and rubbish through",
    explanation: "`COPY . .` takes everything that `.dockerignore` does not name: `.env` with its secrets, `.git` with the whole history, local databases, `node_modules` and virtual environments that were made for another system. Secrets then lie in a layer for whoever pulls the image, and every local change throws the cache away. Write a `.dockerignore` that names them, or copy what is needed by name.",
    example: Some((
        "COPY . .  # without a .dockerignore",
        "# .dockerignore:\n.git\n.env\n.env.*\nnode_modules\n*.db",
    )),
    ..Rule::PLAIN
};

/// What must not get into images: names to look for, the line that keeps it out, and why.
const UNWANTED: &[(&str, &str, Kind)] = &[
    (".env", ".env", Kind::Secret),
    (".env.local", ".env.*", Kind::Secret),
    (".env.prod", ".env.*", Kind::Secret),
    (".env.production", ".env.*", Kind::Secret),
    (".env.dev", ".env.*", Kind::Secret),
    ("id_rsa", "id_rsa", Kind::Secret),
    (".git", ".git", Kind::Secret),
    ("node_modules", "node_modules", Kind::Rubbish),
    (".venv", ".venv", Kind::Rubbish),
    ("venv", "venv", Kind::Rubbish),
    ("db.sqlite3", "*.sqlite3", Kind::Rubbish),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whoever has the image has it.
    Secret,
    /// Large, or made for another system.
    Rubbish,
}

fn run(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let Some(context) = build.context.as_deref() else { return };
    let mut stages: Vec<usize> = build.needed().into_iter().collect();
    if build.services.is_empty() {
        stages = (0..build.dockerfile.stages.len()).collect();
    }
    // What another stage holds does not get into the image.
    let chain = build.chain();
    for stage in stages {
        let kept = build.services.is_empty() || chain.contains(&stage);
        let made = Made::stage(build, stage, subject.images);
        let whole = made.copied.iter().find(|copied| {
            let source =
                copied.source.as_deref().map(|source| source.trim_start_matches('/').trim_end_matches('/'));
            made.steps[copied.step].stage == stage
                && copied.origin == Origin::Context
                && matches!(source, Some("" | "." | "./." | "*"))
        });
        let Some(copied) = whole else { continue };
        // `COPY --exclude` says what stays out.
        if matches!(&copied.statement.instruction, Instruction::Copy(copy) if !copy.options.exclude.is_empty())
        {
            continue;
        }
        let shown = |name: &str| build.ignore.as_ref().is_none_or(|ignore| !ignore.verdict(name).is_hidden());
        let there: Vec<&(&str, &str, Kind)> = UNWANTED
            .iter()
            .filter(|(name, _, kind)| {
                // What git tracks is no secret of one machine: Vite and others read such files when they build.
                (kept || *kind == Kind::Rubbish)
                    && shown(name)
                    && subject.files.tracked(&context.join(name)) != Some(true)
                    && subject.files.kind(&context.join(name)).is_some_and(|kind| kind != FileKind::Other)
            })
            .collect();
        let databases: Vec<String> = subject
            .files
            .list(context)
            .into_iter()
            .filter(|name| {
                [".db", ".sqlite", ".sqlite3"].iter().any(|end| name.ends_with(end)) && kept && shown(name)
            })
            .collect();
        let mut lines: Vec<&str> = there.iter().map(|(_, line, _)| *line).collect();
        let mut names: Vec<String> = there.iter().map(|(name, ..)| format!("`{name}`")).collect();
        if let Some(database) = databases.first() {
            names.push(format!("`{database}`"));
            lines.push("*.db");
        }
        // What is not there today is there tomorrow, on somebody's machine.
        let future: Vec<&str> = [".env", ".git"].into_iter().filter(|name| kept && shown(name)).collect();
        if names.is_empty() && future.is_empty() {
            continue;
        }
        lines.extend(&future);
        lines.sort_unstable();
        lines.dedup();
        let secret = there.iter().any(|(.., kind)| *kind == Kind::Secret);
        let message = if names.is_empty() {
            let future: Vec<String> = future.iter().map(|name| format!("`{name}`")).collect();
            let by = if build.ignore.is_some() {
                "`.dockerignore` lets"
            } else {
                "without a `.dockerignore` nothing keeps"
            };
            let rest = if build.ignore.is_some() { "through into the image" } else { "out of the image" };
            format!("{by} {} {rest}, once they are in the context", future.join(" and "))
        } else {
            format!("{} of the context end up in the image", names.join(", "))
        };
        let keyword = copied.statement.instruction.keyword();
        let finding = findings.add(&CONTEXT_LETS_THROUGH, &copied.word.span, message);
        finding.lines = copied.statement.span.clone();
        finding.severity(match (secret, names.is_empty()) {
            (true, _) => Severity::Error,
            (false, false) => Severity::Warning,
            (false, true) => Severity::Note,
        });
        if let Some(rule) = build.ignore.as_ref().and_then(|ignore| ignore.rules().last()) {
            finding.also(&rule.span, "the ignore file");
        }
        let relative = context.strip_prefix(subject.directory).unwrap_or(context).join(".dockerignore");
        finding.hint(format!(
            "printf '%s\\n' {} >> {}  # or `{keyword}` what is needed by name",
            lines.join(" "),
            relative.display()
        ));
    }
}

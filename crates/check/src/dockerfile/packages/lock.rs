//! `npm install` where a lock file was copied for `npm ci`.

use std::path::Path;

use coracle_dockerfile::{CopySource, Instruction};
use coracle_report::Severity;

use super::packages;
use crate::dockerfile::view::found;
use crate::project::{Build, Check, Findings, Run, Subject};
use crate::shell::{Role, Word, pieces};
use crate::{Family, Rule};

pub(in crate::dockerfile) static CHECK: Check = Check { rules: &[&LOCK_IGNORED], run: Run::Build(run) };

static LOCK_IGNORED: Rule = Rule {
    id: "LockFileIgnored",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`npm install` may change what the lock file says",
    explanation: "`npm install` takes newer versions where package.json allows them and the lock file does not fit, and writes a lock file that nobody sees. `npm ci` installs just what package-lock.json says, faster, and fails when the two do not agree.",
    example: Some((
        "COPY package.json package-lock.json ./\nRUN npm install",
        "COPY package.json package-lock.json ./\nRUN npm ci",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let in_context = |name: &str| {
        build.context.as_ref().is_some_and(|context| subject.files.is_file(&context.join(Path::new(name))))
    };
    for piece in pieces(&build.dockerfile) {
        let Some(script) = piece.snippet.script() else { continue };
        if piece.role != Role::Run {
            continue;
        }
        let install = script.runs(&["npm"]).find(|command| {
            let named = packages(command, &["install", "i"], &["--prefix", "--registry", "--cache", "-C"]);
            let other = ["global", "package-lock-only", "no-package-lock", "prefix", "workspace", "version"];
            named.is_some_and(|named| named.is_empty())
                && !command.has_option("gC", &other)
                && !command.arguments().iter().any(Word::expands)
        });
        let Some(install) = install else { continue };
        let before = build.dockerfile.stages[piece.stage]
            .instructions
            .iter()
            .take_while(|statement| statement.span.start < piece.statement.span.start);
        let lock = before.filter_map(|statement| match &statement.instruction {
            Instruction::Copy(copy) if copy.from.is_none() => Some(&copy.sources),
            _ => None,
        });
        let lock = lock.flatten().find_map(|source| {
            let CopySource::Path(word) = source else { return None };
            let path = word.value.trim_start_matches("./");
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let name = path.rsplit('/').next().unwrap_or(path);
            let file = if directory.is_empty() {
                "package-lock.json".to_owned()
            } else {
                format!("{directory}/package-lock.json")
            };
            let hit = match name {
                "package-lock.json" | "npm-shrinkwrap.json" => true,
                "package*.json" | "package*" | "package-lock*.json" => in_context(&file),
                _ => false,
            };
            hit.then_some(word)
        });
        if let Some(word) = lock {
            found(
                findings,
                &LOCK_IGNORED,
                &piece,
                &install.range,
                "`npm install` may change what the lock file says",
            )
            .also(&word.span, "the lock file is copied here")
            .hint("write `npm ci`");
        }
    }
}

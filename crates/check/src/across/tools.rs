//! Tools that a build needs and its install step left out.

use std::path::Path;

use coracle_report::Severity;

use super::packages::Package;
use crate::image::{Made, Origin, Step, commands};
use crate::project::{Build, Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&BUILD_TOOL_LEFT_OUT], run: Run::Build(run) };

static BUILD_TOOL_LEFT_OUT: Rule = Rule {
    id: "BuildToolLeftOut",
    family: Family::Across,
    severity: Severity::Error,
    title: "A build step uses a development dependency that the install step left out",
    explanation: "`npm ci --omit=dev` (or `--only=production`, or any install with `NODE_ENV=production`) leaves `devDependencies` out, and with them compilers and bundlers. `npm run build` then ends with \"not found\", exit code 127. Install everything in the build stage and copy what was built into the next one; leave development dependencies out only where the application runs.",
    example: Some((
        "RUN npm ci --omit=dev\nRUN npm run build",
        "RUN npm ci\nRUN npm run build\nFROM nginx:1.28-alpine\nCOPY --from=build /app/dist /usr/share/nginx/html",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let Some(context) = build.context.as_deref() else { return };
    let mut stages: Vec<usize> = build.needed().into_iter().collect();
    if build.services.is_empty() {
        stages = (0..build.dockerfile.stages.len()).collect();
    }
    for stage in stages {
        let made = Made::stage(build, stage, subject.images);
        let Some(package) = package(subject, &made, context) else { continue };
        // The install step that left them out, until one that brings them.
        let mut left_out: Option<&Step<'_>> = None;
        for step in &made.steps {
            for words in step.commands() {
                match installs(&words, step) {
                    Some(true) => left_out = None,
                    Some(false) => left_out = Some(step),
                    None => {}
                }
                let Some(install) = left_out.filter(|_| step.stage == stage) else { continue };
                let Some((program, tool)) = needs(&words, &package, 0) else { continue };
                let ran = words.join(" ");
                let span = build.place_of(step.statement, words.get(1).map_or(&ran, |_| &words[0]));
                let message = format!(
                    "`{ran}` needs `{program}` of the development dependency `{tool}`, which is not installed"
                );
                let finding = findings.add(&BUILD_TOOL_LEFT_OUT, &span, message);
                finding.lines = step.statement.span.clone();
                finding
                    .also(&build.place_of(install.statement, "npm"), "leaves development dependencies out")
                    .also(&package.place(&tool), "a development dependency")
                    .hint("write `RUN npm ci`: what is built goes on to the next stage, the tools do not");
                break;
            }
        }
    }
}

/// Returns the `package.json` that a stage copies from its context.
fn package(subject: &Subject<'_>, made: &Made<'_>, context: &Path) -> Option<Package> {
    let mut directories =
        made.copied.iter().filter(|copied| copied.origin == Origin::Context).filter_map(|copied| {
            let source = copied.source.as_deref()?;
            let clean = source.trim_start_matches("./").trim_end_matches('/');
            let (directory, name) = clean.rsplit_once('/').unwrap_or(("", clean));
            match name {
                "" | "." => Some(context.to_owned()),
                "package.json" => Some(context.join(directory)),
                name if name.starts_with("package") && name.contains('*') => Some(context.join(directory)),
                _ => {
                    let below = context.join(clean);
                    subject.files.is_file(&below.join("package.json")).then_some(below)
                }
            }
        });
    let first = directories.next()?;
    // With several packages it is not known which one a step means.
    if directories.any(|other| other != first && subject.files.is_file(&other.join("package.json"))) {
        return None;
    }
    Package::read(&first, subject.files)
}

/// Says whether a command installs development dependencies; `None` when it installs nothing, or not all.
fn installs(words: &[String], step: &Step<'_>) -> Option<bool> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (manager, rest) = words.split_first()?;
    let verb = rest.iter().find(|word| !word.starts_with('-')).copied();
    let named = rest.iter().filter(|word| !word.starts_with('-')).count() > 1;
    let flag = |names: &[&str]| rest.iter().any(|word| names.contains(word));
    let pair = |name: &str, value: &str| rest.windows(2).any(|pair| pair == [name, value]);
    let production = step.before.variables.get("NODE_ENV").is_some_and(|value| value == "production");
    let omitted = flag(&[
        "--only=production",
        "--only=prod",
        "--production",
        "--production=true",
        "--omit=dev",
        "--prod",
        "-P",
    ]) || pair("--omit", "dev")
        || pair("--only", "production")
        || pair("--only", "prod");
    let kept = flag(&["--include=dev", "--production=false", "--also=dev", "--dev", "-D", "--save-dev"])
        || pair("--include", "dev");
    match (*manager, verb) {
        ("npm", Some("ci" | "install" | "i" | "clean-install" | "add"))
        | ("pnpm", Some("install" | "i" | "add"))
        | ("yarn", Some("install" | "add")) => {
            // What is installed by name may be the very tool.
            if named || kept {
                return Some(true);
            }
            Some(!(omitted || production))
        }
        ("yarn", None) => Some(!(omitted || production)),
        ("npm", Some("prune")) if omitted || production => Some(false),
        // A script or a tool of the author's may do anything.
        ("bun" | "corepack", _) => Some(true),
        _ => None,
    }
}

/// Returns the program and the development dependency that a command needs.
fn needs(words: &[String], package: &Package, depth: usize) -> Option<(String, String)> {
    let program = words.first()?.as_str();
    let rest: Vec<&str> =
        words.iter().skip(1).map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let of_script = |name: &str| -> Option<(String, String)> {
        let script = package.scripts.get(name)?;
        let pre = package.scripts.get(&format!("pre{name}"));
        (depth < 4)
            .then(|| {
                let texts = pre.into_iter().chain([script]);
                texts.flat_map(|text| commands(text)).find_map(|words| needs(&words, package, depth + 1))
            })
            .flatten()
    };
    match (program, rest.as_slice()) {
        ("npm" | "pnpm" | "yarn" | "bun", ["run" | "run-script", name, ..]) => of_script(name),
        ("npm", [name @ ("test" | "start"), ..]) | ("yarn" | "pnpm", [name, ..])
            if package.scripts.contains_key(*name) =>
        {
            of_script(name)
        }
        // npx would fetch what is not there, in whatever version is newest: only a script's own program certainly fails.
        ("npx", _) => None,
        _ if depth > 0 => {
            let tool = package.development_bin(program)?;
            Some((program.to_owned(), tool.to_owned()))
        }
        _ => {
            let local = program
                .strip_prefix("node_modules/.bin/")
                .or_else(|| program.strip_prefix("./node_modules/.bin/"))?;
            Some((local.to_owned(), package.development_bin(local)?.to_owned()))
        }
    }
}

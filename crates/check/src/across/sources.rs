//! Sources of `COPY` and `ADD` against the context.

use std::path::Path;

use coracle_dockerfile::{Glob, Instruction, Verdict};
use coracle_report::Severity;

use crate::image::{Made, Origin};
use crate::project::{Build, Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&COPY_SOURCE_MISSING], run: Run::Build(run) };

static COPY_SOURCE_MISSING: Rule = Rule {
    id: "CopySourceMissing",
    family: Family::Across,
    severity: Severity::Error,
    title: "`COPY` takes what the build context holds",
    explanation: "A source is looked for in the build context, the directory that `build: context:` names, and nowhere else: not beside the Dockerfile, not in the project's root, and not above the context. The build ends there (\"failed to compute cache key: ... not found\"). Put the file into the context, make the context larger, or give the other directory by `additional_contexts` and `COPY --from=NAME`.",
    example: Some((
        "# context: ./frontend\nCOPY docker/nginx/nginx.conf /etc/nginx/conf.d/default.conf",
        "# context: ./frontend\nCOPY nginx/nginx.conf /etc/nginx/conf.d/default.conf",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let Some(context) = build.context.as_deref() else { return };
    if !subject.files.is_directory(context) {
        return;
    }
    let mut stages: Vec<usize> = build.needed().into_iter().collect();
    if build.services.is_empty() {
        stages = (0..build.dockerfile.stages.len()).collect();
    }
    if build.services.is_empty() && !is_the_context(subject, build, context) {
        return;
    }
    let modules = submodules(subject, context);
    let mut told: Vec<&String> = Vec::new();
    for stage in stages {
        let made = Made::stage(build, stage, subject.images);
        for copied in &made.copied {
            if made.steps[copied.step].stage != stage || copied.origin != Origin::Context {
                continue;
            }
            let Some(source) = &copied.source else { continue };
            if found(subject, context, source) {
                continue;
            }
            let clean = clean(source);
            if let Some(ignore) = &build.ignore
                && matches!(ignore.verdict(&clean), Verdict::Hidden(_))
            {
                // `CopyIgnoredFile` says it.
                continue;
            }
            if generated(subject, context, &clean) {
                continue;
            }
            let module = modules.iter().find(|module| Path::new(&clean).starts_with(module.as_str()));
            if module.is_some_and(|module| told.contains(&module)) {
                continue;
            }
            told.extend(module);
            let verb = match copied.statement.instruction {
                Instruction::Add(_) => "ADD",
                _ => "COPY",
            };
            let shown = context.strip_prefix(subject.directory).unwrap_or(context);
            let shown =
                if shown.as_os_str().is_empty() { ".".to_owned() } else { format!("{}", shown.display()) };
            let outside = source.split('/').any(|part| part == "..");
            let message = if outside {
                format!("`{source}` lies outside of the build context `{shown}`: {verb} does not find it")
            } else {
                format!("`{source}` is not in the build context `{shown}`")
            };
            let finding = findings.add(&COPY_SOURCE_MISSING, &copied.word.span, message);
            finding.lines = copied.statement.span.clone();
            if let Some(span) = &build.span {
                finding.also(span, format!("the context is `{shown}`"));
            }
            if let Some(module) = module {
                finding.note(format!("`{module}` is a submodule of git's that was not fetched"));
                finding.hint("git submodule update --init");
                continue;
            }
            match elsewhere(subject, build, context, &clean) {
                Some(near) => finding.hint(near),
                None => finding.hint(format!("write `{shown}/{clean}`, or take the instruction out")),
            };
        }
    }
}

fn clean(source: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Says whether the context holds a source. `..` does not lead out of it.
fn found(subject: &Subject<'_>, context: &Path, source: &str) -> bool {
    let clean = clean(source);
    if clean.is_empty() {
        return true;
    }
    if !Glob::is_pattern(&clean) {
        return subject.files.exists(&context.join(&clean));
    }
    // The part before the first wildcard must be there, and something below must match.
    let Ok(glob) = Glob::source(&clean) else { return true };
    let fixed: Vec<&str> = clean.split('/').take_while(|part| !Glob::is_pattern(part)).collect();
    let directory = context.join(fixed.join("/"));
    let depth = clean.split('/').count() - fixed.len();
    matches_below(subject, &directory, &fixed.join("/"), &glob, depth)
}

fn matches_below(subject: &Subject<'_>, directory: &Path, prefix: &str, glob: &Glob, depth: usize) -> bool {
    subject.files.list(directory).iter().any(|name| {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        glob.matches(&path)
            || (depth > 1 && matches_below(subject, &directory.join(name), &path, glob, depth - 1))
    })
}

/// Says where the source does exist: below the project's root, beside the Dockerfile, or under a name that is near.
fn elsewhere(subject: &Subject<'_>, build: &Build, context: &Path, clean: &str) -> Option<String> {
    let root = subject.directory.join(clean);
    let shown = |path: &Path| path.strip_prefix(subject.directory).unwrap_or(path).display().to_string();
    let relative = shown(context);
    if context != subject.directory && subject.files.exists(&root) {
        return Some(format!(
            "`{clean}` is in the project's root: `cp -r {clean} {relative}/`, or give that directory by `additional_contexts`"
        ));
    }
    let beside = build.dockerfile.source.file().parent().map(|parent| parent.join(clean));
    if let Some(beside) =
        beside.filter(|beside| !beside.starts_with(context) || beside != &context.join(clean))
        && subject.files.exists(&beside)
        && let Ok(inside) = beside.strip_prefix(context)
    {
        return Some(format!("it is beside the Dockerfile: write `{}`", inside.display()));
    }
    let wanted = Path::new(clean);
    let directory = context.join(wanted.parent().unwrap_or(Path::new("")));
    let name = wanted.file_name()?.to_string_lossy().into_owned();
    let names = subject.files.list(&directory);
    let near = coracle_dockerfile::nearest(&name, names.iter().map(String::as_str))?;
    Some(format!("did you mean `{}`?", wanted.with_file_name(near).display()))
}

/// Says whether a path is one that is made before the image is: git ignores it, or it is where tools put what they make.
fn generated(subject: &Subject<'_>, context: &Path, clean: &str) -> bool {
    let fixed: Vec<&str> = clean.split('/').take_while(|part| !Glob::is_pattern(part)).collect();
    let mut path = context.to_owned();
    for part in &fixed {
        path.push(part);
        if subject.files.ignored(&path) == Some(true) {
            return true;
        }
    }
    let made = [
        "target",
        "build",
        "dist",
        "out",
        "bin",
        "publish",
        "artifacts",
        "release",
        "_build",
        "public/build",
    ];
    let first = fixed.first().copied().unwrap_or_default();
    let archive = super::sources_of::has_extension(clean, &["jar", "war", "whl"]);
    made.contains(&first) || archive
}

/// Says whether the directory of a Dockerfile that is checked alone is its context, by what it copies: something is there,
/// and nothing that is not there is further up.
fn is_the_context(subject: &Subject<'_>, build: &Build, context: &Path) -> bool {
    let mut some = false;
    for word in build.dockerfile.context_sources() {
        let clean = clean(word);
        if clean.is_empty() || clean.contains('$') || Glob::is_pattern(&clean) || word.contains("://") {
            continue;
        }
        if subject.files.exists(&context.join(&clean)) {
            some = true;
        } else if context.ancestors().skip(1).take(4).any(|above| subject.files.exists(&above.join(&clean))) {
            return false;
        }
    }
    some
}

/// Returns the paths of git's submodules, relative to the context.
fn submodules(subject: &Subject<'_>, context: &Path) -> Vec<String> {
    let Some(text) = subject.files.text(&subject.directory.join(".gitmodules")) else { return Vec::new() };
    let paths =
        text.lines().filter_map(|line| line.trim().strip_prefix("path")?.trim_start().strip_prefix('='));
    let inside = paths.filter_map(|path| {
        let path = subject.directory.join(path.trim());
        Some(path.strip_prefix(context).ok()?.display().to_string())
    });
    inside.collect()
}

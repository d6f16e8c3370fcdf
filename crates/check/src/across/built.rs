//! Images that scripts build, against those that the compose files run.

use std::path::Path;

use coracle_report::{Position, Span};

use super::sources_of::{has_extension, scripts};
use crate::image::commands;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&BUILT_IMAGE_UNUSED], run: Run::Subject(run) };

static BUILT_IMAGE_UNUSED: Rule = Rule {
    id: "BuiltImageUnused",
    family: Family::Across,
    title: "A script builds an image that the compose files build again under another name",
    explanation: "A service with `build:` and without `image:` runs an image named after the project and the service. What a script builds from the same context under a name of its own is used by nobody: everything is built twice, and what was tested is not what runs. Write `image:` beside `build:`, with the script's name, or build with `docker compose build`.",
    example: Some((
        "docker build -t shop-api ./api  # compose.yaml: api: { build: ./api }",
        "docker build -t shop-api ./api  # compose.yaml: api: { image: shop-api, build: ./api }",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    let all = scripts(subject);
    let texts: Vec<String> = all.iter().filter_map(|path| subject.files.text(path)).collect();
    let composed: Vec<String> = subject
        .files
        .list(subject.directory)
        .into_iter()
        .filter(|name| has_extension(name, &["yml", "yaml"]))
        .filter_map(|name| subject.files.text(&subject.directory.join(name)))
        .collect();
    for path in &all {
        let shell = path.extension().is_some_and(|extension| extension == "sh" || extension == "bash");
        let Some(text) = subject.files.text(path).filter(|_| shell) else { continue };
        let mut told: Vec<String> = Vec::new();
        for words in commands(&text) {
            let Some((tag, context)) = build(&words) else { continue };
            let name = repository(&tag).to_owned();
            if name.contains('$') || context.contains('$') || name.contains('/') || told.contains(&name) {
                continue;
            }
            let context = clean(&subject.directory.join(&context));
            let service = project.services.values().find(|service| {
                service.build.as_ref().is_some_and(|build| build.context == context)
                    && service.image_span.is_none()
            });
            let Some(service) = service else { continue };
            // Another environment's file, or another command, may use it.
            let used = composed.iter().any(|text| text.contains(&name))
                || texts.iter().flat_map(|text| commands(text)).any(|words| {
                    words.iter().any(|word| repository(word) == name) && build(&words).is_none()
                });
            if used {
                continue;
            }
            let Some(span) = place(path, &text, &tag) else { continue };
            let message = format!(
                "`{tag}` is built here and used by nobody: `{}` is built again under a name of its own",
                service.name
            );
            let finding = findings.add(&BUILT_IMAGE_UNUSED, &span, message);
            finding.of(&service.name);
            if let Some(build) = &service.build {
                finding.also(&build.span, "built from the same context, without `image`");
            }
            finding.hint(format!("write `image: {tag}` beside `build` of `{}`", service.name));
            told.push(name);
        }
    }
}

/// Returns name and context of an image that a command builds.
fn build(words: &[String]) -> Option<(String, String)> {
    let engine = words.first()?.rsplit('/').next()?;
    let verb = words.iter().position(|word| word == "build")?;
    if !matches!(engine, "docker" | "podman" | "coracle" | "nerdctl")
        || words.iter().any(|word| word == "compose")
        || verb > 2
    {
        return None;
    }
    let rest = &words[verb + 1..];
    let tag = crate::image::option(rest, &["-t", "--tag"])?;
    // The context comes last, as a rule.
    let context = rest.last().filter(|word| !word.starts_with('-') && *word != tag)?;
    Some((tag.to_owned(), context.clone()))
}

/// Returns an image's name without its tag.
fn repository(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn clean(path: &Path) -> std::path::PathBuf {
    path.components().filter(|component| !matches!(component, std::path::Component::CurDir)).collect()
}

fn place(path: &Path, text: &str, tag: &str) -> Option<Span> {
    text.lines().enumerate().find_map(|(index, line)| {
        let at = line.find(tag).filter(|_| !line.trim_start().starts_with('#'))?;
        let column = line[..at].chars().count() as u32 + 1;
        let start = Position::new(index as u32 + 1, column);
        Some(Span::new(path, start, Position::new(start.line, column + tag.chars().count() as u32)))
    })
}

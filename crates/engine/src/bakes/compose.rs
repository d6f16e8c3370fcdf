//! The `build:` sections of Compose files as targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_bakefile::{Attribute, Definition, Group, Target, Value};
use coracle_composefile::{LoadRequest, Service};
use coracle_report::{Diagnostic, Event, Reporter};

use super::BakeRequest;
use crate::projects::DiskLoader;
use crate::{Failure, Result};

/// Reads Compose files: each service that is built is a target, and all are the group `default`.
pub(super) fn definition(
    files: &[PathBuf],
    request: &BakeRequest,
    environment: &BTreeMap<String, String>,
    reporter: &dyn Reporter,
) -> Result<Definition> {
    let directory = std::path::absolute(&request.directory).unwrap_or_else(|_| request.directory.clone());
    let load = LoadRequest {
        files: files.to_vec(),
        project_directory: directory.clone(),
        environment: environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        profiles: vec!["*".to_owned()],
        project_name: Some("bake".to_owned()),
        ..LoadRequest::default()
    };
    let loaded = coracle_composefile::load(&load, &DiskLoader).map_err(Failure::findings)?;
    for warning in loaded.warnings {
        reporter.event(Event::Notice(warning));
    }
    let mut definition = Definition::default();
    let mut group = Group::default();
    for service in loaded.project.services.values() {
        if let Some(target) = target(service, &directory).map_err(Failure::user)? {
            group.targets.push(target.name.clone());
            definition.add(target);
        }
    }
    definition.groups.insert("default".to_owned(), group);
    Ok(definition)
}

fn target(service: &Service, directory: &Path) -> std::result::Result<Option<Target>, Diagnostic> {
    let Some(build) = &service.build else { return Ok(None) };
    let name = service.name.replace('.', "_");
    let mut target = Target::new(name);
    target.span = Some(build.span.clone());
    let texts = |items: &[String]| Value::List(items.iter().map(Value::text).collect());
    let pairs = |map: &indexmap::IndexMap<String, String>| {
        Value::Map(map.iter().map(|(name, value)| (name.clone(), Value::text(value))).collect())
    };
    let optional = |text: &Option<String>| text.as_ref().map_or(Value::Null, Value::text);
    let context = match build.context.strip_prefix(directory) {
        Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
        Ok(inside) => inside.to_string_lossy().into_owned(),
        Err(_) => build.context.to_string_lossy().into_owned(),
    };
    let dockerfile = build.dockerfile.strip_prefix(&build.context).unwrap_or(&build.dockerfile);
    let mut contexts = build.additional_contexts.clone();
    for source in contexts.values_mut() {
        // A directory of the project is shown as the project names it.
        if let Ok(inside) = Path::new(source).strip_prefix(directory) {
            *source = if inside.as_os_str().is_empty() {
                ".".into()
            } else {
                inside.to_string_lossy().into_owned()
            };
        } else if let Some(service) = source.strip_prefix("service:") {
            *source = format!("target:{}", service.replace('.', "_"));
        }
    }
    let flag = |set: bool| if set { Value::Bool(true) } else { Value::Null };
    let mut settings = vec![
        (Attribute::Context, Value::text(context)),
        (Attribute::Dockerfile, Value::text(dockerfile.to_string_lossy())),
        (Attribute::DockerfileInline, optional(&build.dockerfile_inline)),
        (Attribute::Target, optional(&build.target)),
        (Attribute::Args, pairs(&build.args)),
        (Attribute::Labels, pairs(&build.labels)),
        (Attribute::Contexts, pairs(&contexts)),
        (Attribute::NoCache, flag(build.no_cache)),
        (Attribute::Pull, flag(build.pull)),
    ];
    if !build.tags.is_empty() {
        settings.push((Attribute::Tags, texts(&build.tags)));
    }
    let wrong = |name: &str, why: String| {
        Diagnostic::error("bake-value", format!("`{name}`: {why}")).with_span(build.span.clone())
    };
    for (attribute, value) in settings {
        target.lay(attribute, value).map_err(|why| wrong(attribute.name(), why))?;
    }
    if let Some(serde_json::Value::Object(extension)) = build.extensions.get("x-bake") {
        for (name, value) in extension {
            let attribute = Attribute::of_name(name)
                .ok_or_else(|| wrong("x-bake", format!("there is no attribute `{name}`")))?;
            // As with buildx, lists of the extension add to those of `build`.
            target.extend(attribute, Value::from_json(value)).map_err(|why| wrong(name, why))?;
        }
    }
    if target.texts(Attribute::Tags).is_empty() && service.image_span.is_some() {
        let tags = texts(&[service.image.familiar()]);
        target.lay(Attribute::Tags, tags).map_err(|why| wrong("image", why))?;
    }
    Ok(Some(target))
}

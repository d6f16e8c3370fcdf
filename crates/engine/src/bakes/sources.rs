//! Where a target's files come from: its context, its named contexts, its Dockerfile.

use std::path::PathBuf;

use coracle_bakefile::{Attribute, Target};
use coracle_report::Diagnostic;

use super::BakeRequest;
use super::options::Located;
use crate::{BuildOptions, ContextSource, NamedSource, Result};

/// Fills in the sources.
pub(super) fn fill(
    options: &mut BuildOptions,
    target: &Target,
    request: &BakeRequest,
    at: &Located<'_>,
) -> std::result::Result<(), Diagnostic> {
    options.context = context(target.text(Attribute::Context).unwrap_or("."), request)
        .map_err(|failure| at.place(Attribute::Context, failure))?;
    for (name, value) in target.pairs(Attribute::Contexts) {
        let source = named(value, request).map_err(|failure| at.place(Attribute::Contexts, failure))?;
        options.named.push((name.to_owned(), source));
    }
    options.dockerfile_inline = target.text(Attribute::DockerfileInline).map(str::to_owned);
    let dockerfile = target.text(Attribute::Dockerfile).unwrap_or("Dockerfile");
    options.dockerfile = match dockerfile.strip_prefix("cwd://") {
        Some(path) => Some(request.directory.join(path)),
        // The usual one may have its other usual name, or be all that the context is.
        None if dockerfile == "Dockerfile" => None,
        None if dockerfile == "-" => {
            return Err(
                at.wrong(Attribute::Dockerfile, "standard input is no target's Dockerfile".to_owned())
            );
        }
        None if dockerfile.contains("://") => Some(PathBuf::from(dockerfile)),
        None => Some(match options.context.directory() {
            Some(directory) => directory.join(dockerfile),
            None => PathBuf::from(dockerfile),
        }),
    };
    Ok(())
}

fn context(text: &str, request: &BakeRequest) -> Result<ContextSource> {
    let text = text.strip_prefix("cwd://").unwrap_or(text);
    let here = request.directory.join(if text.is_empty() { "." } else { text });
    if text == "-" {
        let error = Diagnostic::error("build-context", "standard input is no target's context");
        return Err(crate::Failure::user(error.with_hint("name a directory, an archive or a URL")));
    }
    if here.exists() {
        return Ok(ContextSource::Path(here));
    }
    Ok(match ContextSource::parse(text)? {
        ContextSource::Path(_) => ContextSource::Path(here),
        elsewhere => elsewhere,
    })
}

fn named(value: &str, request: &BakeRequest) -> Result<NamedSource> {
    match value.split_once(':') {
        Some(("docker-image" | "target", _)) => NamedSource::parse_value(value),
        Some(("oci-layout", _)) => Ok(match NamedSource::parse_value(value)? {
            NamedSource::Layout { path, image } => {
                NamedSource::Layout { path: request.directory.join(path), image }
            }
            other => other,
        }),
        _ => context(value, request).map(NamedSource::Files),
    }
}

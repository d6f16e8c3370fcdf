//! What stages start from: global arguments, bases and platforms of `FROM`, and the rules about them.

use std::collections::{BTreeMap, BTreeSet};

use coracle_dockerfile::{BaseRef, Dockerfile, Escape, Stage, Word};
use coracle_oci::{Platform, Reference};
use coracle_report::Diagnostic;

use super::suggest::suggest;
use super::variables::Variables;
use super::{platform, rules};
use crate::finding::Collector;
use crate::{Options, Request};

/// What one stage starts from, variables replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bottom {
    Scratch,
    Stage(usize),
    Image {
        name: String,
        platform: Option<String>,
    },
    /// It cannot be known.
    Unknown,
}

/// What all stages start from.
pub(crate) struct Bottoms {
    /// Global and predefined arguments.
    pub globals: Variables,
    /// By stage.
    pub list: Vec<Bottom>,
    /// What keeps a base from being known.
    pub fault: Option<Diagnostic>,
}

/// Returns the predefined arguments of a build.
pub(crate) fn predefined(request: &Request<'_>) -> Variables {
    let file = request.dockerfile;
    let target = request.target.unwrap_or(file.stages.len() - 1);
    let target = file.stages[target].name.as_ref().map_or("default", |name| name.value.as_str());
    let mut variables = Variables::default();
    for (prefix, platform) in [("BUILD", &Platform::host()), ("TARGET", request.platform)] {
        let variant = platform.variant.as_deref().unwrap_or_default();
        variables.set(&format!("{prefix}PLATFORM"), &platform.to_string());
        variables.set(&format!("{prefix}OS"), &platform.os);
        variables.set(&format!("{prefix}OSVERSION"), "");
        variables.set(&format!("{prefix}ARCH"), &platform.architecture);
        variables.set(&format!("{prefix}VARIANT"), variant);
    }
    variables.set("TARGETSTAGE", target);
    let names: Vec<String> = variables.names().map(str::to_owned).collect();
    for name in names {
        if let Some(given) = request.build_args.get(&name) {
            variables.set(&name, given);
        }
    }
    variables
}

/// Adds the global arguments of a file; the error is that of a default which cannot be expanded.
fn declare(
    file: &Dockerfile,
    mut variables: Variables,
    given: &BTreeMap<String, String>,
) -> Result<Variables, Diagnostic> {
    for argument in &file.global_args {
        let value = match (given.get(&argument.name.value), &argument.default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => match variables.expand(default, file.directives.escape) {
                (expansion, None) => expansion.text,
                (_, Some(error)) => {
                    return Err(file.source.error(error.code(), error.to_string(), &default.span));
                }
            },
            (None, None) => continue,
        };
        variables.set(&argument.name, &value);
    }
    Ok(variables)
}

impl Bottoms {
    /// Finds out what stages start from, and checks what `FROM` says.
    pub(crate) fn resolve(request: &Request<'_>, options: &Options, collector: &mut Collector<'_>) -> Self {
        let file = request.dockerfile;
        let predefined = predefined(request);
        if let Ok(defaults) = declare(file, predefined.clone(), &BTreeMap::new()) {
            defaults_name_images(request, &defaults, options, collector);
        }
        let (globals, mut fault) = match declare(file, predefined.clone(), request.build_args) {
            Ok(globals) => (globals, None),
            Err(fault) => (predefined, Some(fault)),
        };
        let declared: BTreeSet<&str> = file
            .global_args
            .iter()
            .map(|argument| argument.name.value.as_str())
            .chain(globals.names())
            .collect();
        let mut list: Vec<Bottom> = Vec::new();
        for stage in &file.stages {
            let options = options.before(&stage.comments);
            let from = From { request, stage, globals: &globals, declared: &declared, options: &options };
            let bottom = from.bottom(&file.stages[..list.len()], collector);
            list.push(bottom.unwrap_or_else(|error| {
                fault.get_or_insert(error);
                Bottom::Unknown
            }));
        }
        Self { globals, list, fault }
    }
}

/// Checks that every base is the name of an image, of a stage or of a context, when no argument is given.
fn defaults_name_images(
    request: &Request<'_>,
    defaults: &Variables,
    options: &Options,
    collector: &mut Collector<'_>,
) {
    let file = request.dockerfile;
    for stage in &file.stages {
        let (expansion, None) = defaults.expand(&stage.image, file.directives.escape) else {
            return;
        };
        if expansion.text.parse::<Reference>().is_err() && !request.is_context(&expansion.text) {
            let message = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                stage.image.value
            );
            let place = (&stage.image.span, &stage.span);
            collector.add(options, &rules::INVALID_DEFAULT_ARG_IN_FROM, place, message, []);
        }
    }
}

struct From<'a> {
    request: &'a Request<'a>,
    stage: &'a Stage,
    globals: &'a Variables,
    declared: &'a BTreeSet<&'a str>,
    options: &'a Options,
}

impl From<'_> {
    fn escape(&self) -> Escape {
        self.request.dockerfile.directives.escape
    }

    fn bottom(&self, earlier: &[Stage], collector: &mut Collector<'_>) -> Result<Bottom, Diagnostic> {
        let source = &self.request.dockerfile.source;
        let stage = self.stage;
        let (base, error) = self.globals.expand(&stage.image, self.escape());
        self.undeclared(&stage.image, &base.unmatched, collector);
        if let Some(error) = error {
            return Err(source.error(error.code(), error.to_string(), &stage.image.span));
        }
        if base.text.is_empty() {
            let message = format!("`{}` names no image: it is empty", stage.image.value);
            return Err(source.error("empty-base", message, &stage.image.span));
        }
        let platform = match &stage.platform {
            Some(word) => Some(self.platform(word, collector)?),
            None => None,
        };
        Ok(match &stage.base {
            BaseRef::Scratch => Bottom::Scratch,
            BaseRef::Stage(index) => Bottom::Stage(*index),
            BaseRef::Image(_) if base.text == "scratch" => Bottom::Scratch,
            BaseRef::Image(_) => match earlier.iter().rposition(|stage| stage.is_called(&base.text)) {
                Some(index) => Bottom::Stage(index),
                None if self.request.is_context(&base.text) => Bottom::Image { name: base.text, platform },
                None => match base.text.parse::<Reference>() {
                    Ok(_) => Bottom::Image { name: base.text, platform },
                    Err(error) => {
                        return Err(source.error("bad-reference", error.to_string(), &stage.image.span));
                    }
                },
            },
        })
    }

    fn platform(&self, word: &Word, collector: &mut Collector<'_>) -> Result<String, Diagnostic> {
        let source = &self.request.dockerfile.source;
        let (expansion, error) = self.globals.expand(word, self.escape());
        self.undeclared(word, &expansion.unmatched, collector);
        let place = (&word.span, &self.stage.span);
        let only_target = expansion.matched.len() == 1
            && expansion.unmatched.is_empty()
            && expansion.matched.contains("TARGETPLATFORM")
            && self.globals.get("TARGETPLATFORM") == Some(expansion.text.as_str());
        if only_target {
            let message = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                word.value
            );
            let hint = format!("leave `--platform={}` out", word.value);
            collector.add(self.options, &rules::REDUNDANT_TARGET_PLATFORM, place, message, [hint]);
        }
        let host = Platform::host();
        let parsed = platform::parse(&expansion.text, (&host.os, &host.architecture));
        if expansion.matched.is_empty()
            && expansion.unmatched.is_empty()
            && let Some((os, architecture)) = &parsed
        {
            let name = self.stage.name.as_ref().map_or("", |name| name.value.as_str());
            if !name.contains(os.as_str()) && !name.contains(architecture.as_str()) {
                let message =
                    format!("FROM --platform flag should not use constant value {:?}", expansion.text);
                collector.add(self.options, &rules::FROM_PLATFORM_FLAG_CONST_DISALLOWED, place, message, []);
            }
        }
        if let Some(error) = error {
            return Err(source.error(error.code(), error.to_string(), &word.span));
        }
        if parsed.is_none() {
            let message = if expansion.text.is_empty() {
                format!("`{}` is no platform: it is empty", word.value)
            } else {
                format!("`{}` is no platform", expansion.text)
            };
            let error = source.error("bad-platform", message, &word.span);
            let near = expansion.unmatched.iter().find_map(|name| suggest(name, self.globals.names()));
            return Err(match near {
                Some(near) => error.with_hint(format!("did you mean `${near}`?")),
                None => error.with_hint("platforms look like linux/amd64"),
            });
        }
        Ok(expansion.text)
    }

    fn undeclared(&self, word: &Word, unmatched: &BTreeSet<String>, collector: &mut Collector<'_>) {
        for name in unmatched.iter().filter(|name| !self.declared.contains(name.as_str())) {
            let near = suggest(name, self.declared.iter().copied());
            let meant = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            let message = format!("FROM argument '{name}' is not declared{meant}");
            let hint = match near {
                Some(near) => format!("write `${near}`"),
                None => format!("declare it with `ARG {name}` before the first FROM"),
            };
            let place = (&word.span, &self.stage.span);
            collector.add(self.options, &rules::UNDEFINED_ARG_IN_FROM, place, message, [hint]);
        }
    }
}

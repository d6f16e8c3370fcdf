//! The merged tree to a [`Project`](crate::Project): one file per noun.

mod build;
mod deploy;
mod devices;
pub(crate) mod environment;
mod health;
mod hooks;
mod isolation;
mod limits;
mod mounts;
mod network;
mod networks;
mod objects;
mod project;
mod security;
mod service;

use std::path::{Component, Path, PathBuf};

use coracle_report::Span;
use indexmap::IndexMap;

use crate::Loader;
use crate::fields::Field;
use crate::source::{Findings, Mark};

/// What every reader of a part of the project needs.
pub(crate) struct Decoder<'a> {
    pub(crate) findings: &'a mut Findings,
    /// Where relative paths start.
    pub(crate) directory: &'a Path,
    /// Values of variables.
    pub(crate) environment: &'a IndexMap<String, String>,
    pub(crate) project_name: &'a str,
    pub(crate) profiles: &'a [String],
    pub(crate) loader: &'a dyn Loader,
}

impl Decoder<'_> {
    fn span(&self, mark: Mark) -> Span {
        self.findings.sources.span(mark)
    }

    /// Returns `text` as an absolute path without `.` and `..`: relative ones start at the project's directory.
    fn path(&self, text: &str) -> PathBuf {
        if let (Some(rest), Some(home)) = (text.strip_prefix('~'), self.environment.get("HOME"))
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return clean(&Path::new(home).join(rest.trim_start_matches('/')));
        }
        clean(&self.directory.join(text))
    }

    fn path_of(&mut self, field: &Field<'_>) -> Option<PathBuf> {
        let text = field.text(self.findings)?;
        if text.is_empty() {
            field.bad(self.findings, "the path is empty");
            return None;
        }
        Some(self.path(text))
    }

    /// Reads an absolute path inside a container.
    fn target(&mut self, field: &Field<'_>, text: &str) -> Option<String> {
        if !text.starts_with('/') {
            field.bad(self.findings, &format!("`{text}` is not an absolute path inside the container"));
            return None;
        }
        if text.split('/').any(|component| component == "..") {
            field.bad(self.findings, &format!("`{text}` climbs with `..`"));
            return None;
        }
        let trimmed = text.trim_end_matches('/');
        Some(if trimmed.is_empty() { "/" } else { trimmed }.to_owned())
    }
}

/// Resolves `.` and `..` by their text alone; links are not looked at, as Compose does.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !out.pop() {
                    out.push("..");
                }
            }
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => out.push(component),
        }
    }
    out
}

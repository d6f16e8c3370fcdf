//! What a build is made from, as the user writes it.

use std::fmt;
use std::path::{Path, PathBuf};

use coracle_build::{GitSource, RemoteSource};
use coracle_oci::Reference;
use coracle_report::Diagnostic;

use crate::{Failure, Result};

/// Schemes that mean something, for near misses.
const SCHEMES: [&str; 8] =
    ["http", "https", "git", "ssh", "docker-image", "oci-layout", "target", "git+https"];

/// The main context of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory, or a tar archive, of this machine: which of them shows when it is opened.
    Path(PathBuf),
    /// Standard input: a Dockerfile's text, or a tar archive.
    Stdin,
    /// A Dockerfile or a tar archive that is fetched.
    Url(String),
    /// A directory of a git repository.
    Git(GitSource),
}

impl Default for ContextSource {
    fn default() -> Self {
        Self::Path(PathBuf::new())
    }
}

impl From<PathBuf> for ContextSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&Path> for ContextSource {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl ContextSource {
    /// Reads what the user wrote: a path, `-`, a URL, a git repository. A path that exists is always that.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        // `github.com/owner/name` and `user@host:path` may be paths too.
        if !text.contains("://") && Path::new(text).exists() {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        match RemoteSource::parse(text).map_err(bad)? {
            Some(RemoteSource::Http(url)) => Ok(Self::Url(url)),
            Some(RemoteSource::Git(source)) => Ok(Self::Git(source)),
            None => match text.split_once("://") {
                Some((scheme, _)) if !Path::new(text).exists() => Err(unknown_scheme(scheme, text)),
                _ => Ok(Self::Path(PathBuf::from(text))),
            },
        }
    }

    /// Returns the directory, when it is one of this machine.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Path(path) if path.is_dir() => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for ContextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("-"),
            Self::Url(url) => f.write_str(url),
            Self::Git(source) => write!(f, "{source}"),
        }
    }
}

/// What a name of `--build-context` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedSource {
    /// Files.
    Files(ContextSource),
    /// `docker-image://`: an image.
    Image(Reference),
    /// `oci-layout://`: an image in a directory.
    Layout {
        /// The directory.
        path: PathBuf,
        /// The tag in its index, or the manifest's digest; `None` is the only one.
        image: Option<String>,
    },
    /// `target:`: another target of the same run, which whoever drives several builds replaces with what it built.
    Target(String),
}

impl NamedSource {
    /// Reads `NAME=VALUE`.
    pub fn parse(text: &str) -> Result<(String, Self)> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() || value.is_empty() {
            let error = bad(format!("`{text}` names no context"));
            return Err(
                error.with_hint("write `--build-context NAME=DIRECTORY`, or docker-image://IMAGE, or a URL")
            );
        }
        Ok((name.to_owned(), Self::parse_value(value)?))
    }

    /// Returns whether it can be looked at without fetching anything.
    pub fn is_here(&self) -> bool {
        match self {
            Self::Files(source) => source.directory().is_some(),
            Self::Image(_) | Self::Layout { .. } => true,
            Self::Target(_) => false,
        }
    }

    /// Reads what stands after `NAME=`.
    pub fn parse_value(value: &str) -> Result<Self> {
        if let Some(image) = value.strip_prefix("docker-image://") {
            let reference =
                image.parse().map_err(|error: coracle_oci::ReferenceError| bad(error.to_string()))?;
            return Ok(Self::Image(reference));
        }
        if let Some(path) = value.strip_prefix("oci-layout://") {
            let (path, image) = split_layout(path);
            if path.is_empty() {
                return Err(bad(format!("`{value}` names no directory")));
            }
            return Ok(Self::Layout { path: PathBuf::from(path), image: image.map(str::to_owned) });
        }
        if let Some(target) = value.strip_prefix("target:") {
            return Ok(Self::Target(target.to_owned()));
        }
        if value == "-" {
            return Err(bad("a named context cannot be standard input".to_owned()));
        }
        ContextSource::parse(value).map(Self::Files)
    }
}

/// Splits `PATH[:TAG|@DIGEST]`.
fn split_layout(text: &str) -> (&str, Option<&str>) {
    if let Some((path, digest)) = text.split_once('@') {
        return (path, Some(digest));
    }
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (text, None),
    }
}

fn bad(why: String) -> Failure {
    Failure::user(Diagnostic::error("build-context", why))
}

fn unknown_scheme(scheme: &str, text: &str) -> Failure {
    let error = bad(format!("`{scheme}://` is no kind of build context: `{text}`"));
    match crate::near::nearest(scheme, SCHEMES) {
        Some("target") | None => {
            error.with_hint("contexts are directories, tar archives, http(s) URLs and git repositories")
        }
        Some(near) => error.with_hint(format!("did you mean `{near}://`?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_told_by_their_form() {
        assert_eq!(ContextSource::parse("-").unwrap(), ContextSource::Stdin);
        assert_eq!(ContextSource::parse("no/such").unwrap(), ContextSource::Path("no/such".into()));
        assert!(matches!(ContextSource::parse("https://h/x.tar").unwrap(), ContextSource::Url(_)));
        assert!(matches!(ContextSource::parse("https://h/x.git#v1").unwrap(), ContextSource::Git(_)));
        assert!(matches!(ContextSource::parse("github.com/a/b").unwrap(), ContextSource::Git(_)));
        let error = ContextSource::parse("htps://h/x").unwrap_err();
        assert!(error.first().hints[0].0.contains("`https://`"), "{error:?}");
    }

    #[test]
    fn named_contexts_are_told_by_their_form() {
        let parse = |text: &str| NamedSource::parse(text).unwrap().1;
        assert_eq!(parse("a=docker-image://busybox"), NamedSource::Image("busybox".parse().unwrap()));
        let layout = |path: &str, image: Option<&str>| NamedSource::Layout {
            path: path.into(),
            image: image.map(str::to_owned),
        };
        assert_eq!(parse("a=oci-layout:///x/y:1"), layout("/x/y", Some("1")));
        assert_eq!(parse("a=oci-layout://y@sha256:0"), layout("y", Some("sha256:0")));
        assert_eq!(parse("a=oci-layout:///x:1/y"), layout("/x:1/y", None));
        assert_eq!(parse("a=target:b"), NamedSource::Target("b".to_owned()));
        assert_eq!(parse("a=../x"), NamedSource::Files(ContextSource::Path("../x".into())));
        for text in ["a", "=b", "a=", "a=-", "a=docker-image://", "a=oci-layout://"] {
            assert!(NamedSource::parse(text).is_err(), "{text}");
        }
    }
}

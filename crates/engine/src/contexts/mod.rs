//! Build contexts: where a build's files come from, brought to a directory of this machine.
//!
//! A directory is used where it is. Everything else (standard input, archives, URLs, git repositories) is unpacked
//! below the data root into a directory that ends with the build, however that ends. What is unpacked came from a
//! stranger: it is only ever looked at through [`RootFs`], which no link leads out of.

mod dockerfile;
mod git;
mod git_auth;
mod http;
mod layout;
mod source;
mod throwaway;
mod unpack;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use coracle_build::{GitSource, NamedContext};
use coracle_oci::Reference;
use coracle_report::Diagnostic;

pub use git::Git;
pub use http::Downloads;
pub(crate) use http::kept_downloads;
pub use layout::LayoutImage;
pub use source::{ContextSource, NamedSource};
pub use throwaway::{Throwaway, reclaim};
pub use unpack::check_out;

use crate::builds::BuildOptions;
use crate::outputs::Material;
use crate::ports::build::Secrets;
use crate::{Engine, Failure, Result};

/// A build's contexts, ready to be read.
#[derive(Debug)]
pub struct Opened {
    /// The main context.
    pub main: Place,
    /// The Dockerfile's name, for messages and for its ignore file, and its text.
    pub dockerfile: (PathBuf, String),
    /// The named contexts.
    pub named: Vec<Named>,
    /// What the main context is, when it was fetched.
    pub source: Option<Material>,
    /// All that was fetched.
    pub materials: Vec<Material>,
}

/// A directory of files.
#[derive(Debug)]
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
    /// Ends with the build; `None` for a directory of the user's.
    throwaway: Option<Throwaway>,
}

impl Place {
    /// Returns whether the files came from elsewhere, and no name in them may be followed by the host.
    pub fn is_foreign(&self) -> bool {
        self.throwaway.is_some()
    }

    /// Returns an empty directory for what comes from elsewhere.
    #[cfg(test)]
    pub(crate) fn unpacked(layout: &coracle_store::Layout) -> Result<Self> {
        let throwaway = Throwaway::new(layout)?;
        Ok(Self { directory: throwaway.path().to_owned(), throwaway: Some(throwaway) })
    }
}

/// A named context.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What it is.
    pub content: NamedContent,
}

/// What a named context is.
#[derive(Debug)]
pub enum NamedContent {
    /// An image.
    Image(Reference),
    /// An image in a directory.
    Layout(LayoutImage),
    /// Files.
    Files(Place),
}

impl Opened {
    /// Returns the named contexts as plans see them.
    pub fn contexts(&self) -> Vec<(String, NamedContext)> {
        let seen = |named: &Named| match &named.content {
            NamedContent::Image(reference) => NamedContext::Image(reference.clone()),
            NamedContent::Layout(image) => NamedContext::Image(image.reference().clone()),
            NamedContent::Files(_) => NamedContext::Files,
        };
        self.named.iter().map(|named| (named.name.clone(), seen(named))).collect()
    }

    /// Returns the images that lie in directories.
    pub fn layouts(&self) -> impl Iterator<Item = &LayoutImage> {
        self.named.iter().filter_map(|named| match &named.content {
            NamedContent::Layout(image) => Some(image),
            NamedContent::Image(_) | NamedContent::Files(_) => None,
        })
    }
}

/// Opens all contexts of a build.
pub fn open(engine: &Engine, options: &BuildOptions, cancel: &AtomicBool) -> Result<Opened> {
    let secrets = Secrets::read(&options.run.secrets, &engine.environment)?;
    let opener = Opener { engine, secrets, cancel, fetched: RefCell::default() };
    let wants = dockerfile::Want::of(options);
    if wants == dockerfile::Want::Stdin && options.context == ContextSource::Stdin {
        let message = "standard input cannot be both the context and the Dockerfile";
        return Err(Failure::user(Diagnostic::error("usage", message)));
    }
    let (main, alone) = opener.place(&options.context)?;
    let source = opener.fetched.borrow().first().cloned();
    let dockerfile = match alone {
        Some(alone) if wants == dockerfile::Want::Default => alone,
        Some(_) => {
            let message = format!("{} is a Dockerfile, and `-f` names another", options.context);
            return Err(Failure::user(Diagnostic::error("build-context", message)));
        }
        None => dockerfile::read(&opener, &wants, &options.context, &main)?,
    };
    let mut named: Vec<Named> = Vec::new();
    for (name, source) in &options.named {
        let built = match (source, &options.together) {
            (NamedSource::Target(target), Some(together)) => together.reference(target),
            _ => None,
        };
        let content = match built {
            Some(reference) => NamedContent::Image(reference),
            None => opener.named(name, source)?,
        };
        // The last one of a name counts, as with all flags.
        named.retain(|other| !other.name.eq_ignore_ascii_case(name));
        named.push(Named { name: name.clone(), content });
    }
    let materials = opener.fetched.take();
    Ok(Opened { main, dockerfile, named, source, materials })
}

/// What opening needs.
struct Opener<'a> {
    engine: &'a Engine,
    secrets: Secrets,
    cancel: &'a AtomicBool,
    /// What was fetched so far.
    fetched: RefCell<Vec<Material>>,
}

impl Opener<'_> {
    /// Brings a context to a directory. One that is only a Dockerfile gives an empty directory and its text.
    fn place(&self, source: &ContextSource) -> Result<(Place, Option<(PathBuf, String)>)> {
        match source {
            ContextSource::Path(path) if path.is_dir() => {
                Ok((Place { directory: path.clone(), throwaway: None }, None))
            }
            ContextSource::Path(path) => Ok((self.archive(path)?, None)),
            ContextSource::Stdin => {
                let throwaway = Throwaway::new(&self.engine.layout)?;
                let file = throwaway.path().join("input");
                unpack::spool(&mut std::io::stdin().lock(), &file, self.cancel)?;
                self.unpack(throwaway, &file, "standard input", Path::new("-"))
            }
            ContextSource::Url(url) => {
                let downloads = Downloads::new(self.engine)?;
                let fetched = downloads.get(url, self.cancel)?;
                if fetched.kind.starts_with("text/html") {
                    let message =
                        format!("{url} is a page for browsers, neither a Dockerfile nor a tar archive");
                    let error = Diagnostic::error("build-context", message);
                    return Err(Failure::user(
                        error.with_hint("find the raw file's URL, or the repository's with `.git`"),
                    ));
                }
                self.fetched.borrow_mut().push(Material::file(url, &fetched.digest));
                let throwaway = Throwaway::new(&self.engine.layout)?;
                self.unpack(throwaway, &fetched.path, url, Path::new(url))
            }
            ContextSource::Git(source) => Ok((self.repository(source)?, None)),
        }
    }

    /// Unpacks a file, or takes it for a Dockerfile.
    fn unpack(
        &self,
        throwaway: Throwaway,
        file: &Path,
        called: &str,
        name: &Path,
    ) -> Result<(Place, Option<(PathBuf, String)>)> {
        let directory = throwaway.path().join("context");
        let alone = if unpack::archive(file, &directory, called)? {
            None
        } else {
            Some((name.to_owned(), dockerfile::text_of(file, called)?))
        };
        Ok((Place { directory, throwaway: Some(throwaway) }, alone))
    }

    fn archive(&self, path: &Path) -> Result<Place> {
        let shown = path.display().to_string();
        if !path.exists() {
            return Err(unpack::missing(path));
        }
        let throwaway = Throwaway::new(&self.engine.layout)?;
        let directory = throwaway.path().join("context");
        if !path.is_file() || !unpack::archive(path, &directory, &shown)? {
            let error = Diagnostic::error(
                "build-context",
                format!("{shown} is neither a directory nor a tar archive"),
            );
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let hint = format!("if it is a Dockerfile: coracle build -f {shown} {}", parent.display());
            return Err(Failure::user(error.with_hint(hint)));
        }
        Ok(Place { directory, throwaway: Some(throwaway) })
    }

    fn repository(&self, source: &GitSource) -> Result<Place> {
        let throwaway = Throwaway::new(&self.engine.layout)?;
        let secrets = &self.secrets;
        let secret = |id: &str| secrets.value(id);
        let git = Git::new(&self.engine.environment, &secret, self.cancel);
        let commit = git.resolve(source)?;
        self.fetched.borrow_mut().push(Material::repository(source, &commit));
        let directory = check_out(&git, source, &commit, throwaway.path())?;
        Ok(Place { directory, throwaway: Some(throwaway) })
    }

    fn named(&self, name: &str, source: &NamedSource) -> Result<NamedContent> {
        let unavailable = |why: String, hint: &str| {
            let error = Diagnostic::error("build-context", format!("named context `{name}`: {why}"));
            Failure::user(error.with_hint(hint))
        };
        match source {
            NamedSource::Image(reference) => Ok(NamedContent::Image(reference.clone())),
            NamedSource::Files(source) => {
                let (place, alone) = self.place(source)?;
                if alone.is_some() {
                    let why = format!("{source} is no tar archive");
                    return Err(unavailable(why, "to take one file, use `ADD URL` in the Dockerfile"));
                }
                Ok(NamedContent::Files(place))
            }
            NamedSource::Target(target) => Err(unavailable(
                format!("`target:{target}` names a target of a bake file"),
                "build it with `coracle bake`, or name a directory or docker-image://IMAGE",
            )),
            NamedSource::Layout { path, image } => {
                LayoutImage::open(path, image.as_deref()).map(NamedContent::Layout)
            }
        }
    }
}

//! Finding a build's Dockerfile: in the context, beside it, on standard input or behind a URL.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use coracle_report::Diagnostic;
use coracle_snapshot::RootFs;

use super::{ContextSource, Downloads, Opener, Place};
use crate::builds::BuildOptions;
use crate::outputs::Material;
use crate::{During, Failure, Result};

/// Most bytes of a Dockerfile.
const LARGEST: u64 = 16 << 20;
/// What is looked for when nothing is named, in this order, as in BuildKit.
const DEFAULT: [&str; 2] = ["Dockerfile", "dockerfile"];

/// Which Dockerfile is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// The one that lies in the context.
    Default,
    /// This text.
    Inline(String),
    /// Standard input's.
    Stdin,
    /// A URL's.
    Url(String),
    /// A file's.
    File(PathBuf),
}

impl Want {
    pub(super) fn of(options: &BuildOptions) -> Self {
        if let Some(text) = &options.dockerfile_inline {
            return Self::Inline(text.clone());
        }
        let Some(path) = &options.dockerfile else { return Self::Default };
        match path.to_str() {
            Some("-") => Self::Stdin,
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
                Self::Url(url.to_owned())
            }
            _ => Self::File(path.clone()),
        }
    }
}

/// Returns the Dockerfile's name and text.
pub(super) fn read(
    opener: &Opener<'_>,
    want: &Want,
    source: &ContextSource,
    main: &Place,
) -> Result<(PathBuf, String)> {
    match want {
        Want::Inline(text) => Ok((PathBuf::from("dockerfile_inline"), text.clone())),
        Want::Stdin => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .take(LARGEST + 1)
                .read_to_end(&mut bytes)
                .during("reading standard input")?;
            Ok((PathBuf::from("-"), decode(bytes, "standard input")?))
        }
        Want::Url(url) => {
            let fetched = Downloads::new(opener.engine)?.get(url, opener.cancel)?;
            opener.fetched.borrow_mut().push(Material::file(url, &fetched.digest));
            if fetched.kind.starts_with("text/html") {
                let error =
                    Diagnostic::error("dockerfile", format!("{url} is a page for browsers, no Dockerfile"));
                return Err(Failure::user(error.with_hint("find the raw file's URL")));
            }
            Ok((PathBuf::from(url), text_of(&fetched.path, url)?))
        }
        Want::Default => {
            for name in DEFAULT {
                if let Some(text) = inside(main, Path::new(name))? {
                    return Ok((main.directory.join(name), text));
                }
            }
            Err(none(source, main, Path::new(DEFAULT[0])))
        }
        Want::File(path) if main.is_foreign() => match inside(main, path)? {
            Some(text) => Ok((main.directory.join(path.strip_prefix("/").unwrap_or(path)), text)),
            None => Err(none(source, main, path)),
        },
        Want::File(path) => {
            // From where the user stands; else, as in Docker, within the context.
            for path in [path.clone(), main.directory.join(path)] {
                if path.is_file() {
                    let text = text_of(&path, &path.display().to_string())?;
                    return Ok((path, text));
                }
            }
            Err(none(source, main, path))
        }
    }
}

/// Reads a file of the context; `None` when it is not there.
fn inside(main: &Place, path: &Path) -> Result<Option<String>> {
    let shown = main.directory.join(path);
    if !main.is_foreign() {
        if !shown.is_file() {
            return Ok(None);
        }
        return text_of(&shown, &shown.display().to_string()).map(Some);
    }
    let root = RootFs::open_directory(&main.directory).during("opening the build context")?;
    match root.read(path, LARGEST) {
        Ok(bytes) => decode(bytes, &path.display().to_string()).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => {
            let message = format!("cannot read {} of the context: {error}", path.display());
            Err(Failure::user(Diagnostic::error("dockerfile", message)))
        }
    }
}

/// Reads a file as a Dockerfile.
pub(super) fn text_of(file: &Path, called: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let message = format!("cannot read {called}: {error}");
        return Err(Failure::user(Diagnostic::error("dockerfile", message)));
    }
    decode(bytes, called)
}

fn decode(bytes: Vec<u8>, called: &str) -> Result<String> {
    let bad =
        |why: &str| {
            let error = Diagnostic::error("dockerfile", format!("{called} is no Dockerfile: {why}"));
            Failure::user(error.with_hint(
                "a context is a Dockerfile's text or a tar archive (plain, gzip, bzip2, xz, zstd)",
            ))
        };
    if bytes.len() as u64 > LARGEST {
        return Err(bad("it is larger than 16 MiB"));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(bad("it is empty"));
    }
    String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8 text, and no tar archive either"))
}

/// Returns the failure of a Dockerfile that is not there, with names that may be meant.
fn none(source: &ContextSource, main: &Place, path: &Path) -> Failure {
    let within = if main.is_foreign() { Path::new("") } else { main.directory.as_path() };
    let whole = if path.is_absolute() { path.to_owned() } else { within.join(path) };
    let message = if main.is_foreign() {
        format!("there is no {} in {source}", path.display())
    } else {
        format!("there is no {}", whole.display())
    };
    let parent = path.parent().unwrap_or(Path::new(""));
    let root = RootFs::open_directory(&main.directory).ok();
    let names = root.and_then(|root| root.list(parent).ok()).unwrap_or_default();
    let names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    let like = names.iter().find(|name| name.to_ascii_lowercase().contains("dockerfile"));
    let near = like.map(String::as_str).or_else(|| {
        let wanted = path.file_name()?.to_str()?;
        crate::near::nearest(wanted, names.iter().map(String::as_str))
    });
    let error = Diagnostic::error("no-dockerfile", message);
    Failure::user(match near {
        Some(near) => {
            error.with_hint(format!("did you mean -f {}?", within.join(parent).join(near).display()))
        }
        None => error.with_hint("name the Dockerfile with -f, or the right context"),
    })
}

//! What `ADD` takes from elsewhere: files by HTTP and git repositories.

use std::sync::atomic::AtomicBool;

use coracle_build::{Checkout, Downloaded, HashAlgorithm};
use coracle_report::{Diagnostic, Event};
use coracle_snapshot::RootFs;
use sha2::{Digest as _, Sha384, Sha512};

use super::{EngineHost, WOULD_WORK, Work};
use crate::contexts::{Git, Throwaway, check_out};
use crate::outputs::Material;
use crate::{During, Failure, Result};

/// Endings of files that are no pages for browsers.
const NO_PAGES: [&str; 12] =
    [".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".zip", ".deb", ".rpm", ".jar", ".whl", ".sh"];

/// A repository's files while they are copied.
pub(super) struct Tree {
    pub(super) root: RootFs,
    /// Ends with this.
    _throwaway: Throwaway,
}

impl EngineHost<'_> {
    pub(super) fn fetch(&self, url: &str, cancel: &AtomicBool) -> Result<Downloaded> {
        let fetched = match self.work {
            Work::Done => self.downloads.get(url, cancel)?,
            Work::Refused => self.downloads.unchanged(url, cancel).ok_or_else(|| {
                Failure::user(Diagnostic::error(WOULD_WORK, format!("{url} is not downloaded to look")))
            })?,
        };
        let file = fetched.path.to_str().ok_or_else(|| {
            let message = "the data root's path is not UTF-8";
            Failure::user(Diagnostic::error("data-root", message))
        })?;
        let is_page = fetched.kind.starts_with("text/html");
        if is_page && NO_PAGES.iter().any(|ending| fetched.name.ends_with(ending)) {
            let message = format!("the server answered {url} with a page for browsers (text/html)");
            let warning = Diagnostic::warning("html-download", message);
            let warning = warning.with_hint("is it the file's own URL? `--checksum` makes sure");
            self.engine.reporter.event(Event::Notice(warning));
        }
        self.note_material(Material::file(url, &fetched.digest));
        Ok(Downloaded { file: file.to_owned(), name: fetched.name, digest: fetched.digest })
    }

    /// Fetches a repository's files.
    pub(super) fn tree_of(&self, checkout: &Checkout, cancel: &AtomicBool) -> Result<Tree> {
        let throwaway = Throwaway::new(&self.engine.layout)?;
        let secret = |id: &str| self.secrets.value(id);
        let git = Git::new(&self.engine.environment, &secret, cancel);
        let directory = check_out(&git, &checkout.source, &checkout.commit, throwaway.path())?;
        let root = RootFs::open_directory(&directory).during("opening a repository's files")?;
        Ok(Tree { root, _throwaway: throwaway })
    }
}

/// Returns the hash of a download in hexadecimal digits.
pub(super) fn hash(download: &Downloaded, algorithm: HashAlgorithm) -> Result<String> {
    let read = |hasher: &mut dyn std::io::Write| -> std::io::Result<()> {
        std::io::copy(&mut std::fs::File::open(&download.file)?, hasher).map(drop)
    };
    let during = "hashing a download";
    Ok(match algorithm {
        HashAlgorithm::Sha256 => download.digest.hex(),
        HashAlgorithm::Sha384 => {
            let mut hasher = Sha384::new();
            read(&mut Hasher(&mut hasher)).during(during)?;
            hex::encode(hasher.finalize())
        }
        HashAlgorithm::Sha512 => {
            let mut hasher = Sha512::new();
            read(&mut Hasher(&mut hasher)).during(during)?;
            hex::encode(hasher.finalize())
        }
    })
}

/// Hashes what is written.
struct Hasher<'h, H>(&'h mut H);

impl<H: sha2::digest::Update> std::io::Write for Hasher<'_, H> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

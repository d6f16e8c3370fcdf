//! Archives of the npm registry: fetched over HTTPS, held against their pinned integrity, unpacked into a stage.
//!
//! Refuses to unpack anything whose SHA-512 differs from the recipe's, or that would leave its directory.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha512};
use ureq::tls::{RootCerts, TlsConfig};

use crate::layer::Globs;
use crate::recipe::{Archive, Mode};
use crate::stage::Stage;

/// The largest archive that is fetched, bytes.
const FETCH_LIMIT: u64 = 512 << 20;

/// Why an archive could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The registry did not answer, or not with the archive.
    #[error("cannot fetch `{url}`")]
    Fetch {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The archive is not the one that the recipe pins.
    #[error("archive `{name}` has integrity {found}, but the recipe pins {pinned}")]
    Integrity {
        /// Package and version.
        name: String,
        /// What it has.
        found: String,
        /// What it should have.
        pinned: String,
    },
    /// An entry of the archive leaves its directory, or is no file.
    #[error("archive `{name}` has an entry `{entry}` that is not a plain file below its directory")]
    Entry {
        /// Package and version.
        name: String,
        /// The entry.
        entry: String,
    },
    /// Reading or writing failed.
    #[error("cannot unpack archive `{name}` into `{path}`")]
    Unpack {
        /// Package and version.
        name: String,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Archive {
    /// Returns package and version for messages.
    pub(crate) fn label(&self) -> String {
        format!("{}@{}", self.npm, self.version)
    }

    fn url(&self, registry: &str) -> String {
        let file = self.npm.rsplit('/').next().unwrap_or(&self.npm);
        format!("{}/{}/-/{file}-{}.tgz", registry.trim_end_matches('/'), self.npm, self.version)
    }

    /// Returns the archive's bytes, from `cache` when they are there and right.
    pub(crate) fn fetch(&self, registry: &str, cache: Option<&Path>) -> Result<Vec<u8>, ArchiveError> {
        let cached = cache.map(|cache| cache.join(format!("{}.tgz", self.label().replace('/', "+"))));
        if let Some(bytes) = cached.as_ref().and_then(|path| fs::read(path).ok())
            && integrity_of(&bytes) == self.integrity
        {
            return Ok(bytes);
        }
        let url = self.url(registry);
        let failed = |source| ArchiveError::Fetch { url: url.clone(), source: Box::new(source) };
        let mut response = agent().get(&url).call().map_err(failed)?;
        let bytes = response.body_mut().with_config().limit(FETCH_LIMIT).read_to_vec().map_err(failed)?;
        let found = integrity_of(&bytes);
        if found != self.integrity {
            return Err(ArchiveError::Integrity {
                name: self.label(),
                found,
                pinned: self.integrity.clone(),
            });
        }
        if let Some(path) = cached {
            write_whole(&path, &bytes).map_err(|source| ArchiveError::Unpack {
                name: self.label(),
                path,
                source,
            })?;
        }
        Ok(bytes)
    }

    /// Appends the archive's files to `stage` below [`Archive::into`], without each entry's first component.
    pub(crate) fn append_to(&self, bytes: &[u8], stage: &mut Stage) -> Result<(), ArchiveError> {
        let failed =
            |path: &Path, source| ArchiveError::Unpack { name: self.label(), path: path.to_owned(), source };
        let into = Path::new(&self.into);
        let excluded = Globs::new(&self.exclude);
        let mut archive = tar::Archive::new(GzDecoder::new(bytes));
        for entry in archive.entries().map_err(|error| failed(into, error))? {
            let mut entry = entry.map_err(|error| failed(into, error))?;
            let path = entry.path().map_err(|error| failed(into, error))?.into_owned();
            let refused = || ArchiveError::Entry { name: self.label(), entry: path.display().to_string() };
            let inner: PathBuf = path.components().skip(1).collect();
            if !inner.components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(refused());
            }
            let kind = entry.header().entry_type();
            if inner.as_os_str().is_empty() || kind.is_dir() || kind.is_pax_global_extensions() {
                continue;
            }
            if !kind.is_file() {
                return Err(refused());
            }
            if inner.to_str().is_some_and(|inner| excluded.fit(inner)) {
                continue;
            }
            let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
            let mode = if executable { Mode::EXECUTABLE } else { Mode::PLAIN };
            let target = into.join(&inner);
            let size = entry.size();
            stage.file(&target, mode, [0, 0], size, &mut entry).map_err(|error| failed(&target, error))?;
        }
        Ok(())
    }
}

/// Returns a client that trusts what the host trusts, so that a company's TLS-inspecting proxy can be passed.
fn agent() -> ureq::Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    ureq::Agent::config_builder().tls_config(tls).build().new_agent()
}

/// Two threads or processes may fetch the same archive at once; each writes a file of its own.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writes a file under a temporary name first, so that another process never reads half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.part", std::process::id()));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}

/// Returns the Subresource Integrity text of `bytes`.
fn integrity_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(Sha512::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(exclude: &[&str]) -> Archive {
        Archive {
            npm: "@scope/tool".to_owned(),
            version: "1.0.0".to_owned(),
            integrity: String::new(),
            into: "/opt/tool".to_owned(),
            exclude: exclude.iter().map(|text| (*text).to_owned()).collect(),
            architecture: None,
        }
    }

    fn tgz(entries: &[(&str, u32)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, mode) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(1);
            header.set_mode(*mode);
            header.set_cksum();
            builder.append(&header, &b"x"[..]).unwrap();
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&builder.into_inner().unwrap()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_address_of_a_scoped_package() {
        let url = archive(&[]).url("https://registry.example/");
        assert_eq!(url, "https://registry.example/@scope/tool/-/tool-1.0.0.tgz");
    }

    fn staged(archive: &Archive, bytes: &[u8]) -> Result<Vec<String>, ArchiveError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stage.tar");
        let mut stage = Stage::create(&path).unwrap();
        archive.append_to(bytes, &mut stage)?;
        stage.finish().unwrap();
        let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
        let describe = |entry: tar::Entry<'_, fs::File>| {
            format!("{:o} {}", entry.header().mode().unwrap(), entry.path().unwrap().display())
        };
        Ok(archive.entries().unwrap().map(|entry| describe(entry.unwrap())).collect())
    }

    #[test]
    fn unpacks_without_the_first_component_and_the_excluded() {
        let bytes =
            tgz(&[("package/bin/tool", 0o775), ("package/docs/a/b.md", 0o644), ("package/x.js", 0o600)]);
        let entries = staged(&archive(&["docs/**"]), &bytes).unwrap();
        assert_eq!(entries, ["755 opt/tool/bin/tool", "644 opt/tool/x.js"]);
    }

    #[test]
    fn refuses_to_leave_its_directory() {
        let error = staged(&archive(&[]), &tgz(&[("package/../../x", 0o644)])).unwrap_err();
        assert!(matches!(error, ArchiveError::Entry { .. }), "{error}");
    }

    #[test]
    fn integrity_is_that_of_lock_files() {
        assert_eq!(
            integrity_of(b""),
            "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
        );
    }
}

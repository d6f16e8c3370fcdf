//! What is in an image: the scanner over a mounted view of its layers.

use std::io;
use std::path::Path;

use coracle_oci::Reference;
use coracle_scan::{FileEntry, FileTree, Inventory, Positioned, Subject};
use coracle_snapshot::rootfs::FileKind;
use coracle_snapshot::{RootFs, SnapshotError, SnapshotId};
use jiff::Timestamp;
use serde_json::Value;

use super::BuildFacts;
use crate::outputs::content::Attestation;
use crate::outputs::finished::Finished;
use crate::{During, Engine, Images, Result};

/// A document's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SbomFormat {
    /// SPDX 2.3 in JSON.
    Spdx,
    /// CycloneDX 1.6 in JSON.
    CycloneDx,
}

/// What is in an image.
#[derive(Clone, Debug)]
pub struct Sbom {
    /// The packages.
    pub inventory: Inventory,
    subject: Subject,
}

impl Sbom {
    /// Returns the document.
    pub fn document(&self, format: SbomFormat) -> Value {
        match format {
            SbomFormat::Spdx => coracle_scan::spdx(&self.inventory, &self.subject),
            SbomFormat::CycloneDx => coracle_scan::cyclonedx(&self.inventory, &self.subject),
        }
    }
}

impl Images<'_> {
    /// Lists what is in an image of the store.
    pub fn sbom(&self, name: &str) -> Result<Sbom> {
        let image = self.find(name)?;
        let _adding = self.engine.store.adding().during("reading an image of the store")?;
        let finished = Finished::of_image(self.engine, &image)?;
        let inventory = scan(self.engine, finished.top())?;
        let named = name.parse::<Reference>().ok().filter(|name| image.references.contains(name));
        let named = named.or_else(|| image.references.first().cloned());
        let subject = Subject {
            name: named.map_or_else(|| image.id.to_string(), |name| name.to_string()),
            version: image.id.to_string(),
            created: second(image.config.created.as_deref()),
        };
        Ok(Sbom { inventory, subject })
    }
}

/// Makes the attestation of what is in a result.
pub fn attestation(engine: &Engine, image: &Finished, facts: &BuildFacts<'_>) -> Result<Attestation> {
    let inventory = scan(engine, image.top())?;
    let subject = Subject {
        name: facts.name.map_or_else(|| image.config.id().to_string(), ToString::to_string),
        version: image.config.id().to_string(),
        created: second(image.config.created.as_deref()),
    };
    Ok(Attestation {
        file: "sbom.spdx.json".to_owned(),
        predicate_type: "https://spdx.dev/Document".to_owned(),
        predicate: coracle_scan::spdx(&inventory, &subject),
    })
}

/// Returns a time in whole seconds, as SPDX wants it; the beginning of time where an image has none, so that equal
/// images give equal documents.
fn second(created: Option<&str>) -> String {
    let time = created.and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    Timestamp::from_second(time.as_second()).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

fn scan(engine: &Engine, top: Option<&SnapshotId>) -> Result<Inventory> {
    let Some(top) = top else { return Ok(Inventory::default()) };
    let view = engine.snapshots.view(top).during("looking into an image")?;
    coracle_scan::inventory(&Tree(RootFs::new(view))).during("listing what is in an image")
}

struct Tree(RootFs);

impl FileTree for Tree {
    fn files(&self) -> io::Result<Vec<FileEntry>> {
        let entries = self.0.walk(Path::new("/")).map_err(io::Error::other)?;
        let file = |entry: coracle_snapshot::rootfs::WalkEntry| {
            (entry.metadata.kind == FileKind::File).then_some(())?;
            Some(FileEntry {
                path: entry.path.to_str()?.to_owned(),
                size: entry.metadata.size,
                executable: entry.metadata.mode & 0o111 != 0,
            })
        };
        let mut files: Vec<FileEntry> = entries.into_iter().filter_map(file).collect();
        files.sort();
        Ok(files)
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let path = Path::new(path);
        match self.0.stat(path).map_err(io::Error::other)? {
            Some(metadata) if metadata.kind == FileKind::File && metadata.size <= limit => {}
            _ => return Ok(None),
        }
        match self.0.read(path, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(SnapshotError::Io { source, .. }) if source.kind() == io::ErrorKind::FileTooLarge => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Positioned + '_>> {
        let file = self.0.open(Path::new(path)).map_err(io::Error::other)?;
        Ok(Box::new(io::BufReader::new(file)))
    }
}

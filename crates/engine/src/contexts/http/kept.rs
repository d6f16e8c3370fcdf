//! The kept downloads as the collector of the build cache sees them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use coracle_store::Layout;

use super::Known;
use crate::stored;

/// One URL's files.
#[derive(Clone, Debug)]
pub(crate) struct KeptDownload {
    /// A name of its own.
    pub id: String,
    /// What was downloaded; empty when it is not known any more.
    pub url: String,
    /// Bytes on disk.
    pub size: u64,
    /// When a build used it last.
    pub used: SystemTime,
    /// Its files, the record first: without that the others are nothing.
    pub files: Vec<PathBuf>,
}

/// Lists the kept downloads. What vanishes meanwhile or cannot be read is left out.
pub(crate) fn kept_downloads(layout: &Layout) -> Vec<KeptDownload> {
    let mut found: BTreeMap<String, KeptDownload> = BTreeMap::new();
    let entries = std::fs::read_dir(layout.downloads()).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    // `<id>.json` and `<half of the id>-<digest>.body`
    files.sort_by_key(|path| path.extension().is_none_or(|extension| extension != "json"));
    for path in files {
        let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else { continue };
        let is_record = extension == "json";
        let Some(id) = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.get(..32)) else {
            continue;
        };
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if !metadata.is_file() || !(is_record || extension == "body") {
            continue;
        }
        let download = found.entry(id.to_owned()).or_insert_with(|| KeptDownload {
            id: id.to_owned(),
            url: String::new(),
            size: 0,
            used: SystemTime::UNIX_EPOCH,
            files: Vec::new(),
        });
        download.size += metadata.blocks() * 512;
        if is_record {
            download.used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            download.url =
                stored::read::<Known>(&path).ok().flatten().map(|known| known.url).unwrap_or_default();
        }
        download.files.push(path);
    }
    found.into_values().collect()
}

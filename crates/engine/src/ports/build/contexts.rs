//! Where the digests of build contexts' files are kept between builds: one file a context, the oldest go.

use std::path::{Path, PathBuf};

use coracle_oci::Digest;
use coracle_store::Layout;

/// Contexts that are remembered.
const MOST: usize = 64;

/// Returns the file for a context's directory.
pub(super) fn kept(layout: &Layout, context: &Path) -> PathBuf {
    let whole = context.canonicalize().unwrap_or_else(|_| context.to_owned());
    let directory = layout.context_digests();
    // They only save work: without the directory nothing is kept.
    let _ = std::fs::create_dir_all(&directory);
    directory.join(Digest::of(whole.as_os_str().as_encoded_bytes()).hex())
}

/// Removes the files of contexts that were not built for longest, and what killed builds left.
pub(super) fn bound(layout: &Layout) {
    let entries = std::fs::read_dir(layout.context_digests()).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    if files.len() <= MOST {
        return;
    }
    files.sort();
    let excess = files.len() - MOST;
    for (_, path) in files.into_iter().take(excess) {
        let _ = std::fs::remove_file(path);
    }
}

//! A digest of what a build would take from a tree.
//!
//! Directories are walked and files are read by several threads; what they find is put into the order of names
//! before it is hashed, so the digest depends on the tree alone.

mod known;
mod list;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coracle_oci::Digest;
use sha2::{Digest as _, Sha256};

pub use known::KnownDigests;
pub use list::{Content, TreeEntry, list_tree};

use super::{FileKind, Filter, Metadata, RootFs};
use crate::error::Result;

/// What else than names, kinds, permissions, link texts and bytes counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct DigestOptions<'a> {
    /// Owners and groups count.
    pub owners: bool,
    /// Times of last change count.
    pub mtimes: bool,
    /// Digests of files that are known already; those that are made are added.
    pub known: Option<&'a KnownDigests>,
}

/// Returns a digest of the given paths of a root and all below them that `filter` takes.
///
/// Links on the way to a path are followed inside the root, links below it count as links. The filter gets paths
/// relative to the root. Paths count in the order given; names count relative to each, so what a path itself is called
/// does not. A missing one is an error.
pub fn digest_tree(
    root: &RootFs,
    paths: &[&Path],
    filter: Option<Filter<'_>>,
    options: DigestOptions<'_>,
) -> Result<Digest> {
    let mut hasher = Sha256::new();
    hasher.update(b"coracle tree 3\n");
    for path in paths {
        // Each begins with an entry of an empty name, so that two lists of paths do not run together.
        for entry in list_tree(root, path, filter, options.known)? {
            add(&mut hasher, &entry, options);
        }
    }
    Ok(Digest::from_raw(hasher.finalize().into()))
}

fn add(hasher: &mut Sha256, entry: &TreeEntry, options: DigestOptions<'_>) {
    put(hasher, entry.path.as_os_str().as_bytes());
    describe(hasher, &entry.metadata, options);
    match &entry.content {
        Content::None => {}
        Content::Bytes(digest) => hasher.update(digest),
        Content::Link(target) => put(hasher, target.as_bytes()),
        Content::Device(device) => hasher.update(device.to_be_bytes()),
    }
}

fn describe(hasher: &mut Sha256, metadata: &Metadata, options: DigestOptions<'_>) {
    let kind = match metadata.kind {
        FileKind::File => b'f',
        FileKind::Directory => b'd',
        FileKind::Symlink => b'l',
        FileKind::Character => b'c',
        FileKind::Block => b'b',
        FileKind::Fifo => b'p',
        FileKind::Socket => b's',
    };
    hasher.update([kind]);
    // A link's own permissions mean nothing.
    let mode = if metadata.kind == FileKind::Symlink { 0 } else { metadata.mode };
    hasher.update(mode.to_be_bytes());
    if options.owners {
        hasher.update(metadata.uid.to_be_bytes());
        hasher.update(metadata.gid.to_be_bytes());
    }
    if options.mtimes {
        hasher.update(metadata.mtime.0.to_be_bytes());
        hasher.update(metadata.mtime.1.to_be_bytes());
    }
}

/// Adds a text with its length, so that no two lists look alike.
fn put(hasher: &mut Sha256, text: &[u8]) {
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text);
}

//! A digest of what a build would take from a tree.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coracle_oci::Digest;
use rustix::fs::{Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};

use super::{FileKind, Filter, Flow, Metadata, Node, RootFs, Visit, visit};
use crate::error::{Result, SnapshotError};

/// What else than names, kinds, permissions, link texts and bytes counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DigestOptions {
    /// Owners and groups count.
    pub owners: bool,
    /// Times of last change count.
    pub mtimes: bool,
}

/// Returns a digest of the given paths of a root and all below them that `filter` takes.
///
/// Links on the way to a path are followed inside the root, links below it count as links. The filter gets paths
/// relative to the root. Paths count in the order given, by the text given; a missing one is an error.
pub fn digest_tree(
    root: &RootFs,
    paths: &[&Path],
    filter: Option<Filter<'_>>,
    options: DigestOptions,
) -> Result<Digest> {
    let mut hasher = Sha256::new();
    hasher.update(b"coracle tree 1\n");
    let mut buffer = vec![0; 128 << 10];
    for path in paths {
        let missing = || SnapshotError::io("look up", path, io::Error::from(io::ErrorKind::NotFound));
        let metadata = root.stat(path)?.ok_or_else(missing)?;
        put(&mut hasher, &[path.as_os_str().as_bytes()]);
        describe(&mut hasher, &metadata, options);
        match metadata.kind {
            FileKind::File => {
                let digest = hash(root.open(path)?, &mut buffer)
                    .map_err(|error| SnapshotError::io("read", path, error))?;
                hasher.update(digest.as_raw());
            }
            FileKind::Directory => {
                let start = root.subtree(path)?;
                let prefix = path.strip_prefix("/").unwrap_or(path);
                visit(start.as_fd(), Path::new(""), &mut |node| {
                    let is_directory = Metadata::from(node.stat).kind == FileKind::Directory;
                    let verdict =
                        filter.map_or(Visit::Take, |filter| filter(&prefix.join(node.path), is_directory));
                    match verdict {
                        Visit::Skip => return Ok(Flow::Skip),
                        Visit::Descend => return Ok(Flow::Enter),
                        Visit::Take => {}
                    }
                    add(&mut hasher, node, options, &mut buffer)
                        .map_err(|error| SnapshotError::io("read", node.path, error))?;
                    Ok(Flow::Enter)
                })?;
            }
            _ => {}
        }
    }
    Ok(Digest::from_raw(hasher.finalize().into()))
}

fn add(hasher: &mut Sha256, node: &Node<'_>, options: DigestOptions, buffer: &mut [u8]) -> io::Result<()> {
    let metadata = Metadata::from(node.stat);
    put(hasher, &[node.path.as_os_str().as_bytes()]);
    describe(hasher, &metadata, options);
    match metadata.kind {
        FileKind::File => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(node.directory, node.name, flags, Mode::empty())?;
            hasher.update(hash(std::fs::File::from(file), buffer)?.as_raw());
        }
        FileKind::Symlink => {
            let target = rustix::fs::readlinkat(node.directory, node.name, Vec::new())?;
            put(hasher, &[target.as_bytes()]);
        }
        FileKind::Character | FileKind::Block => hasher.update(node.stat.st_rdev.to_be_bytes()),
        FileKind::Directory | FileKind::Fifo | FileKind::Socket => {}
    }
    Ok(())
}

fn describe(hasher: &mut Sha256, metadata: &Metadata, options: DigestOptions) {
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

/// Adds texts with their lengths, so that no two lists look alike.
fn put(hasher: &mut Sha256, texts: &[&[u8]]) {
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
}

fn hash(mut file: impl Read, buffer: &mut [u8]) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(Digest::from_raw(hasher.finalize().into())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

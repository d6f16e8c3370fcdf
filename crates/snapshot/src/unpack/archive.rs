//! Archives that are unpacked into a file system (`ADD`): names of whiteouts are names like others there.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use super::extract::{Extractor, Form};
use super::stream::{Hashing, decompress, tar_error};
use crate::archive::TarReader;
use crate::error::{Result, SnapshotError};
use crate::rootfs::Attributes;
use crate::{Limits, RootFs};

/// How an archive is unpacked.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractOptions {
    /// Owner and group of everything; `None` takes the archive's.
    pub owner: Option<(u32, u32)>,
    /// Bounds on the archive.
    pub limits: Limits,
}

impl RootFs {
    /// Unpacks a file into the directory `destination`, which is made when it is missing (0755, the owner given or
    /// root). Returns false, having done nothing, when the file is no tar archive.
    ///
    /// The archive may be compressed with gzip, bzip2, xz or zstd, which is told by its bytes, not by its name: it
    /// counts as an archive when its first member can be read, as in BuildKit. Members replace what has their name,
    /// directories are merged; links on the way are followed within `destination`, as if that were the root.
    pub fn extract_archive(
        &self,
        destination: &Path,
        mut file: File,
        options: &ExtractOptions,
    ) -> Result<bool> {
        let fail = |error: io::Error| SnapshotError::io("read the archive for", destination, error);
        if !is_archive(&file) {
            return Ok(false);
        }
        file.rewind().map_err(fail)?;
        let (uid, gid) = options.owner.unwrap_or((0, 0));
        self.make_directories(destination, &Attributes { mode: 0o755, uid, gid })?;
        let root = self.subtree(destination)?;
        let mut extractor = Extractor::new(root, destination, options.limits, Form::Tree, options.owner);
        let stream =
            Hashing::new(decompress(BufReader::with_capacity(128 << 10, file))?, options.limits.bytes);
        let mut tar = TarReader::new(BufReader::with_capacity(256 << 10, stream));
        while let Some(entry) = tar.next().map_err(|error| tar_error(error, options.limits))? {
            extractor.add(&entry, &mut tar)?;
        }
        extractor.finish_tree()?;
        Ok(true)
    }
}

/// Looks whether the first member of an archive can be read.
fn is_archive(file: &File) -> bool {
    let Ok(file) = file.try_clone() else { return false };
    // Bounded: a compressed file of zeros would be read to its end.
    let Ok(stream) = decompress(BufReader::new(file)) else { return false };
    matches!(TarReader::new(stream.take(64 << 20)).next(), Ok(Some(_)))
}

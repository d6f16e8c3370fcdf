//! Unpacks archives: layers into snapshots in overlay's form, archives of `ADD` into a file system.
//!
//! Archives come from strangers. Every path is walked inside the target's own directory, by the kernel. What an
//! archive cannot do: name anything outside, write through a link to outside, set overlay's own attributes, be larger
//! than the limits.

mod archive;
mod extract;
mod kept;
mod layer;
mod names;
mod stream;
mod whiteout;

use std::io::{self, BufReader, Read};

use coracle_oci::{ChainId, DiffId};

pub use archive::ExtractOptions;
use extract::{Extractor, Form};
use kept::Tee;
pub use layer::UnpackedLayer;
use stream::{Hashing, decompress, tar_error};

use crate::archive::TarReader;
use crate::error::{Result, SnapshotError};
use crate::{RootFs, Snapshot, SnapshotId, Snapshots, snapshots};

impl Snapshots {
    /// Unpacks a layer on top of a committed snapshot, or as the lowest.
    ///
    /// `archive` is a tar archive, plain or compressed with gzip, bzip2, xz or zstd. When `expected` is given, a layer with
    /// other content is refused; and when the same stack exists already it is returned without reading.
    pub fn apply(
        &self,
        parent: Option<&SnapshotId>,
        archive: impl Read,
        expected: Option<DiffId>,
    ) -> Result<Snapshot> {
        if let Some(expected) = expected {
            let below = parent.map(|parent| self.get(parent)).transpose()?;
            let chain = match below {
                None => Some(ChainId::extend(None, expected)),
                Some(below) => below.chain_id.map(|chain| ChainId::extend(Some(chain), expected)),
            };
            if let Some(existing) = chain.map(|chain| self.by_chain(&chain)).transpose()?.flatten() {
                return Ok(existing);
            }
        }
        self.unpack(archive, expected)?.attach(parent)
    }

    /// Unpacks a layer without saying yet what is below it.
    ///
    /// With `expected`, the archive itself is kept beside the layer, unless our own archive of its files is the same.
    pub fn unpack(&self, archive: impl Read, expected: Option<DiffId>) -> Result<UnpackedLayer> {
        self.unpack_keeping(archive, expected, expected.is_some())
    }

    /// Unpacks a layer whose archive lies in a file anyway, which [`UnpackedLayer::adopt_archive`] may take over.
    pub fn unpack_without_copy(&self, archive: impl Read, expected: DiffId) -> Result<UnpackedLayer> {
        self.unpack_keeping(archive, Some(expected), false)
    }

    fn unpack_keeping(
        &self,
        archive: impl Read,
        expected: Option<DiffId>,
        keep: bool,
    ) -> Result<UnpackedLayer> {
        let active = self.prepare(None)?;
        let layer = active.layer_path();
        let kept = keep.then(|| self.archive_path(active.id()));
        let mut archive = Tee::new(archive, kept)?;
        let stream =
            Hashing::new(decompress(BufReader::with_capacity(128 << 10, &mut archive))?, self.limits.bytes);
        let root = RootFs::new(snapshots::open_directory(&layer)?);
        let mut unpacker = Extractor::new(root, &layer, self.limits, Form::Layer, None);
        let mut tar = TarReader::new(BufReader::with_capacity(256 << 10, stream));
        while let Some(entry) = tar.next().map_err(|error| tar_error(error, self.limits))? {
            unpacker.add(&entry, &mut tar)?;
        }
        let mut rest = tar.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(|error| tar_error(error.into(), self.limits))?;
        let (diff_id, size) = rest.into_inner().finish();
        archive.finish()?;
        if let Some(expected) = expected.filter(|expected| *expected != diff_id) {
            return Err(SnapshotError::Mismatch { expected, actual: diff_id });
        }
        Ok(UnpackedLayer {
            active,
            snapshots: self.clone(),
            diff_id,
            size,
            has_archive: keep,
            implied: unpacker.implied,
            links: unpacker.links,
            times: unpacker.times,
            has_root: unpacker.has_root,
        })
    }
}

//! Archives of layers that stay as they came, because ours of the same files would be others.
//!
//! A layer's archive is made again from its files when it is wanted. What other tools wrote holds what files do not
//! tell: the order of members, names of owners, padding. Such an archive lies beside its layer and goes with it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use coracle_oci::{DiffId, Sha256Writer};

use super::stream::{decompress, is_compressed};
use crate::error::{Result, SnapshotError};
use crate::pack::write_layer;
use crate::{LayerInfo, SnapshotId, Snapshots};

/// Effort on archives that came uncompressed.
const LEVEL: i32 = 3;

/// Passes an archive on and writes it to a file.
pub(super) struct Tee<R> {
    inner: R,
    path: PathBuf,
    /// The file, until writing to it fails.
    file: Option<BufWriter<File>>,
    failed: Option<io::Error>,
}

impl<R: Read> Tee<R> {
    /// Starts; without a path nothing is written.
    pub(super) fn new(inner: R, path: Option<PathBuf>) -> Result<Self> {
        let open = |path: &PathBuf| {
            let file = File::create(path).map_err(|error| SnapshotError::io("make", path, error))?;
            Ok(BufWriter::with_capacity(256 << 10, file))
        };
        let file = path.as_ref().map(open).transpose()?;
        Ok(Self { inner, path: path.unwrap_or_default(), file, failed: None })
    }

    /// Ends the file; says what went wrong with it, which is no fault of the archive.
    pub(super) fn finish(self) -> Result<()> {
        let flushed = self.file.map_or(Ok(()), |mut file| file.flush());
        self.failed
            .map_or(flushed, Err)
            .map_err(|error| SnapshotError::io("write the archive to", &self.path, error))
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&buffer[..count])
        {
            self.failed = Some(error);
            self.file = None;
        }
        Ok(count)
    }
}

/// Removes the archive of an unpacked layer when ours of its files is the same; else sees that it is compressed.
pub(super) fn settle(layer: &Path, archive: &Path) -> Result<()> {
    let fail = |error: io::Error| SnapshotError::io("compress", archive, error);
    if is_ours(layer, archive) {
        return std::fs::remove_file(archive).map_err(|error| SnapshotError::io("remove", archive, error));
    }
    let mut from = File::open(archive).map_err(fail)?;
    if is_compressed(&mut BufReader::new(&from)).map_err(fail)? {
        return Ok(());
    }
    io::Seek::rewind(&mut from).map_err(fail)?;
    let smaller = archive.with_extension("new");
    let mut out = zstd::Encoder::new(File::create(&smaller).map_err(fail)?, LEVEL).map_err(fail)?;
    io::copy(&mut from, &mut out).map_err(fail)?;
    out.finish().map_err(fail)?;
    std::fs::rename(&smaller, archive).map_err(fail)
}

/// Compares our archive of a layer with another; ends at the first difference.
fn is_ours(layer: &Path, archive: &Path) -> bool {
    let Ok(file) = File::open(archive) else { return false };
    let Ok(theirs) = decompress(BufReader::with_capacity(128 << 10, file)) else { return false };
    let mut against = Against { theirs, buffer: Vec::new() };
    // Whatever goes wrong, keeping the archive is right.
    write_layer(layer, &mut against, None).is_ok() && matches!(against.theirs.read(&mut [0]), Ok(0))
}

/// Takes only what another stream holds.
struct Against<R> {
    theirs: R,
    buffer: Vec<u8>,
}

impl<R: Read> Write for Against<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.resize(bytes.len(), 0);
        self.theirs.read_exact(&mut self.buffer)?;
        if self.buffer == bytes { Ok(bytes.len()) } else { Err(io::Error::other("they differ")) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Snapshots {
    /// Returns where a layer's archive is kept.
    pub(super) fn archive_path(&self, id: &SnapshotId) -> PathBuf {
        self.directory(id).join("archive")
    }

    /// Returns the archive that was kept of a committed snapshot's layer, compressed as it is; `None` when none was.
    ///
    /// One that came compressed is what came, byte for byte.
    pub fn kept_archive(&self, id: &SnapshotId) -> Result<Option<File>> {
        let snapshot = self.get(id)?;
        let path = self.archive_path(snapshot.layer_of.as_ref().unwrap_or(id));
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SnapshotError::io("open", &path, error)),
        }
    }

    /// Writes the archive that was kept of a snapshot's layer, uncompressed; `None` when none was.
    pub(crate) fn kept_tar(&self, id: &SnapshotId, out: &mut impl Write) -> Result<Option<LayerInfo>> {
        let Some(file) = self.kept_archive(id)? else { return Ok(None) };
        let path = self.archive_path(id);
        let fail = |error: io::Error| SnapshotError::io("read", &path, error);
        let mut archive = decompress(BufReader::with_capacity(128 << 10, file))?;
        let mut out = Sha256Writer::new(out);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match archive.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => out
                    .write_all(&buffer[..count])
                    .map_err(|error| SnapshotError::io("write the archive of", &path, error))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fail(error)),
            }
        }
        out.flush().map_err(|error| SnapshotError::io("write the archive of", &path, error))?;
        let (_, digest, size) = out.finish();
        Ok(Some(LayerInfo { diff_id: DiffId::new(digest), size }))
    }
}

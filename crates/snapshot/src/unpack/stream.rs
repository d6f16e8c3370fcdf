//! The bytes of an archive: decompressed, hashed, counted and bounded.

use std::io::{self, BufRead, Read};

use coracle_oci::{DiffId, Digest};
use sha2::{Digest as _, Sha256};

use crate::Limits;
use crate::archive::TarError;
use crate::error::{Result, SnapshotError};

/// Sees whether the stream is compressed, by its first bytes.
pub(super) fn decompress<'a>(mut archive: impl BufRead + 'a) -> Result<Box<dyn Read + 'a>> {
    let start = loop {
        match archive.fill_buf() {
            Ok(start) => break start,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SnapshotError::Malformed(error.to_string())),
        }
    };
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(archive)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = zstd::stream::read::Decoder::with_buffer(archive)
            .map_err(|error| SnapshotError::Malformed(error.to_string()))?;
        return Ok(Box::new(decoder));
    }
    if start.starts_with(b"BZh") {
        return Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(archive)));
    }
    if start.starts_with(b"\xfd7zXZ\0") {
        return Ok(Box::new(lzma_rust2::XzReader::new(archive, true)));
    }
    Ok(Box::new(archive))
}

/// Sees whether a stream is compressed in a way that is known here.
pub(super) fn is_compressed(archive: &mut impl BufRead) -> io::Result<bool> {
    let start = archive.fill_buf()?;
    let known: [&[u8]; 4] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"BZh", b"\xfd7zXZ\0"];
    Ok(known.iter().any(|magic| start.starts_with(magic)))
}

/// The marker of an exceeded limit on its way through readers.
#[derive(Debug, thiserror::Error)]
#[error("too many bytes")]
struct TooManyBytes;

/// Hashes, counts and bounds the uncompressed bytes.
pub(super) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
    limit: u64,
}

impl<R> Hashing<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, hasher: Sha256::new(), count: 0, limit }
    }

    pub(super) fn finish(self) -> (DiffId, u64) {
        (DiffId::new(Digest::from_raw(self.hasher.finalize().into())), self.count)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        if self.count > self.limit {
            return Err(io::Error::other(TooManyBytes));
        }
        Ok(count)
    }
}

pub(super) fn tar_error(error: TarError, limits: Limits) -> SnapshotError {
    match error {
        TarError::Malformed(reason) => SnapshotError::Malformed(reason),
        TarError::Io(error) if is_limit(&error) => {
            SnapshotError::TooLarge { limit: limits.bytes, unit: "bytes" }
        }
        TarError::Io(error) => SnapshotError::Malformed(error.to_string()),
    }
}

fn is_limit(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooManyBytes>)
}

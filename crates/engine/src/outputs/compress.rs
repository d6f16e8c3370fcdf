//! Compression of layers: several blocks at once, and always the same bytes.
//!
//! A layer is cut into blocks of a fixed length. Each becomes a gzip member or zstd frame of its own (RFC 1952 2.2 and
//! RFC 8878 3: a file may have several), so the result depends neither on the number of processors nor on time.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::thread::JoinHandle;

use flate2::write::GzEncoder;

/// Bytes of one block. Large, because each begins without a dictionary.
const BLOCK: usize = 4 << 20;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, level 0 to 9.
    Gzip {
        /// The level.
        level: u32,
    },
    /// Zstandard, level 1 to 22.
    Zstd {
        /// The level.
        level: i32,
    },
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip { level: 6 }
    }
}

impl Compression {
    /// Reads BuildKit's words and its level; the error says what is wrong.
    pub fn parse(word: &str, level: Option<i32>) -> Result<Self, String> {
        let within = |low: i32, high: i32, usual: i32| match level {
            None => Ok(usual),
            Some(level) if (low..=high).contains(&level) => Ok(level),
            Some(level) => Err(format!("compression-level of {word} is {low} to {high}, not {level}")),
        };
        match word {
            "uncompressed" => match level {
                None => Ok(Self::None),
                Some(_) => Err("uncompressed layers have no compression-level".to_owned()),
            },
            "gzip" => Ok(Self::Gzip { level: within(0, 9, 6)?.unsigned_abs() }),
            "zstd" => Ok(Self::Zstd { level: within(1, 22, 3)? }),
            "estargz" => Err("estargz is not supported; gzip, zstd and uncompressed are".to_owned()),
            other => Err(format!("there is no compression `{other}`; gzip, zstd and uncompressed are")),
        }
    }

    /// Returns the media type of a layer, the OCI specification's or Docker's.
    pub fn media_type(self, oci: bool) -> &'static str {
        match (self, oci) {
            (Self::None, true) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Gzip { .. }, true) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Zstd { .. }, true) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::None, false) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Gzip { .. }, false) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Self::Zstd { .. }, false) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        }
    }

    fn block(self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes),
            Self::Gzip { level } => {
                let mut encoder =
                    GzEncoder::new(Vec::with_capacity(BLOCK / 2), flate2::Compression::new(level));
                encoder.write_all(&bytes)?;
                encoder.finish()
            }
            Self::Zstd { level } => zstd::bulk::compress(&bytes, level),
        }
    }
}

/// Compresses what is written to it. [`Blocks::finish`] must be called.
pub struct Blocks<W> {
    inner: W,
    compression: Compression,
    jobs: usize,
    block: Vec<u8>,
    running: VecDeque<JoinHandle<io::Result<Vec<u8>>>>,
    any: bool,
}

impl<W: Write> Blocks<W> {
    /// Returns a compressor that works on up to `jobs` blocks at once.
    pub fn new(inner: W, compression: Compression, jobs: usize) -> Self {
        let block = if compression == Compression::None { Vec::new() } else { Vec::with_capacity(BLOCK) };
        Self { inner, compression, jobs: jobs.max(1), block, running: VecDeque::new(), any: false }
    }

    /// Writes what is left and returns the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        // Nothing at all is still one block: an empty file is no gzip file.
        if self.compression != Compression::None && (!self.block.is_empty() || !self.any) {
            self.start()?;
        }
        while self.write_oldest()? {}
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn start(&mut self) -> io::Result<()> {
        while self.running.len() >= self.jobs {
            self.write_oldest()?;
        }
        let bytes = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let compression = self.compression;
        self.any = true;
        self.running.push_back(std::thread::spawn(move || compression.block(bytes)));
        Ok(())
    }

    fn write_oldest(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.running.pop_front() else { return Ok(false) };
        let bytes = oldest.join().map_err(|_| io::Error::other("a compressing thread ended early"))??;
        self.inner.write_all(&bytes)?;
        Ok(true)
    }
}

impl<W: Write> Write for Blocks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.compression == Compression::None {
            return self.inner.write(bytes);
        }
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK {
            self.start()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn packed(compression: Compression, jobs: usize, bytes: &[u8]) -> Vec<u8> {
        let mut blocks = Blocks::new(Vec::new(), compression, jobs);
        blocks.write_all(bytes).unwrap();
        blocks.finish().unwrap()
    }

    #[test]
    fn the_number_of_jobs_changes_nothing_and_everything_comes_back() {
        let bytes: Vec<u8> = (0..BLOCK as u32 / 2 + 77).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for content in [&bytes[..], &bytes[..BLOCK], b"small", b""] {
            for compression in [Compression::default(), Compression::Zstd { level: 3 }, Compression::None] {
                let one = packed(compression, 1, content);
                assert_eq!(one, packed(compression, 3, content));
                let mut back = Vec::new();
                match compression {
                    Compression::None => back.clone_from(&one),
                    Compression::Gzip { .. } => {
                        flate2::read::MultiGzDecoder::new(&one[..]).read_to_end(&mut back).map(drop).unwrap();
                    }
                    Compression::Zstd { .. } => back = zstd::stream::decode_all(&one[..]).unwrap(),
                }
                assert!(back == content, "{compression:?}");
            }
        }
    }

    #[test]
    fn levels_are_bounded() {
        assert_eq!(Compression::parse("zstd", Some(22)), Ok(Compression::Zstd { level: 22 }));
        for (word, level) in [("gzip", 10), ("gzip", -1), ("zstd", 23), ("uncompressed", 1)] {
            assert!(Compression::parse(word, Some(level)).is_err());
        }
        assert!(Compression::parse("estargz", None).is_err());
    }
}

//! Layers as compressed archives, made again from snapshots whenever they are wanted; and the memory of which
//! compressed form each had, so that what a registry has is never sent twice.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use coracle_oci::{DiffId, Digest, Reference};
use coracle_registry::{BlobSource, Compression, Layer};
use coracle_snapshot::{SnapshotId, Snapshots};
use serde::{Deserialize, Serialize};

use super::import::{Place, RemoteLayer};
use crate::{Engine, stored};

/// How layers are compressed that leave the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerCompression {
    /// Not at all.
    None,
    /// Gzip with a level from 0 to 9.
    Gzip(u32),
    /// Zstandard with a level from 1 to 22.
    Zstd(i32),
}

impl Default for LayerCompression {
    fn default() -> Self {
        Self::Gzip(6)
    }
}

impl LayerCompression {
    /// Returns the media type of layers that are compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip(_) => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd(_) => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// Sets another level, when there is one and it is within bounds.
    pub fn with_level(self, level: i32) -> Option<Self> {
        match self {
            Self::None => None,
            Self::Gzip(_) => u32::try_from(level).ok().filter(|level| *level <= 9).map(Self::Gzip),
            Self::Zstd(_) => (1..=22).contains(&level).then_some(Self::Zstd(level)),
        }
    }

    /// Writes what `write` writes to `out`, compressed.
    pub(crate) fn compress<W: Write>(
        self,
        out: W,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<W> {
        match self {
            Self::None => {
                let mut out = out;
                write(&mut out)?;
                Ok(out)
            }
            Self::Gzip(level) => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
                write(&mut encoder)?;
                encoder.finish()
            }
            Self::Zstd(level) => {
                let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
                write(&mut encoder)?;
                encoder.finish()
            }
        }
    }
}

impl fmt::Display for LayerCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("uncompressed"),
            Self::Gzip(level) => write!(f, "gzip:{level}"),
            Self::Zstd(level) => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for LayerCompression {
    type Err = String;

    /// Reads `gzip`, `zstd` or `uncompressed`, as BuildKit calls them.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "gzip" => Ok(Self::default()),
            "zstd" => Ok(Self::Zstd(3)),
            "uncompressed" | "none" => Ok(Self::None),
            other => Err(format!("`{other}` is no compression that is known: gzip, zstd or uncompressed")),
        }
    }
}

/// A compressed form that a layer has had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Form {
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Their media type.
    pub media_type: String,
    /// What made them, for forms that were made here: they can be made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// Repositories that have (or had) them, as `registry/repository`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
}

/// Most repositories that are remembered of one form, and most forms of one layer.
const MOST: usize = 8;

/// What is known about the compressed forms of layers.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a> {
    pub engine: &'a Engine,
}

impl Layers<'_> {
    /// Returns the forms that a layer has had, the newest first.
    pub fn forms(&self, layer: &DiffId) -> Vec<Form> {
        // What cannot be read only costs the work once more.
        let path = self.engine.layout.compressed_layer(&layer.digest());
        stored::read(&path).ok().flatten().unwrap_or_default()
    }

    /// Returns the form that compressing here gives.
    pub fn made(&self, layer: &DiffId, compression: LayerCompression) -> Option<Form> {
        let maker = compression.to_string();
        self.forms(layer).into_iter().find(|form| form.made_by.as_deref() == Some(&*maker))
    }

    /// Remembers a form, and a repository that has it.
    pub fn remember(&self, layer: &DiffId, mut form: Form) {
        let mut forms = self.forms(layer);
        if let Some(index) = forms.iter().position(|known| known.digest == form.digest) {
            let known = forms.remove(index);
            form.made_by = form.made_by.or(known.made_by);
            form.places.extend(
                known.places.into_iter().filter(|place| !form.places.contains(place)).collect::<Vec<_>>(),
            );
        }
        form.places.truncate(MOST);
        forms.insert(0, form);
        forms.truncate(MOST);
        // Lost, it only costs the work once more.
        let _ = stored::write_fast(&self.engine.layout.compressed_layer(&layer.digest()), &forms);
    }
}

/// Remembers where the layers of a pulled image came from: a push of what is built upon it need not send them.
pub(crate) fn remember_pulled(engine: &Engine, reference: &Reference, layers: &[Layer]) {
    for layer in layers {
        let media_type = match layer.compression {
            Compression::None => LayerCompression::None,
            Compression::Gzip => LayerCompression::default(),
            Compression::Zstd => LayerCompression::Zstd(3),
        }
        .media_type();
        Layers { engine }.remember(
            &layer.diff_id,
            Form {
                digest: layer.digest,
                size: layer.size,
                media_type: media_type.to_owned(),
                made_by: None,
                places: vec![place_of(reference)],
            },
        );
    }
}

/// Remembers the form of a layer that a cache gave.
pub(super) fn remember(engine: &Engine, place: &Place, layer: &RemoteLayer) {
    let places = match place {
        Place::Registry(reference) => vec![place_of(reference)],
        Place::Local(_) => return,
    };
    Layers { engine }.remember(
        &layer.entry.diff_id,
        Form {
            digest: layer.layer.digest,
            size: layer.layer.size,
            media_type: layer.media_type.clone(),
            made_by: None,
            places,
        },
    );
}

/// Returns the name under which a repository is remembered.
pub(crate) fn place_of(reference: &Reference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}

/// A layer of a snapshot as a compressed archive that is made while it is read.
pub(crate) struct LayerBlob {
    pub snapshots: Snapshots,
    pub id: SnapshotId,
    /// What the uncompressed archive must be; reading fails at its end when it is another.
    pub expected: DiffId,
    pub compression: LayerCompression,
}

impl BlobSource for LayerBlob {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let (snapshots, id, compression) = (self.snapshots.clone(), self.id.clone(), self.compression);
        let expected = self.expected;
        Ok(Box::new(Piped::start(move |out| {
            let mut info = None;
            let out = compression.compress(out, |out| {
                info = Some(snapshots.layer_tar(&id, out, None).map_err(io::Error::other)?);
                Ok(())
            })?;
            match info {
                Some(info) if info.diff_id == expected => Ok(out),
                _ => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the layer in snapshot {id} cannot be made again byte for byte; pull or bake its image again"
                    ),
                )),
            }
        })))
    }
}

/// Bytes that another thread writes; it ends early when nobody reads any more.
pub(crate) struct Piped {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

/// The writing end.
pub(crate) struct PipeWriter {
    pieces: SyncSender<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
}

/// Bytes that are passed on at once.
const PIECE: usize = 256 << 10;

impl Piped {
    /// Starts the writer.
    pub fn start(write: impl FnOnce(PipeWriter) -> io::Result<PipeWriter> + Send + 'static) -> Self {
        let (sender, pieces) = sync_channel(4);
        let errors = sender.clone();
        std::thread::spawn(move || {
            let writer = PipeWriter { pieces: sender, piece: Vec::with_capacity(PIECE) };
            let ended = write(writer).and_then(|mut writer| writer.flush());
            // The reader sees the end only by a message: a thread that dies is a failure.
            let _ = errors.send(ended.map(|()| Vec::new()));
        });
        Self { pieces, piece: Vec::new(), at: 0, ended: false }
    }
}

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            let next = self.pieces.recv();
            self.piece = next.unwrap_or_else(|_| Err(io::Error::other("the writer ended early")))?;
            self.at = 0;
            self.ended = self.piece.is_empty();
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.pieces.send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_or_fails() {
        let mut read = Vec::new();
        let mut piped = Piped::start(|mut out| {
            for number in 0..100_000_u32 {
                out.write_all(&number.to_le_bytes())?;
            }
            Ok(out)
        });
        piped.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), 400_000);
        assert_eq!(piped.read(&mut [0; 8]).unwrap(), 0);
        let mut failing = Piped::start(|mut out| {
            out.write_all(b"some")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failing.read_to_end(&mut Vec::new()).unwrap_err().to_string(), "no more");
        let mut dying = Piped::start(|_| std::panic::panic_any(()));
        assert!(dying.read(&mut [0; 8]).is_err());
    }

    #[test]
    fn compressions_have_names_and_bounds() {
        assert_eq!("zstd".parse::<LayerCompression>(), Ok(LayerCompression::Zstd(3)));
        assert_eq!(
            "gzip".parse::<LayerCompression>().unwrap().with_level(9),
            Some(LayerCompression::Gzip(9))
        );
        assert_eq!(LayerCompression::Gzip(6).with_level(10), None);
        assert_eq!(LayerCompression::Zstd(3).with_level(0), None);
        assert!("estargz".parse::<LayerCompression>().is_err());
    }
}

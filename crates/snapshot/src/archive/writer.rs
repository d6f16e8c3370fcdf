//! Writes tar archives: the same members always give the same bytes.

use std::io::{self, Write};

use super::{Entry, Kind};

const BLOCK: usize = 512;

/// A writer of an archive. [`TarWriter::finish`] must be called, or the archive has no end.
pub(crate) struct TarWriter<W> {
    inner: W,
    /// Bytes of the current file that are still owed.
    owed: u64,
    padding: usize,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, owed: 0, padding: 0 }
    }

    /// Writes a member's header; for a file its bytes must follow through [`TarWriter::content`].
    pub(crate) fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.close_file()?;
        let mut records = Records::default();
        let mut header = [0; BLOCK];
        if !put_path(&mut header, &entry.path) {
            records.add(b"path", &entry.path);
            put_text(&mut header[..100], &entry.path);
        }
        let (flag, size, link, device): (u8, u64, &[u8], (u32, u32)) = match &entry.kind {
            Kind::File(size) => (b'0', *size, &[], (0, 0)),
            Kind::Hardlink(target) => (b'1', 0, target, (0, 0)),
            Kind::Symlink(target) => (b'2', 0, target, (0, 0)),
            Kind::Character(major, minor) => (b'3', 0, &[], (*major, *minor)),
            Kind::Block(major, minor) => (b'4', 0, &[], (*major, *minor)),
            Kind::Directory => (b'5', 0, &[], (0, 0)),
            Kind::Fifo => (b'6', 0, &[], (0, 0)),
        };
        header[156] = flag;
        if link.len() > 100 {
            records.add(b"linkpath", link);
        }
        put_text(&mut header[157..257], link);
        put_number(&mut header[100..108], u64::from(entry.mode));
        for (range, key, id) in [(108..116, &b"uid"[..], entry.uid), (116..124, b"gid", entry.gid)] {
            if !put_number(&mut header[range], u64::from(id)) {
                records.add(key, id.to_string().as_bytes());
            }
        }
        if !put_number(&mut header[124..136], size) {
            records.add(b"size", size.to_string().as_bytes());
        }
        let seconds = entry.mtime.seconds;
        if !u64::try_from(seconds).is_ok_and(|seconds| put_number(&mut header[136..148], seconds)) {
            put_number(&mut header[136..148], 0);
            records.add(b"mtime", seconds.to_string().as_bytes());
        }
        put_number(&mut header[329..337], u64::from(device.0));
        put_number(&mut header[337..345], u64::from(device.1));
        let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
        xattrs.sort();
        for (name, value) in xattrs {
            records.add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !records.0.is_empty() {
            self.extension(&records.0)?;
        }
        self.block(header)?;
        self.owed = size;
        self.padding = padding(size);
        Ok(())
    }

    /// Writes the next bytes of the current file.
    pub(crate) fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.owed = self
            .owed
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file grew while it was read"))?;
        self.inner.write_all(bytes)
    }

    /// Writes the end and returns the inner writer.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.close_file()?;
        self.inner.write_all(&[0; 2 * BLOCK])?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn close_file(&mut self) -> io::Result<()> {
        if self.owed != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file shrank while it was read"));
        }
        self.inner.write_all(&[0; BLOCK][..self.padding])?;
        self.padding = 0;
        Ok(())
    }

    fn extension(&mut self, records: &[u8]) -> io::Result<()> {
        let mut header = [0; BLOCK];
        put_text(&mut header[..100], b"PaxHeaders/0");
        put_number(&mut header[100..108], 0o644);
        put_number(&mut header[108..116], 0);
        put_number(&mut header[116..124], 0);
        put_number(&mut header[124..136], records.len() as u64);
        put_number(&mut header[136..148], 0);
        header[156] = b'x';
        self.block(header)?;
        self.inner.write_all(records)?;
        self.inner.write_all(&[0; BLOCK][..padding(records.len() as u64)])
    }

    fn block(&mut self, mut header: [u8; BLOCK]) -> io::Result<()> {
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.inner.write_all(&header)
    }
}

fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

fn put_text(field: &mut [u8], text: &[u8]) {
    let count = text.len().min(field.len());
    field[..count].copy_from_slice(&text[..count]);
}

/// Writes an octal number; false (and a full field of zeros) when it does not fit.
fn put_number(field: &mut [u8], number: u64) -> bool {
    let width = field.len() - 1;
    let text = format!("{number:0width$o}");
    let fits = text.len() == width;
    let text = if fits { text } else { "0".repeat(width) };
    field[..width].copy_from_slice(text.as_bytes());
    field[width] = 0;
    fits
}

/// Writes the name, in two parts when it is long; false when it does not fit.
fn put_path(header: &mut [u8; BLOCK], path: &[u8]) -> bool {
    if path.len() <= 100 {
        put_text(&mut header[..100], path);
        return true;
    }
    // The last slash of a directory's name belongs to the second part.
    let searched = path.len() - 1;
    let split = (0..searched).find(|at| path[*at] == b'/' && path.len() - at - 1 <= 100);
    match split {
        Some(at) if (1..=155).contains(&at) => {
            put_text(&mut header[345..500], &path[..at]);
            put_text(&mut header[..100], &path[at + 1..]);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TarReader, Time};
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Entry> {
        let name = "[a-zäß ._-]{1,60}(/[a-z0-9]{1,90}){0,4}";
        let kind = prop_oneof![
            Just(Kind::Directory),
            Just(Kind::Fifo),
            (0u64..2000).prop_map(Kind::File),
            "[a-z/.]{1,200}".prop_map(|text| Kind::Symlink(text.into_bytes())),
            "[a-z/]{1,150}".prop_map(|text| Kind::Hardlink(text.into_bytes())),
            (0u32..4096, 0u32..2_000_000).prop_map(|(major, minor)| Kind::Character(major, minor)),
        ];
        let xattr = ("[a-z.]{1,30}", proptest::collection::vec(any::<u8>(), 0..60));
        let xattrs = proptest::collection::btree_map(xattr.0, xattr.1, 0..3);
        (name, kind, 0u32..0o10000, 0..u32::MAX, 0..u32::MAX, -5_000_000_000i64..90_000_000_000, xattrs)
            .prop_map(|(path, kind, mode, uid, gid, seconds, xattrs)| Entry {
                path: path.into_bytes(),
                kind,
                mode,
                uid,
                gid,
                mtime: Time { seconds, nanoseconds: 0 },
                xattrs: xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
            })
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(entries in proptest::collection::vec(entries(), 0..8)) {
            let mut writer = TarWriter::new(Vec::new());
            for entry in &entries {
                writer.entry(entry).unwrap();
                if let Kind::File(size) = entry.kind {
                    writer.content(&vec![7; size as usize]).unwrap();
                }
            }
            let bytes = writer.finish().unwrap();
            let mut reader = TarReader::new(bytes.as_slice());
            for entry in &entries {
                let read = reader.next().map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
                prop_assert_eq!(read.as_ref(), Some(entry));
            }
            prop_assert!(matches!(reader.next(), Ok(None)));
        }
    }

    #[test]
    fn a_file_must_have_its_promised_length() {
        let entry = Entry {
            path: b"a".to_vec(),
            kind: Kind::File(3),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            xattrs: Vec::new(),
        };
        let mut writer = TarWriter::new(Vec::new());
        writer.entry(&entry).unwrap();
        assert!(writer.content(b"four").is_err());
        let mut writer = TarWriter::new(Vec::new());
        writer.entry(&entry).unwrap();
        writer.content(b"tw").unwrap();
        assert!(writer.finish().is_err());
    }
}

//! Reads tar archives with bounds on everything that an archive may claim.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::sparse::{self, SparseRecords};
use super::{Entry, Kind, Time};

/// Longest PAX record block and GNU long name that is read; the kernel's own limits are far lower.
const MAX_META: u64 = 1 << 20;
pub(super) const BLOCK: usize = 512;

/// Why an archive cannot be read.
#[derive(Debug)]
pub(crate) enum TarError {
    Io(io::Error),
    Malformed(String),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed("it ends early".to_owned()),
            _ => Self::Io(error),
        }
    }
}

pub(super) fn malformed<T>(reason: impl Into<String>) -> Result<T, TarError> {
    Err(TarError::Malformed(reason.into()))
}

/// What PAX records and GNU long names say about the next member.
#[derive(Default)]
struct Overrides {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: SparseRecords,
}

/// A reader of the members of an archive, one after the other.
pub(crate) struct TarReader<R> {
    inner: R,
    /// Bytes of the current member's content that were not read yet.
    remaining: u64,
    padding: u64,
    /// Where those bytes belong in the file: offsets and lengths, in order.
    segments: VecDeque<(u64, u64)>,
    /// PAX records that hold for all members to come.
    global: Overrides,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, remaining: 0, padding: 0, segments: VecDeque::new(), global: Overrides::default() }
    }

    /// Returns the stream behind the archive, to drain what comes after its end.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// Returns the next member, or `None` at the archive's end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut overrides = Overrides::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header[124..136], "size")?;
            match header[156] {
                b'L' => overrides.path = Some(trim_nul(self.meta(size)?)),
                b'K' => overrides.link = Some(trim_nul(self.meta(size)?)),
                b'x' => {
                    let records = self.meta(size)?;
                    parse_records(&records, &mut overrides)?;
                }
                b'g' => {
                    let records = self.meta(size)?;
                    parse_records(&records, &mut self.global)?;
                }
                flag => return self.member(&header, flag, size, overrides).map(Some),
            }
        }
    }

    /// Reads the next piece of the current file's content, and says where in the file it belongs; what no piece
    /// covers is a hole.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(u64, usize)>, TarError> {
        while self.segments.front().is_some_and(|(_, length)| *length == 0) {
            self.segments.pop_front();
        }
        let Some((offset, length)) = self.segments.front().copied() else { return Ok(None) };
        let wanted = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let count = self.raw(&mut buffer[..wanted])?;
        if count == 0 && wanted != 0 {
            return malformed("it ends within a file");
        }
        self.segments[0] = (offset + count as u64, length - count as u64);
        Ok(Some((offset, count)))
    }

    /// Reads the current member's bytes as they lie in the archive.
    pub(super) fn raw(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let wanted = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = loop {
            match self.inner.read(&mut buffer[..wanted]) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        if count == 0 {
            return malformed("it ends within a file");
        }
        self.remaining -= count as u64;
        Ok(count)
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        let left = self.remaining.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.inner).take(left), &mut io::sink())?;
        if skipped != left {
            return malformed("it ends within a file");
        }
        (self.remaining, self.padding) = (0, 0);
        self.segments.clear();
        Ok(())
    }

    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                // Some writers leave the two closing blocks out; an end on a block's edge is an end.
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return malformed("it ends within a header"),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum = |signed: bool| -> i64 {
            block.iter().enumerate().fold(0, |sum, (at, byte)| {
                let byte = if (148..156).contains(&at) { b' ' } else { *byte };
                sum + if signed { i64::from(byte.cast_signed()) } else { i64::from(byte) }
            })
        };
        let claimed = number(&block[148..156], "checksum")?.cast_signed();
        if claimed != sum(false) && claimed != sum(true) {
            return malformed("a header's checksum is wrong");
        }
        Ok(Some(block))
    }

    /// Finds out where the member's bytes belong in the file, and returns the file's length.
    fn lay_out(
        &mut self,
        header: &[u8; BLOCK],
        flag: u8,
        size: u64,
        records: SparseRecords,
    ) -> Result<u64, TarError> {
        let (map, length) = if flag == b'S' {
            let mut map = sparse::old_map(header)?;
            let mut more = header[482] != 0;
            while more {
                let mut block = [0; BLOCK];
                self.inner.read_exact(&mut block)?;
                more = block[504] != 0;
                sparse::extend(&mut map, &block[..504])?;
            }
            (map, number(&header[483..495], "size")?)
        } else {
            match records.real_size()? {
                None => {
                    self.segments = VecDeque::from([(0, size)]);
                    return Ok(size);
                }
                Some(length) if records.is_map_in_content() => (self.sparse_map()?, length),
                Some(length) => (records.map, length),
            }
        };
        sparse::check(&map, length, self.remaining)?;
        self.segments = map.into();
        Ok(length)
    }

    /// Reads the map that begins the content of a sparse file (PAX 1.0): numbers, a line each, padded to a block.
    fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>, TarError> {
        let mut numbers = sparse::Numbers::default();
        loop {
            if let Some(map) = numbers.map()? {
                return Ok(map);
            }
            let mut block = [0; BLOCK];
            let mut filled = 0;
            while filled < BLOCK {
                match self.raw(&mut block[filled..])? {
                    0 => return malformed("a sparse file's map is cut off"),
                    count => filled += count,
                }
            }
            numbers.add(&block)?;
        }
    }

    fn meta(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_META {
            return malformed(format!("an extension header claims {size} bytes"));
        }
        self.remaining = size;
        self.padding = padding(size);
        let mut bytes = vec![0; size as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.raw(&mut bytes[filled..])?;
        }
        Ok(bytes)
    }

    fn member(
        &mut self,
        header: &[u8; BLOCK],
        flag: u8,
        size: u64,
        overrides: Overrides,
    ) -> Result<Entry, TarError> {
        let size = overrides.size.or(self.global.size).unwrap_or(size);
        let sparse_name = overrides.sparse.name.clone();
        let path = sparse_name
            .or(overrides.path)
            .or_else(|| self.global.path.clone())
            .unwrap_or_else(|| header_path(header));
        let link = overrides
            .link
            .or_else(|| self.global.link.clone())
            .unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
        let device = || -> Result<(u32, u32), TarError> {
            let part = |range: std::ops::Range<usize>| {
                u32::try_from(number(&header[range], "device number")?)
                    .or_else(|_| malformed("a device number is too large"))
            };
            Ok((part(329..337)?, part(337..345)?))
        };
        let owner = |field: Option<u32>, range: std::ops::Range<usize>| match field {
            Some(id) => Ok(id),
            None => u32::try_from(number(&header[range], "owner")?)
                .ok()
                .filter(|id| *id != u32::MAX)
                .map_or_else(|| malformed("an owner's number is too large"), Ok),
        };
        let kind = match flag {
            // A name with a slash at its end was a directory in the first tar format.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File(size),
            b'1' => Kind::Hardlink(link),
            b'2' => Kind::Symlink(link),
            b'3' => device().map(|(major, minor)| Kind::Character(major, minor))?,
            b'4' => device().map(|(major, minor)| Kind::Block(major, minor))?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => Kind::File(0),
            other => return malformed(format!("it has a member of the unknown kind {other:#04x}")),
        };
        if path.contains(&0) {
            return malformed("a name has a zero byte");
        }
        // Only files have content; a size on another member still has to be skipped.
        self.remaining = match kind {
            Kind::File(_) | Kind::Directory => size,
            _ => 0,
        };
        self.padding = padding(self.remaining);
        let kind = match kind {
            Kind::File(size) => Kind::File(self.lay_out(header, flag, size, overrides.sparse)?),
            other => other,
        };
        let mut xattrs = self.global.xattrs.clone();
        xattrs.extend(overrides.xattrs);
        let mtime = match overrides.mtime.or(self.global.mtime) {
            Some(mtime) => mtime,
            None => Time { seconds: number(&header[136..148], "time")?.cast_signed(), nanoseconds: 0 },
        };
        Ok(Entry {
            path,
            kind,
            mode: (number(&header[100..108], "mode")? & 0o7777) as u32,
            uid: owner(overrides.uid.or(self.global.uid), 108..116)?,
            gid: owner(overrides.gid.or(self.global.gid), 116..124)?,
            mtime,
            xattrs,
        })
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

fn trim_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = until_nul(&bytes).len();
    bytes.truncate(end);
    bytes
}

fn header_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    // GNU's own format has other things where POSIX has the prefix.
    let prefix = if &header[257..263] == b"ustar\0" { until_nul(&header[345..500]) } else { &[] };
    if prefix.is_empty() {
        return name.to_vec();
    }
    let mut path = prefix.to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// Reads an octal or (first bit set) base-256 number.
pub(super) fn number(field: &[u8], what: &str) -> Result<u64, TarError> {
    if field[0] & 0x80 != 0 {
        // Negative numbers (0xff...) are two's complement; only times may be negative.
        let negative = field[0] == 0xff;
        let mut value: u64 = if negative { u64::MAX } else { u64::from(field[0] & 0x7f) };
        for (at, byte) in field[1..].iter().enumerate() {
            let fill = if negative { 0xff } else { 0 };
            let significant = field.len() - 1 - at <= 8;
            if !significant {
                if *byte != fill || (!negative && value != 0) {
                    return malformed(format!("a {what} is out of range"));
                }
                continue;
            }
            value = (value << 8) | u64::from(*byte);
        }
        if what != "time" && (negative || value > i64::MAX as u64) {
            return malformed(format!("a {what} is out of range"));
        }
        return Ok(value);
    }
    let text = until_nul(field);
    let digits = text.trim_ascii();
    let mut value: u64 = 0;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return malformed(format!("a {what} is no number"));
        }
        value = value * 8 + u64::from(digit - b'0');
    }
    Ok(value)
}

/// Reads PAX records, `length key=value\n` each (POSIX pax, "pax Extended Header").
fn parse_records(mut bytes: &[u8], into: &mut Overrides) -> Result<(), TarError> {
    let bad = || TarError::Malformed("an extension record cannot be read".to_owned());
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length: usize =
            std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(bad());
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        apply_record(&record[..equals], &record[equals + 1..], into)?;
        bytes = &bytes[length..];
    }
    Ok(())
}

fn apply_record(key: &[u8], value: &[u8], into: &mut Overrides) -> Result<(), TarError> {
    let bad = || TarError::Malformed(format!("the extension record `{}` is wrong", key.escape_ascii()));
    let text = || std::str::from_utf8(value).map_err(|_| bad());
    let id = || text()?.parse::<u32>().ok().filter(|id| *id != u32::MAX).ok_or_else(bad);
    match key {
        // An empty value takes an earlier one back.
        b"path" => into.path = (!value.is_empty()).then(|| value.to_vec()),
        b"linkpath" => into.link = (!value.is_empty()).then(|| value.to_vec()),
        b"size" => into.size = Some(text()?.parse().map_err(|_| bad())?),
        b"uid" => into.uid = Some(id()?),
        b"gid" => into.gid = Some(id()?),
        b"mtime" => into.mtime = Some(parse_time(text()?).ok_or_else(bad)?),
        _ if key.starts_with(b"GNU.sparse.") => into.sparse.add(&key[b"GNU.sparse.".len()..], value)?,
        _ => {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                into.xattrs.push((name.to_vec(), value.to_vec()));
            }
        }
    }
    Ok(())
}

fn parse_time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers() {
        assert_eq!(number(b"0000644\0", "mode").unwrap(), 0o644);
        assert_eq!(number(b"   644 \0", "mode").unwrap(), 0o644);
        assert_eq!(number(b"\0\0\0\0\0\0\0\0", "mode").unwrap(), 0);
        let large = [0x80, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0];
        assert_eq!(number(&large, "size").unwrap(), 0x10_0000_0000);
        assert_eq!(number(&[0xff; 12], "time").unwrap().cast_signed(), -1);
        assert!(number(&[0xff; 12], "size").is_err());
        assert!(number(b"12x45678", "mode").is_err());
        assert!(number(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "size").is_err());
    }

    #[test]
    fn reads_times() {
        assert_eq!(parse_time("12.5"), Some(Time { seconds: 12, nanoseconds: 500_000_000 }));
        assert_eq!(parse_time("-1.25"), Some(Time { seconds: -2, nanoseconds: 750_000_000 }));
        assert_eq!(parse_time("7"), Some(Time { seconds: 7, nanoseconds: 0 }));
        assert_eq!(parse_time("x"), None);
        assert_eq!(parse_time("1.x"), None);
    }

    #[test]
    fn refuses_broken_records() {
        for records in [&b"9 a=b\n"[..], b"x", b"5 a=b", b"99999999999999999999 a=b\n", b"4 ab\n", b"3 \n"] {
            assert!(parse_records(records, &mut Overrides::default()).is_err(), "{records:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2048)) {
            let mut reader = TarReader::new(bytes.as_slice());
            while let Ok(Some(_)) = reader.next() {}
            let _ = parse_records(&bytes, &mut Overrides::default());
        }
    }
}

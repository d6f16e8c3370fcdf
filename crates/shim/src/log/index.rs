//! The index of a log's segment: where its lines are, every so many bytes, so that times and last lines are found
//! without reading it all.
//!
//! ```text
//! coracle-logidx1\n                                              16 bytes
//! latest: i64   lines: u64   offset: u64   packed: u64            32 bytes a mark, little-endian
//! ```
//!
//! Each mark is true of what lies before it: `latest` is the latest time of any line there (nanoseconds since 1970), so
//! that a clock which jumped back hides no line. An index is only a help: it is written after the lines, and what of it
//! is torn, missing or does not fit is passed over and the segment read instead.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;

const MAGIC: &[u8; 16] = b"coracle-logidx1\n";
const SIZE: usize = 32;
/// Bytes of a segment between two marks.
pub(super) const SPACING: u64 = 64 * 1024;
/// The most marks that are read: a segment of 16 GiB.
const MOST: u64 = 1 << 18;

/// What is known of a place in a segment: the beginning of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The latest time of the lines before, ns since 1970; the least number when there are none.
    pub latest: i64,
    /// How many lines are before.
    pub lines: u64,
    /// Bytes before, uncompressed.
    pub offset: u64,
    /// Bytes before as the file has them; as `offset` in a plain one.
    pub packed: u64,
}

impl Mark {
    /// The beginning of a segment.
    pub const START: Self = Self { latest: i64::MIN, lines: 0, offset: 0, packed: 0 };

    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let fields = [self.latest.cast_unsigned(), self.lines, self.offset, self.packed];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let field = |number: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[number * 8..number * 8 + 8]);
            u64::from_le_bytes(field)
        };
        Self { latest: field(0).cast_signed(), lines: field(1), offset: field(2), packed: field(3) }
    }

    /// Goes over one line, its line feed included.
    pub(super) fn pass(&mut self, length: u64, time: i64) {
        self.latest = self.latest.max(time);
        self.lines += 1;
        self.offset += length;
        self.packed = self.offset;
    }
}

/// Returns a time as marks have it.
pub fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// Reads an index, from the beginning as far as it makes sense for a file of `size` bytes; without one, no marks.
pub fn read(path: &Path, size: u64) -> Vec<Mark> {
    let mut bytes = Vec::new();
    let opened = File::open(path);
    let limit = MAGIC.len() as u64 + MOST * SIZE as u64;
    if opened.and_then(|file| file.take(limit).read_to_end(&mut bytes)).is_err() {
        return Vec::new();
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Vec::new() };
    let mut marks: Vec<Mark> = Vec::new();
    for bytes in rest.chunks_exact(SIZE) {
        let mark = Mark::from_bytes(bytes);
        let last = marks.last().unwrap_or(&Mark::START);
        let grows = mark.offset > last.offset
            && mark.packed > last.packed
            && mark.lines >= last.lines
            && mark.latest >= last.latest;
        if !grows || mark.packed > size {
            break;
        }
        marks.push(mark);
    }
    marks
}

/// As [`read`], for a plain segment; marks that are not at the beginning of a line are dropped, with all of them.
pub fn read_plain(segment: &File, index: &Path) -> io::Result<Vec<Mark>> {
    let marks = read(index, segment.metadata()?.len());
    if let Some(last) = marks.last() {
        let mut before = [0];
        segment.read_exact_at(&mut before, last.offset - 1)?;
        if before != *b"\n" {
            return Ok(Vec::new());
        }
    }
    Ok(marks)
}

/// Reads the lines of a plain segment from `start` on; returns the marks on the way and that of the end of its last whole
/// line.
pub(super) fn scan(segment: &mut File, start: Mark) -> io::Result<(Vec<Mark>, Mark)> {
    segment.seek(SeekFrom::Start(start.offset))?;
    let mut reader = BufReader::with_capacity(64 * 1024, segment);
    let (mut marks, mut mark, mut last) = (Vec::new(), start, start.offset);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok((marks, mark));
        }
        mark.pass(line.len() as u64, time_of(&line).unwrap_or(i64::MIN));
        if mark.offset - last >= SPACING {
            last = mark.offset;
            marks.push(mark);
        }
    }
}

/// Returns the time of an entry as it is written.
fn time_of(line: &[u8]) -> Option<i64> {
    let end = line.iter().rposition(|byte| *byte == b'"')?;
    let begin = line[..end].iter().rposition(|byte| *byte == b'"')? + 1;
    let time: Timestamp = std::str::from_utf8(&line[begin..end]).ok()?.parse().ok()?;
    Some(nanoseconds(time))
}

/// Writes an index.
pub(super) struct IndexWriter {
    file: File,
}

impl IndexWriter {
    /// Begins an index with these marks, whatever was there.
    pub fn begin(path: &Path, marks: &[Mark]) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o640).open(path)?;
        let mut writer = Self { file };
        writer.file.write_all(MAGIC)?;
        writer.add(marks)?;
        Ok(writer)
    }

    /// Adds marks.
    pub fn add(&mut self, marks: &[Mark]) -> io::Result<()> {
        if marks.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = marks.iter().flat_map(|mark| mark.to_bytes()).collect();
        self.file.write_all(&bytes)
    }
}

/// Writes a whole index and renames it into place.
pub(super) fn write(path: &Path, marks: &[Mark]) -> io::Result<()> {
    let temporary = super::files::with(path, ".new");
    IndexWriter::begin(&temporary, marks)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u64) -> Mark {
        Mark { latest: number as i64 * 5, lines: number * 3, offset: number * 100, packed: number * 100 }
    }

    #[test]
    fn what_was_written_is_read_as_far_as_it_makes_sense() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        assert_eq!(read(&path, 1000), []);
        let marks: Vec<Mark> = (1..5).map(mark).collect();
        let mut writer = IndexWriter::begin(&path, &marks[..2]).unwrap();
        writer.add(&marks[2..]).unwrap();
        assert_eq!(read(&path, 1000), marks);
        // A segment that lost its end.
        assert_eq!(read(&path, 250), marks[..2]);
        // A torn mark, one that goes back, another file.
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(read(&path, 1000), marks[..3]);
        let mut back = whole.clone();
        back.extend(mark(2).to_bytes());
        fs::write(&path, back).unwrap();
        assert_eq!(read(&path, 1000), marks);
        fs::write(&path, &whole[1..]).unwrap();
        assert_eq!(read(&path, 1000), []);
    }

    #[test]
    fn a_scan_finds_lines_times_and_a_torn_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("segment");
        let line = |second: u32| {
            format!("{{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:{second:02}Z\"}}\n")
        };
        let text = line(7) + &line(3) + "{\"log\":\"to";
        fs::write(&path, &text).unwrap();
        let (marks, end) = scan(&mut File::open(&path).unwrap(), Mark::START).unwrap();
        assert_eq!(marks, []);
        let size = (line(7).len() * 2) as u64;
        assert_eq!(end, Mark { latest: 7_000_000_000, lines: 2, offset: size, packed: size });
        // Marks that are not at a line's beginning are of no use.
        let file = File::open(&path).unwrap();
        let index = directory.path().join("index");
        IndexWriter::begin(&index, &[end]).unwrap();
        assert_eq!(read_plain(&file, &index).unwrap(), [end]);
        IndexWriter::begin(&index, &[Mark { offset: 5, packed: 5, ..end }]).unwrap();
        assert_eq!(read_plain(&file, &index).unwrap(), []);
    }
}

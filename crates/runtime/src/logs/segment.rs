//! One segment of a log, opened: plain or compressed, with what its index knows.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use coracle_shim::log::files::{self, Segment};
use coracle_shim::log::index::{self, Mark};
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use super::is_same;

/// Bytes read at once when lines are counted.
const CHUNK: usize = 64 * 1024;

/// A segment that is read.
pub(super) struct Opened {
    source: Source,
    marks: Vec<Mark>,
    /// Size of the file.
    size: u64,
}

enum Source {
    Plain(File),
    Packed(Box<MultiGzDecoder<BufReader<File>>>),
}

impl Opened {
    /// Opens a segment that ended; `None` when it has been dropped.
    pub fn ended(segment: &Segment) -> io::Result<Option<Self>> {
        let packed = if segment.compressed { segment.path.clone() } else { files::compressed(&segment.path) };
        if !segment.compressed
            && let Some(file) = super::open(&segment.path)?
        {
            return Self::plain(file, &segment.path).map(Some);
        }
        let Some(file) = super::open(&packed)? else { return Ok(None) };
        let size = file.metadata()?.len();
        let marks = index::read(&files::index_of(&packed), size);
        let source = Source::Packed(Box::new(MultiGzDecoder::new(BufReader::new(file))));
        Ok(Some(Self { source, marks, size }))
    }

    /// Reads a plain segment that is open already.
    pub fn plain(file: File, path: &Path) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let marks = index::read_plain(&file, &files::index_of(path))?;
        Ok(Self { source: Source::Plain(file), marks, size })
    }

    /// Returns whether it is this file.
    pub fn is(&self, other: &File) -> io::Result<bool> {
        match &self.source {
            Source::Plain(file) => is_same(file, other),
            Source::Packed(_) => Ok(false),
        }
    }

    /// Goes to a mark.
    fn seek(&mut self, mark: Mark) -> io::Result<()> {
        match &mut self.source {
            Source::Plain(file) => file.seek(SeekFrom::Start(mark.offset)).map(drop),
            Source::Packed(decoder) => {
                let file = decoder.get_mut();
                file.seek(SeekFrom::Start(mark.packed))?;
                let file = file.get_ref().try_clone()?;
                **decoder = MultiGzDecoder::new(BufReader::new(file));
                Ok(())
            }
        }
    }

    /// Returns the mark of its end, if the index reaches it.
    fn end(&self) -> Option<Mark> {
        self.marks.last().copied().filter(|mark| mark.packed == self.size)
    }

    /// Returns how many lines it has.
    fn count(&mut self) -> io::Result<u64> {
        if let Some(end) = self.end() {
            return Ok(end.lines);
        }
        let last = self.marks.last().copied().unwrap_or(Mark::START);
        self.seek(last)?;
        let (mut lines, mut chunk) = (last.lines, vec![0; CHUNK]);
        loop {
            match self.read(&mut chunk)? {
                0 => return Ok(lines),
                count => lines += feeds(&chunk[..count]),
            }
        }
    }

    /// Goes to the beginning of line `number`, from 0.
    fn seek_line(&mut self, number: u64) -> io::Result<()> {
        let before = self.marks.iter().rev().find(|mark| mark.lines <= number).copied();
        let start = before.unwrap_or(Mark::START);
        self.seek(start)?;
        let mut left = number - start.lines;
        let mut byte = [0];
        if left == 0 {
            return Ok(());
        }
        // A plain file is counted in chunks and gone back to; a compressed one gives a byte at a time as cheaply.
        if let Source::Plain(file) = &mut self.source {
            let (mut offset, mut chunk) = (start.offset, vec![0; CHUNK]);
            loop {
                let count = file.read(&mut chunk)?;
                if count == 0 {
                    return Ok(());
                }
                for (index, _) in chunk[..count].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                    left -= 1;
                    if left == 0 {
                        return file.seek(SeekFrom::Start(offset + index as u64 + 1)).map(drop);
                    }
                }
                offset += count as u64;
            }
        }
        while left > 0 && self.read(&mut byte)? > 0 {
            left -= u64::from(byte == *b"\n");
        }
        Ok(())
    }

    /// Goes to a line before which all are older than `since`; says whether there may be one that is not.
    fn seek_time(&mut self, since: i64) -> io::Result<bool> {
        if self.end().is_some_and(|end| end.latest < since) {
            return Ok(false);
        }
        let before = self.marks.iter().rev().find(|mark| mark.latest < since).copied();
        self.seek(before.unwrap_or(Mark::START))?;
        Ok(true)
    }
}

/// Returns how many lines end in `bytes`.
fn feeds(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::Plain(file) => file.read(buffer),
            Source::Packed(decoder) => decoder.read(buffer),
        }
    }
}

/// Leaves out segments, oldest first, that have nothing of what is wanted, and goes to where it begins in the others. The
/// newest is always left.
pub(super) fn starts(
    mut parts: Vec<Opened>,
    tail: Option<usize>,
    since: Option<Timestamp>,
) -> io::Result<Vec<Opened>> {
    if let Some(count) = tail {
        let mut wanted = count as u64;
        let mut first = parts.len().saturating_sub(1);
        for (number, part) in parts.iter_mut().enumerate().rev() {
            let lines = part.count()?;
            first = number;
            part.seek_line(lines.saturating_sub(wanted))?;
            wanted = wanted.saturating_sub(lines);
            if wanted == 0 {
                break;
            }
        }
        parts.drain(..first);
        return Ok(parts);
    }
    let Some(since) = since.map(index::nanoseconds) else { return Ok(parts) };
    let newest = parts.len().saturating_sub(1);
    let mut kept = Vec::new();
    for (number, mut part) in parts.into_iter().enumerate() {
        if part.seek_time(since)? {
            kept.push(part);
        } else if number == newest {
            part.seek(part.end().unwrap_or(Mark::START))?;
            kept.push(part);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Bytes of an index with these marks.
    fn index(marks: &[(i64, u64, u64, u64)]) -> Vec<u8> {
        let mut bytes = b"coracle-logidx1\n".to_vec();
        for (latest, lines, offset, packed) in marks {
            bytes.extend(latest.to_le_bytes());
            [lines, offset, packed].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        }
        bytes
    }

    fn rest(part: &mut Opened) -> String {
        let mut text = String::new();
        part.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn places_come_from_the_index_and_are_right_without_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("container.log");
        let text = (0..100).map(|number| format!("{number:09}\n")).collect::<Vec<_>>().concat();
        fs::write(&path, &text).unwrap();
        let marks = [(10, 10, 100, 100), (40, 40, 400, 400), (99, 100, 1000, 1000)];
        for marks in [&marks[..], &marks[..2], &[]] {
            fs::write(files::index_of(&path), index(marks)).unwrap();
            let mut part = Opened::plain(File::open(&path).unwrap(), &path).unwrap();
            assert_eq!(part.marks.len(), marks.len());
            assert_eq!(part.count().unwrap(), 100);
            for line in [0, 5, 10, 45, 99, 100] {
                part.seek_line(line).unwrap();
                assert_eq!(rest(&mut part), text[line as usize * 10..]);
            }
            // By time no more is read than from the mark before.
            for (since, whole, from) in [(5, 0, 0), (11, 0, 100), (41, 0, 400), (99, 0, 400)] {
                assert!(part.seek_time(since).unwrap());
                let from = if marks.is_empty() { whole } else { from };
                assert_eq!(rest(&mut part), text[from..], "since {since}");
            }
            assert_eq!(part.seek_time(100).unwrap(), marks.len() < 3);
        }
    }
}

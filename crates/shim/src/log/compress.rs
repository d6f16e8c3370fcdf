//! Compressing segments that ended, in a child of the supervisor with the lowest priority: the container's streams do
//! not wait for it.
//!
//! A segment becomes a series of gzip members, each of some lines, so that a reader can begin at any of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::files::{self, Segment};
use super::index::{self, Mark};

/// Bytes of a segment in one member, at least.
const MEMBER: u64 = 256 * 1024;

/// Compresses every plain segment beside `current`, newest first: the oldest may soon be dropped.
pub(super) fn all(current: &Path) -> io::Result<()> {
    let plain = |segment: &Segment| !segment.compressed;
    for segment in files::segments(current)?.iter().filter(|segment| plain(segment)).rev() {
        match one(&segment.path) {
            // It was dropped meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(())
}

/// Compresses one segment and puts the result in its place.
pub(super) fn one(segment: &Path) -> io::Result<()> {
    let mut file = File::open(segment)?;
    let packed = files::compressed(segment);
    let temporary = files::with(&packed, ".new");
    let written = write(&mut file, &files::index_of(segment), &temporary);
    let marks = written.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    index::write(&files::index_of(&packed), &marks)?;
    fs::rename(&temporary, &packed)?;
    fs::remove_file(segment)?;
    let _ = fs::remove_file(files::index_of(segment));
    Ok(())
}

fn write(file: &mut File, index: &Path, to: &Path) -> io::Result<Vec<Mark>> {
    let mut places = index::read_plain(file, index)?;
    let (more, end) = index::scan(file, places.last().copied().unwrap_or(Mark::START))?;
    places.extend(more);
    // A torn last line belongs to the last member, and is no line.
    let size = file.metadata()?.len();
    places.retain(|place| place.offset < end.offset);
    places.push(Mark { offset: size.max(end.offset), ..end });

    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let out = OpenOptions::new().create(true).write(true).truncate(true).mode(0o640).open(to)?;
    let mut out = Counted { inner: BufWriter::new(out), count: 0 };
    let mut marks = Vec::new();
    let mut from = 0;
    let last = places.len() - 1;
    for (number, place) in places.into_iter().enumerate() {
        if place.offset - from < MEMBER && number != last {
            continue;
        }
        let mut member = GzEncoder::new(&mut out, Compression::new(4));
        io::copy(&mut (&mut reader).take(place.offset - from), &mut member)?;
        member.finish()?;
        from = place.offset;
        marks.push(Mark { packed: out.count, ..place });
    }
    out.inner.flush()?;
    Ok(marks)
}

struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_segment_can_be_entered_at_every_mark() {
        let directory = tempfile::tempdir().unwrap();
        let current = directory.path().join("container.log");
        let segment = files::ended(&current, 1);
        let line = |number: u32| {
            let second = number / 1000;
            format!(
                "{{\"log\":\"{number:050}\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:{second:02}Z\"}}\n"
            )
        };
        let text: String = (0..12_000).map(line).collect();
        fs::write(&segment, &text).unwrap();
        all(&current).unwrap();
        let list = files::segments(&current).unwrap();
        assert_eq!(list, [Segment { number: 1, path: files::compressed(&segment), compressed: true }]);
        let packed = fs::read(&list[0].path).unwrap();
        let marks = index::read(&files::index_of(&list[0].path), packed.len() as u64);
        assert!(marks.len() > 3, "{marks:?}");
        assert_eq!(marks.last().unwrap().lines, 12_000);
        assert_eq!(marks.last().unwrap().packed, packed.len() as u64);
        for mark in [Mark::START].iter().chain(&marks[..marks.len() - 1]) {
            let mut rest = String::new();
            let mut reader = flate2::read::MultiGzDecoder::new(&packed[mark.packed as usize..]);
            reader.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, text[mark.offset as usize..]);
            assert_eq!(text[..mark.offset as usize].lines().count() as u64, mark.lines);
        }
        // Nothing else is left.
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["container.log.0000000001.gz", "container.log.0000000001.gz.idx"]);
    }
}

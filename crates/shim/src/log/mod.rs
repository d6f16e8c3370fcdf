//! The log of a container: lines of JSON as Docker's `json-file` driver writes them, in segments of bounded size, with an
//! index beside each; segments that ended are compressed.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","time":"2026-11-24T05:41:33.123456789Z"}
//! ```
//!
//! A line longer than 16 KiB is written in parts, of which only the last ends in a line feed. One time stamp serves
//! all lines of one read, and they are written at once: a container must not wait for its log. What a crash tore is
//! closed by a line feed when the log is next opened.

mod compress;
pub mod files;
pub mod index;
mod relay;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::{config, syscall};

use index::{IndexWriter, Mark};
pub(crate) use relay::Logger;

/// Longest part of a line kept in one entry, bytes.
const LONGEST_PART: usize = 16 * 1024;
/// How long a segment stays as it is after its end: one that is dropped soon is not worth compressing.
const SETTLED: Duration = Duration::from_secs(2);
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Stdout => b"stdout",
            Self::Stderr => b"stderr",
        }
    }
}

/// Writes a container's log.
pub(crate) struct LogWriter {
    bounds: config::Log,
    file: File,
    index: Option<IndexWriter>,
    /// What is true of all that was written to the segment.
    end: Mark,
    /// What will be true once the batch is written.
    ahead: Mark,
    /// Where the last mark is.
    marked: u64,
    /// Entries not written yet.
    batch: Vec<u8>,
    /// Marks among them.
    marks: Vec<Mark>,
    /// The begun last line of each stream.
    partial: [Vec<u8>; 2],
    /// Whether a write failed, so that it is not known what the file holds.
    unsure: bool,
    compressing: Compressing,
}

/// What is done about segments that ended.
#[derive(Clone, Copy, Debug)]
enum Compressing {
    Nothing,
    /// There are some, and this is when a child is started for them.
    Due(Instant),
    /// This child is at it.
    Running(i32),
}

impl LogWriter {
    pub fn open(bounds: config::Log) -> io::Result<Self> {
        if let Some(directory) = bounds.path.parent() {
            fs::create_dir_all(directory)?;
        }
        adopt(&bounds.path)?;
        let file = open(&bounds.path)?;
        let mut writer = Self {
            bounds,
            file,
            index: None,
            end: Mark::START,
            ahead: Mark::START,
            marked: 0,
            batch: Vec::new(),
            marks: Vec::new(),
            partial: [Vec::new(), Vec::new()],
            unsure: false,
            compressing: Compressing::Nothing,
        };
        writer.recover()?;
        writer.look_for_work();
        Ok(writer)
    }

    /// Finds out what the current segment holds, closes a torn line and goes on with its index.
    fn recover(&mut self) -> io::Result<()> {
        let path = files::index_of(&self.bounds.path);
        let mut file = File::open(&self.bounds.path)?;
        let mut marks = index::read_plain(&file, &path)?;
        let (more, mut end) = index::scan(&mut file, marks.last().copied().unwrap_or(Mark::START))?;
        marks.extend(more);
        let torn = file.metadata()?.len().saturating_sub(end.offset);
        if torn > 0 {
            self.file.write_all(b"\n")?;
            end.pass(torn + 1, i64::MIN);
        }
        self.marked = marks.last().map_or(0, |mark| mark.offset);
        self.index = Some(IndexWriter::begin(&path, &marks)?);
        (self.end, self.ahead, self.unsure) = (end, end, false);
        Ok(())
    }

    /// Takes what one read of a stream brought.
    pub fn take(&mut self, source: Source, mut bytes: &[u8]) -> io::Result<()> {
        let time = &Stamp::now();
        let mut partial = std::mem::take(&mut self.partial[source as usize]);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if partial.is_empty() {
                self.entries(source, line, time)?;
            } else {
                partial.extend_from_slice(line);
                self.entries(source, &partial, time)?;
                partial.clear();
            }
        }
        partial.extend_from_slice(bytes);
        while partial.len() > LONGEST_PART {
            let rest = partial.split_off(LONGEST_PART);
            self.entries(source, &partial, time)?;
            partial = rest;
        }
        self.partial[source as usize] = partial;
        self.write_batch()
    }

    /// Writes the begun last lines, when a run has ended.
    pub fn finish(&mut self) -> io::Result<()> {
        let time = &Stamp::now();
        for source in [Source::Stdout, Source::Stderr] {
            let partial = std::mem::take(&mut self.partial[source as usize]);
            if !partial.is_empty() {
                self.entries(source, &partial, time)?;
            }
        }
        self.write_batch()
    }

    /// Gives up buffers that an idle shim does not need.
    pub fn rest(&mut self) {
        self.batch = Vec::new();
        self.partial.iter_mut().for_each(Vec::shrink_to_fit);
    }

    /// Appends one line's entries to the batch, and writes the batch when the file is full.
    fn entries(&mut self, source: Source, line: &[u8], time: &Stamp) -> io::Result<()> {
        for part in line.chunks(LONGEST_PART) {
            let before = self.batch.len();
            self.batch.extend_from_slice(b"{\"log\":\"");
            append_escaped(&mut self.batch, part);
            self.batch.extend_from_slice(b"\",\"stream\":\"");
            self.batch.extend_from_slice(source.name());
            self.batch.extend_from_slice(b"\",\"time\":\"");
            self.batch.extend_from_slice(time.text.as_bytes());
            self.batch.extend_from_slice(b"\"}\n");
            self.ahead.pass((self.batch.len() - before) as u64, time.nanoseconds);
            if self.ahead.offset - self.marked >= index::SPACING {
                self.marked = self.ahead.offset;
                self.marks.push(self.ahead);
            }
            if self.ahead.offset >= self.bounds.max_size {
                self.write_batch()?;
                self.rotate()?;
            }
        }
        Ok(())
    }

    fn write_batch(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let written = self.write_entries();
        self.unsure = written.is_err();
        self.batch.clear();
        self.marks.clear();
        self.end = self.ahead;
        written
    }

    fn write_entries(&mut self) -> io::Result<()> {
        if self.unsure {
            // A part of an earlier batch may be there. The marks of this one are not true any more.
            self.recover()?;
            self.file.write_all(&self.batch)?;
            return self.recover();
        }
        self.file.write_all(&self.batch)?;
        // Lines are worth more than the index of them.
        if self.index.as_mut().is_some_and(|index| index.add(&self.marks).is_err()) {
            self.index = None;
        }
        Ok(())
    }

    /// Ends the segment and begins the next one.
    fn rotate(&mut self) -> io::Result<()> {
        let current = &self.bounds.path;
        if let Some(index) = &mut self.index
            && self.marked < self.end.offset
        {
            // How many lines it has, for whoever looks for the last ones.
            let _ = index.add(&[self.end]);
        }
        let number = files::next_number(&files::segments(current)?);
        let ended = files::ended(current, number);
        // The index first: without one, a segment is read whole; with a wrong one it would be misread.
        match fs::rename(files::index_of(current), files::index_of(&ended)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(current, &ended)?;
        self.file = open(current)?;
        self.index = IndexWriter::begin(&files::index_of(current), &[]).ok();
        (self.end, self.ahead, self.marked) = (Mark::START, Mark::START, 0);
        self.drop_oldest()?;
        self.look_for_work();
        Ok(())
    }

    /// Removes the segments beyond the bound.
    fn drop_oldest(&self) -> io::Result<()> {
        let segments = files::segments(&self.bounds.path)?;
        let kept = usize::try_from(self.bounds.max_files.max(1) - 1).unwrap_or(usize::MAX);
        for segment in &segments[..segments.len().saturating_sub(kept)] {
            files::remove(segment)?;
        }
        Ok(())
    }

    fn look_for_work(&mut self) {
        let plain =
            || files::segments(&self.bounds.path).is_ok_and(|list| list.iter().any(|one| !one.compressed));
        if self.bounds.compress && matches!(self.compressing, Compressing::Nothing) && plain() {
            self.compressing = Compressing::Due(Instant::now() + SETTLED);
        }
    }

    /// Returns when [`Self::keep_time`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        match self.compressing {
            Compressing::Due(due) => Some(due),
            Compressing::Nothing | Compressing::Running(_) => None,
        }
    }

    /// Starts compressing when it is due.
    pub fn keep_time(&mut self, now: Instant) {
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        let current = &self.bounds.path;
        let child = syscall::fork(|| {
            let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            // Among others the lock that says that the shim lives.
            syscall::close_from(3);
            let _ = rustix::process::nice(19);
            i32::from(compress::all(current).is_err())
        });
        self.compressing = child.map_or(Compressing::Nothing, Compressing::Running);
    }

    /// Takes note of a child's end; says whether it was ours.
    pub fn child_ended(&mut self, pid: i32) -> bool {
        if !matches!(self.compressing, Compressing::Running(ours) if ours == pid) {
            return false;
        }
        self.compressing = Compressing::Nothing;
        // What it made of a segment that was dropped meanwhile goes too.
        let _ = self.drop_oldest();
        self.look_for_work();
        true
    }
}

/// A time as it is written and as it is compared.
struct Stamp {
    text: String,
    nanoseconds: i64,
}

impl Stamp {
    fn now() -> Self {
        let now = Timestamp::now();
        Self { text: format!("{now:.9}"), nanoseconds: index::nanoseconds(now) }
    }
}

/// Gives segments of an older version names of this one, and removes what a killed child left of its work.
fn adopt(current: &Path) -> io::Result<()> {
    let segments = files::segments(current)?;
    for segment in &segments {
        let unfinished = files::with(&files::compressed(&segment.path), ".new");
        let _ = fs::remove_file(unfinished);
    }
    if segments.last().is_some_and(|last| last.number < 0) {
        for (number, segment) in (1..).zip(&segments) {
            fs::rename(&segment.path, files::ended(current, number))?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// Appends `bytes` as the inside of a JSON string; what is not UTF-8 becomes U+FFFD.
fn append_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let text = chunk.valid().as_bytes();
        let mut from = 0;
        for (index, byte) in text.iter().enumerate() {
            if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
                continue;
            }
            out.extend_from_slice(&text[from..index]);
            from = index + 1;
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                control => {
                    out.extend_from_slice(b"\\u00");
                    out.push(HEX[usize::from(control >> 4)]);
                    out.push(HEX[usize::from(control & 15)]);
                }
            }
        }
        out.extend_from_slice(&text[from..]);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::Value;

    use super::*;

    fn bounds(directory: &Path, max_size: u64, max_files: u32) -> config::Log {
        let path = directory.join("container.log");
        config::Log { path, max_size, max_files, compress: true, buffer: None }
    }

    fn writer(directory: &Path, max_size: u64, max_files: u32) -> LogWriter {
        LogWriter::open(bounds(directory, max_size, max_files)).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn entries(path: &Path) -> Vec<(String, String)> {
        fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| {
                let value: Value = serde_json::from_str(line).unwrap();
                let _: Timestamp = value["time"].as_str().unwrap().parse().unwrap();
                (value["stream"].as_str().unwrap().to_owned(), value["log"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    #[test]
    fn lines_are_joined_over_reads_and_escaped() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = writer(directory.path(), 1 << 20, 3);
        log.take(Source::Stdout, b"one\nt\"w").unwrap();
        log.take(Source::Stderr, b"bad\xff\x01\t\n").unwrap();
        log.take(Source::Stdout, "o\\ü\nend".as_bytes()).unwrap();
        log.finish().unwrap();
        let expected = [
            ("stdout", "one\n"),
            ("stderr", "bad\u{fffd}\u{1}\t\n"),
            ("stdout", "t\"wo\\ü\n"),
            ("stdout", "end"),
        ];
        let found = entries(&directory.path().join("container.log"));
        assert_eq!(found.len(), expected.len());
        for ((stream, log), (wanted_stream, wanted_log)) in found.iter().zip(expected) {
            assert_eq!((stream.as_str(), log.as_str()), (wanted_stream, wanted_log));
        }
    }

    #[test]
    fn long_lines_are_split() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = writer(directory.path(), 1 << 20, 3);
        let mut line = vec![b'x'; LONGEST_PART * 2 + 5];
        log.take(Source::Stdout, &line[..LONGEST_PART]).unwrap();
        log.take(Source::Stdout, &line[LONGEST_PART..]).unwrap();
        line.push(b'\n');
        log.take(Source::Stdout, b"\n").unwrap();
        let found = entries(&directory.path().join("container.log"));
        assert_eq!(
            found.iter().map(|(_, log)| log.len()).collect::<Vec<_>>(),
            [LONGEST_PART, LONGEST_PART, 6]
        );
        assert_eq!(found.iter().map(|(_, log)| log.as_str()).collect::<String>().into_bytes(), line);
    }

    #[test]
    fn segments_are_bounded_and_keep_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = writer(directory.path(), 2000, 3);
        for number in 0..200 {
            log.take(Source::Stdout, format!("line {number}\n").as_bytes()).unwrap();
        }
        let current = directory.path().join("container.log");
        let mut paths: Vec<_> = files::segments(&current).unwrap().into_iter().map(|one| one.path).collect();
        assert_eq!(paths.len(), 2);
        assert_eq!(names(directory.path()).len(), 6, "{:?}", names(directory.path()));
        paths.push(current.clone());
        let mut all = Vec::new();
        for path in &paths {
            assert!(fs::metadata(path).unwrap().len() < 2200);
            all.extend(entries(path));
            // Small segments have one mark, of their end.
            let marks = index::read_plain(&File::open(path).unwrap(), &files::index_of(path)).unwrap();
            let lines = marks.last().map_or(0, |mark| mark.lines) as usize;
            assert_eq!(lines, if *path == current { 0 } else { entries(path).len() });
        }
        let first: usize = all[0].1.trim().strip_prefix("line ").unwrap().parse().unwrap();
        assert_eq!(all.len(), 200 - first);
        assert_eq!(all.last().unwrap().1, "line 199\n");
        assert!(log.due().is_some());
    }

    #[test]
    fn the_index_follows_the_lines_also_after_a_crash_and_a_full_disk() {
        let directory = tempfile::tempdir().unwrap();
        let current = directory.path().join("container.log");
        let line = format!("{}\n", "x".repeat(500));
        let marks = || index::read_plain(&File::open(&current).unwrap(), &files::index_of(&current)).unwrap();
        let truth = |mark: &Mark| {
            let mut file = vec![0; mark.offset as usize];
            File::open(&current).unwrap().read_exact(&mut file).unwrap();
            assert_eq!(file.last(), Some(&b'\n'));
            assert_eq!(file.split(|byte| *byte == b'\n').count() as u64 - 1, mark.lines);
        };
        let mut log = writer(directory.path(), 1 << 24, 3);
        log.take(Source::Stdout, line.repeat(1000).as_bytes()).unwrap();
        assert!(marks().len() > 5, "{:?}", marks());
        marks().iter().for_each(truth);
        drop(log);
        // The crash lost the end of the index and tore the last line.
        let index = files::index_of(&current);
        let bytes = fs::read(&index).unwrap();
        fs::write(&index, &bytes[..bytes.len() / 2]).unwrap();
        OpenOptions::new().append(true).open(&current).unwrap().write_all(b"{\"log\":\"to").unwrap();
        let mut log = writer(directory.path(), 1 << 24, 3);
        log.take(Source::Stdout, line.repeat(300).as_bytes()).unwrap();
        marks().iter().for_each(truth);
        assert!(marks().last().unwrap().lines > 1200);
        // A write that failed half-way: as `write_batch` leaves it.
        OpenOptions::new().append(true).open(&current).unwrap().write_all(b"{\"log\":\"half").unwrap();
        log.unsure = true;
        log.take(Source::Stdout, line.repeat(300).as_bytes()).unwrap();
        log.take(Source::Stdout, line.repeat(300).as_bytes()).unwrap();
        marks().iter().for_each(truth);
        assert!(marks().last().unwrap().lines > 1800, "{:?}", marks().last());
        let whole = fs::read_to_string(&current).unwrap();
        assert_eq!(whole.lines().filter(|line| line.ends_with("\"}")).count(), 1900);
    }

    #[test]
    fn segments_of_an_older_version_are_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("container.log", "c"), ("container.log.1", "b"), ("container.log.2", "a")] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        fs::write(directory.path().join("container.log.0000000001.gz.new"), "").unwrap();
        drop(writer(directory.path(), 1000, 5));
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("container.log.0000000001"), "a");
        assert_eq!(read("container.log.0000000002"), "b");
        assert_eq!(read("container.log"), "c\n");
    }
}

//! The log of a container: lines of JSON as Docker's `json-file` driver writes them, in files of bounded size.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","time":"2026-11-24T05:41:33.123456789Z"}
//! ```
//!
//! A line longer than 16 KiB is written in parts, of which only the last ends in a line feed. One time stamp serves
//! all lines of one read, and they are written at once: a container must not wait for its log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config;

/// Longest part of a line kept in one entry, bytes.
const LONGEST_PART: usize = 16 * 1024;
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
    size: u64,
    /// Entries not written yet.
    batch: Vec<u8>,
    /// The begun last line of each stream.
    partial: [Vec<u8>; 2],
}

impl LogWriter {
    pub fn open(bounds: config::Log) -> io::Result<Self> {
        if let Some(directory) = bounds.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = open(&bounds.path)?;
        let size = file.metadata()?.len();
        Ok(Self { bounds, file, size, batch: Vec::new(), partial: [Vec::new(), Vec::new()] })
    }

    /// Takes what one read of a stream brought.
    pub fn take(&mut self, source: Source, mut bytes: &[u8]) -> io::Result<()> {
        let time = time_text();
        let mut partial = std::mem::take(&mut self.partial[source as usize]);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if partial.is_empty() {
                self.entries(source, line, &time)?;
            } else {
                partial.extend_from_slice(line);
                self.entries(source, &partial, &time)?;
                partial.clear();
            }
        }
        partial.extend_from_slice(bytes);
        while partial.len() > LONGEST_PART {
            let rest = partial.split_off(LONGEST_PART);
            self.entries(source, &partial, &time)?;
            partial = rest;
        }
        self.partial[source as usize] = partial;
        self.write_batch()
    }

    /// Writes the begun last lines, when a run has ended.
    pub fn finish(&mut self) -> io::Result<()> {
        let time = time_text();
        for source in [Source::Stdout, Source::Stderr] {
            let partial = std::mem::take(&mut self.partial[source as usize]);
            if !partial.is_empty() {
                self.entries(source, &partial, &time)?;
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
    fn entries(&mut self, source: Source, line: &[u8], time: &str) -> io::Result<()> {
        for part in line.chunks(LONGEST_PART) {
            self.batch.extend_from_slice(b"{\"log\":\"");
            append_escaped(&mut self.batch, part);
            self.batch.extend_from_slice(b"\",\"stream\":\"");
            self.batch.extend_from_slice(source.name());
            self.batch.extend_from_slice(b"\",\"time\":\"");
            self.batch.extend_from_slice(time.as_bytes());
            self.batch.extend_from_slice(b"\"}\n");
            if self.size + self.batch.len() as u64 >= self.bounds.max_size {
                self.write_batch()?;
                self.rotate()?;
            }
        }
        Ok(())
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.batch);
        self.size += self.batch.len() as u64;
        self.batch.clear();
        written
    }

    /// Renames `log` to `log.1`, `log.1` to `log.2` and so on, drops the oldest and begins a new file.
    fn rotate(&mut self) -> io::Result<()> {
        let older = |number: u32| numbered(&self.bounds.path, number);
        let kept = self.bounds.max_files.max(1);
        if kept == 1 {
            fs::remove_file(&self.bounds.path)?;
        } else {
            for number in (1..kept - 1).rev() {
                match fs::rename(older(number), older(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.bounds.path, older(1))?;
        }
        self.file = open(&self.bounds.path)?;
        self.size = 0;
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn time_text() -> String {
    format!("{:.9}", Timestamp::now())
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
    use serde_json::Value;

    use super::*;

    fn writer(directory: &Path, max_size: u64, max_files: u32) -> LogWriter {
        LogWriter::open(config::Log { path: directory.join("container.log"), max_size, max_files }).unwrap()
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
    fn files_are_rotated_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = writer(directory.path(), 2000, 3);
        for number in 0..200 {
            log.take(Source::Stdout, format!("line {number}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["container.log", "container.log.1", "container.log.2"]);
        let mut all = Vec::new();
        for name in names.iter().rev() {
            assert!(fs::metadata(directory.path().join(name)).unwrap().len() < 2200);
            all.extend(entries(&directory.path().join(name)));
        }
        let first: usize = all[0].1.trim().strip_prefix("line ").unwrap().parse().unwrap();
        assert_eq!(all.len(), 200 - first);
        assert_eq!(all.last().unwrap().1, "line 199\n");
    }
}

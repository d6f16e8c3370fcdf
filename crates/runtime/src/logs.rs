//! Reading a container's log, from its newest lines or its first, while it grows or once.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_container::ContainerId;
use coracle_report::Stream;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify;
use serde::Deserialize;

use crate::{Runtime, RuntimeError};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;
/// How often a log that is followed is looked at even when nothing says that it grew.
const PATIENCE: Duration = Duration::from_millis(500);

/// Which entries are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Whether to go on until the container has ended.
    pub follow: bool,
    /// How many of the last entries; `None` means all.
    pub tail: Option<usize>,
    /// Only entries of this time or later.
    pub since: Option<Timestamp>,
    /// Only entries before this time.
    pub until: Option<Timestamp>,
}

/// One line of a log, or a part of one that was long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// When it was read from the container.
    pub time: Timestamp,
    /// Which stream it came from.
    pub stream: Stream,
    /// The text, with its line feed if it has one.
    pub text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    stream: &'a str,
    time: &'a str,
}

impl Runtime {
    /// Gives the entries that `query` asks for to `sink`, oldest first, until it answers `false`. A log that is followed is
    /// let go soon after `stop` holds.
    pub fn logs(
        &self,
        id: &ContainerId,
        query: &LogQuery,
        stop: &dyn Fn() -> bool,
        sink: &mut dyn FnMut(LogEntry<'_>) -> bool,
    ) -> Result<(), RuntimeError> {
        let current = self.paths.log(id);
        let alive = || !stop() && self.state(id).is_ok_and(|state| state.has_shim());
        read(&current, query, &alive, sink).map_err(RuntimeError::file("read", current))
    }
}

/// Returns the log's files that exist, oldest first.
fn files(current: &Path) -> io::Result<Vec<File>> {
    let mut list = VecDeque::new();
    for number in 0.. {
        let path = if number == 0 { current.to_path_buf() } else { numbered(current, number) };
        match File::open(path) {
            Ok(file) => list.push_front(file),
            // The current file may just be being rotated.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(list.into())
}

fn numbered(current: &Path, number: u32) -> PathBuf {
    let mut name = current.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn read(
    current: &Path,
    query: &LogQuery,
    alive: &dyn Fn() -> bool,
    sink: &mut dyn FnMut(LogEntry<'_>) -> bool,
) -> io::Result<()> {
    read_lines(current, query.tail, query.follow, alive, &mut |line| give(line, query, sink))
}

/// Gives the lines of a file and of the older ones beside it, oldest first, until `give` answers `false`; with `follow` it
/// goes on with what is added for as long as `alive` says so.
pub(crate) fn read_lines(
    current: &Path,
    tail: Option<usize>,
    following: bool,
    alive: &dyn Fn() -> bool,
    give: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    // Watched before it is read, so that nothing falls in between.
    let watch = if following { watch(current) } else { None };
    let mut list = files(current)?;
    if let Some(count) = tail {
        list = skip_to_last(list, count)?;
    }
    let Some(mut last) = list.pop() else {
        if following {
            return follow(current, None, Vec::new(), watch.as_ref(), alive, give);
        }
        return Ok(());
    };
    for mut file in list {
        let mut rest = Vec::new();
        if !lines(&mut file, &mut rest, give)? {
            return Ok(());
        }
    }
    let mut rest = Vec::new();
    if !lines(&mut last, &mut rest, give)? || !following {
        return Ok(());
    }
    follow(current, Some(last), rest, watch.as_ref(), alive, give)
}

/// Goes on with `file`, and with the files that replace it, until the container has ended.
fn follow(
    current: &Path,
    mut file: Option<File>,
    mut rest: Vec<u8>,
    watch: Option<&OwnedFd>,
    alive: &dyn Fn() -> bool,
    give: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    loop {
        // Asked before the reading, so that what is written before the end is read after it.
        let ended = !alive();
        if let Some(file) = &mut file
            && !lines(file, &mut rest, give)?
        {
            return Ok(());
        }
        let newer = match File::open(current) {
            Ok(newer) => Some(newer),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let replaced = match (&file, &newer) {
            (Some(file), Some(newer)) => {
                let (old, new) = (file.metadata()?, newer.metadata()?);
                (old.dev(), old.ino()) != (new.dev(), new.ino())
            }
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if replaced {
            // What was written to the old file between the reading and its replacement.
            if let Some(file) = &mut file
                && !lines(file, &mut rest, give)?
            {
                return Ok(());
            }
            file = newer;
            rest = Vec::new();
            continue;
        }
        if ended {
            return Ok(());
        }
        wait(watch);
    }
}

/// Watches the directory of the log, where its file grows and is replaced.
fn watch(current: &Path) -> Option<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags).ok()?;
    let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&watch, current.parent()?, events).ok()?;
    Some(watch)
}

fn wait(watch: Option<&OwnedFd>) {
    let Some(watch) = watch else {
        std::thread::sleep(Duration::from_millis(100));
        return;
    };
    let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: i64::from(PATIENCE.subsec_nanos()) };
    let _ = rustix::event::poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&timeout));
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut space);
    while events.next().is_ok() {}
}

/// Gives every whole line that `file` still has; a begun one stays in `rest`. Returns whether more is wanted.
fn lines(file: &mut File, rest: &mut Vec<u8>, give: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<bool> {
    loop {
        let begun = rest.len();
        rest.resize(begun + CHUNK, 0);
        let count = file.read(&mut rest[begun..])?;
        rest.truncate(begun + count);
        if count == 0 {
            return Ok(true);
        }
        let mut from = 0;
        while let Some(end) = rest[from..].iter().position(|byte| *byte == b'\n') {
            if !give(&rest[from..from + end]) {
                return Ok(false);
            }
            from += end + 1;
        }
        rest.drain(..from);
    }
}

/// Parses a line and gives it on if it is wanted. A torn line is passed over.
fn give(line: &[u8], query: &LogQuery, sink: &mut dyn FnMut(LogEntry<'_>) -> bool) -> bool {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return true };
    let Ok(time) = line.time.parse::<Timestamp>() else { return true };
    if query.since.is_some_and(|since| time < since) {
        return true;
    }
    if query.until.is_some_and(|until| time >= until) {
        return false;
    }
    let stream = if line.stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
    sink(LogEntry { time, stream, text: line.log })
}

/// Leaves only the files that hold the last `count` lines, the first of them positioned at the first such line.
fn skip_to_last(list: Vec<File>, count: usize) -> io::Result<Vec<File>> {
    let mut kept = VecDeque::new();
    let mut wanted = count;
    for mut file in list.into_iter().rev() {
        let end = file.seek(SeekFrom::End(0))?;
        let mut position = end;
        let mut chunk = vec![0; CHUNK];
        let mut start = None;
        // The line feed that ends the wanted line's predecessor is one beyond those of the wanted lines.
        'back: while position > 0 {
            let size = position.min(CHUNK as u64);
            position -= size;
            let part = &mut chunk[..usize::try_from(size).expect("a chunk fits in memory")];
            file.seek(SeekFrom::Start(position))?;
            file.read_exact(part)?;
            for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                if wanted == 0 {
                    start = Some(position + index as u64 + 1);
                    break 'back;
                }
                wanted -= 1;
            }
        }
        file.seek(SeekFrom::Start(start.unwrap_or(0)))?;
        kept.push_front(file);
        if start.is_some() {
            break;
        }
    }
    Ok(kept.into())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::io::Write;

    use super::*;

    fn line(number: u32) -> String {
        let stream = if number.is_multiple_of(2) { "stdout" } else { "stderr" };
        format!(
            "{{\"log\":\"line {number}\\n\",\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{number:02}Z\"}}\n"
        )
    }

    fn text(numbers: std::ops::Range<u32>) -> String {
        numbers.map(line).collect()
    }

    fn collect(current: &Path, query: &LogQuery) -> Vec<String> {
        let mut found = Vec::new();
        read(current, query, &|| false, &mut |entry| {
            found.push(entry.text.trim_end().to_owned());
            true
        })
        .unwrap();
        found
    }

    fn expected(numbers: std::ops::Range<u32>) -> Vec<String> {
        numbers.map(|number| format!("line {number}")).collect()
    }

    #[test]
    fn rotated_files_tails_and_times() {
        let directory = tempfile::tempdir().unwrap();
        let current = directory.path().join("container.log");
        assert_eq!(collect(&current, &LogQuery::default()), Vec::<String>::new());
        fs::write(numbered(&current, 2), text(0..10)).unwrap();
        fs::write(numbered(&current, 1), text(10..20)).unwrap();
        fs::write(&current, text(20..25) + "{\"log\":\"torn").unwrap();
        assert_eq!(collect(&current, &LogQuery::default()), expected(0..25));
        fs::write(&current, text(20..25)).unwrap();
        for count in [0, 1, 5, 6, 15, 16, 25, 100] {
            let query = LogQuery { tail: Some(count), ..LogQuery::default() };
            let first = 25_u32.saturating_sub(u32::try_from(count).unwrap());
            assert_eq!(collect(&current, &query), expected(first..25), "tail {count}");
        }
        let query = LogQuery {
            since: Some("2026-01-01T00:00:08Z".parse().unwrap()),
            until: Some("2026-01-01T00:00:12Z".parse().unwrap()),
            ..LogQuery::default()
        };
        assert_eq!(collect(&current, &query), expected(8..12));
    }

    #[test]
    fn following_goes_over_a_rotation_and_ends_with_the_container() {
        let directory = tempfile::tempdir().unwrap();
        let current = directory.path().join("container.log");
        fs::write(&current, text(0..3)).unwrap();
        let steps = Cell::new(0);
        // Stands in for the container: each time it is asked whether it lives, something happens to the log.
        let alive = || {
            steps.set(steps.get() + 1);
            match steps.get() {
                1 => fs::OpenOptions::new()
                    .append(true)
                    .open(&current)
                    .unwrap()
                    .write_all(text(3..5).as_bytes())
                    .unwrap(),
                2 => {
                    fs::rename(&current, numbered(&current, 1)).unwrap();
                    fs::write(&current, text(5..7)).unwrap();
                }
                _ => {}
            }
            steps.get() < 4
        };
        let mut found = Vec::new();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        read(&current, &query, &alive, &mut |entry| {
            found.push(entry.text.trim_end().to_owned());
            true
        })
        .unwrap();
        assert_eq!(found, expected(0..7));
    }
}

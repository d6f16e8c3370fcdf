//! Reading a container's log, from its newest lines or its first, while it grows or once. Where to begin comes from the
//! indexes beside the log's segments, so that a long log is not read to find its end or an hour in it.

mod entry;
mod segment;

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use coracle_container::ContainerId;
use coracle_shim::log::files::{self, Segment};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify;

use crate::{Runtime, RuntimeError};
pub use entry::LogEntry;
use entry::Parser;
use segment::Opened;

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
        self.logs_with_pauses(id, query, stop, sink, &|| {})
    }

    /// As [`Self::logs`]; `pause` is called each time nothing more is there for now.
    pub fn logs_with_pauses(
        &self,
        id: &ContainerId,
        query: &LogQuery,
        stop: &dyn Fn() -> bool,
        sink: &mut dyn FnMut(LogEntry<'_>) -> bool,
        pause: &dyn Fn(),
    ) -> Result<(), RuntimeError> {
        let current = self.paths.log(id);
        let alive = || {
            pause();
            !stop() && self.state(id).is_ok_and(|state| state.has_shim())
        };
        read(&current, query, &alive, sink).map_err(RuntimeError::file("read", current))
    }

    /// Gives entries of a log that nobody writes any more, whose current segment is `current`.
    pub fn kept_log(
        &self,
        current: &Path,
        query: &LogQuery,
        sink: &mut dyn FnMut(LogEntry<'_>) -> bool,
    ) -> Result<(), RuntimeError> {
        let query = LogQuery { follow: false, ..*query };
        read(current, &query, &|| false, sink).map_err(RuntimeError::file("read", current))
    }
}

fn read(
    current: &Path,
    query: &LogQuery,
    alive: &dyn Fn() -> bool,
    sink: &mut dyn FnMut(LogEntry<'_>) -> bool,
) -> io::Result<()> {
    let mut parser = Parser::default();
    let mut done = false;
    read_lines(current, query.tail, query.since, query.follow, alive, &mut |line| {
        done |= !give(&mut parser, line, query, sink);
        !done
    })
}

/// Parses a line and gives it on if it is wanted. A torn line is passed over.
fn give(
    parser: &mut Parser,
    line: &[u8],
    query: &LogQuery,
    sink: &mut dyn FnMut(LogEntry<'_>) -> bool,
) -> bool {
    let Some(entry) = parser.parse(line) else { return true };
    if query.since.is_some_and(|since| entry.time < since) {
        return true;
    }
    if query.until.is_some_and(|until| entry.time >= until) {
        return false;
    }
    sink(entry)
}

/// The segment that is written, and what came before it.
struct Found {
    current: Option<File>,
    /// The number under which it will end.
    number: i64,
    older: Vec<Segment>,
}

/// Looks for a log's segments; what is found belongs together even when a rotation goes on.
fn find(current: &Path) -> io::Result<Found> {
    loop {
        let file = open(current)?;
        let older = files::segments(current)?;
        let again = open(current)?;
        let same = match (&file, &again) {
            (Some(file), Some(again)) => is_same(file, again)?,
            (None, None) => true,
            _ => false,
        };
        if same {
            let number = older.last().map_or(1, |last| last.number.max(0) + 1);
            return Ok(Found { current: file, number, older });
        }
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Gives the lines of a file and of the older ones beside it, oldest first, until `give` answers `false`; lines before
/// `since` may be left out. With `following` it goes on with what is added for as long as `alive` says so.
pub(crate) fn read_lines(
    current: &Path,
    tail: Option<usize>,
    since: Option<Timestamp>,
    following: bool,
    alive: &dyn Fn() -> bool,
    give: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    // Watched before it is read, so that nothing falls in between.
    let watch = if following { watch(current) } else { None };
    let found = find(current)?;
    let mut parts = Vec::new();
    for segment in &found.older {
        // One that was dropped since it was listed is not there.
        parts.extend(Opened::ended(segment)?);
    }
    if let Some(file) = &found.current {
        parts.push(Opened::plain(file.try_clone()?, current)?);
    }
    let parts = segment::starts(parts, tail, since)?;
    let follows_from = parts.len();
    let mut rest = Vec::new();
    for (number, mut part) in parts.into_iter().enumerate() {
        let is_current = found.current.is_some() && number + 1 == follows_from;
        rest.clear();
        if !lines(&mut part, &mut rest, give)? {
            return Ok(());
        }
        if is_current && following {
            return follow(current, Some((part, found.number)), rest, watch.as_ref(), alive, give);
        }
    }
    if following {
        return follow(current, None, Vec::new(), watch.as_ref(), alive, give);
    }
    Ok(())
}

/// Goes on with the segment that is written, and with those that come after it, until the container has ended.
fn follow(
    current: &Path,
    mut reading: Option<(Opened, i64)>,
    mut rest: Vec<u8>,
    watch: Option<&OwnedFd>,
    alive: &dyn Fn() -> bool,
    give: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    loop {
        // Asked before the reading, so that what is written before the end is read after it.
        let ended = !alive();
        if let Some((part, _)) = &mut reading
            && !lines(part, &mut rest, give)?
        {
            return Ok(());
        }
        let found = find(current)?;
        let replaced = match (&reading, &found.current) {
            (Some((part, _)), Some(newer)) => !part.is(newer)?,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if replaced {
            let mut last = i64::MIN;
            // What was written to the old file between the reading and its replacement.
            if let Some((part, number)) = &mut reading {
                last = *number;
                if !lines(part, &mut rest, give)? {
                    return Ok(());
                }
            }
            for segment in found.older.iter().filter(|segment| last > i64::MIN && segment.number > last) {
                rest.clear();
                let Some(mut part) = Opened::ended(segment)? else { continue };
                if !lines(&mut part, &mut rest, give)? {
                    return Ok(());
                }
            }
            let file = found.current.map(|file| Opened::plain(file, current)).transpose()?;
            reading = file.map(|file| (file, found.number));
            rest.clear();
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

/// Gives every whole line that is still there; a begun one stays in `rest`. Returns whether more is wanted.
fn lines(
    source: &mut impl Read,
    rest: &mut Vec<u8>,
    give: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    loop {
        let begun = rest.len();
        rest.resize(begun + CHUNK, 0);
        let count = match source.read(&mut rest[begun..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                rest.truncate(begun);
                continue;
            }
            result => result?,
        };
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::io::Write;
    use std::path::PathBuf;

    use super::*;

    /// The name of a segment as versions gave it whose numbers did not grow.
    fn numbered(current: &Path, number: u32) -> PathBuf {
        PathBuf::from(format!("{}.{number}", current.display()))
    }

    fn segment(current: &Path, number: u32) -> PathBuf {
        PathBuf::from(format!("{}.{number:010}", current.display()))
    }

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

    #[test]
    fn following_loses_nothing_over_several_rotations_and_compression() {
        let directory = tempfile::tempdir().unwrap();
        let current = directory.path().join("container.log");
        fs::write(segment(&current, 6), text(0..1)).unwrap();
        fs::write(&current, text(1..3)).unwrap();
        let steps = Cell::new(0);
        let alive = || {
            steps.set(steps.get() + 1);
            if steps.get() == 1 {
                // All between two looks: the end of the file, three rotations, and one segment compressed.
                let mut file = fs::OpenOptions::new().append(true).open(&current).unwrap();
                file.write_all(text(3..4).as_bytes()).unwrap();
                fs::rename(&current, segment(&current, 7)).unwrap();
                let packed = PathBuf::from(format!("{}.gz", segment(&current, 8).display()));
                let file = File::create(packed).unwrap();
                let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                packer.write_all(text(4..9).as_bytes()).unwrap();
                packer.finish().unwrap();
                fs::write(segment(&current, 9), text(9..10)).unwrap();
                fs::write(&current, text(10..12)).unwrap();
            }
            steps.get() < 4
        };
        let mut found = Vec::new();
        let query = LogQuery { follow: true, tail: Some(2), ..LogQuery::default() };
        read(&current, &query, &alive, &mut |entry| {
            found.push(entry.text.trim_end().to_owned());
            true
        })
        .unwrap();
        assert_eq!(found, expected(1..12));
    }
}

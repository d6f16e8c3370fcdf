//! The files of a log: how they are called, which there are, and in what order they were written.
//!
//! ```text
//! container.log                    the segment that is written now
//! container.log.idx                its index, see `index`
//! container.log.0000000007         a segment that ended; the numbers only grow
//! container.log.0000000007.idx     its index
//! container.log.0000000006.gz      an older one, compressed in members that `zcat` joins again
//! container.log.0000000006.gz.idx  its index
//! container.log.1, .2, ...         segments of a version before numbers grew: `.1` is the newest of them
//! ```
//!
//! A segment keeps its name until it is compressed or dropped, so whoever follows a log over a rotation knows which
//! segment comes next. The compressed form is renamed into place before the plain one goes: one of both is always there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Digits of a segment's number; fewer mean a segment of an older version.
const DIGITS: usize = 10;

/// A segment that is written no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number: later ones are greater. Those of an older version come before 1.
    pub number: i64,
    /// Its file; when that is gone, `path` with `.gz` may be there.
    pub path: PathBuf,
    /// Whether `path` is compressed.
    pub compressed: bool,
}

/// Returns the index of a segment's file.
pub fn index_of(segment: &Path) -> PathBuf {
    with(segment, ".idx")
}

/// Returns the compressed form of a plain segment's file.
pub fn compressed(segment: &Path) -> PathBuf {
    with(segment, ".gz")
}

/// Returns the name that a segment ends under.
pub(super) fn ended(current: &Path, number: i64) -> PathBuf {
    with(current, &format!(".{number:0DIGITS$}"))
}

pub(super) fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the segments beside `current` that ended, oldest first. A missing directory has none.
pub fn segments(current: &Path) -> io::Result<Vec<Segment>> {
    let (Some(directory), Some(name)) =
        (current.parent(), current.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        let Some(suffix) = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.')) else {
            continue;
        };
        let (digits, compressed) = match suffix.strip_suffix(".gz") {
            Some(digits) => (digits, true),
            None => (suffix, false),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Ok(number) = digits.parse::<i64>() else { continue };
        let number = if digits.len() < DIGITS { -number } else { number };
        found.push(Segment { number, path: directory.join(&file), compressed });
    }
    // For a moment both forms are there; the plain one is enough.
    found.sort_by_key(|segment| (segment.number, segment.compressed));
    found.dedup_by_key(|segment| segment.number);
    Ok(found)
}

/// Returns the number of the segment that is written now.
pub(super) fn next_number(segments: &[Segment]) -> i64 {
    segments.last().map_or(1, |last| last.number.max(0) + 1)
}

/// Removes a segment in whatever form, with its indexes.
pub(super) fn remove(segment: &Segment) -> io::Result<()> {
    let plain = if segment.compressed { segment.path.with_extension("") } else { segment.path.clone() };
    let packed = compressed(&plain);
    for path in [index_of(&plain), index_of(&packed), plain, packed] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_listed_in_the_order_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let current = directory.path().join("container.log");
        assert_eq!(segments(&directory.path().join("none/container.log")).unwrap(), []);
        for name in [
            "container.log",
            "container.log.idx",
            "container.log.1",
            "container.log.2",
            "container.log.0000000003.gz",
            "container.log.0000000004.gz",
            "container.log.0000000004",
            "container.log.0000000004.idx",
            "container.log.0000000005.gz.new",
            "container.log.x",
            "other",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let list = segments(&current).unwrap();
        let found: Vec<_> = list.iter().map(|segment| (segment.number, segment.compressed)).collect();
        assert_eq!(found, [(-2, false), (-1, false), (3, true), (4, false)]);
        assert_eq!(next_number(&list), 5);
        assert_eq!(next_number(&list[..2]), 1);
        for segment in &list {
            remove(segment).unwrap();
        }
        assert_eq!(segments(&current).unwrap(), []);
        assert!(!directory.path().join("container.log.0000000004.gz").exists());
        assert!(!directory.path().join("container.log.0000000004.idx").exists());
    }
}

//! Names of members: made relative to the root, or refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Result, SnapshotError};

pub(super) fn hostile(entry: &[u8], reason: &'static str) -> SnapshotError {
    SnapshotError::Hostile { entry: String::from_utf8_lossy(entry).into_owned(), reason }
}

/// Returns a member's path relative to the root: `/a/./b/` is `a/b`.
pub(super) fn clean(path: &[u8], entry: &[u8]) -> Result<PathBuf> {
    if path.contains(&0) {
        return Err(hostile(entry, "its name has a zero byte"));
    }
    if path.len() > 4096 {
        return Err(hostile(entry, "its name is too long"));
    }
    let mut clean = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => return Err(hostile(entry, "its name has `..` in it")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_names() {
        let table: [(&[u8], &str); 5] = [
            (b"/etc//passwd", "etc/passwd"),
            (b"./a/./b/", "a/b"),
            (b"./", ""),
            (b"/", ""),
            (b"..a/b..", "..a/b.."),
        ];
        for (name, expected) in table {
            assert_eq!(clean(name, name).unwrap(), Path::new(expected));
        }
        for name in [&b"../a"[..], b"a/../../b", b"a/..", b"a\0b"] {
            assert!(clean(name, name).is_err());
        }
    }
}

//! A throwaway directory of snapshots, and a description of trees to compare.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use coracle_oci::{DiffId, Digest};
use coracle_snapshot::{Snapshot, SnapshotId, Snapshots};

pub struct World {
    pub snapshots: Snapshots,
    pub directory: tempfile::TempDir,
}

impl World {
    /// Returns a world, or `None` (and says so) when the test cannot run for want of privileges.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            eprintln!("SKIPPED: needs root for devices, owners and mounts");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(&directory.path().join("snapshots")).unwrap();
        Some(Self { snapshots, directory })
    }

    /// Commits a snapshot whose layer `fill` writes.
    pub fn layer(&self, parent: Option<&SnapshotId>, fill: impl FnOnce(&Path)) -> Snapshot {
        let active = self.snapshots.prepare(parent).unwrap();
        fill(&active.layer_path());
        active.commit().unwrap()
    }

    pub fn tar(&self, id: &SnapshotId) -> (Vec<u8>, DiffId) {
        let mut bytes = Vec::new();
        let info = self.snapshots.layer_tar(id, &mut bytes, None).unwrap();
        assert_eq!(info.size, bytes.len() as u64);
        assert_eq!(info.diff_id, DiffId::new(Digest::of(&bytes)));
        (bytes, info.diff_id)
    }
}

/// Builds an archive with the field's own library.
pub struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds a member with a name that no check has seen.
    pub fn add(mut self, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn file(self, name: &str, content: &str) -> Self {
        self.add(tar::EntryType::Regular, name, "", content.as_bytes())
    }

    pub fn dir(self, name: &str) -> Self {
        self.add(tar::EntryType::Directory, name, "", b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Symlink, name, target, b"")
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.add(tar::EntryType::Link, name, target, b"")
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Describes every file below a directory in one line each, all that a layer must keep.
pub fn describe(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut lines = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(path) = todo.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let relative = path.strip_prefix(directory).unwrap().to_owned();
        let kind = metadata.file_type();
        let mut line = format!(
            "{:o} {}:{} {}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            if relative.as_os_str().is_empty() { 0 } else { metadata.mtime() },
        );
        if kind.is_file() {
            let content = std::fs::read(&path).unwrap();
            write!(line, " {} {}", content.len(), Digest::of(&content).short()).unwrap();
        } else if kind.is_symlink() {
            write!(line, " -> {}", std::fs::read_link(&path).unwrap().display()).unwrap();
        } else if kind.is_char_device() || kind.is_block_device() {
            if metadata.rdev() == 0 {
                "whiteout".clone_into(&mut line);
            } else {
                write!(line, " {:x}", metadata.rdev()).unwrap();
            }
        } else if kind.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if kind.is_file() || kind.is_dir() {
            for name in xattrs(&path) {
                let mut value = vec![0; 4096];
                let length = rustix::fs::lgetxattr(&path, &*name, &mut value).unwrap();
                write!(line, " {name}={}", String::from_utf8_lossy(&value[..length])).unwrap();
            }
        }
        if metadata.nlink() > 1 && !kind.is_dir() {
            first_names.entry(metadata.ino()).or_insert_with(Vec::new).push(relative.clone());
        }
        lines.insert(relative, line);
    }
    for mut names in first_names.into_values() {
        names.sort();
        for name in &names {
            write!(lines.get_mut(name).unwrap(), " same as {}", names[0].display()).unwrap();
        }
    }
    lines
}

fn xattrs(path: &Path) -> Vec<String> {
    let mut names = vec![0u8; 65536];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let mut names: Vec<String> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8(name.to_vec()).unwrap())
        .filter(|name| name != "security.selinux")
        .collect();
    names.sort();
    names
}

/// Changes the owner and permissions of a path.
pub fn own(path: &Path, mode: u32, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

pub fn whiteout(path: &Path) {
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::empty(), 0).unwrap();
}

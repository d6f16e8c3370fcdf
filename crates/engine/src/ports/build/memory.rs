//! What is remembered of builds, to explain later ones: compressed, bounded, and lost without harm.
//!
//! ```text
//! build-memories/builds/<hex of context, Dockerfile and name>
//! build-memories/steps/<hex of the step's key>
//! ```

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_build::{Memory, SourceEntry};
use coracle_oci::Digest;
use coracle_snapshot::rootfs::{Content, FileKind, TreeEntry};
use coracle_store::Layout;

use crate::contexts::{ContextSource, Place};

/// Memories of one kind that are kept, those written last.
const MOST: usize = 4096;
/// Bytes of them.
const MOST_BYTES: u64 = 256 << 20;
/// How fast they are compressed rather than how well.
const LEVEL: i32 = 1;
/// Bytes that one memory may have; more is no memory of ours.
const LONGEST: u64 = 1 << 28;

/// The memories of builds of one context and Dockerfile.
pub(super) struct Memories {
    root: PathBuf,
    scope: String,
    written: AtomicBool,
}

impl Memories {
    /// Returns what is remembered of a [`scope`]; reads nothing yet.
    pub fn new(layout: &Layout, scope: String) -> Self {
        Self { root: layout.build_memories(), scope, written: AtomicBool::new(false) }
    }

    fn path(&self, memory: Memory<'_>) -> PathBuf {
        match memory {
            Memory::Build(name) => {
                let name = Digest::of(format!("{}\n{name}", self.scope)).hex();
                self.root.join("builds").join(name)
            }
            Memory::Step(key) => self.root.join("steps").join(key.hex()),
        }
    }

    /// Returns what was kept; `None` also of what cannot be read.
    pub fn recall(&self, memory: Memory<'_>) -> Option<Vec<u8>> {
        let file = std::fs::File::open(self.path(memory)).ok()?;
        let mut bytes = Vec::new();
        zstd::Decoder::new(file).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Keeps bytes, in one step and without waiting for the disk.
    pub fn remember(&self, memory: Memory<'_>, content: &[u8]) {
        let path = self.path(memory);
        // A memory that cannot be kept costs an explanation, and the disk's state is told by what needs it.
        let _ = write(&path, content);
        self.written.store(true, Ordering::Relaxed);
    }

    /// Removes the oldest when there are too many. Does nothing when nothing was written.
    pub fn bound(&self) {
        if self.written.load(Ordering::Relaxed) {
            for kind in ["builds", "steps"] {
                bound(&self.root.join(kind), MOST, MOST_BYTES);
            }
        }
    }
}

/// Returns what a context and its Dockerfile are remembered by: files of this machine by their whole path, the rest by
/// what the user wrote (a URL with its reference, `-`), whatever directory it was unpacked to this time.
pub(super) fn scope(context: &ContextSource, opened: &Place, dockerfile: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
    let name = match context {
        ContextSource::Path(path) => whole(path),
        ContextSource::Stdin | ContextSource::Url(_) | ContextSource::Git(_) => context.to_string(),
    };
    let dockerfile = match dockerfile.strip_prefix(&opened.directory) {
        Ok(inside) if opened.is_foreign() => inside.display().to_string(),
        // A Dockerfile's text alone, or standard input's, has no path.
        _ if opened.is_foreign() || dockerfile == Path::new("-") => dockerfile.display().to_string(),
        _ => whole(dockerfile),
    };
    format!("{name}\n{dockerfile}")
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
    zstd::stream::copy_encode(content, file.as_file_mut(), LEVEL)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn bound(directory: &Path, most: usize, most_bytes: u64) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort_by(|a, b| b.cmp(a));
    let (mut count, mut bytes) = (0, 0);
    for (_, size, path) in files {
        count += 1;
        bytes += size;
        if count > most || bytes > most_bytes {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Returns a file of a tree in the builder's words.
pub(super) fn entry(entry: TreeEntry) -> SourceEntry {
    let kind = match entry.metadata.kind {
        FileKind::File => 'f',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Character | FileKind::Block | FileKind::Fifo | FileKind::Socket => 's',
    };
    let content = match &entry.content {
        Content::None => String::new(),
        Content::Bytes(digest) => hex::encode(digest),
        Content::Link(target) => Digest::of(target.as_encoded_bytes()).hex(),
        Content::Device(number) => format!("{number:012x}"),
    };
    let size = if kind == 'f' { entry.metadata.size } else { 0 };
    let path = entry.path.to_string_lossy().into_owned();
    SourceEntry { path, kind, mode: entry.metadata.mode, content, size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_kept_apart_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path().join("data"), directory.path().join("run"));
        let one = Memories::new(&layout, "here\nDockerfile".to_owned());
        let other = Memories::new(&layout, "here\nother.Dockerfile".to_owned());
        assert_eq!(one.recall(Memory::Build("linux/amd64")), None);
        one.remember(Memory::Build("linux/amd64"), b"first");
        one.remember(Memory::Build("linux/amd64"), b"second");
        assert_eq!(one.recall(Memory::Build("linux/amd64")).as_deref(), Some(&b"second"[..]));
        assert_eq!(one.recall(Memory::Build("linux/arm64")), None);
        assert_eq!(other.recall(Memory::Build("linux/amd64")), None);
        let builds = layout.build_memories().join("builds");
        std::fs::write(builds.join("broken"), "no zstd").unwrap();
        bound(&builds, 1, MOST_BYTES);
        assert_eq!(std::fs::read_dir(&builds).unwrap().count(), 1);
        bound(&builds, 1, 2);
        assert_eq!(std::fs::read_dir(&builds).unwrap().count(), 0);
    }

    #[test]
    fn what_is_unpacked_is_known_by_where_it_came_from() {
        let source = ContextSource::Git(coracle_build::GitSource {
            subdir: "app".to_owned(),
            ..match ContextSource::parse("https://host/name.git#v1").unwrap() {
                ContextSource::Git(source) => source,
                other => panic!("{other:?}"),
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path().join("data"), directory.path().join("run"));
        let scopes: Vec<String> = (0..2)
            .map(|_| {
                let opened = Place::unpacked(&layout).unwrap();
                let dockerfile = opened.directory.join("docker/Dockerfile");
                scope(&source, &opened, &dockerfile)
            })
            .collect();
        assert_eq!(scopes[0], scopes[1]);
        assert!(scopes[0].contains("name.git") && scopes[0].ends_with("\ndocker/Dockerfile"), "{scopes:?}");
        let opened = Place::unpacked(&layout).unwrap();
        let stdin = scope(&ContextSource::Stdin, &opened, &opened.directory.join("Dockerfile"));
        assert_eq!(stdin, "-\nDockerfile");
    }
}

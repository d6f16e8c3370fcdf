//! The layer: a finished tree written as a tar that depends on nothing but the tree's content.
//!
//! Entries sorted by path, numeric owners, times not after [`EPOCH`], hard links kept, what a run of the tools
//! leaves behind (caches, logs, locks, the host's resolver) left out.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use coracle_oci::{DiffId, Sha256Writer};
use regex::RegexSet;
use tar::{Builder, EntryType, Header};

/// The latest time in any layer, and the time every image says it was made: 2026-01-01, seconds since 1970.
pub(crate) const EPOCH: u64 = 1_767_225_600;
/// [`EPOCH`] as an image configuration writes it.
pub(crate) const EPOCH_TEXT: &str = "2026-01-01T00:00:00Z";

/// What no layer holds, besides what a recipe excludes.
const EXCLUDED: &[&str] = &[
    ".coracle",
    ".coracle/**",
    "dev/**",
    "proc/**",
    "sys/**",
    "run/**",
    "tmp/**",
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "etc/machine-id",
    "root/.cache/**",
    "usr/share/doc/**",
    "usr/share/info/**",
    "usr/share/lintian/**",
    "usr/share/locale/**",
    "usr/share/man/**",
    "var/cache/apt/**",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/**",
    "var/lib/apt/lists/**",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
    "var/log/alternatives.log",
    "var/log/apt/**",
    "var/log/btmp",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
    "var/log/faillog",
    "var/log/lastlog",
    "var/log/wtmp",
];

/// What a layer holds although [`EXCLUDED`] says otherwise: the licences.
const KEPT: &[&str] = &["usr/share/doc/*", "usr/share/doc/*/copyright"];

/// Files that a running container's engine fills in, empty in the image.
const EMPTIED: &[&str] = &["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Why a tree could not be written as a layer.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Reading the tree failed.
    #[error("cannot read `{path}` of the new tree")]
    Read {
        /// The path inside the tree.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing the tar failed.
    #[error("cannot write layer `{path}`")]
    Write {
        /// The tar.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Path patterns: `*` any characters but `/`, `**` any characters.
pub(crate) struct Globs(RegexSet);

impl Globs {
    pub(crate) fn new(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let expressions = patterns.into_iter().map(|pattern| {
            let literal = regex::escape(pattern.as_ref().trim_start_matches('/'));
            format!(r"\A{}\z", literal.replace(r"\*\*", ".*").replace(r"\*", "[^/]*"))
        });
        Self(RegexSet::new(expressions).expect("escaped literals and wildcards always compile"))
    }

    /// Says whether the whole of `path`, relative, fits one of the patterns.
    pub(crate) fn fit(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

/// Writes the layer of `tree` to `output`; returns its digest and size in bytes.
pub(crate) fn write(tree: &Path, exclude: &[String], output: &Path) -> Result<(DiffId, u64), LayerError> {
    let failed = |source| LayerError::Write { path: output.to_owned(), source };
    let file = File::create(output).map_err(failed)?;
    let mut writer = Writer {
        tree,
        output,
        excluded: Globs::new(EXCLUDED.iter().copied().chain(exclude.iter().map(String::as_str))),
        kept: Globs::new(KEPT),
        emptied: Globs::new(EMPTIED),
        links: HashMap::new(),
        builder: Builder::new(Sha256Writer::new(BufWriter::with_capacity(1 << 20, file))),
    };
    writer.directory(Path::new(""))?;
    let (mut file, digest, size) = writer.builder.into_inner().map_err(failed)?.finish();
    file.flush().map_err(failed)?;
    Ok((DiffId::new(digest), size))
}

struct Writer<'a> {
    tree: &'a Path,
    output: &'a Path,
    excluded: Globs,
    kept: Globs,
    emptied: Globs,
    /// The first path of every file with several links, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    builder: Builder<Sha256Writer<BufWriter<File>>>,
}

impl Writer<'_> {
    fn directory(&mut self, path: &Path) -> Result<(), LayerError> {
        let failed = |source| LayerError::Read { path: path.to_owned(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(self.tree.join(path)).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort_unstable();
        for name in names {
            self.entry(&path.join(name))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path) -> Result<(), LayerError> {
        let text = path.to_string_lossy();
        let left_out = self.excluded.fit(&text) && !self.kept.fit(&text);
        let source = self.tree.join(path);
        let metadata = fs::symlink_metadata(&source)
            .map_err(|source| LayerError::Read { path: path.to_owned(), source })?;
        let kind = metadata.file_type();
        // Sockets cannot be in a tar; devices have no place in an image.
        if left_out || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
            return Ok(());
        }
        self.append(path, &source, &metadata)?;
        if kind.is_dir() { self.directory(path) } else { Ok(()) }
    }

    fn append(&mut self, path: &Path, source: &Path, metadata: &Metadata) -> Result<(), LayerError> {
        let read = |source| LayerError::Read { path: path.to_owned(), source };
        let output = self.output;
        let write = |source| LayerError::Write { path: output.to_owned(), source };
        let kind = metadata.file_type();
        let mut header = Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0).min(EPOCH));
        header.set_size(0);
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(source).map_err(read)?;
            return self.builder.append_link(&mut header, path, target).map_err(write);
        }
        if kind.is_file() && metadata.nlink() > 1 {
            let inode = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&inode) {
                header.set_entry_type(EntryType::Link);
                return self.builder.append_link(&mut header, path, first).map_err(write);
            }
            self.links.insert(inode, path.to_owned());
        }
        if let Some(capability) = file_capability(source).map_err(read)? {
            let extension = [("SCHILY.xattr.security.capability", capability.as_slice())];
            self.builder.append_pax_extensions(extension).map_err(write)?;
        }
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            return self.builder.append_data(&mut header, path, io::empty()).map_err(write);
        }
        if kind.is_fifo() {
            header.set_entry_type(EntryType::Fifo);
            return self.builder.append_data(&mut header, path, io::empty()).map_err(write);
        }
        header.set_entry_type(EntryType::Regular);
        if self.emptied.fit(&path.to_string_lossy()) {
            header.set_mode(0o644);
            return self.builder.append_data(&mut header, path, io::empty()).map_err(write);
        }
        header.set_size(metadata.len());
        let file = File::open(source).map_err(read)?;
        self.builder.append_data(&mut header, path, file).map_err(write)
    }
}

/// Returns the file capabilities (capabilities(7)) of a file, if it has any.
fn file_capability(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let name = OsStr::from_bytes(b"security.capability");
    let mut buffer = [0_u8; 64];
    match rustix::fs::lgetxattr(path, name, &mut buffer) {
        Ok(length) => Ok(Some(buffer[..length].to_vec())),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn make_tree(root: &Path, reversed: bool) {
        let mut files = vec![
            ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
            ("etc/passwd-", "old"),
            ("etc/resolv.conf", "nameserver 192.0.2.1\n"),
            ("usr/share/doc/x/copyright", "free"),
            ("usr/share/doc/x/README", "long"),
            ("var/cache/apt/pkgcache.bin", "cache"),
            ("tmp/left", "over"),
            ("opt/app/cache/x", "by the recipe"),
        ];
        if reversed {
            files.reverse();
        }
        for (path, content) in files {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), content).unwrap();
            fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o640)).unwrap();
        }
        fs::hard_link(root.join("etc/passwd"), root.join("etc/passwd2")).unwrap();
        std::os::unix::fs::symlink("passwd", root.join("etc/link")).unwrap();
        for directory in [
            "etc",
            "opt",
            "opt/app",
            "opt/app/cache",
            "tmp",
            "usr",
            "usr/share",
            "usr/share/doc",
            "usr/share/doc/x",
            "var",
            "var/cache",
            "var/cache/apt",
        ] {
            fs::set_permissions(root.join(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn holds_what_it_should_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        make_tree(&tree, false);
        let output = directory.path().join("layer.tar");
        write(&tree, &["opt/**/cache/**".to_owned(), "/opt/app/cache/**".to_owned()], &output).unwrap();
        let mut archive = tar::Archive::new(File::open(output).unwrap());
        let mut lines = Vec::new();
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            lines.push(format!(
                "{:?} {:o} {} {}{}",
                header.entry_type(),
                header.mode().unwrap(),
                header.size().unwrap(),
                entry.path().unwrap().display(),
                entry.link_name().unwrap().map(|name| format!(" -> {}", name.display())).unwrap_or_default(),
            ));
            assert!(header.mtime().unwrap() <= EPOCH);
        }
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn equal_trees_give_equal_layers() {
        let directory = tempfile::tempdir().unwrap();
        let digests = [false, true].map(|reversed| {
            let tree = directory.path().join(format!("tree-{reversed}"));
            make_tree(&tree, reversed);
            write(&tree, &[], &directory.path().join(format!("{reversed}.tar"))).unwrap()
        });
        assert_eq!(digests[0], digests[1]);
    }
}

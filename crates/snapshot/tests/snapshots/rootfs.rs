//! Access inside a root: what it reaches, what it never reaches, and copies.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use coracle_snapshot::RootFs;
use coracle_snapshot::rootfs::{CopyOptions, DigestOptions, FileKind, ModeChange, Visit, digest_tree};

use crate::world::{describe, own, set_xattr};

struct Roots {
    directory: tempfile::TempDir,
    source: RootFs,
    target: RootFs,
}

impl Roots {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["source", "target", "outside"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("outside/secret"), "secret").unwrap();
        let open = |name: &str| RootFs::open_directory(&directory.path().join(name)).unwrap();
        Self { source: open("source"), target: open("target"), directory }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }
}

fn root_only() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "needs root");
    eprintln!("SKIPPED: needs root to change owners");
    false
}

#[test]
fn links_stay_inside() {
    let roots = Roots::new();
    let outside = roots.path("outside");
    symlink(&outside, roots.path("target/absolute")).unwrap();
    symlink("../outside", roots.path("target/relative")).unwrap();
    symlink("/proc/self/root", roots.path("target/magic")).unwrap();
    for path in ["absolute/secret", "relative/secret", "magic/etc/passwd", "../outside/secret"] {
        let error = roots.target.read(Path::new(path), 100).unwrap_err();
        assert!(error.is_not_found(), "{path}: {error}");
    }
    // A dangling link's target is made where a process inside would make it.
    roots.target.mkdir_all(Path::new("relative/sub"), 0o755, 0, 0).unwrap();
    assert!(roots.path("target/outside/sub").is_dir());
    assert!(!roots.path("outside/sub").exists());
    roots.target.write_file(Path::new("relative/file"), b"x", 0o644, 0, 0).unwrap();
    assert!(roots.path("target/outside/file").exists());
    // Writing over a link replaces the link.
    symlink(outside.join("secret"), roots.path("target/over")).unwrap();
    roots.target.write_file(Path::new("over"), b"x", 0o644, 0, 0).unwrap();
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    roots.target.remove(Path::new("absolute")).unwrap();
    assert!(outside.join("secret").exists());
    symlink("loop", roots.path("target/loop")).unwrap();
    assert!(roots.target.mkdir_all(Path::new("loop/x"), 0o755, 0, 0).is_err());
}

#[test]
fn reads_are_bounded_and_only_of_files() {
    let roots = Roots::new();
    roots.target.write_file(Path::new("/a"), b"12345", 0o640, 0, 0).unwrap();
    assert_eq!(roots.target.read(Path::new("/a"), 5).unwrap(), b"12345");
    assert!(roots.target.read(Path::new("/a"), 4).is_err());
    rustix::fs::mkfifoat(rustix::fs::CWD, roots.path("target/pipe"), rustix::fs::Mode::RUSR).unwrap();
    assert!(roots.target.read(Path::new("pipe"), 5).is_err());
    assert!(roots.target.read(Path::new("/"), 5).is_err());
    let metadata = roots.target.stat(Path::new("a")).unwrap().unwrap();
    assert_eq!((metadata.kind, metadata.mode, metadata.size), (FileKind::File, 0o640, 5));
    assert_eq!(roots.target.stat(Path::new("a/b")).unwrap(), None);
    roots.target.symlink(Path::new("/a"), Path::new("link")).unwrap();
    assert_eq!(roots.target.read_link(Path::new("link")).unwrap(), Path::new("/a"));
    assert_eq!(roots.target.stat_link(Path::new("link")).unwrap().unwrap().kind, FileKind::Symlink);
    assert_eq!(roots.target.stat(Path::new("link")).unwrap().unwrap().kind, FileKind::File);
}

#[test]
fn only_empty_stubs_are_removed() {
    let roots = Roots::new();
    roots.target.mkdir_all(Path::new("empty"), 0o755, 0, 0).unwrap();
    roots.target.mkdir_all(Path::new("full/x"), 0o755, 0, 0).unwrap();
    roots.target.write_file(Path::new("none"), b"", 0o644, 0, 0).unwrap();
    roots.target.write_file(Path::new("some"), b"x", 0o644, 0, 0).unwrap();
    for (path, removed) in [
        ("empty", true),
        ("full", false),
        ("none", true),
        ("some", false),
        ("missing", false),
        ("a/b", false),
    ] {
        assert_eq!(roots.target.remove_empty_stub(Path::new(path)).unwrap(), removed, "{path}");
    }
    assert!(roots.path("target/full/x").exists() && roots.path("target/some").exists());
}

#[test]
fn copies_keep_what_they_should() {
    if !root_only() {
        return;
    }
    let roots = Roots::new();
    let source = roots.path("source");
    fs::create_dir_all(source.join("app/deep")).unwrap();
    own(&source.join("app/deep"), 0o2750, 11, 12);
    fs::write(source.join("app/deep/file"), vec![7; 300_000]).unwrap();
    own(&source.join("app/deep/file"), 0o4711, 11, 12);
    set_xattr(&source.join("app/deep/file"), "user.note", b"kept");
    symlink("/nowhere", source.join("app/link")).unwrap();
    let past = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
    fs::File::open(source.join("app/deep/file")).unwrap().set_modified(past).unwrap();
    fs::File::open(source.join("app/deep")).unwrap().set_modified(past).unwrap();

    let keep = CopyOptions { keep_mtime: true, ..CopyOptions::default() };
    let summary =
        roots.target.copy_tree_in(&roots.source, Path::new("/app"), Path::new("/srv/app"), &keep).unwrap();
    assert_eq!((summary.files, summary.bytes), (2, 300_000));
    let (mut from, mut to) = (describe(&source.join("app")), describe(&roots.path("target/srv/app")));
    // The link's own time is kept too; the top directory's time is compared as 0.
    assert_eq!(from.remove(Path::new("link")), to.remove(Path::new("link")));
    assert_eq!(from, to);

    let mode = ModeChange::Fixed(0o700);
    let owned = CopyOptions { owner: Some((5, 6)), mode: Some(&mode), ..CopyOptions::default() };
    roots.target.copy_tree_in(&roots.source, Path::new("app"), Path::new("/two"), &owned).unwrap();
    let metadata = fs::metadata(roots.path("target/two/deep/file")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o700, 5, 6));
    assert!(metadata.mtime() > 1_000);
}

#[test]
fn copies_into_what_exists_follow_links_to_directories_and_replace_files() {
    let roots = Roots::new();
    let (source, target) = (roots.path("source"), roots.path("target"));
    fs::create_dir_all(source.join("lib")).unwrap();
    fs::write(source.join("lib/new"), "new").unwrap();
    fs::write(source.join("file"), "new").unwrap();
    fs::create_dir_all(target.join("usr/lib")).unwrap();
    symlink("/usr/lib", target.join("lib")).unwrap();
    symlink(roots.path("outside/secret"), target.join("file")).unwrap();
    let options = CopyOptions::default();
    roots.target.copy_tree_in(&roots.source, Path::new("/"), Path::new("/"), &options).unwrap();
    assert_eq!(fs::read(target.join("usr/lib/new")).unwrap(), b"new");
    assert!(target.join("lib").is_symlink());
    assert_eq!(fs::read(target.join("file")).unwrap(), b"new");
    assert_eq!(fs::read(roots.path("outside/secret")).unwrap(), b"secret");
    // A file never replaces a directory.
    fs::create_dir(target.join("taken")).unwrap();
    assert!(
        roots.target.copy_tree_in(&roots.source, Path::new("file"), Path::new("/taken"), &options).is_err()
    );
    // A missing source is told apart.
    let error = roots.target.copy_tree_in(&roots.source, Path::new("no"), Path::new("/no"), &options);
    assert!(error.unwrap_err().is_not_found());
    // The source may be named through a link.
    symlink("file", source.join("alias")).unwrap();
    roots.target.copy_tree_in(&roots.source, Path::new("alias"), Path::new("a/b"), &options).unwrap();
    assert!(target.join("a/b").symlink_metadata().unwrap().is_file());
}

#[test]
fn filters_choose_what_is_copied_and_what_counts() {
    let roots = Roots::new();
    let source = roots.path("source");
    for path in ["src", "node_modules/a", "logs/keep"] {
        fs::create_dir_all(source.join(path)).unwrap();
        fs::write(source.join(path).join("file"), path).unwrap();
    }
    let filter = |path: &Path, is_directory: bool| match path.to_str().unwrap() {
        "node_modules" => Visit::Skip,
        "logs" => {
            assert!(is_directory);
            Visit::Descend
        }
        _ => Visit::Take,
    };
    let options = CopyOptions { filter: Some(&filter), ..CopyOptions::default() };
    roots.target.copy_tree_in(&roots.source, Path::new("/"), Path::new("/app"), &options).unwrap();
    let names: Vec<_> = describe(&roots.path("target/app")).into_keys().collect();
    let expected = ["", "logs", "logs/keep", "logs/keep/file", "src", "src/file"].map(PathBuf::from);
    assert_eq!(names, expected);

    let digest = || {
        let all = [Path::new("/")];
        digest_tree(&roots.source, &all, Some(&filter), DigestOptions::default()).unwrap()
    };
    let first = digest();
    fs::write(source.join("node_modules/a/file"), "changed").unwrap();
    assert_eq!(digest(), first, "what is left out does not count");
    fs::File::open(source.join("src/file")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(digest(), first, "times do not count");
    let mut digests = vec![first];
    fs::write(source.join("src/file"), "other").unwrap();
    digests.push(digest());
    fs::set_permissions(source.join("src/file"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    digests.push(digest());
    fs::rename(source.join("src/file"), source.join("src/other")).unwrap();
    digests.push(digest());
    symlink("other", source.join("src/link")).unwrap();
    digests.push(digest());
    fs::remove_file(source.join("src/link")).unwrap();
    symlink("another", source.join("src/link")).unwrap();
    digests.push(digest());
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 6, "every change counts");
}

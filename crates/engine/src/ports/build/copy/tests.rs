//! What `COPY` and `ADD` put where, without an engine: from a directory into a directory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use coracle_build::{SourcePath, SourcePlace};

use super::*;
use crate::Fault;

struct World {
    directory: tempfile::TempDir,
}

impl World {
    /// Returns a context and a root file system, or `None` (and says so) without the rights to change owners.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            eprintln!("SKIPPED: needs root to change owners");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        for name in ["context", "root/etc"] {
            std::fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let world = Self { directory };
        world.write("root/etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n");
        world.write("root/etc/group", "root:x:0:\nstaff:x:50:\n");
        Some(world)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Writes a file of the context with its mode.
    fn file(&self, path: &str, mode: u32) {
        let path = format!("context/{path}");
        self.write(&path, path.rsplit('/').next().unwrap());
        std::fs::set_permissions(self.path(&path), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn copy(&self, request: &CopyRequest) -> std::result::Result<(), String> {
        let from = Sources::context(&self.path("context"), &self.path("context/Dockerfile")).unwrap();
        self.copy_from(&from, request)
    }

    fn copy_from(&self, from: &Sources, request: &CopyRequest) -> std::result::Result<(), String> {
        let plan = Plan::new(request, from).map_err(|fault| format!("{fault:?}"))?;
        let to = RootFs::open_directory(&self.path("root")).unwrap();
        plan.put(&to, &[]).map_err(|failure| {
            assert_eq!(failure.fault, Fault::User, "{failure:?}");
            failure.first().message.clone()
        })
    }

    /// Describes what is in the root, without `/etc`.
    fn tree(&self) -> BTreeMap<String, String> {
        let root = self.path("root");
        let mut lines = BTreeMap::new();
        let mut todo = vec![root.clone()];
        while let Some(path) = todo.pop() {
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            let kind = metadata.file_type();
            let mut line = format!("{:o} {}:{}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            if kind.is_dir() {
                todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                line.insert_str(0, "d ");
            } else if kind.is_symlink() {
                line = format!("-> {}", std::fs::read_link(&path).unwrap().display());
            } else if kind.is_file() {
                write!(line, " {}", std::fs::read_to_string(&path).unwrap()).unwrap();
            } else if kind.is_fifo() {
                line.insert_str(0, "p ");
            }
            if !name.is_empty() && !name.starts_with("etc") {
                lines.insert(name, line);
            }
        }
        lines
    }

    fn expect(&self, expected: &[(&str, &str)]) {
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(path, line)| ((*path).to_owned(), (*line).to_owned())).collect();
        assert_eq!(self.tree(), expected);
    }
}

fn request(sources: &[&str], dest: &str) -> CopyRequest {
    let path = |path: &&str| {
        CopyItem::Path(SourcePath {
            path: (*path).to_owned(),
            literal: false,
            trailing_slash: false,
            pivot: None,
        })
    };
    CopyRequest {
        parent: None,
        place: SourcePlace::Context,
        items: sources.iter().map(path).collect(),
        exclude: Vec::new(),
        dest: dest.to_owned(),
        chown: None,
        chmod: None,
        parents: false,
        unpack: Unpack::Never,
    }
}

fn with_parents(source: &str, pivot: &str, dest: &str) -> CopyRequest {
    let mut request = request(&[], dest);
    request.parents = true;
    let path = SourcePath {
        path: source.to_owned(),
        literal: false,
        trailing_slash: false,
        pivot: Some(pivot.to_owned()),
    };
    request.items.push(CopyItem::Path(path));
    request
}

#[test]
fn destinations_are_names_or_directories() {
    let table: [(&[&str], &str, &[&str]); 9] = [
        (&["a.txt"], "/new", &["new"]),
        (&["a.txt"], "/x/y/new", &["x", "x/y", "x/y/new"]),
        (&["a.txt"], "/dir/", &["dir", "dir/a.txt"]),
        (&["a.txt", "b.txt"], "/dir/", &["dir", "dir/a.txt", "dir/b.txt"]),
        (&["*.txt"], "/dir", &["dir", "dir/a.txt", "dir/b.txt"]),
        (&["sub"], "/dir", &["dir", "dir/deep", "dir/deep/c.txt"]),
        (&["s*"], "/dir/", &["dir", "dir/deep", "dir/deep/c.txt"]),
        (&["a.txt", "none*"], "/", &["a.txt"]),
        (&["sub/*/c.txt"], "/", &["c.txt"]),
    ];
    for (sources, dest, expected) in table {
        let Some(world) = World::new() else { return };
        for path in ["a.txt", "b.txt", "sub/deep/c.txt"] {
            world.file(path, 0o640);
        }
        world.copy(&request(sources, dest)).unwrap();
        assert_eq!(world.tree().into_keys().collect::<Vec<_>>(), expected, "{sources:?} {dest}");
    }
}

#[test]
fn modes_and_owners() {
    let table = [
        (None, None, "4750 0:0 tool", "d 755 0:0"),
        (Some("0644"), None, "644 0:0 tool", "d 644 0:0"),
        (Some("4711"), None, "4711 0:0 tool", "d 4711 0:0"),
        (Some("u-s,go+x"), None, "751 0:0 tool", "d 755 0:0"),
        (Some("a=rX"), None, "555 0:0 tool", "d 755 0:0"),
        (None, Some("app"), "4750 1000:1001 tool", "d 755 1000:1001"),
        (None, Some("app:staff"), "4750 1000:50 tool", "d 755 1000:50"),
        (None, Some("7"), "4750 7:7 tool", "d 755 7:7"),
        (None, Some("7:staff"), "4750 7:50 tool", "d 755 7:50"),
        (None, Some("0:9"), "4750 0:9 tool", "d 755 0:9"),
    ];
    for (chmod, chown, file, directory) in table {
        let Some(world) = World::new() else { return };
        world.file("tool", 0o4750);
        std::os::unix::fs::chown(world.path("context/tool"), Some(33), Some(33)).unwrap();
        std::fs::set_permissions(world.path("context/tool"), PermissionsExt::from_mode(0o4750)).unwrap();
        let mut request = request(&["tool"], "/opt/");
        request.chmod = chmod.map(str::to_owned);
        request.chown = chown.map(str::to_owned);
        world.copy(&request).unwrap();
        world.expect(&[("opt", directory), ("opt/tool", file)]);
    }
    let Some(world) = World::new() else { return };
    world.file("tool", 0o644);
    let mut request = request(&["tool"], "/opt/");
    request.chown = Some("nobody".to_owned());
    assert!(world.copy(&request).unwrap_err().contains("nobody"));
}

#[test]
fn a_stages_files_keep_their_owners() {
    let Some(world) = World::new() else { return };
    world.file("d/f", 0o644);
    std::os::unix::fs::chown(world.path("context/d/f"), Some(12), Some(13)).unwrap();
    let stage = Sources::tree(RootFs::open_directory(&world.path("context")).unwrap());
    world.copy_from(&stage, &request(&["d"], "/x")).unwrap();
    world.expect(&[("x", "d 755 0:0"), ("x/f", "644 12:13 f")]);
}

#[test]
fn what_exists_is_merged_replaced_or_refused() {
    let Some(world) = World::new() else { return };
    world.file("d/sub/new", 0o600);
    world.file("f", 0o644);
    std::fs::set_permissions(world.path("context/d/sub"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::set_permissions(world.path("context/d"), PermissionsExt::from_mode(0o711)).unwrap();
    world.write("root/app/sub/old", "old");
    world.write("root/app/f", "old");
    symlink("/app", world.path("root/link")).unwrap();
    symlink("/app/f", world.path("root/to-file")).unwrap();
    // The destination's own attributes stay, a directory below it gets the source's.
    world.copy(&request(&["d"], "/app")).unwrap();
    world.copy(&request(&["f"], "/link/")).unwrap();
    world.copy(&request(&["f"], "/link")).unwrap();
    world.expect(&[
        ("app", "d 755 0:0"),
        ("app/f", "644 0:0 f"),
        ("app/sub", "d 700 0:0"),
        ("app/sub/new", "600 0:0 new"),
        ("app/sub/old", "644 0:0 old"),
        ("link", "-> /app"),
        ("to-file", "-> /app/f"),
    ]);
    // A link as the destination stays: what it names is replaced.
    world.file("g", 0o644);
    world.copy(&request(&["g"], "/to-file")).unwrap();
    assert_eq!(world.tree()["to-file"], "-> /app/f");
    assert_eq!(world.tree()["app/f"], "644 0:0 g");
    // A link in the destination is replaced.
    symlink("/etc/passwd", world.path("root/app/g")).unwrap();
    world.copy(&request(&["g"], "/app/")).unwrap();
    assert_eq!(world.tree()["app/g"], "644 0:0 g");
    // A file over a directory, a directory over a file, a file as a directory.
    world.write("context/e/f/inner", "");
    world.write("context/sub", "");
    for (source, dest) in
        [("sub", "/app/"), ("e", "/app"), ("d", "/app/f"), ("f", "/app/f/x"), ("d", "/app/f/")]
    {
        let message = world.copy(&request(&[source], dest)).unwrap_err();
        assert!(message.contains("cannot put"), "{source} {dest}: {message}");
    }
}

#[test]
fn links_at_a_sources_end_are_followed_and_others_are_kept() {
    let Some(world) = World::new() else { return };
    world.file("real/f", 0o644);
    symlink("real", world.path("context/dir-link")).unwrap();
    symlink("real/f", world.path("context/file-link")).unwrap();
    symlink("nowhere", world.path("context/real/inner")).unwrap();
    world.copy(&request(&["dir-link"], "/a")).unwrap();
    world.copy(&request(&["file-link"], "/b/")).unwrap();
    let expected = [
        ("a", "d 755 0:0"),
        ("a/f", "644 0:0 f"),
        ("a/inner", "-> nowhere"),
        ("b", "d 755 0:0"),
        ("b/file-link", "644 0:0 f"),
    ];
    world.expect(&expected);
    symlink("/etc/passwd", world.path("context/out")).unwrap();
    assert!(world.copy(&request(&["out"], "/c")).is_err());
    world.expect(&expected);
}

#[test]
fn parents_are_kept_below_the_pivot() {
    let table: [(&str, &str, &[&str]); 6] = [
        ("a/b/one.txt", "", &["x", "x/a", "x/a/b", "x/a/b/one.txt"]),
        ("a/b/one.txt", "a", &["x", "x/b", "x/b/one.txt"]),
        ("a/*/one.txt", "a", &["x", "x/b", "x/b/one.txt"]),
        ("**/one.txt", "", &["x", "x/a", "x/a/b", "x/a/b/one.txt", "x/one.txt"]),
        ("a/b", "", &["x", "x/a", "x/a/b", "x/a/b/link", "x/a/b/one.txt", "x/a/b/two.md"]),
        ("a/b/link", "", &["x", "x/a", "x/a/b", "x/a/b/link"]),
    ];
    for (source, pivot, expected) in table {
        let Some(world) = World::new() else { return };
        for path in ["a/b/one.txt", "a/b/two.md", "a/c/three", "one.txt"] {
            world.file(path, 0o644);
        }
        symlink("one.txt", world.path("context/a/b/link")).unwrap();
        std::fs::set_permissions(world.path("context/a/b"), PermissionsExt::from_mode(0o750)).unwrap();
        world.copy(&with_parents(source, pivot, "/x/")).unwrap();
        assert_eq!(world.tree().into_keys().collect::<Vec<_>>(), expected, "{source} from {pivot}");
        // Directories on the way are those of the source.
        let made = if pivot.is_empty() { "x/a/b" } else { "x/b" };
        assert_eq!(world.tree().get(made).map_or("d 750 0:0", String::as_str), "d 750 0:0", "{source}");
        if let Some(link) = world.tree().get("x/a/b/link") {
            assert_eq!(link, "-> one.txt");
        }
    }
    let Some(world) = World::new() else { return };
    assert!(world.copy(&with_parents("a/missing", "", "/x/")).unwrap_err().contains("Missing"));
}

#[test]
fn excluded_files_are_left_out() {
    let table: [(&[&str], &[&str]); 5] = [
        (&["*.md"], &["x", "x/a.txt", "x/sub", "x/sub/b.md", "x/sub/c.txt"]),
        (&["**/*.md"], &["x", "x/a.txt", "x/sub", "x/sub/c.txt"]),
        (&["sub"], &["x", "x/a.txt", "x/r.md"]),
        (&["sub", "!sub/c.txt"], &["x", "x/a.txt", "x/r.md", "x/sub", "x/sub/c.txt"]),
        (&["*"], &["x"]),
    ];
    for (exclude, expected) in table {
        let Some(world) = World::new() else { return };
        for path in ["d/a.txt", "d/r.md", "d/sub/b.md", "d/sub/c.txt"] {
            world.file(path, 0o644);
        }
        let mut request = request(&["d"], "/x");
        request.exclude = exclude.iter().map(|pattern| (*pattern).to_owned()).collect();
        world.copy(&request).unwrap();
        assert_eq!(world.tree().into_keys().collect::<Vec<_>>(), expected, "{exclude:?}");
    }
}

#[test]
fn files_of_the_dockerfile_itself() {
    let Some(world) = World::new() else { return };
    let inline = |dest: &str, chmod: Option<&str>| {
        let mut request = request(&[], dest);
        for name in ["one", "two"].into_iter().take(if dest.ends_with('/') { 2 } else { 1 }) {
            request
                .items
                .push(CopyItem::Inline(InlineFile { name: name.to_owned(), content: format!("<{name}>") }));
        }
        request.chmod = chmod.map(str::to_owned);
        request
    };
    world.copy(&inline("/a/", None)).unwrap();
    world.copy(&inline("/b/run.sh", Some("+x"))).unwrap();
    world.expect(&[
        ("a", "d 755 0:0"),
        ("a/one", "644 0:0 <one>"),
        ("a/two", "644 0:0 <two>"),
        ("b", "d 755 0:0"),
        ("b/run.sh", "755 0:0 <one>"),
    ]);
    world.write("root/c/one/inner", "");
    assert!(world.copy(&inline("/c/", None)).unwrap_err().contains("a directory is there"));
}

#[test]
fn hard_links_times_pipes_and_names_that_are_no_text() {
    use std::os::unix::ffi::OsStrExt as _;
    let Some(world) = World::new() else { return };
    world.file("d/one", 0o644);
    std::fs::hard_link(world.path("context/d/one"), world.path("context/d/two")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"n\xff\xfe");
    std::fs::write(world.path("context/d").join(odd), "odd").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("context/d/pipe"), rustix::fs::Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path("context/d/socket")).unwrap();
    let past = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5);
    for path in ["context/d/one", "context/d"] {
        std::fs::File::open(world.path(path)).unwrap().set_modified(past).unwrap();
    }
    let from = Sources::context(&world.path("context"), &world.path("context/Dockerfile")).unwrap();
    let selection = coracle_build::Selection {
        paths: vec![SourcePath { path: "d".to_owned(), literal: true, trailing_slash: false, pivot: None }],
        exclude: Vec::new(),
    };
    assert_eq!(from.list(&selection).unwrap().len(), 5, "the directory and all but the socket");
    world.copy_from(&from, &request(&["d"], "/x")).unwrap();
    let metadata = |name: &str| std::fs::metadata(world.path(&format!("root/x/{name}"))).unwrap();
    assert_eq!(metadata("one").ino(), metadata("two").ino());
    assert_eq!((metadata("one").mtime(), metadata("one").mtime_nsec()), (1_000_000, 5));
    assert_eq!(metadata("").mtime(), 1_000_000);
    assert!(metadata("pipe").file_type().is_fifo());
    assert_eq!(std::fs::read(world.path("root/x").join(odd)).unwrap(), b"odd");
    assert!(!world.path("root/x/socket").exists());
}

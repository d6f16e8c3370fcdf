//! Archives of `ADD`, and members that need care: sparse files, names, sizes, links.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use coracle_snapshot::{ExtractOptions, Limits, RootFs, SnapshotError};
use tar::EntryType;

use crate::world::{Archive, World, describe};

fn extract(world: &World, bytes: &[u8], options: &ExtractOptions) -> Result<bool, SnapshotError> {
    let path = world.directory.path().join("archive");
    fs::write(&path, bytes).unwrap();
    let root = RootFs::open_directory(&root(world)).unwrap();
    root.extract_archive(Path::new("/srv/app"), fs::File::open(path).unwrap(), options)
}

fn root(world: &World) -> std::path::PathBuf {
    let root = world.directory.path().join("root");
    fs::create_dir_all(&root).unwrap();
    root
}

fn names(world: &World) -> Vec<String> {
    describe(&root(world)).into_keys().map(|path| path.display().to_string()).collect()
}

#[test]
fn archives_are_told_by_their_bytes() {
    let Some(world) = World::new() else { return };
    let plain = Archive::new().dir("d").file("d/f", "content").bytes();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let bzip2 = {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(plain.as_slice(), 1).unwrap();
    // Made by xz itself from an archive with the file `d/f`.
    let xz = include_bytes!("../fixtures/small.tar.xz").to_vec();
    for (what, bytes) in
        [("tar", plain.clone()), ("gzip", gzip), ("bzip2", bzip2), ("zstd", zstd), ("xz", xz)]
    {
        assert!(extract(&world, &bytes, &ExtractOptions::default()).unwrap(), "{what}");
        assert_eq!(names(&world), ["", "srv", "srv/app", "srv/app/d", "srv/app/d/f"], "{what}");
        assert_eq!(fs::read(root(&world).join("srv/app/d/f")).unwrap(), b"content", "{what}");
        fs::remove_dir_all(root(&world).join("srv")).unwrap();
    }
    // What only looks like one is an ordinary file: nothing is done.
    let mut gzipped_text = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzipped_text.write_all(b"just text").unwrap();
    let gzipped_text = gzipped_text.finish().unwrap();
    for (what, bytes) in [
        ("text", b"hello".to_vec()),
        ("nothing", Vec::new()),
        ("gzipped text", gzipped_text),
        ("an empty archive", vec![0; 1024]),
        ("the beginning of gzip", b"\x1f\x8b".to_vec()),
        ("the beginning of xz", b"\xfd7zXZ\0".to_vec()),
        ("the beginning of bzip2", b"BZh9".to_vec()),
        ("a wrong checksum", [b"x".to_vec(), plain[1..].to_vec()].concat()),
    ] {
        assert!(!extract(&world, &bytes, &ExtractOptions::default()).unwrap(), "{what}");
        assert_eq!(names(&world), [""], "{what}");
    }
}

#[test]
fn members_replace_what_is_there_and_keep_what_they_are() {
    let Some(world) = World::new() else { return };
    let app = root(&world).join("srv/app");
    fs::create_dir_all(app.join("taken/inner")).unwrap();
    fs::create_dir_all(app.join("merged/old")).unwrap();
    symlink("/elsewhere", app.join("link")).unwrap();
    let bytes = Archive::new()
        .file("taken", "file over directory")
        .file("merged/new", "")
        .file("link", "file over link")
        // Names of whiteouts mean nothing here.
        .file(".wh.merged", "")
        .file("a/.wh..wh..opq", "")
        .hardlink("same", "taken")
        .bytes();
    let options = ExtractOptions { owner: Some((5, 6)), ..ExtractOptions::default() };
    assert!(extract(&world, &bytes, &options).unwrap());
    let expected = [
        "",
        ".wh.merged",
        "a",
        "a/.wh..wh..opq",
        "link",
        "merged",
        "merged/new",
        "merged/old",
        "same",
        "taken",
    ];
    let found: Vec<String> = describe(&app).into_keys().map(|path| path.display().to_string()).collect();
    assert_eq!(found, expected);
    assert!(app.join("link").symlink_metadata().unwrap().is_file());
    let metadata = fs::metadata(app.join("same")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.nlink()), (5, 6, 2));
}

#[test]
fn archives_of_add_stay_inside_too() {
    let Some(world) = World::new() else { return };
    let outside = world.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    let before = describe(&outside);
    let target = outside.to_str().unwrap();
    let up = "../".repeat(12) + target.trim_start_matches('/');
    for (what, refused, archive) in [
        ("dots", true, Archive::new().file("../victim", "x")),
        ("hard link with dots", true, Archive::new().hardlink("a", "../../etc/passwd")),
        ("hard link outside", true, Archive::new().hardlink("a", &format!("{target}/victim"))),
        ("hard link through a link", true, Archive::new().symlink("l", target).hardlink("a", "l/victim")),
        ("hard link to what is not there", true, Archive::new().hardlink("a", "b")),
        ("device 0,0", true, Archive::new().add(EntryType::Char, "w", "", b"")),
        ("absolute name", false, Archive::new().file(&format!("{target}/victim"), "x")),
        ("absolute link", false, Archive::new().symlink("a", target).file("a/victim", "x")),
        ("relative link", false, Archive::new().symlink("a", &up).file("a/victim", "x")),
        ("write over a link", false, Archive::new().symlink("a", &format!("{target}/victim")).file("a", "x")),
        ("directory over a link", false, Archive::new().symlink("a", target).dir("a").file("a/victim", "x")),
    ] {
        let result = extract(&world, &archive.bytes(), &ExtractOptions::default());
        assert_eq!(result.is_err(), refused, "{what}: {result:?}");
        assert_eq!(describe(&outside), before, "{what}");
        fs::remove_dir_all(root(&world)).unwrap();
    }
    // A link that was there before is as dangerous.
    fs::create_dir_all(root(&world).join("srv")).unwrap();
    symlink(&outside, root(&world).join("srv/app")).unwrap();
    extract(&world, &Archive::new().file("victim", "x").bytes(), &ExtractOptions::default()).unwrap();
    assert_eq!(describe(&outside), before);
}

#[test]
fn sparse_files_of_gnu_tar_keep_their_holes() {
    let Some(world) = World::new() else { return };
    let source = world.directory.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("holes")).unwrap();
    // Ten gigabytes of which twelve bytes are there; more pieces than a header has room for.
    for piece in 0..40_u64 {
        rustix::io::pwrite(&file, format!("{piece:04}").as_bytes(), piece * (250 << 20)).unwrap();
    }
    file.set_len(10 << 30).unwrap();
    drop(file);
    for format in ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"] {
        let archive = world.directory.path().join("sparse.tar");
        let mut command = Command::new("tar");
        command.arg("-c").arg("--sparse").arg("-f").arg(&archive).arg("-C").arg(&source);
        if format != "--format=gnu" {
            command.arg("--format=pax");
        }
        let made = command.arg(format).arg("holes").status();
        let Ok(status) = made else {
            assert!(std::env::var_os("CI").is_none(), "needs tar");
            eprintln!("SKIPPED: needs GNU tar");
            return;
        };
        assert!(status.success());
        let snapshot = world.snapshots.apply(None, fs::File::open(&archive).unwrap(), None).unwrap();
        let path = world.snapshots.layer_path(&snapshot.id).join("holes");
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 10 << 30, "{format}");
        assert!(metadata.blocks() * 512 < 1 << 20, "{format}: {} blocks", metadata.blocks());
        let file = fs::File::open(&path).unwrap();
        for piece in [0, 1, 17, 39_u64] {
            let mut bytes = [0; 4];
            rustix::io::pread(&file, &mut bytes, piece * (250 << 20)).unwrap();
            assert_eq!(bytes, format!("{piece:04}").as_bytes(), "{format}");
        }
        world.snapshots.remove(&snapshot.id).unwrap();
        // Copied by a build, it stays sparse.
        let (from, to) =
            (RootFs::open_directory(&source).unwrap(), RootFs::open_directory(&root(&world)).unwrap());
        to.copy_tree_in(
            &from,
            Path::new("holes"),
            Path::new("/copy"),
            &coracle_snapshot::rootfs::CopyOptions::default(),
        )
        .unwrap();
        let copy = fs::metadata(root(&world).join("copy")).unwrap();
        assert!(copy.len() == 10 << 30 && copy.blocks() * 512 < 1 << 20);
    }
    // Holes count towards the limit: whoever reads the file back reads them.
    let limits = Limits { bytes: 1 << 30, ..Limits::default() };
    let bytes = fs::read(world.directory.path().join("sparse.tar")).unwrap();
    let error = extract(&world, &bytes, &ExtractOptions { owner: None, limits }).unwrap_err();
    assert!(matches!(error, SnapshotError::TooLarge { unit: "bytes", .. }), "{error}");
}

#[test]
fn names_that_are_no_text_set_id_bits_and_attributes_survive() {
    use std::os::unix::ffi::OsStrExt as _;
    let Some(world) = World::new() else { return };
    let record = |key: &str, value: &[u8]| {
        let rest = key.len() + value.len() + 3;
        let length = if rest + 2 > 99 { rest + 3 } else { rest + 2 };
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    };
    // VFS_CAP_REVISION_2 with cap_net_bind_service, permitted and effective.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records = [
        record("path", b"bin/n\xff\xfe"),
        record("SCHILY.xattr.security.capability", &capability),
        record("SCHILY.xattr.user.note", b"kept"),
    ]
    .concat();
    let mut bytes = Archive::new().add(EntryType::XHeader, "x", "", &records).file("x", "tool").bytes();
    let mode = 512 + records.len().next_multiple_of(512) + 100;
    bytes[mode..mode + 8].copy_from_slice(b"0006755\0");
    let header = mode - 100;
    bytes[header + 148..header + 156].fill(b' ');
    let sum: u32 = bytes[header..header + 512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(extract(&world, &bytes, &ExtractOptions::default()).unwrap());
    let snapshot = world.snapshots.apply(None, bytes.as_slice(), None).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"bin/n\xff\xfe");
    for place in [root(&world).join("srv/app"), world.snapshots.layer_path(&snapshot.id)] {
        let path = place.join(name);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o6755);
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(&path, "security.capability", &mut value).unwrap();
        assert_eq!(value[..length], capability);
        let length = rustix::fs::getxattr(&path, "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], b"kept");
    }
}

#[test]
fn claims_that_are_too_large_are_refused_before_memory_is_taken() {
    let Some(world) = World::new() else { return };
    let header = |kind: EntryType, size: &[u8; 12]| {
        let mut bytes = Archive::new().add(kind, "x", "", b"").bytes();
        bytes[124..136].copy_from_slice(size);
        bytes[148..156].fill(b' ');
        let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    };
    for kind in [EntryType::XHeader, EntryType::XGlobalHeader, EntryType::GNULongName, EntryType::GNULongLink]
    {
        let bytes = header(kind, b"77777777777\0");
        let error = world.snapshots.apply(None, bytes.as_slice(), None).unwrap_err();
        assert!(matches!(error, SnapshotError::Malformed(_)), "{error}");
    }
    // A small file that unpacks to more than is allowed.
    let zeros = Archive::new().add(EntryType::Regular, "zeros", "", &vec![0; 64 << 20]).bytes();
    let bomb = zstd::stream::encode_all(zeros.as_slice(), 1).unwrap();
    assert!(bomb.len() < 64 << 10);
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let error = extract(&world, &bomb, &ExtractOptions { owner: None, limits }).unwrap_err();
    assert!(matches!(error, SnapshotError::TooLarge { limit: 1_048_576, unit: "bytes" }), "{error}");
    let error = world.snapshots.clone().with_limits(limits).apply(None, bomb.as_slice(), None).unwrap_err();
    assert!(matches!(error, SnapshotError::TooLarge { .. }), "{error}");
    assert_eq!(world.snapshots.list().unwrap(), []);
}

/// Names that come again and again must not make the work grow with their square.
#[test]
fn many_members_are_a_matter_of_seconds() {
    let Some(world) = World::new() else { return };
    let mut archive = Archive::new();
    for number in 0..15_000 {
        archive = archive.dir(&format!("d/{number}"));
    }
    for number in 0..15_000 {
        archive = archive.file("same", if number % 2 == 0 { "a" } else { "b" });
    }
    let bytes = archive.bytes();
    let snapshot = world.snapshots.apply(None, bytes.as_slice(), None).unwrap();
    assert_eq!(fs::read_dir(world.snapshots.layer_path(&snapshot.id).join("d")).unwrap().count(), 15_000);
    let limits = Limits { entries: 29_999, ..Limits::default() };
    let error = world.snapshots.clone().with_limits(limits).apply(None, bytes.as_slice(), None).unwrap_err();
    assert!(matches!(error, SnapshotError::TooLarge { unit: "members", .. }), "{error}");
}

/// Gives out an archive of `left` empty files piece by piece, so that no test holds half a gigabyte.
struct Endless {
    left: u32,
    block: Vec<u8>,
    read: usize,
}

impl std::io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.read == self.block.len() {
            self.block.clear();
            self.read = 0;
            if self.left > 0 && self.left != u32::MAX {
                self.left -= 1;
                let mut header = tar::Header::new_ustar();
                header.set_path(format!("d{}/f{}", self.left % 1000, self.left)).unwrap();
                header.set_mode(0o644);
                header.set_size(0);
                header.set_cksum();
                self.block.extend_from_slice(header.as_bytes());
            } else if self.left == 0 {
                // The two empty blocks that end an archive, once.
                self.left = u32::MAX;
                self.block.resize(1024, 0);
            }
        }
        let count = buffer.len().min(self.block.len() - self.read);
        buffer[..count].copy_from_slice(&self.block[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

/// As many files as a hostile or a careless layer may have; fewer unless the whole suite runs (`CI` is set).
#[test]
fn a_million_files_are_unpacked() {
    let Some(world) = World::new() else { return };
    let count = if std::env::var_os("CI").is_some() { 1_000_000 } else { 50_000 };
    let archive = Endless { left: count, block: Vec::new(), read: 0 };
    let snapshot = world.snapshots.apply(None, archive, None).unwrap();
    let layer = world.snapshots.layer_path(&snapshot.id);
    let files: usize = fs::read_dir(layer)
        .unwrap()
        .map(|directory| fs::read_dir(directory.unwrap().path()).unwrap().count())
        .sum();
    assert_eq!(files, count as usize);
}

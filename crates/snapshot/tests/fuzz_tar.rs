//! Any bytes are an archive or a clear error, as a layer and as an archive of `ADD`; nothing is written outside.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::path::Path;

use coracle_snapshot::{ExtractOptions, Limits, RootFs, SnapshotError, Snapshots};
use coracle_testkit::{Fuzz, outcome};
use tar::EntryType;

const LIMITS: Limits = Limits { bytes: 4 << 20, entries: 200 };

#[test]
fn the_tar_reader_takes_anything() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        eprintln!("SKIPPED: needs root for devices and owners");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // The archives lie three levels deep, so that `..` has somewhere to go.
    let inside = directory.path().join("in/side");
    fs::create_dir_all(&inside).unwrap();
    let canary = directory.path().join("canary");
    fs::write(&canary, "untouched").unwrap();
    let snapshots = Snapshots::open(&inside.join("snapshots")).unwrap().with_limits(LIMITS);
    let root = inside.join("root");
    Fuzz::new("tar")
        .seed(plain())
        .seed(hostile(&canary))
        .seed(sparse())
        .words([
            &b"../"[..],
            b"/",
            b".wh.",
            b".wh..wh..opq",
            b"././@LongLink",
            b"ustar\0",
            b"17 GNU.sparse.major=1\n",
        ])
        .words([&b"22 GNU.sparse.minor=0\n"[..], b"20 path=../../x\n", b"27 SCHILY.xattr.user.a=b\n"])
        .words([[0; 512]])
        .run(|input| {
            // Every other input gets its checksums right: few others would come past the first header.
            let bytes = if input.len() % 2 == 0 { repaired(input) } else { input.to_vec() };
            let layer = snapshots.unpack(bytes.as_slice(), None).and_then(|layer| layer.attach(None));
            if let Ok(snapshot) = &layer {
                snapshots.layer_tar(&snapshot.id, std::io::sink(), None).unwrap();
                snapshots.remove(&snapshot.id).unwrap();
            }
            fs::create_dir(&root).unwrap();
            fs::write(inside.join("archive"), &bytes).unwrap();
            let file = fs::File::open(inside.join("archive")).unwrap();
            let to = RootFs::open_directory(&root).unwrap();
            let options = ExtractOptions { owner: None, limits: LIMITS };
            let added = to.extract_archive(Path::new("/a/b"), file, &options);
            fs::remove_dir_all(&root).unwrap();
            assert_eq!(fs::read(&canary).unwrap(), b"untouched");
            assert_eq!(
                fs::read_dir(directory.path()).unwrap().count(),
                2,
                "something came beside the canary"
            );
            assert_eq!(fs::read_dir(&inside).unwrap().count(), 2, "something came beside the snapshots");
            outcome((layer.map(drop).map_err(kind), added.map_err(kind)))
        });
    assert_eq!(snapshots.list().unwrap(), [], "nothing is left");
}

/// Returns an error's kind and, where it is a fixed text, its reason.
fn kind(error: SnapshotError) -> String {
    match error {
        SnapshotError::Hostile { reason, .. } => reason.to_owned(),
        SnapshotError::Malformed(reason) => {
            reason.chars().filter(|letter| letter.is_alphabetic()).take(24).collect()
        }
        SnapshotError::Io { action, source, .. } => format!("{action} {:?}", source.kind()),
        SnapshotError::TooLarge { unit, .. } => unit.to_owned(),
        other => panic!("an archive cannot cause this: {other:?}"),
    }
}

/// Sets the checksum of each block that is where a header belongs.
fn repaired(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let mut at = 0;
    while at + 512 <= bytes.len() {
        let header = &mut bytes[at..at + 512];
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let size = std::str::from_utf8(&header[124..135]).ok();
        let size = size.and_then(|text| usize::from_str_radix(text.trim(), 8).ok()).unwrap_or(0);
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        at = at.saturating_add(512).saturating_add(size.div_ceil(512).saturating_mul(512));
    }
    bytes
}

fn member(kind: EntryType, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o4755);
    header.set_uid(3);
    header.set_gid(4);
    header.set_mtime(1_000_000);
    let fields = header.as_old_mut();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    builder.append(&header, content).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(512 + content.len().next_multiple_of(512));
    bytes
}

fn plain() -> Vec<u8> {
    [
        member(EntryType::Directory, "d/", "", b""),
        member(EntryType::Regular, "d/file", "", &[7; 700]),
        member(EntryType::Link, "d/same", "d/file", b""),
        member(EntryType::Symlink, "link", "d/file", b""),
        member(EntryType::Fifo, "pipe", "", b""),
        member(EntryType::Char, "null", "", b""),
        member(EntryType::GNULongName, "././@LongLink", "", &[b'n'; 120]),
        member(EntryType::Regular, "n", "", b"x"),
        member(EntryType::XHeader, "x", "", b"15 path=renamed\n30 mtime=1350244992.023960108\n"),
        member(EntryType::Regular, "x", "", b""),
        member(EntryType::Regular, ".wh.gone", "", b""),
        member(EntryType::Regular, "d/.wh..wh..opq", "", b""),
        vec![0; 1024],
    ]
    .concat()
}

fn hostile(canary: &Path) -> Vec<u8> {
    let canary = canary.to_str().unwrap();
    [
        member(EntryType::Symlink, "out", canary, b""),
        member(EntryType::Symlink, "up", "../../../../..", b""),
        member(EntryType::Regular, "out", "", b"x"),
        member(EntryType::Regular, "up/canary", "", b"x"),
        member(EntryType::Link, "l", "up/canary", b""),
        member(EntryType::Directory, "up", "", b""),
        member(EntryType::Regular, "../canary", "", b"x"),
    ]
    .concat()
}

fn sparse() -> Vec<u8> {
    let mut old = member(EntryType::GNUSparse, "old", "", b"abcdef");
    old[386..398].copy_from_slice(b"00000000100\0");
    old[398..410].copy_from_slice(b"00000000006\0");
    old[483..495].copy_from_slice(b"00000001000\0");
    let records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n24 GNU.sparse.name=named\n28 GNU.sparse.realsize=1000\n";
    let mut content = b"1\n10\n3\n".to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"abc");
    [
        repaired(&old),
        member(EntryType::XHeader, "x", "", records),
        member(EntryType::Regular, "new", "", &content),
    ]
    .concat()
}

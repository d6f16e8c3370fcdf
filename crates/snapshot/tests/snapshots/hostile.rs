//! Archives that try to get out of their layer.

use std::fs;

use coracle_snapshot::SnapshotError;
use tar::EntryType;

use crate::world::{Archive, World, describe};

#[test]
fn hostile_archives_are_refused_or_stay_inside() {
    let Some(world) = World::new() else { return };
    let outside = world.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    let before = describe(&outside);
    let target = outside.to_str().unwrap();
    let up = "../".repeat(10) + target.trim_start_matches('/');
    let refused = [
        ("dots", Archive::new().file("../victim", "x")),
        ("dots in the middle", Archive::new().file("a/../../victim", "x")),
        ("dots at the end", Archive::new().dir("a/..")),
        ("hard link with dots", Archive::new().hardlink("a", &format!("../{up}/victim"))),
        ("hard link outside", Archive::new().hardlink("a", &format!("{target}/victim"))),
        ("hard link to itself", Archive::new().file("a", "").hardlink("a", "a")),
        ("hard link to a directory", Archive::new().dir("d").hardlink("a", "d")),
        ("overlay whiteout as device", Archive::new().add(EntryType::Char, "w", "", b"")),
        ("whiteout of dots", Archive::new().file(".wh...", "")),
        ("whiteout of the directory", Archive::new().file("d/.wh..", "")),
        ("whiteout of nothing", Archive::new().file(".wh.", "")),
        ("file as root", Archive::new().file("/", "x").symlink("/", target)),
        ("below a file", Archive::new().file("a", "").file("a/b", "")),
        ("link circle", Archive::new().symlink("a", "b").symlink("b", "a").file("a/x", "")),
        ("unknown member", Archive::new().add(EntryType::new(b'Q'), "q", "", b"")),
        ("sparse file without its bytes", Archive::new().add(EntryType::GNUSparse, "s", "", b"xyz")),
    ];
    for (what, archive) in refused {
        let result = world.snapshots.apply(None, archive.bytes().as_slice(), None);
        let error = result.expect_err(what);
        assert!(
            matches!(
                error,
                SnapshotError::Hostile { .. } | SnapshotError::Malformed(_) | SnapshotError::Io { .. }
            ),
            "{what}: {error}"
        );
        assert_eq!(world.snapshots.list().unwrap(), [], "{what} leaves nothing");
        assert_eq!(describe(&outside), before, "{what}");
    }
    let contained = [
        ("absolute name", Archive::new().file(&format!("{target}/victim"), "x")),
        ("absolute link", Archive::new().symlink("a", target).file("a/victim", "x")),
        ("relative link", Archive::new().symlink("a", &up).file("a/victim", "x")),
        ("link over a link", Archive::new().symlink("a", target).symlink("b", "a").file("b/victim", "x")),
        ("link replaced by directory", Archive::new().symlink("a", target).dir("a").file("a/victim", "x")),
        (
            "directory replaced by link",
            Archive::new().dir("a").file("a/x", "").symlink("a", target).file("a/victim", "x"),
        ),
        (
            "whiteout through a link",
            Archive::new().symlink("a", target).file("a/.wh.victim", "").file("a/.wh..wh..opq", ""),
        ),
        ("directory through a link", Archive::new().symlink("a", target).dir("a/victim")),
        ("write over a link", Archive::new().symlink("a", &format!("{target}/victim")).file("a", "x")),
        (
            "hard link to a link",
            Archive::new().symlink("a", &format!("{target}/victim")).hardlink("b", "a").file("b", "x"),
        ),
        ("the same twice", Archive::new().file("a", "1").file("a", "2").dir("a").file("a", "3")),
    ];
    for (what, archive) in contained {
        let snapshot = world.snapshots.apply(None, archive.bytes().as_slice(), None);
        let snapshot = snapshot.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(describe(&outside), before, "{what}");
        world.snapshots.remove(&snapshot.id).unwrap();
    }
}

#[test]
fn overlays_own_attributes_are_not_taken_from_archives() {
    let Some(world) = World::new() else { return };
    let record = |key: &str, value: &str| {
        let rest = key.len() + value.len() + 3;
        format!("{} {key}={value}\n", rest + 2)
    };
    let records = record("SCHILY.xattr.trusted.overlay.redirect", "/etc")
        + &record("SCHILY.xattr.trusted.overlay.opaque", "y")
        + &record("SCHILY.xattr.user.overlay.opaque", "y")
        + &record("SCHILY.xattr.user.fine", "yes");
    let bytes = Archive::new().add(EntryType::XHeader, "x", "", records.as_bytes()).dir("d").bytes();
    let snapshot = world.snapshots.apply(None, bytes.as_slice(), None).unwrap();
    let line = describe(&world.snapshots.layer_path(&snapshot.id)).remove(std::path::Path::new("d")).unwrap();
    assert!(line.ends_with("user.fine=yes") && !line.contains("overlay"), "{line}");
}

#[test]
fn truncated_and_lying_archives_are_clean_errors() {
    let Some(world) = World::new() else { return };
    let bytes = Archive::new().dir("d").file("d/a", &"x".repeat(3000)).symlink("l", "d").bytes();
    for length in (1..bytes.len() - 1024).step_by(211) {
        let at_an_edge = [512, 4608, 5120].contains(&length);
        let result = world.snapshots.apply(None, &bytes[..length], None);
        assert_eq!(result.is_ok(), at_an_edge, "{length}");
        for snapshot in world.snapshots.list().unwrap() {
            world.snapshots.remove(&snapshot.id).unwrap();
        }
    }
    let mut huge = bytes.clone();
    huge[512 + 124..512 + 136].copy_from_slice(b"77777777777\0");
    let sum: u32 =
        (0..512).map(|at| if (148..156).contains(&at) { 32 } else { u32::from(huge[512 + at]) }).sum();
    huge[512 + 148..512 + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let error = world.snapshots.apply(None, huge.as_slice(), None).unwrap_err();
    assert!(matches!(error, SnapshotError::Malformed(_)), "{error}");
    let mut broken = bytes;
    broken[0] ^= 1;
    let error = world.snapshots.apply(None, broken.as_slice(), None).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
    assert_eq!(world.snapshots.list().unwrap(), []);
}

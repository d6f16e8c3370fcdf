//! Layers become archives and archives become layers, without loss.

use std::fs;
use std::io::Write;
use std::path::Path;

use coracle_oci::{ChainId, DiffId, Digest};
use coracle_snapshot::{Limits, SnapshotError};
use proptest::prelude::*;

use crate::world::{Archive, World, describe, own, set_xattr, whiteout};

/// A layer with one of everything.
fn fill(layer: &Path) {
    own(layer, 0o711, 3, 4);
    fs::create_dir_all(layer.join("usr/bin")).unwrap();
    fs::write(layer.join("usr/bin/program"), "#!").unwrap();
    own(&layer.join("usr/bin/program"), 0o4755, 0, 7);
    fs::write(layer.join("usr/bin/capable"), "x").unwrap();
    // A capability set as the kernel stores it: version 2, CAP_NET_BIND_SERVICE permitted and effective.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_xattr(&layer.join("usr/bin/capable"), "security.capability", &capability);
    set_xattr(&layer.join("usr"), "user.note", b"a\nb=c");
    fs::hard_link(layer.join("usr/bin/program"), layer.join("another-name")).unwrap();
    std::os::unix::fs::symlink("/usr/bin", layer.join("bin")).unwrap();
    std::os::unix::fs::symlink("../nowhere", layer.join("dangling")).unwrap();
    let long = layer.join("d".repeat(120)).join("e".repeat(120)).join("f".repeat(120));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("ä".repeat(100)), "long").unwrap();
    whiteout(&layer.join("usr/deleted"));
    set_xattr(&layer.join("usr/bin"), "trusted.overlay.opaque", b"y");
    let mode = rustix::fs::Mode::from_raw_mode(0o620);
    let device = rustix::fs::makedev(1, 3);
    let character = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, layer.join("null"), character, mode, device).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, layer.join("pipe"), mode).unwrap();
    let old = fs::File::options().write(true).open(layer.join("usr/bin/capable")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_hours(24)).unwrap();
}

#[test]
fn everything_survives() {
    let Some(world) = World::new() else { return };
    let original = world.layer(None, fill);
    let (bytes, diff_id) = world.tar(&original.id);
    assert_eq!(world.tar(&original.id).0, bytes, "the same layer gives the same bytes");
    let copy = world.snapshots.apply(None, bytes.as_slice(), Some(diff_id)).unwrap();
    assert_eq!(
        describe(&world.snapshots.layer_path(&copy.id)),
        describe(&world.snapshots.layer_path(&original.id))
    );
    assert_eq!(copy.diff_id, Some(diff_id));
    assert_eq!(copy.chain_id, Some(ChainId::extend(None, diff_id)));
    assert_eq!(world.tar(&copy.id).0, bytes);
    assert!(world.snapshots.usage(&copy.id).unwrap() > 0);
}

#[test]
fn gnu_tar_reads_our_archives_and_we_read_its() {
    let Some(world) = World::new() else { return };
    let original = world.layer(None, fill);
    let (bytes, _) = world.tar(&original.id);
    let there = world.directory.path().join("there");
    fs::create_dir(&there).unwrap();
    let run = |arguments: &[&str], input: &[u8]| {
        let mut child = std::process::Command::new("tar")
            .args(arguments)
            .current_dir(&there)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    };
    run(&["--xattrs", "--xattrs-include=*", "-xpf", "-"], &bytes);
    let name = format!("{0}/{1}/{2}/{3}", "d".repeat(120), "e".repeat(120), "f".repeat(120), "ä".repeat(100));
    assert_eq!(fs::read(there.join(name)).unwrap(), b"long");
    assert!(there.join("usr/.wh.deleted").exists());
    assert!(there.join("usr/bin/.wh..wh..opq").exists());
    for format in ["gnu", "posix"] {
        let format = format!("--format={format}");
        let theirs = run(&[&format, "--xattrs", "--xattrs-include=*", "-cf", "-", "."], b"");
        let copy = world.snapshots.apply(None, theirs.as_slice(), None).unwrap();
        assert_eq!(
            describe(&world.snapshots.layer_path(&copy.id)).len(),
            describe(&world.snapshots.layer_path(&original.id)).len()
        );
        let (ours, _) = world.tar(&copy.id);
        assert!(ours.len() > 1024);
        world.snapshots.remove(&copy.id).unwrap();
    }
}

#[test]
fn compressed_layers_are_recognised() {
    let Some(world) = World::new() else { return };
    let plain = Archive::new().file("a", &"x".repeat(100_000)).bytes();
    let diff_id = DiffId::new(Digest::of(&plain));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    for bytes in [gzip.finish().unwrap(), zstd, plain] {
        let unpacked = world.snapshots.unpack(bytes.as_slice(), Some(diff_id)).unwrap();
        assert_eq!(unpacked.diff_id(), diff_id);
        let half = &bytes[..bytes.len() / 2];
        let error = world.snapshots.unpack(half, Some(diff_id)).unwrap_err();
        assert!(matches!(error, SnapshotError::Malformed(_)), "{error}");
    }
    assert_eq!(world.snapshots.list().unwrap(), [], "what failed or was dropped leaves nothing");
}

#[test]
fn a_layer_with_other_content_is_refused() {
    let Some(world) = World::new() else { return };
    let expected = DiffId::new(Digest::of("something else"));
    let error = world
        .snapshots
        .apply(None, Archive::new().file("a", "b").bytes().as_slice(), Some(expected))
        .unwrap_err();
    assert!(matches!(error, SnapshotError::Mismatch { .. }), "{error}");
    assert_eq!(world.snapshots.list().unwrap(), []);
}

#[test]
fn a_stack_that_exists_is_not_unpacked_again() {
    let Some(world) = World::new() else { return };
    let bytes = Archive::new().file("a", "b").bytes();
    let diff_id = DiffId::new(Digest::of(&bytes));
    let first = world.snapshots.apply(None, bytes.as_slice(), Some(diff_id)).unwrap();
    let again = world.snapshots.apply(None, &b"not read"[..], Some(diff_id)).unwrap();
    assert_eq!(again, first);
    // Not known beforehand, but found out while reading.
    assert_eq!(world.snapshots.apply(None, bytes.as_slice(), None).unwrap(), first);
    assert_eq!(world.snapshots.list().unwrap().len(), 1);
    let second = world.snapshots.apply(Some(&first.id), bytes.as_slice(), Some(diff_id)).unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(world.snapshots.by_chain(&second.chain_id.unwrap()).unwrap(), Some(second));
}

#[test]
fn layers_are_unpacked_in_any_order() {
    let Some(world) = World::new() else { return };
    let upper = world.snapshots.unpack(Archive::new().file("a", "new").bytes().as_slice(), None).unwrap();
    let lower = world.snapshots.unpack(Archive::new().file("a", "old").bytes().as_slice(), None).unwrap();
    let lower = lower.attach(None).unwrap();
    let upper = upper.attach(Some(&lower.id)).unwrap();
    assert_eq!(
        world.snapshots.lowerdirs(&upper.id).unwrap(),
        [world.snapshots.layer_path(&upper.id), world.snapshots.layer_path(&lower.id)]
    );
}

#[test]
fn directories_that_an_archive_only_implies_keep_what_they_are_below() {
    let Some(world) = World::new() else { return };
    let base = world.layer(None, |layer| {
        own(layer, 0o750, 0, 9);
        fs::create_dir_all(layer.join("var/private")).unwrap();
        own(&layer.join("var/private"), 0o700, 5, 6);
        fs::write(layer.join("var/private/key"), "secret").unwrap();
        own(&layer.join("var/private/key"), 0o400, 5, 6);
    });
    let bytes = Archive::new()
        .file("var/private/.wh.x", "")
        .file("var/private/b", "b")
        .hardlink("var/key-too", "var/private/key")
        .bytes();
    let top = world.snapshots.apply(Some(&base.id), bytes.as_slice(), None).unwrap();
    let lines = describe(&world.snapshots.layer_path(&top.id));
    assert!(lines[Path::new("var/private")].starts_with("40700 5:6 "), "{lines:?}");
    assert!(lines[Path::new("")].starts_with("40750 0:9 "), "{lines:?}");
    assert!(lines[Path::new("var/key-too")].starts_with("100400 5:6 "), "{lines:?}");
    assert!(lines[Path::new("var/key-too")].ends_with("same as var/key-too"), "{lines:?}");
    assert_eq!(fs::read(world.snapshots.layer_path(&top.id).join("var/private/key")).unwrap(), b"secret");
    let bytes = Archive::new().hardlink("a", "nowhere").bytes();
    let error = world.snapshots.apply(Some(&base.id), bytes.as_slice(), None).unwrap_err();
    assert!(matches!(error, SnapshotError::Hostile { .. }), "{error}");
}

#[test]
fn whiteouts_delete_only_below() {
    let Some(world) = World::new() else { return };
    let base = world.layer(None, |layer| {
        for name in ["kept", "deleted", "remade", "replaced"] {
            fs::create_dir(layer.join(name)).unwrap();
            fs::write(layer.join(name).join("old"), "").unwrap();
        }
    });
    let bytes = Archive::new()
        .file(".wh.deleted", "")
        .file(".wh.remade", "")
        .dir("remade")
        .file("remade/new", "")
        .file("replaced/new", "")
        .file(".wh.replaced", "")
        .file(".wh.kept2", "")
        .file("kept2/deep/file", "")
        .file(".wh..wh.plnk", "")
        .bytes();
    let top = world.snapshots.apply(Some(&base.id), bytes.as_slice(), None).unwrap();
    let merged = coracle_snapshot::RootFs::new(world.snapshots.view(&top.id).unwrap());
    let names: Vec<String> = merged
        .walk(Path::new("/"))
        .unwrap()
        .into_iter()
        .map(|entry| entry.path.to_str().unwrap().to_owned())
        .collect();
    let expected = [
        "kept",
        "kept/old",
        "kept2",
        "kept2/deep",
        "kept2/deep/file",
        "remade",
        "remade/new",
        "replaced",
        "replaced/new",
    ];
    assert_eq!(names, expected);
}

#[test]
fn limits_hold() {
    let Some(world) = World::new() else { return };
    let many = (0..10).fold(Archive::new(), |archive, n| archive.file(&n.to_string(), "")).bytes();
    let limited = world.snapshots.clone().with_limits(Limits { bytes: 1 << 20, entries: 9 });
    let error = limited.apply(None, many.as_slice(), None).unwrap_err();
    assert!(matches!(error, SnapshotError::TooLarge { unit: "members", .. }), "{error}");
    // A bomb: two mebibytes of zeros in two kibibytes.
    let large = Archive::new().file("zeros", &"\0".repeat(2 << 20)).bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&large).unwrap();
    let error = limited.apply(None, gzip.finish().unwrap().as_slice(), None).unwrap_err();
    assert!(matches!(error, SnapshotError::TooLarge { unit: "bytes", .. }), "{error}");
    assert_eq!(world.snapshots.list().unwrap(), []);
}

/// One random step of filling a layer. Steps that do not apply (no such directory) do nothing.
#[derive(Clone, Debug)]
enum Step {
    File { name: String, content: Vec<u8>, mode: u32, uid: u32 },
    Directory { name: String, mode: u32, opaque: bool },
    Symlink { name: String, target: String },
    Hardlink { name: String, target: String },
    Whiteout { name: String },
    Xattr { name: String, value: Vec<u8> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || "[abc](/[abcä]){0,2}";
    let step = prop_oneof![
        3 => (name(), proptest::collection::vec(any::<u8>(), 0..1500), 0u32..0o10000, 0u32..3_000_000)
            .prop_map(|(name, content, mode, uid)| Step::File { name, content, mode, uid }),
        3 => (name(), 0u32..0o10000, any::<bool>())
            .prop_map(|(name, mode, opaque)| Step::Directory { name, mode, opaque }),
        1 => (name(), "[a./]{1,12}").prop_map(|(name, target)| Step::Symlink { name, target }),
        1 => (name(), name()).prop_map(|(name, target)| Step::Hardlink { name, target }),
        1 => name().prop_map(|name| Step::Whiteout { name }),
        1 => (name(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(name, value)| Step::Xattr { name, value }),
    ];
    proptest::collection::vec(step, 0..20)
}

fn take(layer: &Path, step: &Step) -> std::io::Result<()> {
    match step {
        Step::File { name, content, mode, uid } => {
            let path = layer.join(name);
            // Never through a link: that could leave the layer.
            if path.symlink_metadata().is_ok() {
                return Ok(());
            }
            fs::write(&path, content)?;
            own(&path, *mode, *uid, 1);
        }
        Step::Directory { name, mode, opaque } => {
            let path = layer.join(name);
            fs::create_dir(&path)?;
            own(&path, *mode, 0, 0);
            if *opaque {
                set_xattr(&path, "trusted.overlay.opaque", b"y");
            }
        }
        Step::Symlink { name, target } => std::os::unix::fs::symlink(target, layer.join(name))?,
        Step::Hardlink { name, target } => fs::hard_link(layer.join(target), layer.join(name))?,
        Step::Whiteout { name } => {
            let kind = rustix::fs::FileType::CharacterDevice;
            let mode = rustix::fs::Mode::empty();
            rustix::fs::mknodat(rustix::fs::CWD, layer.join(name), kind, mode, 0)?;
        }
        Step::Xattr { name, value } => {
            let path = layer.join(name);
            let metadata = path.symlink_metadata()?;
            if metadata.is_file() || metadata.is_dir() {
                set_xattr(&path, "user.test", value);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn unpacking_a_packed_layer_gives_the_layer(steps in steps()) {
        let Some(world) = World::new() else { return Ok(()) };
        let original = world.layer(None, |layer| {
            for step in &steps {
                let links_on_the_way = |name: &String| {
                    let mut path = layer.to_owned();
                    name.split('/').any(|part| {
                        path.push(part);
                        path.is_symlink()
                    })
                };
                let names = match step {
                    Step::Hardlink { name, target } => vec![name, target],
                    Step::File { name, .. }
                    | Step::Directory { name, .. }
                    | Step::Symlink { name, .. }
                    | Step::Whiteout { name }
                    | Step::Xattr { name, .. } => vec![name],
                };
                // A whiteout with several names is none to an archive.
                let of_whiteout = matches!(step, Step::Hardlink { target, .. }
                    if layer.join(target).symlink_metadata().is_ok_and(|m| !m.is_file()));
                if !names.into_iter().any(links_on_the_way) && !of_whiteout {
                    let _ = take(layer, step);
                }
            }
        });
        let (bytes, diff_id) = world.tar(&original.id);
        let copy = world.snapshots.apply(None, bytes.as_slice(), Some(diff_id)).unwrap();
        prop_assert_eq!(
            describe(&world.snapshots.layer_path(&copy.id)),
            describe(&world.snapshots.layer_path(&original.id))
        );
        prop_assert_eq!(world.tar(&copy.id).0, bytes);
    }
}

/// An archive as another tool writes it: members out of order, names of owners, padding behind the end.
fn strange() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, uid, owner) in [("z", 7, "somebody"), ("a/b", 0, "root"), ("c", 1000, "user")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o640);
        header.set_uid(uid);
        header.set_gid(uid);
        header.set_username(owner).unwrap();
        header.set_groupname(owner).unwrap();
        header.set_mtime(1_000_000);
        builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
    }
    let mut bytes = builder.into_inner().unwrap();
    bytes.extend([0; 8192]);
    bytes
}

#[test]
fn foreign_archives_are_given_back_byte_for_byte() {
    let Some(world) = World::new() else { return };
    let plain = strange();
    let diff_id = DiffId::new(Digest::of(&plain));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for bytes in [plain.clone(), gzip.finish().unwrap(), zstd::encode_all(plain.as_slice(), 1).unwrap()] {
        let layer = world.snapshots.apply(None, bytes.as_slice(), Some(diff_id)).unwrap();
        let kept = world.snapshots.root().join(layer.id.as_str()).join("archive");
        assert!(fs::metadata(&kept).unwrap().len() < 2000, "it is kept compressed");
        assert_eq!(world.tar(&layer.id), (plain.clone(), diff_id));
        // What shares the layer has its archive, too.
        let base = world.layer(None, |layer| fs::write(layer.join("base"), "x").unwrap());
        let shared = world.snapshots.stack_on(&layer.id, &base.id).unwrap();
        assert_eq!(world.tar(&shared.id).0, plain);
        // Clamped times are other bytes: those are made of the files.
        let mut ours = Vec::new();
        let clamped = world.snapshots.layer_tar(&layer.id, &mut ours, Some(5)).unwrap();
        assert_ne!(clamped.diff_id, diff_id);
        for id in [&shared.id, &base.id, &layer.id] {
            world.snapshots.remove(id).unwrap();
        }
        assert!(!kept.exists(), "it goes with its layer");
    }
}

#[test]
fn our_own_archives_are_not_kept() {
    let Some(world) = World::new() else { return };
    let original = world.layer(None, fill);
    let (bytes, diff_id) = world.tar(&original.id);
    for bytes in [zstd::encode_all(bytes.as_slice(), 1).unwrap(), bytes] {
        let copy = world.snapshots.apply(None, bytes.as_slice(), Some(diff_id)).unwrap();
        let names = fs::read_dir(world.snapshots.root().join(copy.id.as_str())).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["fs", "record.json"]);
        world.snapshots.remove(&copy.id).unwrap();
    }
    // A layer that only its files matter of takes the id of our archive.
    let ours = world.snapshots.unpack(strange().as_slice(), None).unwrap().attach_as_ours().unwrap();
    assert_ne!(ours.diff_id, Some(DiffId::new(Digest::of(strange()))));
    assert_eq!(ours.diff_id, Some(world.tar(&ours.id).1));
    assert_eq!(world.snapshots.by_chain(&ours.chain_id.unwrap()).unwrap(), Some(ours));
}

//! Detached mounts show merged trees and leave no trace.

use std::fs;
use std::path::Path;

use coracle_snapshot::{RootFs, SnapshotError};

use crate::world::{World, describe};

fn mount_table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

#[test]
fn a_detached_mount_shows_all_layers_and_takes_changes() {
    let Some(world) = World::new() else { return };
    let before = mount_table();
    let one = world.layer(None, |layer| {
        fs::create_dir(layer.join("d")).unwrap();
        fs::write(layer.join("d/a"), "one").unwrap();
        fs::write(layer.join("d/b"), "one").unwrap();
    });
    let two = world.layer(Some(&one.id), |layer| {
        fs::create_dir(layer.join("d")).unwrap();
        fs::write(layer.join("d/a"), "two").unwrap();
    });
    let active = world.snapshots.prepare(Some(&two.id)).unwrap();
    {
        let root = RootFs::new(active.mount_spec().mount_detached(false).unwrap());
        assert_eq!(root.read(Path::new("/d/a"), 10).unwrap(), b"two");
        assert_eq!(root.read(Path::new("/d/b"), 10).unwrap(), b"one");
        root.write_file(Path::new("/d/a"), b"three", 0o600, 7, 8).unwrap();
        root.remove(Path::new("/d/b")).unwrap();
        assert_eq!(root.stat(Path::new("d/b")).unwrap(), None);
        let read_only = RootFs::new(active.mount_spec().mount_detached(true).unwrap());
        assert!(read_only.write_file(Path::new("x"), b"", 0o600, 0, 0).is_err());
    }
    assert_eq!(mount_table(), before);
    let three = active.commit().unwrap();
    assert_eq!(world.snapshots.lowerdirs(&three.id).unwrap().len(), 3);
    let lines = describe(&world.snapshots.layer_path(&three.id));
    assert_eq!(lines[Path::new("d/b")], "whiteout");
    assert!(lines[Path::new("d/a")].starts_with("100600 7:8 "));
    let view = RootFs::new(world.snapshots.view(&three.id).unwrap());
    assert_eq!(view.read(Path::new("d/a"), 10).unwrap(), b"three");
    assert!(view.write_file(Path::new("d/c"), b"", 0o600, 0, 0).is_err());
    let view = RootFs::new(world.snapshots.view(&one.id).unwrap());
    assert_eq!(view.read(Path::new("d/a"), 10).unwrap(), b"one");
    assert!(view.write_file(Path::new("d/c"), b"", 0o600, 0, 0).is_err());
    assert_eq!(mount_table(), before);
}

#[test]
fn a_volatile_mount_gives_the_same_layer() {
    let Some(world) = World::new() else { return };
    let base = world.layer(None, |layer| fs::write(layer.join("a"), "a").unwrap());
    let active = world.snapshots.prepare(Some(&base.id)).unwrap();
    {
        let root = RootFs::new(active.mount_spec().volatile().mount_detached(false).unwrap());
        root.write_file(Path::new("b"), b"b", 0o644, 0, 0).unwrap();
    }
    let top = active.commit().unwrap();
    let view = RootFs::new(world.snapshots.view(&top.id).unwrap());
    assert_eq!(view.walk(Path::new("")).unwrap().len(), 2);
}

#[test]
fn an_empty_snapshot_is_mounted_too() {
    let Some(world) = World::new() else { return };
    let active = world.snapshots.prepare(None).unwrap();
    {
        let root = RootFs::new(active.mount_spec().mount_detached(false).unwrap());
        root.mkdir_all(Path::new("/a/b"), 0o755, 0, 0).unwrap();
        let read_only = RootFs::new(active.mount_spec().mount_detached(true).unwrap());
        assert!(read_only.mkdir_all(Path::new("/c"), 0o755, 0, 0).is_err());
    }
    let base = active.commit().unwrap();
    assert!(world.snapshots.layer_path(&base.id).join("a/b").is_dir());
}

#[test]
fn many_layers_fit() {
    let Some(world) = World::new() else { return };
    let mut top = world.layer(None, |layer| fs::write(layer.join("0"), "").unwrap());
    for number in 1..100 {
        top = world.layer(Some(&top.id), |layer| fs::write(layer.join(number.to_string()), "").unwrap());
    }
    let view = RootFs::new(world.snapshots.view(&top.id).unwrap());
    assert_eq!(view.walk(Path::new("")).unwrap().len(), 100);
}

#[test]
fn a_held_snapshot_is_mounted_again_and_keeps_its_changes() {
    let Some(world) = World::new() else { return };
    let base = world.layer(None, |layer| fs::write(layer.join("a"), "").unwrap());
    let active = world.snapshots.prepare(Some(&base.id)).unwrap();
    let held = active.hold("container 1").unwrap();
    for name in ["first", "second"] {
        let root = RootFs::new(world.snapshots.held(&held.id).unwrap().mount_detached(false).unwrap());
        root.write_file(Path::new(name), b"", 0o644, 0, 0).unwrap();
    }
    assert_eq!(world.snapshots.reclaim().unwrap(), []);
    assert!(matches!(world.snapshots.remove(&base.id), Err(SnapshotError::InUse { .. })));
    assert!(matches!(world.snapshots.prepare(Some(&held.id)), Err(SnapshotError::NotCommitted(_))));
    let root = RootFs::new(world.snapshots.held(&held.id).unwrap().mount_detached(true).unwrap());
    assert_eq!(root.walk(Path::new("/")).unwrap().len(), 3);
    drop(root);
    world.snapshots.remove(&held.id).unwrap();
    world.snapshots.remove(&base.id).unwrap();
    assert_eq!(world.snapshots.list().unwrap(), []);
    assert!(matches!(world.snapshots.held(&held.id), Err(SnapshotError::Unknown(_))));
}

//! Many processes at once, processes that die, and disks that fill up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use coracle_snapshot::{SnapshotError, Snapshots, State};

use crate::world::{Archive, World};

const ROOT: &str = "CORACLE_TEST_SNAPSHOTS";

/// Returns what lies in a root beside its lock and the index of chains, with what is being removed.
fn left(root: &Path) -> Vec<String> {
    let names = |directory: &Path, prefix: &str| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| format!("{prefix}{}", entry.file_name().to_string_lossy())).collect()
    };
    let mut left = names(root, "");
    left.retain(|name| !matches!(name.as_str(), ".lock" | "chains" | ".gone"));
    left.extend(names(&root.join(".gone"), ".gone/"));
    left
}

/// Runs one of this file's `child_*` tests in a process of its own.
fn child(test: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &format!("processes::{test}"), "--nocapture"])
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn child_makes_twenty() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let snapshots = Snapshots::open(Path::new(&root)).unwrap();
    for number in 0..20 {
        let active = snapshots.prepare(None).unwrap();
        fs::write(active.layer_path().join("owner"), std::process::id().to_string()).unwrap();
        if number % 2 == 0 {
            active.commit().unwrap();
        } else {
            active.discard().unwrap();
        }
    }
}

#[test]
fn child_dies() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let snapshots = Snapshots::open(Path::new(&root)).unwrap();
    let _held = snapshots.prepare(None).unwrap().hold("container 1").unwrap();
    let active = snapshots.prepare(None).unwrap();
    fs::write(active.layer_path().join("a"), "a").unwrap();
    // As by SIGKILL: no destructor runs.
    std::process::abort();
}

#[test]
fn threads_and_processes_get_snapshots_of_their_own() {
    let Some(world) = World::new() else { return };
    let children: Vec<_> =
        (0..4).map(|_| child("child_makes_twenty", world.snapshots.root()).spawn().unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    world.snapshots.prepare(None).unwrap().commit().unwrap();
                }
            });
        }
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let all = world.snapshots.list().unwrap();
    let ids: BTreeSet<_> = all.iter().map(|snapshot| snapshot.id.clone()).collect();
    assert_eq!(ids.len(), 4 * 10 + 4 * 20);
    assert!(all.iter().all(coracle_snapshot::Snapshot::is_committed));
    let left: Vec<_> =
        left(world.snapshots.root()).into_iter().filter(|name| name.contains("gone")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_a_dead_process_left_is_reclaimed_and_what_lives_is_not() {
    let Some(world) = World::new() else { return };
    let living = world.snapshots.prepare(None).unwrap();
    let status = child("child_dies", world.snapshots.root()).output().unwrap().status;
    assert!(!status.success());
    assert_eq!(world.snapshots.list().unwrap().len(), 3);
    let removed = world.snapshots.reclaim().unwrap();
    assert_eq!(removed.len(), 1);
    let left = world.snapshots.list().unwrap();
    assert_eq!(left.len(), 2);
    assert_eq!(left[0].id, *living.id());
    assert!(matches!(&left[1].state, State::Held { holder } if holder == "container 1"));
    assert!(world.snapshots.remove(living.id()).is_err(), "another process's work is not removed");
    // Half-made and half-removed ones.
    fs::create_dir_all(world.snapshots.root().join("zz/fs")).unwrap();
    fs::create_dir_all(world.snapshots.root().join(".gone/zy-1/fs/a")).unwrap();
    assert_eq!(world.snapshots.reclaim().unwrap().len(), 1);
    assert!(!world.snapshots.root().join(".gone/zy-1").exists());
    living.commit().unwrap();
}

#[test]
fn ids_are_never_given_twice() {
    let Some(world) = World::new() else { return };
    let first = world.layer(None, |_| ());
    let second = world.layer(None, |_| ());
    world.snapshots.remove(&second.id).unwrap();
    let third = world.layer(None, |_| ());
    assert_ne!(third.id, second.id);
    // Even a lost counter gives no id that exists.
    fs::remove_file(world.snapshots.root().join(".lock")).unwrap();
    let fourth = world.layer(None, |_| ());
    assert!(![first.id, third.id].contains(&fourth.id));
}

#[test]
fn a_base_stays_while_something_is_based_on_it() {
    let Some(world) = World::new() else { return };
    let base = world.layer(None, |_| ());
    let active = world.snapshots.prepare(Some(&base.id)).unwrap();
    let error = world.snapshots.remove(&base.id).unwrap_err();
    assert!(matches!(&error, SnapshotError::InUse { child, .. } if child == active.id()), "{error}");
    active.discard().unwrap();
    world.snapshots.remove(&base.id).unwrap();
    world.snapshots.remove(&base.id).unwrap();
    assert!(matches!(world.snapshots.prepare(Some(&base.id)), Err(SnapshotError::Unknown(_))));
}

#[test]
fn deep_trees_can_be_removed() {
    let Some(world) = World::new() else { return };
    let active = world.snapshots.prepare(None).unwrap();
    // Deeper than a path can name and than files can be open.
    let mut directory = fs::File::open(active.layer_path()).unwrap();
    for _ in 0..3000 {
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkdirat(&directory, "d", mode).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        directory = rustix::fs::openat(&directory, "d", flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    drop(directory);
    let id = active.id().clone();
    active.discard().unwrap();
    assert!(left(world.snapshots.root()).is_empty(), "{id}: only lock and chains are left");
}

/// Calls `work` with a directory on a file system of half a mebibyte that only this thread sees.
#[allow(unsafe_code)]
fn on_small_disk(world: &World, work: impl FnOnce(&Path) + Send) {
    let place = world.directory.path().join("small");
    fs::create_dir(&place).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
            // SAFETY: the thread shares no open files that it would lose.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            mount("tmpfs", &place, "tmpfs", MountFlags::empty(), c"size=512k").unwrap();
            work(&place);
        });
    });
}

#[test]
fn a_full_disk_is_a_clean_error() {
    let Some(world) = World::new() else { return };
    on_small_disk(&world, |place| {
        let snapshots = Snapshots::open(&place.join("s")).unwrap();
        let large = Archive::new().file("a", &"x".repeat(2 << 20)).bytes();
        let error = snapshots.apply(None, large.as_slice(), None).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        assert_eq!(snapshots.list().unwrap(), []);
        assert!(left(snapshots.root()).is_empty(), "only lock and chains are left");
        // Full to the brim: not even an empty snapshot can be prepared, and none is left half-made.
        let fits = snapshots.apply(None, Archive::new().file("a", "x").bytes().as_slice(), None).unwrap();
        let mut filler = fs::File::create(place.join("filler")).unwrap();
        while std::io::Write::write(&mut filler, &[1; 4096]).is_ok() {}
        let error = snapshots.prepare(Some(&fits.id)).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        assert_eq!(snapshots.list().unwrap(), std::slice::from_ref(&fits));
        assert_eq!(snapshots.get(&fits.id).unwrap(), fits);
        drop(filler);
        fs::remove_file(place.join("filler")).unwrap();
        assert_eq!(snapshots.reclaim().unwrap(), [], "nothing half-made is left");
        snapshots.prepare(Some(&fits.id)).unwrap().commit().unwrap();
    });
}

#[test]
fn many_are_removed_in_order_and_what_is_needed_stays() {
    let Some(world) = World::new() else { return };
    let write = |layer: &Path| fs::write(layer.join("file"), "content").unwrap();
    let linked = world.layer(None, write).id;
    let base = world.layer(None, write).id;
    let top = world.snapshots.stack_on(&linked, &base).unwrap().id;
    let needed = world.layer(None, write).id;
    let active = world.snapshots.prepare(Some(&needed)).unwrap();
    let all = [&base, &linked, &needed, active.id(), &top].map(Clone::clone);
    // Parents first: only what nothing rests on goes.
    let detached = world.snapshots.detach_all(&all).unwrap();
    assert_eq!(detached.ids(), std::slice::from_ref(&top));
    drop(detached);
    let detached = world.snapshots.detach_all(&[top, base.clone(), linked.clone(), base.clone()]).unwrap();
    assert_eq!(detached.ids(), [base, linked]);
    let left: Vec<_> = world.snapshots.list().unwrap().into_iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(left, [needed, active.id().clone()]);
    detached.erase().unwrap();
    // The first was never erased, as by a killed process.
    world.snapshots.reclaim().unwrap();
    assert!(!self::left(world.snapshots.root()).iter().any(|name| name.contains("gone")));
}

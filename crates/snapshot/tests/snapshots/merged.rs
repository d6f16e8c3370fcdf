//! A step upon a base, taken as an archive and put upon a copy of the base, gives the same file system.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coracle_snapshot::{RootFs, SnapshotId};
use proptest::prelude::*;

use crate::world::{World, own, set_xattr, whiteout};

/// One change of a file system. Changes that do not apply do nothing.
#[derive(Clone, Debug)]
enum Change {
    Write {
        path: String,
        content: u8,
        mode: u32,
    },
    Directory {
        path: String,
        mode: u32,
    },
    Symlink {
        path: String,
        target: String,
    },
    Hardlink {
        path: String,
        target: String,
    },
    Pipe {
        path: String,
    },
    Xattr {
        path: String,
        value: u8,
    },
    Own {
        path: String,
        uid: u32,
    },
    Remove {
        path: String,
    },
    /// Removed and made anew: what was in it is hidden.
    Renew {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
}

fn path() -> impl Strategy<Value = String> {
    "[abc](/[abc]){0,2}"
}

fn changes(most: usize) -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (path(), any::<u8>(), 0u32..0o10000).prop_map(|(path, content, mode)| Change::Write { path, content, mode }),
        4 => (path(), 0u32..0o10000).prop_map(|(path, mode)| Change::Directory { path, mode }),
        1 => (path(), "[abc./]{1,6}").prop_map(|(path, target)| Change::Symlink { path, target }),
        1 => (path(), path()).prop_map(|(path, target)| Change::Hardlink { path, target }),
        1 => path().prop_map(|path| Change::Pipe { path }),
        1 => (path(), any::<u8>()).prop_map(|(path, value)| Change::Xattr { path, value }),
        1 => (path(), 0u32..3_000_000).prop_map(|(path, uid)| Change::Own { path, uid }),
        2 => path().prop_map(|path| Change::Remove { path }),
        2 => path().prop_map(|path| Change::Renew { path }),
        1 => (path(), path()).prop_map(|(from, to)| Change::Rename { from, to }),
    ];
    proptest::collection::vec(change, 0..most)
}

/// Changes a mounted file system, whose links may point anywhere: none is ever followed.
fn change(root: &Path, change: &Change) -> std::io::Result<()> {
    let free = |path: &str| -> std::io::Result<PathBuf> {
        let mut place = root.to_owned();
        for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
            place.push(part);
            if !place.symlink_metadata()?.is_dir() {
                return Err(std::io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(root.join(path))
    };
    match change {
        Change::Write { path, content, mode } => {
            let path = free(path)?;
            match path.symlink_metadata() {
                Ok(metadata) if !metadata.is_file() => return Ok(()),
                _ => {}
            }
            fs::write(&path, vec![*content; usize::from(*content)])?;
            own(&path, *mode, 0, 0);
        }
        Change::Directory { path, mode } => {
            let path = free(path)?;
            fs::create_dir(&path)?;
            own(&path, *mode, 0, 0);
        }
        Change::Symlink { path, target } => std::os::unix::fs::symlink(target, free(path)?)?,
        Change::Hardlink { path, target } => {
            let target = free(target)?;
            if target.symlink_metadata()?.is_file() {
                fs::hard_link(target, free(path)?)?;
            }
        }
        Change::Pipe { path } => {
            rustix::fs::mkfifoat(rustix::fs::CWD, free(path)?, rustix::fs::Mode::RUSR)?;
        }
        Change::Xattr { path, value } => {
            let path = free(path)?;
            let metadata = path.symlink_metadata()?;
            if metadata.is_file() || metadata.is_dir() {
                // Never a line end, at which the library that reads the archive here stumbles.
                set_xattr(&path, "user.test", &[*value | 0x80]);
            }
        }
        Change::Own { path, uid } => std::os::unix::fs::lchown(free(path)?, Some(*uid), Some(1))?,
        Change::Remove { path } => remove(&free(path)?)?,
        Change::Renew { path } => {
            let path = free(path)?;
            remove(&path)?;
            fs::create_dir(&path)?;
        }
        Change::Rename { from, to } => fs::rename(free(from)?, free(to)?)?,
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Makes a snapshot upon another by changing what is seen through a mount, as a step of a build does.
fn step(world: &World, parent: Option<&SnapshotId>, changes: &[Change]) -> SnapshotId {
    let active = world.snapshots.prepare(parent).unwrap();
    let mount = active.mount_spec().volatile().mount_detached(false).unwrap();
    let root = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&mount)));
    for one in changes {
        let _ = change(&root, one);
    }
    drop(mount);
    active.commit().unwrap().id
}

/// Describes what is seen of a snapshot, by the archive of the whole tree: names, kinds, attributes and contents, with
/// hard links. Times of directories that a change only touched are the one thing layers may lose.
fn seen(world: &World, id: &SnapshotId) -> Vec<String> {
    let view = RootFs::new(world.snapshots.view(id).unwrap());
    let mut bytes = Vec::new();
    view.tar(&mut bytes).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let extensions: Vec<String> = entry
            .pax_extensions()
            .unwrap()
            .into_iter()
            .flatten()
            .map(|extension| format!("{:?}", extension.unwrap().value_bytes()))
            .collect();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        let header = entry.header();
        format!(
            "{} {:?} {:o} {}:{} {} -> {:?} {extensions:?} {:x?}",
            String::from_utf8_lossy(&entry.path_bytes()),
            header.entry_type(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            content.len(),
            entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned()),
            content.first(),
        )
    });
    entries.collect()
}

fn archive(world: &World, id: &SnapshotId) -> Vec<u8> {
    world.tar(id).0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_step_taken_as_an_archive_gives_the_same_file_system(
        base in changes(12),
        first in changes(8),
        second in changes(8),
    ) {
        let Some(world) = World::new() else { return Ok(()) };
        let other = World::new().expect("the first one could be made");
        let (mut ours, mut theirs): (Option<SnapshotId>, Option<SnapshotId>) = (None, None);
        for changes in [&base, &first, &second] {
            let made = step(&world, ours.as_ref(), changes);
            let bytes = archive(&world, &made);
            let taken = other.snapshots.apply(theirs.as_ref(), bytes.as_slice(), None).unwrap().id;
            prop_assert_eq!(seen(&other, &taken), seen(&world, &made), "{:?}", changes);
            (ours, theirs) = (Some(made), Some(taken));
        }
    }
}

#[test]
fn a_stacked_layer_is_seen_upon_its_parent_and_keeps_its_maker() {
    let Some(world) = World::new() else { return };
    let base = world.layer(None, |layer| fs::write(layer.join("base"), "base").unwrap());
    let other = world.layer(None, |layer| fs::write(layer.join("other"), "other").unwrap());
    let linked = world.layer(None, |layer| {
        fs::create_dir(layer.join("app")).unwrap();
        fs::write(layer.join("app/file"), "linked").unwrap();
        whiteout(&layer.join("base"));
    });
    let one = world.snapshots.stack_on(&linked.id, &base.id).unwrap();
    let two = world.snapshots.stack_on(&one.id, &other.id).unwrap();
    let names = |id: &SnapshotId| {
        let root = RootFs::new(world.snapshots.view(id).unwrap());
        let walked = root.walk(Path::new("/")).unwrap();
        walked.into_iter().map(|entry| entry.path.as_os_str().as_bytes().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(names(&one.id), [b"app".to_vec(), b"app/file".to_vec()]);
    assert_eq!(names(&two.id), [b"app".to_vec(), b"app/file".to_vec(), b"other".to_vec()]);
    assert_eq!(archive(&world, &two.id), archive(&world, &linked.id));
    assert_eq!(two.layer_of, Some(linked.id.clone()));
    assert_eq!(world.snapshots.usage(&two.id).unwrap(), 0);
    assert!(world.snapshots.remove(&linked.id).is_err(), "others share its layer");
    // A step upon it.
    let top = step(&world, Some(&two.id), &[Change::Remove { path: "app/file".to_owned() }]);
    assert_eq!(names(&top), [b"app".to_vec(), b"other".to_vec()]);
    for id in [&top, &two.id, &one.id, &linked.id] {
        world.snapshots.remove(id).unwrap();
    }
    assert_eq!(names(&base.id), [b"base".to_vec()]);
}

/// Files are read by several threads, and still come in order.
#[test]
fn a_large_layer_is_archived_in_the_order_of_names() {
    let Some(world) = World::new() else { return };
    let size = |number: usize| if number.is_multiple_of(97) { 200_000 + number } else { number * 7 % 3000 };
    let snapshot = world.layer(None, |layer| {
        for directory in ["a", "b", "c/deep"] {
            fs::create_dir_all(layer.join(directory)).unwrap();
            for number in 0..300 {
                let path = layer.join(directory).join(format!("{number:04}"));
                match number % 50 {
                    13 => std::os::unix::fs::symlink("target", path).unwrap(),
                    14 => fs::create_dir(path).unwrap(),
                    15 => {
                        fs::hard_link(layer.join(directory).join(format!("{:04}", number - 5)), path)
                            .unwrap();
                    }
                    _ => fs::write(path, vec![number as u8; size(number)]).unwrap(),
                }
            }
        }
        set_xattr(&layer.join("b/0200"), "user.note", b"kept");
    });
    let bytes = archive(&world, &snapshot.id);
    assert_eq!(bytes, archive(&world, &snapshot.id));
    let mut archive = tar::Archive::new(bytes.as_slice());
    let (mut names, mut files) = (Vec::new(), 0);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if entry.header().entry_type().is_file() {
            let number: usize = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            assert_eq!(content, vec![number as u8; size(number)], "{}", path.display());
            files += 1;
        }
        names.push(path);
    }
    assert_eq!((names.len(), files), (904, 900 - 3 * 18));
    assert!(names.is_sorted());
    assert!(String::from_utf8_lossy(&bytes).contains("SCHILY.xattr.user.note=kept"));
}

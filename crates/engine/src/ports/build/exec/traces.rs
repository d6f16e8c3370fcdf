//! What making mount points leaves in a step's layer: directories that are just as they were below.
//!
//! The shim takes mount points out again, but the kernel has copied the directory that held them up into the layer.
//! Such a directory is no change; left in, it would say to every reader that the step touched `/etc`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use coracle_snapshot::RootFs;
use coracle_snapshot::rootfs::FileKind;

/// Takes unchanged, empty directories above `targets` out of a layer. `below` is the file system under the layer.
/// Returns whether nothing is left in the layer at all. A failure leaves the directory: it does no harm.
pub(super) fn remove<'t>(
    layer: &RootFs,
    below: Option<&RootFs>,
    targets: impl Iterator<Item = &'t str>,
) -> bool {
    let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
    for target in targets {
        // A link on the way leads elsewhere in the layer.
        for directory in Path::new(target).ancestors().skip(1) {
            let real = below.and_then(|below| below.real_path(directory).ok());
            directories.insert(real.unwrap_or_else(|| inside(directory)));
            directories.insert(inside(directory));
        }
    }
    // Compared before anything is taken out: that changes the times of what is above.
    let unchanged = |directory: &&PathBuf| {
        let (Ok(Some(upper)), Some(Ok(Some(lower)))) =
            (layer.stat_link(directory), below.map(|below| below.stat_link(directory)))
        else {
            return false;
        };
        upper.kind == FileKind::Directory
            && lower.kind == FileKind::Directory
            && (upper.mode, upper.uid, upper.gid, upper.mtime)
                == (lower.mode, lower.uid, lower.gid, lower.mtime)
    };
    let directories = directories.iter().filter(|path| !path.as_os_str().is_empty());
    let unchanged: Vec<&PathBuf> = directories.filter(unchanged).collect();
    // The deepest first: a directory may become empty.
    for directory in unchanged.into_iter().rev() {
        let _ = layer.remove_empty_stub(directory);
    }
    layer.list(Path::new("")).is_ok_and(|names| names.is_empty())
}

fn inside(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn only_what_is_unchanged_goes() {
        let directory = tempfile::tempdir().unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let make = |path: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(&path).unwrap();
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        };
        for path in ["below/etc", "below/root", "below/opt", "below/deep/er", "below/deep", "layer"] {
            make(path);
        }
        std::os::unix::fs::symlink("deep", directory.path().join("below/link")).unwrap();
        for path in ["layer/etc", "layer/root", "layer/opt", "layer/new", "layer/deep/er", "layer/deep"] {
            make(path);
        }
        // Changed: a file was put there, or the time is another.
        fs::write(directory.path().join("layer/root/file"), "").unwrap();
        fs::File::open(directory.path().join("layer/root")).unwrap().set_modified(time).unwrap();
        fs::File::open(directory.path().join("layer/opt"))
            .unwrap()
            .set_modified(time + Duration::from_secs(1))
            .unwrap();
        let open = |path: &str| RootFs::open_directory(&directory.path().join(path)).unwrap();
        let targets = ["/etc/hosts", "/root/.token", "/opt/x", "/new/x", "/link/er/x", "/proc"];
        assert!(!remove(&open("layer"), Some(&open("below")), targets.into_iter()));
        assert_eq!(open("layer").list(Path::new("")).unwrap(), ["new", "opt", "root"]);
        for path in ["new", "opt"] {
            fs::remove_dir(directory.path().join("layer").join(path)).unwrap();
        }
        fs::remove_dir_all(directory.path().join("layer/root")).unwrap();
        assert!(remove(&open("layer"), Some(&open("below")), targets.into_iter()));
    }
}

//! The directory that one bake works in: made under a name that no other bake has, gone when dropped.
//!
//! ```text
//! WORK_DIR/bake-<plan key>-<process id>-<number>/   the Debian tree and the stage
//! WORK_DIR/bake-<plan key>-<process id>-<number>.tar   the layer, left for the caller
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coracle_oci::Digest;

const PREFIX: &str = "bake-";

/// The directory of one bake.
pub(crate) struct Workspace(PathBuf);

impl Workspace {
    /// Makes a directory below `work_dir`, after removing those of processes that were killed.
    pub(crate) fn create(work_dir: &Path, key: Digest) -> io::Result<Self> {
        fs::create_dir_all(work_dir)?;
        let work_dir = work_dir.canonicalize()?;
        sweep(&work_dir)?;
        // Two processes may bake the same plan at once: the process id keeps them apart, the number threads.
        for number in 0_u32.. {
            let path = work_dir.join(format!("{PREFIX}{}-{}-{number}", key.short(), std::process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            }
            let workspace = Self(path);
            if !workspace.layer().exists() {
                return Ok(workspace);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns where the layer goes.
    pub(crate) fn layer(&self) -> PathBuf {
        self.0.with_extension("tar")
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Nobody is left to tell; the next bake tries again.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what killed bakes left. A process id that was given to another process keeps its leftovers for now.
fn sweep(work_dir: &Path) -> io::Result<()> {
    // Nothing should be mounted there; if something is, removing its content would be the worst answer.
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    for entry in fs::read_dir(work_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(process_of) else { continue };
        if Path::new("/proc").join(process).exists() || mounts.contains(&*entry.path().to_string_lossy()) {
            continue;
        }
        // Another bake may be sweeping the same leftovers, and what will not go is no reason not to bake.
        let _ = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
    }
    Ok(())
}

/// Returns the process id in the name of a workspace or layer.
fn process_of(name: &str) -> Option<&str> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let (_key, process, _number) = (parts.next()?, parts.next()?, parts.next()?);
    let numeric = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
    (numeric && parts.next().is_none()).then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Larger than any process id that Linux gives (`pid_max` is at most 2^22).
    const NOBODY: u32 = 1 << 23;

    #[test]
    fn two_workspaces_of_one_plan_differ_and_go() {
        let work = tempfile::tempdir().unwrap();
        let key = Digest::of("x");
        let first = Workspace::create(work.path(), key).unwrap();
        let second = Workspace::create(work.path(), key).unwrap();
        assert_ne!(first.path(), second.path());
        fs::write(first.layer(), "layer").unwrap();
        let taken = first.layer();
        drop((first, second));
        let third = Workspace::create(work.path(), key).unwrap();
        assert_ne!(third.layer(), taken, "a layer that the caller has not fetched yet is not overwritten");
        drop(third);
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1, "only the layer is left");
    }

    #[test]
    fn leftovers_of_killed_bakes_are_swept() {
        let work = tempfile::tempdir().unwrap();
        let killed = work.path().join(format!("bake-abc-{NOBODY}-0"));
        fs::create_dir_all(killed.join("tree/usr")).unwrap();
        fs::write(killed.with_extension("tar"), "half").unwrap();
        let running = work.path().join(format!("bake-abc-{}-7", std::process::id()));
        fs::create_dir(&running).unwrap();
        let foreign = work.path().join("bake-notes");
        fs::write(&foreign, "not ours").unwrap();
        drop(Workspace::create(work.path(), Digest::of("x")).unwrap());
        assert!(!killed.exists() && !killed.with_extension("tar").exists());
        assert!(running.exists() && foreign.exists());
    }
}

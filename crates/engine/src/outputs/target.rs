//! Files and directories of the user that appear whole or not at all.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use coracle_report::Diagnostic;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::spec::Stream;
use crate::{Failure, Result};

/// Writes a file in one step: what was there stays until everything is written, and a process that is killed leaves
/// nothing, for the new file has no name until then.
pub fn write_file(path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> {
    let fail = |error: io::Error| cannot("write", path, &error);
    // A device or pipe is written to, not replaced.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let mut out = BufWriter::with_capacity(256 << 10, File::create(path).map_err(fail)?);
        write(&mut out)?;
        return out.flush().map_err(fail);
    }
    if path.is_dir() {
        let message = format!("cannot write {}: it is a directory", path.display());
        return Err(Failure::user(
            Diagnostic::error("output", message).with_hint("name a file: dest=DIRECTORY/app.tar"),
        ));
    }
    let directory = match path.parent() {
        None => return Err(fail(io::ErrorKind::InvalidInput.into())),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::from_raw_mode(0o644)) {
        Ok(file) => {
            let file = written(File::from(file), write, &fail)?;
            name(&file, directory, path).map_err(fail)
        }
        // Some file systems have no files without names.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            let named = tempfile::Builder::new()
                .prefix(".coracle-")
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
                .tempfile_in(directory)
                .map_err(fail)?;
            written(named.as_file().try_clone().map_err(fail)?, write, &fail)?;
            named.persist(path).map(drop).map_err(|error| fail(error.error))
        }
        Err(error) => Err(fail(error.into())),
    }
}

fn written(
    file: File,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    fail: &dyn Fn(io::Error) -> Failure,
) -> Result<File> {
    let mut out = BufWriter::with_capacity(256 << 10, file);
    write(&mut out)?;
    out.into_inner().map_err(|error| fail(error.into_error()))
}

/// Gives an open file without a name its name.
fn name(file: &File, directory: &Path, path: &Path) -> io::Result<()> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |to: &Path| rustix::fs::linkat(CWD, &*open, CWD, to, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // Linking never replaces; renaming does, in one step.
    let mut tries = 0;
    let temporary = loop {
        let temporary = directory.join(format!(".coracle-{}-{tries}", std::process::id()));
        match link(&temporary) {
            Ok(()) => break temporary,
            Err(rustix::io::Errno::EXIST) if tries < 100 => tries += 1,
            Err(error) => return Err(error.into()),
        }
    };
    std::fs::rename(&temporary, path).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Writes to an open stream.
pub fn write_stream(stream: &Stream, write: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> {
    let fail = |error: io::Error| cannot("write", Path::new("the archive"), &error);
    let mut out = BufWriter::with_capacity(256 << 10, stream.clone());
    write(&mut out)?;
    out.flush().map_err(fail)
}

/// Fills a directory. A new one appears in one step; one that is there is filled in place.
pub fn fill_directory(path: &Path, fill: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let fail = |error: io::Error| cannot("make", path, &error);
    if path.exists() {
        if !path.is_dir() {
            return Err(fail(io::ErrorKind::NotADirectory.into()));
        }
        return fill(path);
    }
    let absolute = std::path::absolute(path).map_err(fail)?;
    let parent = absolute.parent().ok_or_else(|| fail(io::ErrorKind::InvalidInput.into()))?;
    let made = make_parents(parent).map_err(fail)?;
    let filled = (|| {
        let temporary = tempfile::Builder::new()
            .prefix(".coracle-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(parent)
            .map_err(fail)?;
        fill(temporary.path())?;
        std::fs::rename(temporary.path(), &absolute).map_err(fail)?;
        // Moved away: nothing is left to remove.
        let _: PathBuf = temporary.keep();
        Ok(())
    })();
    if filled.is_err() {
        for directory in made.iter().rev() {
            let _ = std::fs::remove_dir(directory);
        }
    }
    filled
}

/// Makes missing directories and returns them, outermost first.
fn make_parents(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing: Vec<PathBuf> =
        path.ancestors().take_while(|path| !path.exists()).map(Path::to_path_buf).collect();
    missing.reverse();
    for directory in &missing {
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(missing)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    let mut diagnostic = Diagnostic::error("output", format!("cannot {what} {}: {error}", path.display()));
    if error.kind() == io::ErrorKind::StorageFull {
        diagnostic = diagnostic.with_hint("free some space, or choose another destination");
    }
    Failure::user(diagnostic)
}

/// Returns a name as one part of a path: `linux/arm64/v8` is `linux_arm64_v8`.
pub fn platform_directory(platform: &coracle_oci::Platform) -> OsString {
    platform.to_string().replace('/', "_").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        for content in ["first", "second"] {
            write_file(&path, &mut |out| {
                out.write_all(content.as_bytes()).unwrap();
                Ok(())
            })
            .unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        let failed = write_file(&path, &mut |out| {
            out.write_all(b"half").unwrap();
            Err(Failure::user(Diagnostic::error("test", "no")))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(write_file(directory.path(), &mut |_| Ok(())).is_err());
    }

    #[test]
    fn a_directory_that_could_not_be_filled_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        let failed = fill_directory(&path, &mut |inside| {
            std::fs::write(inside.join("x"), "half").unwrap();
            Err(Failure::user(Diagnostic::error("test", "no")))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        fill_directory(&path, &mut |inside| {
            std::fs::write(inside.join("x"), "all").unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(std::fs::read_to_string(path.join("x")).unwrap(), "all");
        assert_eq!(std::fs::read_dir(directory.path().join("a")).unwrap().count(), 1);
    }
}

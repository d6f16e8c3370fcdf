//! Bringing archives and repositories into a throw-away directory.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_build::GitSource;
use coracle_report::Diagnostic;
use coracle_snapshot::{ExtractOptions, Limits, RootFs};

use super::Git;
use crate::{During, Failure, Result};

/// Bounds on a context that comes as an archive.
const LIMITS: Limits = Limits { bytes: 64 << 30, entries: 4 << 20 };

/// Writes a stream to a file.
pub(super) fn spool(input: &mut dyn Read, file: &Path, cancel: &AtomicBool) -> Result<()> {
    let during = "keeping standard input";
    let mut file = File::create(file).during(during)?;
    let mut buffer = vec![0; 256 << 10];
    let mut count = 0;
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Failure::user(Diagnostic::error("cancelled", "the build was cancelled")));
        }
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                count += read as u64;
                if count > LIMITS.bytes {
                    let message = format!("standard input is larger than {} bytes", LIMITS.bytes);
                    return Err(Failure::user(Diagnostic::error("build-context", message)));
                }
                file.write_all(&buffer[..read]).during(during)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).during("reading standard input"),
        }
    }
}

/// Unpacks an archive into a directory that is made; returns false when the file is none, and leaves it empty.
pub(super) fn archive(file: &Path, directory: &Path, called: &str) -> Result<bool> {
    let during = "unpacking the build context";
    std::fs::DirBuilder::new().mode(0o755).create(directory).during(during)?;
    let root = RootFs::open_directory(directory).during(during)?;
    let options = ExtractOptions { owner: Some((0, 0)), limits: LIMITS };
    let file = File::open(file).during(format_args!("reading {called}"))?;
    root.extract_archive(Path::new("/"), file, &options).map_err(|error| {
        if error.is_no_space() {
            return Failure::ours(during, &error);
        }
        Failure::user(Diagnostic::error("bad-archive", format!("{called}: {error}")))
    })
}

/// Returns the failure of a context that is not there.
pub(super) fn missing(path: &Path) -> Failure {
    let error = Diagnostic::error("build-context", format!("there is no build context {}", path.display()));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Failure::user(match crate::near::nearest(&wanted, names.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean {}?", parent.join(near).display())),
        None => error.with_hint("name a directory, a tar archive, a URL, or `-` for standard input"),
    })
}

/// Fetches a repository's commit below an empty directory and returns the directory that is meant: without `.git`
/// unless that is to stay, and with the modes that git records whatever the caller's umask.
pub fn check_out(git: &Git<'_>, source: &GitSource, commit: &str, work: &Path) -> Result<PathBuf> {
    let during = "keeping a repository's files";
    let tree = work.join("tree");
    std::fs::DirBuilder::new().mode(0o755).create(&tree).during(during)?;
    git.check_out(source, commit, &tree)?;
    if !source.keep_git_dir {
        tidy(&tree).during(during)?;
    }
    if source.subdir.is_empty() {
        return Ok(tree);
    }
    // Links in a repository may lead anywhere: the directory must be found without them.
    let root = RootFs::open_directory(&tree).during(during)?;
    let real = root.real_path(Path::new(&source.subdir)).ok();
    let directory = real.map(|real| tree.join(real.strip_prefix("/").unwrap_or(&real)));
    if let Some(directory) = directory.filter(|directory| directory.is_dir()) {
        return Ok(directory);
    }
    let message = format!("there is no directory `{}` in {source}", source.subdir);
    let names = root.list(Path::new("")).unwrap_or_default();
    let names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    let error = Diagnostic::error("build-context", message);
    Err(Failure::user(match crate::near::nearest(&source.subdir, names.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error,
    }))
}

/// Removes `.git` everywhere (no repository can hold a file of that name) and makes modes what git records.
fn tidy(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        let permissions = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
        if entry.file_name() == ".git" {
            if metadata.is_dir() {
                std::fs::remove_dir_all(&path)?;
            } else {
                std::fs::remove_file(&path)?;
            }
        } else if metadata.is_dir() {
            permissions(0o755)?;
            tidy(&path)?;
        } else if metadata.is_file() {
            permissions(if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 })?;
        }
    }
    Ok(())
}

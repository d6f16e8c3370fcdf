//! The files of a result: in a directory, or as one archive.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use coracle_oci::Sha256Writer;
use coracle_report::Diagnostic;
use coracle_snapshot::RootFs;
use coracle_snapshot::rootfs::{CopyOptions, FileKind};
use serde_json::{Value, json};

use super::content::{Attestation, statement};
use super::finished::Finished;
use super::layout;
use super::spec::LocalMode;
use super::target::platform_directory;
use crate::{During, Engine, Failure, Result};

/// Opens the file system of a result; one without layers is empty.
fn open(engine: &Engine, image: &Finished) -> Result<(RootFs, Option<tempfile::TempDir>)> {
    if let Some(top) = image.top() {
        let view = engine.snapshots.view(top).during("looking into the result")?;
        return Ok((RootFs::new(view), None));
    }
    let directory = tempfile::tempdir().during("making an empty directory")?;
    let root = RootFs::open_directory(directory.path()).during("opening an empty directory")?;
    Ok((root, Some(directory)))
}

/// Copies the files into a directory that exists. They belong to whoever runs this, as with BuildKit, and keep their
/// modes and times, but with `latest` none is younger than that. Links that are in the directory already are replaced, never followed.
fn copy(
    engine: &Engine,
    image: &Finished,
    directory: &Path,
    mode: LocalMode,
    latest: Option<i64>,
) -> Result<()> {
    let what = format!("writing to {}", directory.display());
    let (from, _held) = open(engine, image)?;
    let to = RootFs::open_directory(directory).during(&what)?;
    let mut kept: BTreeSet<PathBuf> = BTreeSet::new();
    for entry in from.walk(Path::new("/")).during(&what)? {
        let here = to.stat_link(&entry.path).during(&what)?;
        let is_directory = entry.metadata.kind == FileKind::Directory;
        // What is of another kind makes room: above all a link where the result has a directory.
        if here.is_some_and(|here| (here.kind == FileKind::Directory) != is_directory) {
            to.remove(&entry.path).during(&what)?;
        }
        kept.insert(entry.path);
    }
    let owner = Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let options = CopyOptions { owner, keep_mtime: true, latest, ..CopyOptions::default() };
    to.copy_tree_in(&from, Path::new("/"), Path::new(""), &options).during(&what)?;
    if mode == LocalMode::Delete {
        for entry in to.walk(Path::new("/")).during(&what)?.into_iter().rev() {
            if !kept.contains(&entry.path) {
                to.remove(&entry.path).during(&what)?;
            }
        }
    }
    Ok(())
}

/// Writes the files as an archive, owners included; with `latest`, none is younger than that.
fn tar(engine: &Engine, image: &Finished, out: &mut dyn Write, latest: Option<i64>) -> Result<()> {
    let (root, _held) = open(engine, image)?;
    root.tar_no_later(out, latest).during("writing the archive")
}

/// Fills a directory with the files of each image, and what is attested of them beside those; with `split`, each in a
/// directory of its platform's name.
pub fn fill(
    engine: &Engine,
    images: &[(Finished, Vec<Attestation>)],
    directory: &Path,
    mode: LocalMode,
    split: bool,
    latest: Option<i64>,
) -> Result<()> {
    for (image, attestations) in images {
        let mut place = directory.to_owned();
        if split {
            place.push(platform_directory(&image.platform()));
            std::fs::create_dir_all(&place).during(format_args!("making {}", place.display()))?;
        }
        copy(engine, image, &place, mode, latest)?;
        for (name, bytes) in documents(engine, image, attestations)? {
            // In one step, and never through a link that lies there.
            let what = format!("writing {}", place.join(&name).display());
            let root = RootFs::open_directory(&place).during(&what)?;
            let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            root.write_file(Path::new(&name), &bytes, 0o644, owner.0, owner.1).during(&what)?;
        }
    }
    Ok(())
}

/// Returns the files that attest something of a result: statements about each of its files.
fn documents(
    engine: &Engine,
    image: &Finished,
    attestations: &[Attestation],
) -> Result<Vec<(String, Vec<u8>)>> {
    if attestations.is_empty() {
        return Ok(Vec::new());
    }
    let (root, _held) = open(engine, image)?;
    let what = "hashing the files of the result";
    let mut subjects = Vec::new();
    for entry in root.walk(Path::new("/")).during(what)? {
        if entry.metadata.kind == FileKind::File {
            let mut hasher = Sha256Writer::new(std::io::sink());
            std::io::copy(&mut root.open(&entry.path).during(what)?, &mut hasher).during(what)?;
            let (_, digest, _) = hasher.finish();
            let name = entry.path.to_string_lossy();
            subjects.push(json!({"name": name, "digest": {"sha256": digest.hex()}}));
        }
    }
    let subjects = Value::Array(subjects);
    let document = |attestation: &Attestation| {
        let bytes = serde_json::to_vec_pretty(&statement(attestation, &subjects));
        (attestation.file.clone(), bytes.expect("JSON values can be written"))
    };
    Ok(attestations.iter().map(document).collect())
}

/// Writes the files of an image as an archive. Attestations are members of their own at its end.
pub fn archive(
    engine: &Engine,
    images: &[(Finished, Vec<Attestation>)],
    out: &mut dyn Write,
    latest: Option<i64>,
) -> Result<()> {
    let [(image, attestations)] = images else {
        let message = "type=tar writes the files of one platform";
        return Err(Failure::user(
            Diagnostic::error("bad-output", message)
                .with_hint("choose one with --platform, or use type=local"),
        ));
    };
    if attestations.is_empty() {
        return tar(engine, image, out, latest);
    }
    // The archive of the files without its end, then the rest.
    let mut open_end = OpenEnd { out, held: Vec::new() };
    tar(engine, image, &mut open_end, latest)?;
    let mut more = tar::Builder::new(open_end.out);
    for (name, bytes) in documents(engine, image, attestations)? {
        let mut header = layout::header(bytes.len() as u64, tar::EntryType::Regular, 0o644);
        header.set_mtime(latest.and_then(|latest| u64::try_from(latest).ok()).unwrap_or(0));
        more.append_data(&mut header, name, bytes.as_slice()).during("writing the archive")?;
    }
    more.into_inner().map(drop).during("writing the archive")
}

/// Holds the last two blocks back: the end of an archive.
struct OpenEnd<'a> {
    out: &'a mut dyn Write,
    held: Vec<u8>,
}

impl Write for OpenEnd<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let ready = self.held.len().saturating_sub(1024);
        self.out.write_all(&self.held[..ready])?;
        self.held.drain(..ready);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

//! Compiled system call filters, kept until the next boot and shared by all containers with the same profile.
//!
//! ```text
//! <run>/../filters/<hash>.bpf   a compiled profile
//! ```

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use coracle_shim::config::FILTER_FILE;
use coracle_shim::filter;
use oci_spec::runtime::Spec;

use crate::{Paths, RuntimeError, bundle};

/// Takes the profile out of the specification and puts its compiled form into the bundle. Returns whether there was
/// one.
pub(crate) fn take(paths: &Paths, spec: &mut Spec, into: &Path) -> Result<bool, RuntimeError> {
    let Some(mut linux) = spec.linux().clone() else { return Ok(false) };
    let Some(profile) = linux.seccomp().clone() else { return Ok(false) };
    linux.set_seccomp(None);
    spec.set_linux(Some(linux));

    let directory = paths.run.parent().unwrap_or(&paths.run).join("filters");
    bundle::make_directory(&directory)?;
    let text = serde_json::to_vec(&profile)
        .map_err(|source| RuntimeError::Record { path: into.to_path_buf(), source })?;
    // The program's version is part of the name: another may compile otherwise.
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), filter::FORM, &text).hash(&mut hasher);
    let cached = directory.join(format!("{:016x}-{}.bpf", hasher.finish(), text.len()));
    let place = into.join(FILTER_FILE);
    match fs::remove_file(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(RuntimeError::file("replace", place)(error));
        }
        _ => {}
    }
    if fs::hard_link(&cached, &place).is_ok() {
        return Ok(true);
    }
    let file = File::create(&place).map_err(RuntimeError::file("write", &place))?;
    filter::compile(&profile, &file)?;
    // Linked only when it is whole. Another command may have been faster, or the link may not be possible.
    let _ = fs::hard_link(&place, &cached);
    Ok(true)
}

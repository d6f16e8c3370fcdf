//! Which files define what is baked.

use std::path::{Path, PathBuf};

use coracle_bakefile::{DEFAULT_FILES, Input};
use coracle_composefile::Loader as _;
use coracle_report::Diagnostic;

use super::BakeRequest;
use crate::projects::DiskLoader;
use crate::{Failure, Result};

/// The files of a definition by their kind.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Compose files, lowest first.
    pub compose: Vec<PathBuf>,
    /// Bake files with their text, lowest first.
    pub bake: Vec<Input>,
}

/// Finds and reads the files.
pub(super) fn read(request: &BakeRequest) -> Result<Files> {
    request.targets.iter().try_for_each(|name| refuse_remote(name))?;
    let named = !request.files.is_empty();
    let names: Vec<String> =
        if named { request.files.clone() } else { DEFAULT_FILES.map(str::to_owned).to_vec() };
    let mut files = Files::default();
    for name in names {
        if name == "-" {
            let text = request.input.clone().unwrap_or_default();
            files.bake.push(Input { name: "stdin".into(), text });
            continue;
        }
        refuse_remote(&name)?;
        let path = request.directory.join(&name);
        if !named && !path.is_file() {
            continue;
        }
        let is_compose =
            Path::new(&name).extension().is_some_and(|kind| matches!(kind.to_str(), Some("yml" | "yaml")));
        if is_compose {
            // Only the first of the usual Compose files counts, as in Compose.
            if named || files.compose.is_empty() {
                files.compose.push(path);
            }
            continue;
        }
        match DiskLoader.read(&path) {
            Ok(text) => files.bake.push(Input { name: name.into(), text }),
            Err(error) => {
                let message = format!("cannot read the bake file {name}: {error}");
                return Err(Failure::user(Diagnostic::error("bake-file", message)));
            }
        }
    }
    if files.compose.is_empty() && files.bake.is_empty() {
        let message = format!("there is no bake file in {}", request.directory.display());
        let hint = format!("write one, or name it with -f; looked for {}", DEFAULT_FILES.join(", "));
        return Err(Failure::user(Diagnostic::error("bake-file", message).with_hint(hint)));
    }
    Ok(files)
}

/// Refuses definitions that lie elsewhere: a stranger's could ask for any file of this machine.
fn refuse_remote(name: &str) -> Result<()> {
    if !name.contains("://") && !name.starts_with("git@") {
        return Ok(());
    }
    let message = format!("a definition is a file of this machine, and `{name}` is not");
    let error = Diagnostic::error("bake-remote", message);
    Err(Failure::user(error.with_hint(format!(
        "git clone {name} project, look at what it asks for, and run `coracle bake` in it; \
         a target's context may lie elsewhere"
    ))))
}

//! Secrets that are files: made on first use, where an example says that a random one will do.
//!
//! `secrets/postgres_password.txt.example` beside a missing `secrets/postgres_password.txt` is the project's word
//! that any value serves; one is drawn, so that the first `up` needs no manual step. Without an example a missing
//! file is an error, as everywhere.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use coracle_composefile::{FileContent, Project};
use coracle_report::{Diagnostic, Event};

use super::Projects;
use crate::{During, Failure, Result, process};

impl Projects<'_> {
    /// Makes the secrets of `services` that are missing, and refuses what cannot be made.
    pub(super) fn ensure_secrets(&self, project: &Project, services: &BTreeSet<String>) -> Result<()> {
        let mut missing = Vec::new();
        for service in project.services.values().filter(|service| services.contains(&service.name)) {
            let secrets = service.secrets.iter().map(|grant| (grant, project.secrets.get(&grant.source)));
            let configs = service.configs.iter().map(|grant| (grant, project.configs.get(&grant.source)));
            for (grant, object) in secrets.chain(configs) {
                let Some(object) = object else { continue };
                let FileContent::File(path) = &object.content else { continue };
                if path.exists() || self.make(path)? {
                    continue;
                }
                let message = format!("secret `{}` has no file {}", grant.source, path.display());
                missing.push(
                    Diagnostic::error("missing-secret", message)
                        .with_span(object.span.clone())
                        .with_hint(format!("write it: printf %s VALUE > {}", path.display())),
                );
            }
        }
        missing.dedup();
        if missing.is_empty() { Ok(()) } else { Err(Failure::findings(missing)) }
    }

    /// Makes a random secret where an example stands beside; returns whether the file is there now.
    fn make(&self, path: &Path) -> Result<bool> {
        let mut example = path.as_os_str().to_owned();
        example.push(".example");
        if !PathBuf::from(example).is_file() {
            return Ok(false);
        }
        let value = &process::random_hex().during("drawing a secret")?[..48];
        // Only the owner may read it; two commands at once must not both write.
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made {
            Ok(mut file) => {
                let written = file.write_all(value.as_bytes()).and_then(|()| file.sync_all());
                if written.is_err() {
                    let _ = std::fs::remove_file(path);
                }
                written.during(format_args!("writing {}", path.display()))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(true),
            Err(error) => return Err(Failure::ours(format_args!("making {}", path.display()), &error)),
        }
        let message = format!("made a random secret: {}", path.display());
        self.engine.reporter.event(Event::Notice(Diagnostic::note("secret-made", message)));
        Ok(true)
    }
}

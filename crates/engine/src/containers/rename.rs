//! Another name for a container.

use coracle_container::{ContainerId, NetworkMode};
use coracle_report::Diagnostic;
use coracle_store::FileLock;

use super::launch::gone;
use super::{Containers, is_name};
use crate::{During, Failure, Result, stored};

impl Containers<'_> {
    /// Gives a container another name, under which others on its networks find it from now on.
    pub fn rename(&self, id: &ContainerId, new: &str) -> Result<()> {
        if !is_name(new) {
            return Err(Failure::user(wrong_name(new)));
        }
        // Two at once: the second sees what the first wrote.
        let _lock = FileLock::exclusive(&self.engine.layout.container(id.as_str()).join("reap.lock"))
            .during("locking the container")?;
        let mut record = self.record(id)?.ok_or_else(|| gone(id))?;
        let old = std::mem::replace(&mut record.spec.name, new.to_owned());
        if old == new {
            let message = format!("container `{new}` has that name already");
            return Err(Failure::user(
                Diagnostic::error("name-taken", message).with_hint("give another name"),
            ));
        }
        self.claim_name(new, id)?;
        let written = stored::write(&self.engine.layout.container_record(id.as_str()), &record);
        if let Err(error) = written {
            let _ = std::fs::remove_file(self.engine.layout.container_name(new));
            return Err(Failure::ours(format_args!("recording container {new}"), &error));
        }
        if self.named(&old)?.as_ref() == Some(id) {
            let _ = std::fs::remove_file(self.engine.layout.container_name(&old));
        }
        self.engine.networks().rename(id, new)?;
        if record.spec.network_mode == NetworkMode::Bridge && self.state(id)?.has_shim() {
            self.engine.keepers().refresh_for(&record.spec)?;
        }
        self.engine.events().container(&record, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}

impl Containers<'_> {
    /// Takes a link from a container; it knows the other one under that name until it starts again.
    pub fn unlink(&self, id: &ContainerId, alias: &str) -> Result<()> {
        let _lock = FileLock::exclusive(&self.engine.layout.container(id.as_str()).join("reap.lock"))
            .during("locking the container")?;
        let mut record = self.record(id)?.ok_or_else(|| gone(id))?;
        let before = record.spec.links.len();
        record.spec.links.retain(|link| link.alias != alias);
        if record.spec.links.len() == before {
            let message = format!("container `{}` has no link `{alias}`", record.spec.name);
            return Err(Failure::user(Diagnostic::error("no-such-link", message).with_hint(format!(
                "its links: coracle inspect -f '{{{{.HostConfig.Links}}}}' {}",
                record.spec.name
            ))));
        }
        stored::write(&self.engine.layout.container_record(id.as_str()), &record)
            .during(format_args!("recording container {}", record.spec.name))
    }
}

/// Says what a name may be.
pub(super) fn wrong_name(name: &str) -> Diagnostic {
    let shown: String = name.chars().take(60).collect();
    let why = if name.len() > 200 {
        "it is longer than 200 characters"
    } else {
        "of these characters it has others"
    };
    Diagnostic::error("container-name", format!("`{shown}` is no container name: {why}"))
        .with_hint("begin with a letter or digit, and go on with letters, digits, `_`, `.` and `-`")
}

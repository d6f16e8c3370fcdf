//! Freezing containers, and letting them go on.

use coracle_container::{ContainerId, ContainerState};
use coracle_report::Diagnostic;

use super::Containers;
use super::launch::gone;
use crate::{During, Failure, Result};

impl Containers<'_> {
    /// Freezes every process of a container.
    pub fn pause(&self, id: &ContainerId) -> Result<()> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let name = &view.record.spec.name;
        match &view.state {
            ContainerState::Running { .. } if !self.engine.runtime.has_cgroup(id) => {
                let message = format!(
                    "container `{name}` cannot be paused: it has no control group, as this user has none to divide"
                );
                Err(refused("no-control-group", message, Some("coracle doctor".to_owned())))
            }
            ContainerState::Running { .. } => {
                self.engine.runtime.pause(id).during(format_args!("pausing container {name}"))
            }
            ContainerState::Paused { .. } => {
                Err(refused("already-paused", format!("container `{name}` is paused already"), None))
            }
            state => {
                let message = format!("container `{name}` is not running: {}", state.word());
                Err(refused("not-running", message, Some(format!("coracle start {name}"))))
            }
        }
    }

    /// Lets a frozen container go on.
    pub fn unpause(&self, id: &ContainerId) -> Result<()> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let name = &view.record.spec.name;
        if matches!(view.state, ContainerState::Paused { .. }) {
            return self.engine.runtime.unpause(id).during(format_args!("unpausing container {name}"));
        }
        let message = format!("container `{name}` is not paused: {}", view.state.word());
        Err(refused("not-paused", message, None))
    }
}

fn refused(code: &str, message: String, hint: Option<String>) -> Failure {
    let error = Diagnostic::error(code, message);
    Failure::user(match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}

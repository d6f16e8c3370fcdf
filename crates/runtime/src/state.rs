//! What a container is now, and what to make of a shim that was lost.

use std::fs::{self, File};
use std::io;
use std::time::{Duration, Instant};

use coracle_container::{ContainerId, ContainerState};
use coracle_shim::identity::ProcessIdentity;
use coracle_shim::state::ShimState;
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::{Runtime, RuntimeError};

/// Exit code of a container whose shim was lost: as if killed, which it was.
const LOST: i32 = 137;
/// What the record says then.
const LOST_ERROR: &str = "shim lost";
/// How long to wait for others that look at the same container.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Whether a container's shim lives.
enum Shim {
    Alive,
    /// It does not; the file is locked together with others that only look.
    Dead(Option<File>),
}

impl Runtime {
    /// Returns what the container is now. If its shim was lost, what it left is ended and the loss recorded.
    pub fn state(&self, id: &ContainerId) -> Result<ContainerState, RuntimeError> {
        let recorded = self.recorded(id)?;
        let awaited = recorded.as_ref().is_none_or(ContainerState::has_shim);
        if !awaited {
            return Ok(recorded.unwrap_or(ContainerState::Created));
        }
        match self.shim(id)? {
            Shim::Alive => match recorded {
                Some(state) => Ok(state),
                // Torn, or just being replaced.
                None => self.recorded(id).map(|state| state.unwrap_or(ContainerState::Created)),
            },
            Shim::Dead(lock) => {
                // It may have recorded the end between the first reading and its own.
                let state = self.recorded(id)?;
                match state {
                    Some(state) if !state.has_shim() => Ok(state),
                    _ => self.record_loss(id, state.as_ref(), lock),
                }
            }
        }
    }

    /// Returns whether a shim lives for the container, whatever its record says.
    pub fn has_shim(&self, id: &ContainerId) -> Result<bool, RuntimeError> {
        Ok(matches!(self.shim(id)?, Shim::Alive))
    }

    /// Reads the record; `None` when it is torn.
    fn recorded(&self, id: &ContainerId) -> Result<Option<ContainerState>, RuntimeError> {
        let path = self.paths.state(id);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(ContainerState::Created)),
            Err(error) => Err(RuntimeError::file("read", path)(error)),
        }
    }

    fn shim(&self, id: &ContainerId) -> Result<Shim, RuntimeError> {
        let path = self.paths.lock(id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Shim::Dead(None)),
            Err(error) => return Err(RuntimeError::file("open", path)(error)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Shim::Dead(Some(file))),
            Err(Errno::WOULDBLOCK) => Ok(Shim::Alive),
            Err(error) => Err(RuntimeError::file("lock", path)(error.into())),
        }
    }

    /// Ends what a lost shim left behind and records its loss. The lock is held alone meanwhile, so that two commands
    /// do not do so at once and no new shim starts in between.
    fn record_loss(
        &self,
        id: &ContainerId,
        last: Option<&ContainerState>,
        lock: Option<File>,
    ) -> Result<ContainerState, RuntimeError> {
        if let Some(lock) = &lock {
            let end = Instant::now() + LOCK_PATIENCE;
            while let Err(error) = rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
                if error != Errno::WOULDBLOCK || Instant::now() >= end {
                    return Err(RuntimeError::file("lock", self.paths.lock(id))(error.into()));
                }
                // Whoever has it may be recording the loss, or be a new shim.
                std::thread::sleep(Duration::from_millis(5));
                match self.recorded(id)? {
                    Some(state) if Some(&state) != last => return Ok(state),
                    _ => {}
                }
            }
            if let Some(state) = self.recorded(id)?
                && !state.has_shim()
            {
                return Ok(state);
            }
        }
        self.remove_cgroup(id)?;
        let (started, restarts) = match last {
            Some(
                ContainerState::Running { since, restarts, .. }
                | ContainerState::Paused { since, restarts, .. },
            ) => (Some(*since), *restarts),
            Some(ContainerState::Restarting { restarts, .. }) => (None, *restarts),
            Some(ContainerState::Created | ContainerState::Exited { .. }) | None => (None, 0),
        };
        let state = ShimState::Exited {
            code: LOST,
            at: Timestamp::now(),
            started,
            out_of_memory: false,
            by_user: false,
            error: Some(LOST_ERROR.to_owned()),
            restarts,
            health: None,
        };
        let path = self.paths.state(id);
        state.record(&path).map_err(RuntimeError::file("write", &path))?;
        drop(lock);
        let _ = fs::remove_file(self.paths.socket(id));
        self.recorded(id).map(|state| state.unwrap_or(ContainerState::Created))
    }

    /// Returns the shim's process id, if the record names one that lives.
    pub fn shim_pid(&self, id: &ContainerId) -> Result<Option<i32>, RuntimeError> {
        Ok(match self.state(id)? {
            ContainerState::Running { shim, .. }
            | ContainerState::Paused { shim, .. }
            | ContainerState::Restarting { shim, .. } => {
                let identity =
                    ProcessIdentity { pid: shim.pid, start_time: shim.start_time, boot_id: shim.boot_id };
                identity.exists().then_some(identity.pid)
            }
            ContainerState::Created | ContainerState::Exited { .. } => None,
        })
    }

    /// Removes what the container has in the run directory; its shim must have ended.
    pub fn forget(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let path = self.paths.run_of(id);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RuntimeError::file("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use coracle_shim::state::{Health, HealthStatus, ProbeResult};

    use super::*;

    /// The shim may not use `container`, so this holds the two forms of the state together.
    #[test]
    fn what_a_shim_records_is_a_container_state() {
        let process = ProcessIdentity { pid: 7, start_time: 8, boot_id: "b".to_owned() };
        let now = Timestamp::now();
        let health = Some(Health {
            status: HealthStatus::Unhealthy,
            failing_streak: 3,
            log: VecDeque::from([ProbeResult {
                start: now,
                end: now,
                exit_code: -1,
                output: "no".to_owned(),
            }]),
        });
        let states = [
            ShimState::Created,
            ShimState::Running {
                process: process.clone(),
                shim: process.clone(),
                since: now,
                health: health.clone(),
                restarts: 1,
            },
            ShimState::Paused { process: process.clone(), shim: process.clone(), since: now, restarts: 0 },
            ShimState::Restarting { shim: process, code: 3, due: now, restarts: 2 },
            ShimState::Exited {
                code: 137,
                at: now,
                started: Some(now),
                out_of_memory: true,
                by_user: false,
                error: None,
                restarts: 0,
                health,
            },
        ];
        for state in states {
            let text = serde_json::to_string(&state).unwrap();
            let read: ContainerState = serde_json::from_str(&text).unwrap();
            let again: ShimState = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
            assert_eq!(again, state);
        }
    }
}

//! A step of a build: one command, run to its end.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle_container::{ContainerId, ContainerSpec};
use coracle_report::Stream;
use coracle_shim::state::ShimState;

use crate::connection::Connection;
use crate::{Chunk, Ended, Prepared, Runtime, RuntimeError, Spawned};

/// How often cancellation is looked for.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is to be run to its end.
#[derive(Clone, Debug)]
pub struct Step {
    /// A fresh id.
    pub id: ContainerId,
    /// The command and its surroundings; restart policy, health check and log are ignored.
    pub container: ContainerSpec,
    /// What was looked up and made for it.
    pub prepared: Prepared,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// By itself.
    Ended(Ended),
    /// Because the kernel ended a process of it for want of memory.
    OutOfMemory(Ended),
    /// Because the caller wanted it to.
    Cancelled,
}

/// Takes away what a step has in the run directory, however it ends.
struct Cleanup<'a> {
    runtime: &'a Runtime,
    id: &'a ContainerId,
    /// The shim, known by a descriptor that no later process can take over.
    shim: Option<OwnedFd>,
}

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        let _ = self.runtime.stop(self.id, Some(9), Some(Duration::ZERO));
        if let Some(shim) = &self.shim {
            // The mounts go with the process: only then may the caller delete what lies below.
            let mut watched = [rustix::event::PollFd::new(shim, rustix::event::PollFlags::IN)];
            let timeout = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
            let _ = rustix::event::poll(&mut watched, Some(&timeout));
        }
        let _ = self.runtime.remove_cgroup(self.id);
        let _ = self.runtime.forget(self.id);
    }
}

/// Returns whether a shim's record says that the kernel killed for want of memory.
fn ran_out_of_memory(record: &Path) -> bool {
    let state: Option<ShimState> =
        std::fs::read(record).ok().and_then(|text| serde_json::from_slice(&text).ok());
    matches!(state, Some(ShimState::Exited { out_of_memory: true, .. }))
}

impl Runtime {
    /// Runs a step. `on_ready` is called when its network namespace exists and before it starts; `sink` gets its
    /// output as it comes; `cancelled` is looked at several times a second.
    ///
    /// Nothing is left behind but what the step changed in its upper directory.
    pub fn run_step(
        &self,
        step: &Step,
        on_ready: &mut dyn FnMut(&Spawned) -> Result<(), RuntimeError>,
        sink: &mut dyn FnMut(Stream, &[u8]),
        cancelled: &AtomicBool,
    ) -> Result<StepOutcome, RuntimeError> {
        let mut container = step.container.clone();
        container.restart = coracle_container::RestartPolicy::No;
        container.healthcheck = None;
        container.log.disabled = true;
        let mut cleanup = Cleanup { runtime: self, id: &step.id, shim: None };
        let state = self.paths.run_of(&step.id).join("state.json");
        let prepared = Prepared { reap: Vec::new(), bound_to_client: true, ..step.prepared.clone() };
        let record = state.clone();
        let spawned = self.spawn(&step.id, &container, &prepared, state)?;
        if let Some(pid) = rustix::process::Pid::from_raw(spawned.pid) {
            cleanup.shim = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
        }
        on_ready(&spawned)?;
        let mut attachment = self.attach(&step.id, false, true)?;
        self.create(&step.id)?;
        self.start(&step.id)?;
        loop {
            match attachment.next(Some(PATIENCE))? {
                Chunk::Output(stream, bytes) => sink(stream, bytes),
                Chunk::Nothing => {}
                Chunk::Ended(ended) => {
                    // The shim records its state before it tells us.
                    return Ok(if ended.code != 0 && ran_out_of_memory(&record) {
                        StepOutcome::OutOfMemory(ended)
                    } else {
                        StepOutcome::Ended(ended)
                    });
                }
            }
            if cancelled.load(Ordering::Relaxed) {
                return Ok(StepOutcome::Cancelled);
            }
        }
    }

    /// Returns whether a shim answers for the container.
    pub fn answers(&self, id: &ContainerId) -> bool {
        Connection::open(&self.paths.socket(id)).is_ok()
    }
}

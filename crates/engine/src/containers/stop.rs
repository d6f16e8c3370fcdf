//! Ending containers, waiting for their end, and what is left to do then.

use std::time::Duration;

use coracle_container::{ContainerId, ContainerState};
use coracle_fault::Point;
use coracle_report::Diagnostic;
use coracle_runtime::signal_number;
use coracle_store::FileLock;

use super::Containers;
use super::launch::gone;
use crate::failure::pass;
use crate::{During, Failure, Result};

/// How long a replica goes on when new connections go to others already.
const DRAIN: Duration = Duration::from_millis(200);

impl Containers<'_> {
    /// Asks a container to end and kills it after its grace period, or `seconds`. One that does not run is left alone.
    pub fn stop(&self, id: &ContainerId, seconds: Option<u64>) -> Result<()> {
        self.stop_by(id, None, seconds)
    }

    /// Stops a container by another signal than its own.
    pub fn stop_by(&self, id: &ContainerId, signal: Option<&str>, seconds: Option<u64>) -> Result<()> {
        let signal = signal.map(number_of).transpose()?;
        pass(Point::StopBegun)?;
        self.drain(id)?;
        self.engine
            .runtime
            .stop(id, signal, seconds.map(Duration::from_secs))
            .during(format_args!("stopping container {}", id.short()))?;
        self.tell(id, "stop", &[]);
        // The shim has started the same; whoever is first does it.
        self.reap(id)
    }

    /// Asks a container to end because the machine goes down: it is not remembered as stopped by a user. Returns when it
    /// has ended.
    pub(crate) fn leave(&self, id: &ContainerId) -> Result<()> {
        let what = || format!("ending container {}", id.short());
        // Before the signal, so that no end is missed.
        let waiter = self.engine.runtime.waiter(id, true);
        let Some(shim) = self.engine.runtime.shim_pid(id).during(what())? else { return Ok(()) };
        let Ok(waiter) = waiter else { return Ok(()) };
        if let Some(shim) = rustix::process::Pid::from_raw(shim) {
            rustix::process::kill_process(shim, rustix::process::Signal::TERM).during(what())?;
        }
        // A shim that is lost meanwhile has taken its container with it.
        let _ = waiter.wait();
        self.reap(id)
    }

    /// Lets new connections to a container's service go to other replicas.
    pub(super) fn drain(&self, id: &ContainerId) -> Result<()> {
        let Some(record) = self.record(id)? else { return Ok(()) };
        if super::is_replica(&record.spec) && self.engine.networks().drain(id)? {
            // What has just been connected is accepted before the program hears that it shall end.
            std::thread::sleep(DRAIN);
        }
        Ok(())
    }

    /// Sends a signal to a container's first process.
    pub fn kill(&self, id: &ContainerId, signal: &str) -> Result<()> {
        let number = number_of(signal)?;
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        if !view.state.is_running() {
            let message = format!("container `{}` is not running", view.record.spec.name);
            return Err(Failure::user(Diagnostic::error("not-running", message)));
        }
        self.engine.runtime.kill(id, number).during(format_args!("sending {signal}"))
    }

    /// Waits until a container has ended for good; returns its exit code.
    pub fn wait(&self, id: &ContainerId) -> Result<i32> {
        loop {
            let view = self.view(id)?.ok_or_else(|| gone(id))?;
            match view.state {
                ContainerState::Exited { code, .. } => return Ok(code),
                ContainerState::Created => std::thread::sleep(Duration::from_millis(100)),
                ContainerState::Running { .. }
                | ContainerState::Paused { .. }
                | ContainerState::Restarting { .. } => {
                    match self.engine.runtime.waiter(id, false).and_then(coracle_runtime::Waiter::wait) {
                        Ok(ended) => return Ok(ended.code),
                        // It ended while we connected: its record tells.
                        Err(_) => std::thread::sleep(Duration::from_millis(10)),
                    }
                }
            }
        }
    }

    /// Frees what a container that ended for good still has: addresses, names, ports, its run directory; and the
    /// container itself when it was to be removed at its end. Safe to call twice, and from two processes.
    pub fn reap(&self, id: &ContainerId) -> Result<()> {
        let Some(record) = self.record(id)? else { return Ok(()) };
        // The shim starts us, and the command that stopped the container does the same work: one after the other.
        let lock = FileLock::exclusive(&self.engine.layout.container(id.as_str()).join("reap.lock"))
            .during("locking the container")?;
        if self.record(id)?.is_none() {
            // It was removed while we waited, and taking the lock made its directory again.
            let _ = lock.remove();
            let _ = std::fs::remove_dir(self.engine.layout.container(id.as_str()));
            return Ok(());
        }
        pass(Point::ReapLocked)?;
        if self.engine.runtime.has_shim(id).during("looking for a shim")? {
            self.await_shim(id)?;
        }
        if self.engine.runtime.state(id).during("reading the container's state")?.has_shim() {
            // It was started again meanwhile.
            return Ok(());
        }
        let released = self.release(&record);
        pass(Point::ReapReleased)?;
        self.engine.runtime.remove_cgroup(id).during("removing the control group")?;
        pass(Point::ReapUngrouped)?;
        self.engine.runtime.forget(id).during("removing the run directory")?;
        pass(Point::ReapForgotten)?;
        if record.spec.auto_remove {
            self.erase(&record)?;
        }
        drop(lock);
        released
    }

    /// Waits a moment for a shim that has recorded its container's end to end itself.
    fn await_shim(&self, id: &ContainerId) -> Result<()> {
        for _ in 0..500 {
            let state = self.engine.runtime.state(id).during("reading the container's state")?;
            if state.has_shim() || !self.engine.runtime.has_shim(id).during("looking for a shim")? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

fn number_of(signal: &str) -> Result<i32> {
    signal_number(signal).map_err(|error| {
        Failure::user(
            Diagnostic::error("no-such-signal", error.to_string()).with_hint("kill -l lists signals"),
        )
    })
}

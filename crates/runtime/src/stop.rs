//! Stopping containers, all at once.

use std::thread;
use std::time::Duration;

use coracle_container::ContainerId;
use coracle_shim::protocol::Request;

use crate::{Runtime, RuntimeError};

impl Runtime {
    /// Asks the container to end by its stop signal, or `signal`, and ends it after its grace period, or `grace`.
    /// Returns when it has ended; one that does not run is no error.
    pub fn stop(
        &self,
        id: &ContainerId,
        signal: Option<i32>,
        grace: Option<Duration>,
    ) -> Result<(), RuntimeError> {
        let grace = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        let stopped = self.connect(id).and_then(|mut shim| shim.ask(&Request::Stop { signal, grace }));
        match stopped {
            Ok(()) | Err(RuntimeError::NotRunning) => Ok(()),
            // The shim may end by itself, or be lost, while it is asked.
            Err(RuntimeError::Connection(error)) => {
                if self.state(id)?.has_shim() {
                    Err(RuntimeError::Connection(error))
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Stops several containers at once; the results are in the order of `ids`.
    pub fn stop_all(
        &self,
        ids: &[ContainerId],
        signal: Option<i32>,
        grace: Option<Duration>,
    ) -> Vec<Result<(), RuntimeError>> {
        thread::scope(|scope| {
            let threads: Vec<_> =
                ids.iter().map(|id| scope.spawn(move || self.stop(id, signal, grace))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(RuntimeError::NotRunning))).collect()
        })
    }
}

//! Signals of ours that a container in the foreground gets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

/// Catches signals for as long as it lives.
pub struct Forward {
    caught: Vec<(i32, Arc<AtomicBool>, SigId)>,
}

impl Forward {
    /// Begins to catch what is to be passed on.
    pub fn begin() -> io::Result<Self> {
        let mut caught = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2] {
            let flag = Arc::new(AtomicBool::new(false));
            let id = signal_hook::flag::register(signal, Arc::clone(&flag))?;
            caught.push((signal, flag, id));
        }
        Ok(Self { caught })
    }

    /// Returns the signals that came since the last call.
    pub fn pending(&self) -> Vec<i32> {
        let came = self.caught.iter().filter(|(_, flag, _)| flag.swap(false, Ordering::Relaxed));
        came.map(|(signal, _, _)| *signal).collect()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        for (_, _, id) in &self.caught {
            signal_hook::low_level::unregister(*id);
        }
    }
}

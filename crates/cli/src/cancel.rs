//! Ctrl-C and SIGTERM as a flag that long work looks at; a second Ctrl-C ends the process at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Becomes true when the user wants the command to end.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Returns a flag that SIGINT, SIGTERM and SIGHUP raise.
    pub fn on_signals() -> std::io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            // Registered first, so that it acts only when the flag was raised by an earlier signal.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Returns the flag, for the rooms below.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

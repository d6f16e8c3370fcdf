//! Ctrl-C and SIGTERM as a flag that long work looks at; a second Ctrl-C ends the process at once, or, for what must not
//! be left running, is a flag of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// The first and the second signal as flags; a third ends the process at once.
#[derive(Debug)]
pub struct Signals {
    first: Arc<AtomicBool>,
    second: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to catch SIGINT, SIGTERM and SIGHUP, which the process goes on catching.
    pub fn begin() -> std::io::Result<Self> {
        let (first, second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut caught = signal_hook::iterator::Signals::new([
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ])?;
        let flags = [Arc::clone(&first), Arc::clone(&second)];
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut flags = flags.into_iter();
            for _ in &mut caught {
                match flags.next() {
                    Some(flag) => flag.store(true, Ordering::Relaxed),
                    None => end(),
                }
            }
        })?;
        Ok(Self { first, second })
    }

    /// Returns the flag of the first signal.
    pub fn first(&self) -> &AtomicBool {
        &self.first
    }

    /// Returns the flag of the second.
    pub fn second(&self) -> &AtomicBool {
        &self.second
    }
}

/// Ends the process for a user who asked three times.
#[expect(clippy::exit, reason = "who asks a third time waits for nothing any more")]
fn end() -> ! {
    std::process::exit(130)
}

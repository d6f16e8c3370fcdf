//! The caller's terminal: raw while a container has it, restored on every exit.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::SigId;
use signal_hook::consts::SIGWINCH;

/// The terminal in raw mode; dropping it restores what was.
pub struct RawTerminal {
    before: Termios,
    raw: Termios,
}

impl RawTerminal {
    /// Enters raw mode; `None` when standard input is no terminal.
    pub fn enter() -> Option<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).ok()?;
        Some(Self { before, raw })
    }

    /// Enters raw mode again, after we were stopped and somebody else had the terminal.
    pub fn again(&self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.raw);
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // There is nobody to tell when the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Notices changes of the terminal's size.
pub struct Winch {
    flag: Arc<AtomicBool>,
    id: SigId,
}

impl Winch {
    /// Begins to watch.
    pub fn watch() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let id = signal_hook::flag::register(SIGWINCH, Arc::clone(&flag))?;
        Ok(Self { flag, id })
    }

    /// Returns whether the size changed since the last call.
    pub fn changed(&self) -> bool {
        self.flag.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Winch {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.id);
    }
}

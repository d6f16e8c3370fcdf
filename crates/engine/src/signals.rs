//! Signals of ours that a container in the foreground gets.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use signal_hook::SigId;
use signal_hook::consts::{SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};

/// What is passed on.
const PASSED: [i32; 7] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM];

/// Catches signals for as long as it lives.
pub struct Forward {
    caught: Vec<(i32, Arc<AtomicBool>, SigId)>,
    resumed: (Arc<AtomicBool>, SigId),
}

impl Forward {
    /// Begins to catch what is to be passed on.
    pub fn begin() -> io::Result<Self> {
        let mut caught = Vec::new();
        for signal in PASSED {
            let flag = Arc::new(AtomicBool::new(false));
            let id = signal_hook::flag::register(signal, Arc::clone(&flag))?;
            caught.push((signal, flag, id));
        }
        let flag = Arc::new(AtomicBool::new(false));
        let id = signal_hook::flag::register(SIGCONT, Arc::clone(&flag))?;
        Ok(Self { caught, resumed: (flag, id) })
    }

    /// Returns the signals that came since the last call.
    pub fn pending(&self) -> Vec<i32> {
        let came = self.caught.iter().filter(|(_, flag, _)| flag.swap(false, Ordering::Relaxed));
        came.map(|(signal, _, _)| *signal).collect()
    }

    /// Returns whether we were stopped and go on since the last call: the shell has had the terminal meanwhile.
    pub fn resumed(&self) -> bool {
        self.resumed.0.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let ids = self.caught.iter().map(|(_, _, id)| *id).chain([self.resumed.1]);
        ids.for_each(|id| {
            signal_hook::low_level::unregister(id);
        });
    }
}

/// Signals of ours that are kept until somebody is there to pass them to.
pub struct Caught(Signals);

impl Caught {
    /// Begins to catch: from here on none of them ends us.
    pub fn begin() -> io::Result<Self> {
        Signals::new(PASSED).map(Self)
    }
}

/// Passes signals of ours to a child for as long as it lives, from a thread of its own.
pub struct Passing {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Passing {
    /// Begins. `child` is its pidfd, so that no later process of the same number gets them. What a terminal sends it has
    /// sent the child as well, which is in our process group; `raw` says that the terminal sends none.
    pub fn begin(caught: Caught, child: OwnedFd, raw: bool) -> io::Result<Self> {
        let Caught(mut signals) = caught;
        let handle = signals.handle();
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for number in &mut signals {
                let from_terminal = matches!(number, SIGINT | SIGQUIT) && !raw && in_foreground();
                if let Some(signal) = rustix::process::Signal::from_named_raw(number)
                    && !from_terminal
                {
                    let _ = rustix::process::pidfd_send_signal(&child, signal);
                }
            }
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns whether we are in the foreground of a terminal, which then sends its signals to all of our process group.
fn in_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

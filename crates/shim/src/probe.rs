//! One health probe: a program run inside the container, or a question over its network, watched from outside.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::config::{HealthCheck, ShimConfig};
use crate::confinement::Confinement;
use crate::exec::ExecRequest;
use crate::state::ProbeResult;
use crate::{enter, net_probe, syscall};

/// Bytes of output kept.
const KEPT: usize = 4096;

/// A running probe. Its process joined the container and has the program as its child.
pub(crate) struct Probe {
    pid: i32,
    output: Option<OwnedFd>,
    text: Vec<u8>,
    start: Timestamp,
    deadline: Instant,
    timeout: Duration,
    timed_out: bool,
}

impl Probe {
    /// Begins a probe of the container whose first process is `container`.
    pub fn begin(
        config: &ShimConfig,
        bundle: &Path,
        container: i32,
        check: &HealthCheck,
    ) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let (uid, gid) = config.stream_owner;
        let owner = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(&writer, Some(owner.0), Some(owner.1))?;
        let reader = OwnedFd::from(reader);
        rustix::fs::fcntl_setfl(&reader, rustix::fs::fcntl_getfl(&reader)? | OFlags::NONBLOCK)?;
        let request = ExecRequest { args: check.args.clone(), ..ExecRequest::default() };
        let timeout = Duration::from_millis(check.timeout);
        let pid = syscall::fork(|| {
            let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            if rustix::stdio::dup2_stdout(&writer).is_err() || rustix::stdio::dup2_stderr(&writer).is_err() {
                return -1;
            }
            drop(writer);
            match &check.network {
                Some(probe) => net_probe::run(probe, timeout),
                None => run(config, bundle, container, &request),
            }
        })?;
        Ok(Self {
            pid,
            output: Some(reader),
            text: Vec::new(),
            start: Timestamp::now(),
            deadline: Instant::now() + timeout,
            timeout,
            timed_out: false,
        })
    }

    pub const fn pid(&self) -> i32 {
        self.pid
    }

    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the descriptor of its output while there may be more.
    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Reads what it has printed; what is beyond the bound is dropped, so that it never waits.
    pub fn read(&mut self) {
        let Some(output) = &self.output else { return };
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(output, &mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let room = KEPT - self.text.len();
                    self.text.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => break,
            }
        }
        self.output = None;
    }

    /// Ends it and everything it began, because it took too long.
    pub fn time_out(&mut self) {
        self.timed_out = true;
        // Its end is noticed like any other; it is not waited for again.
        self.deadline = Instant::now() + Duration::from_hours(1);
        enter::kill_tree(self.pid);
    }

    /// Ends it without a result, because the container has ended.
    pub fn abandon(self) {
        enter::kill_tree(self.pid);
    }

    /// Returns the result, when its process has ended with `code`.
    pub fn finish(mut self, code: i32) -> ProbeResult {
        self.read();
        let mut output = String::from_utf8_lossy(&self.text).into_owned();
        if self.timed_out {
            output =
                format!("the probe took longer than {} ms; its output: {output}", self.timeout.as_millis());
        }
        ProbeResult {
            start: self.start,
            end: Timestamp::now(),
            exit_code: if self.timed_out { -1 } else { code },
            output,
        }
    }
}

/// Joins the container and runs the program; returns its exit code.
fn run(config: &ShimConfig, bundle: &Path, container: i32, request: &ExecRequest) -> i32 {
    let attempt = || {
        let spec = enter::load_spec(bundle)?;
        let confinement = Confinement::of(config, bundle)?;
        let doors = enter::join(config, container)?;
        let program = syscall::fork(|| {
            let refusal = enter::become_member(&spec, request, &doors, &confinement, None);
            complain(&refusal.message);
            refusal.code
        });
        program.map_err(|error| crate::executor::CannotRun { code: 1, message: error.to_string() })
    };
    match attempt() {
        Ok(program) => match syscall::wait(program, true) {
            Ok(Some(ended)) => ended.code,
            _ => 1,
        },
        Err(refusal) => {
            complain(&refusal.message);
            refusal.code
        }
    }
}

fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

//! What clients ask of a supervisor, and what it does to the container then.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use coracle_fault::Point;
use jiff::Timestamp;

use super::{End, Phase, Run, Supervisor, ours};
use crate::cgroup::Cgroup;
use crate::clients::{Message, Role};
use crate::config::{SPEC_FILE, ShimConfig, Stdin};
use crate::executor::CannotRun;
use crate::health::HealthMachine;
use crate::identity::ProcessIdentity;
use crate::protocol::{Reply, Request};
use crate::streams::Streams;
use crate::{devices, enter, launch, partners, rootfs, setup, sources, syscall};

impl Supervisor {
    pub(super) fn serve(&mut self, index: usize) {
        self.clients[index].read();
        while let Some(message) = self.clients[index].next() {
            match message {
                Message::Stdin(bytes) => {
                    if !matches!(self.clients[index].role, Role::Attached { stdin: true, .. }) {
                        continue;
                    }
                    if bytes.is_empty() {
                        if self.config.stdin == Stdin::Once {
                            self.streams.close_input();
                        }
                    } else {
                        self.streams.feed(&bytes);
                    }
                }
                Message::Unknown(request) => {
                    let message = format!(
                        "the container was started by an earlier version, whose supervisor cannot `{request}`"
                    );
                    self.clients[index].reply(&Reply::Failed { message, code: launch::OURS });
                }
                Message::Request(request) => {
                    if let Some(reply) = self.answer(index, request) {
                        self.clients[index].reply(&reply);
                    }
                }
            }
        }
    }

    /// Deals with a request; `None` when the answer comes later.
    pub(super) fn answer(&mut self, index: usize, request: Request) -> Option<Reply> {
        let result = match request {
            Request::Create => self.create(),
            Request::Start => self.start(),
            Request::Kill { signal } => self.kill(signal),
            Request::Stop { signal, grace } => {
                self.clients[index].role = Role::Stopping;
                self.by_user = true;
                self.stop(signal, grace);
                return None;
            }
            Request::Pause => self.set_paused(true),
            Request::Unpause => self.set_paused(false),
            Request::Attach { stdin, lossless } => {
                // The answer goes out first: what follows it are streams.
                self.clients[index].reply(&Reply::Done);
                self.clients[index].role = Role::Attached { stdin, lossless };
                return None;
            }
            Request::Resize { rows, columns } => {
                self.streams.resize(rows, columns).map_err(|error| ours(error.to_string()))
            }
            Request::Wait { reaping } => {
                self.clients[index].role = Role::Waiting { reaping };
                return None;
            }
            Request::SetRestart { restart } => {
                self.config.restart = restart;
                Ok(())
            }
            Request::State => return Some(Reply::State { state: self.state() }),
            Request::Discard => match self.phase {
                Phase::Idle | Phase::Created { .. } => {
                    self.end = Some(End { code: 0, started: None, out_of_memory: false, error: None });
                    return Some(Reply::Done);
                }
                _ => Err(ours("the container was started".to_owned())),
            },
        };
        Some(match result {
            Ok(()) => Reply::Done,
            Err(CannotRun { code, message }) => Reply::Failed { message, code },
        })
    }

    pub(super) fn create(&mut self) -> Result<(), CannotRun> {
        if !matches!(self.phase, Phase::Idle | Phase::Waiting { .. }) {
            return Err(ours("the container is made already".to_owned()));
        }
        let made = self.place().and_then(|()| self.make()).and_then(|pid| self.confine_devices(pid));
        match made {
            Ok(pid) => {
                if self.config.oom_kill_disable {
                    // Where the kernel has no such control, the user was told.
                    let _ = Cgroup::new(&self.config.cgroup).hold_off_oom_kills();
                }
                self.phase = Phase::Created { pid };
                coracle_fault::hit(Point::ShimCreated).map_err(|error| ours(error.to_string()))
            }
            // Whatever failed: who asked waits for the end of the shim.
            Err(refusal) => {
                self.streams = Streams::default();
                let _ = Cgroup::new(&self.config.cgroup).remove();
                self.end = Some(End {
                    code: refusal.code,
                    started: None,
                    out_of_memory: false,
                    error: Some(refusal.message.clone()),
                });
                Err(refusal)
            }
        }
    }

    /// Mounts what the container's mounts show, as it is now.
    fn place(&mut self) -> Result<(), CannotRun> {
        let fail = |error: io::Error| ours(error.to_string());
        rootfs::check_places(&ShimConfig::rootfs(&self.bundle)).map_err(fail)?;
        setup::place_secrets(&self.config.secrets, &self.bundle).map_err(fail)?;
        sources::place(&self.config, &self.bundle).map_err(fail)?;
        partners::bind(&self.config, &self.bundle).map_err(fail)?;
        if self.config.remove_mount_points {
            self.mount_points = self.missing_mount_points().map_err(fail)?;
        }
        Ok(())
    }

    fn make(&mut self) -> Result<i32, CannotRun> {
        if self.config.terminal { self.create_with_terminal() } else { self.create_with_pipes() }
    }

    /// Bounds the devices of the group before the first program starts.
    fn confine_devices(&self, pid: i32) -> Result<i32, CannotRun> {
        let cgroup = Cgroup::new(&self.config.cgroup);
        let confined = enter::load_spec(&self.bundle).and_then(|spec| {
            devices::confine(&spec, &cgroup)
                .map_err(|error| ours(format!("cannot bound the container's devices: {error}")))
        });
        confined.map(|()| pid).inspect_err(|_| {
            let _ = syscall::kill(pid, libc::SIGKILL);
        })
    }

    pub(super) fn create_with_pipes(&mut self) -> Result<i32, CannotRun> {
        let (streams, ends) = Streams::pipes(&self.config).map_err(|error| ours(error.to_string()))?;
        let pid = launch::create(&self.config, &self.bundle, Some(ends))?;
        self.streams = streams;
        Ok(pid)
    }

    pub(super) fn create_with_terminal(&mut self) -> Result<i32, CannotRun> {
        let fail = |error: io::Error| ours(format!("cannot make a terminal: {error}"));
        let console = launch::listen(&self.bundle, "console.sock").map_err(fail)?;
        let pid = launch::create(&self.config, &self.bundle, None)?;
        let master = launch::receive_terminal(&console).map_err(fail)?;
        self.streams = Streams::terminal(&self.config, master).map_err(fail)?;
        Ok(pid)
    }

    pub(super) fn missing_mount_points(&self) -> io::Result<Vec<rootfs::MountPoint>> {
        let spec: serde_json::Value = serde_json::from_slice(&std::fs::read(self.bundle.join(SPEC_FILE))?)?;
        let mut targets: Vec<PathBuf> = spec["mounts"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|mount| mount["destination"].as_str())
            .map(PathBuf::from)
            .collect();
        targets.sort();
        rootfs::missing(&ShimConfig::rootfs(&self.bundle), &targets)
    }

    pub(super) fn start(&mut self) -> Result<(), CannotRun> {
        let Phase::Created { pid } = self.phase else {
            return Err(ours("the container is not waiting to be started".to_owned()));
        };
        let process =
            ProcessIdentity::of(pid).ok_or_else(|| ours("the container's process is gone".to_owned()))?;
        launch::start(&self.config, &self.bundle).map_err(|error| ours(format!("cannot start: {error}")))?;
        let run = Run { process, since: Timestamp::now(), began: Instant::now() };
        self.phase = Phase::Running { run, paused: false };
        self.health = self.config.health.clone().map(HealthMachine::new);
        self.schedule_probe();
        let _ = coracle_fault::hit(Point::ShimStarted);
        self.record();
        let _ = coracle_fault::hit(Point::ShimRecorded);
        self.tell("start", &[]);
        Ok(())
    }

    pub(super) fn start_again(&mut self) {
        if let Err(refusal) = self.create().and_then(|()| self.start()) {
            self.end = Some(End {
                code: refusal.code,
                started: None,
                out_of_memory: false,
                error: Some(refusal.message),
            });
        }
    }

    pub(super) fn kill(&mut self, signal: i32) -> Result<(), CannotRun> {
        if !(1..=64).contains(&signal) {
            return Err(ours(format!("{signal} is not a signal")));
        }
        if !matches!(self.phase, Phase::Running { .. } | Phase::Created { .. }) {
            return Err(ours("the container does not run".to_owned()));
        }
        // As Docker: who ends a container by hand does not want it back.
        if signal == libc::SIGKILL || signal == self.config.stop_signal {
            self.by_user = true;
            self.stopping = true;
        }
        self.signal(signal);
        self.tell("kill", &[("signal", signal.to_string())]);
        Ok(())
    }

    /// Asks the container to end; SIGKILL follows.
    pub(super) fn stop(&mut self, signal: Option<i32>, grace: Option<u64>) {
        self.stopping = true;
        match &self.phase {
            Phase::Running { .. } => self.ask_to_end(signal, grace),
            Phase::Created { .. } | Phase::Idle => {
                self.end = Some(End { code: 0, started: None, out_of_memory: false, error: None });
            }
            Phase::Waiting { .. } => self.end_waiting(),
            Phase::Draining { .. } => {}
        }
    }

    /// Asks the first process to end; SIGKILL follows. What comes after its end is not decided here.
    pub(super) fn ask_to_end(&mut self, signal: Option<i32>, grace: Option<u64>) {
        let grace = Duration::from_millis(grace.unwrap_or(self.config.stop_grace));
        let signal = signal.unwrap_or(self.config.stop_signal);
        self.signal(signal);
        self.tell("kill", &[("signal", signal.to_string())]);
        let due = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(due, |earlier| earlier.min(due)));
    }

    /// Ends a container that waits to be started again, with what its last run left.
    pub(super) fn end_waiting(&mut self) {
        let code = self.last_code.unwrap_or(0);
        self.end = Some(End { code, started: None, out_of_memory: false, error: None });
    }

    /// Sends a signal to the first process; a frozen one is thawed so that it can act on it.
    pub(super) fn signal(&mut self, signal: i32) {
        match &mut self.phase {
            Phase::Running { run, paused } => {
                let pid = run.process.pid;
                if std::mem::take(paused) {
                    let _ = syscall::kill(pid, signal);
                    let _ = Cgroup::new(&self.config.cgroup).set_frozen(false);
                    self.record();
                } else {
                    let _ = syscall::kill(pid, signal);
                }
            }
            Phase::Created { pid } => {
                let _ = syscall::kill(*pid, signal);
            }
            Phase::Idle | Phase::Draining { .. } | Phase::Waiting { .. } => {}
        }
    }

    pub(super) fn set_paused(&mut self, pause: bool) -> Result<(), CannotRun> {
        let Phase::Running { paused, .. } = &mut self.phase else {
            return Err(ours("the container does not run".to_owned()));
        };
        if *paused == pause {
            let word = if pause { "paused already" } else { "not paused" };
            return Err(ours(format!("the container is {word}")));
        }
        Cgroup::new(&self.config.cgroup)
            .set_frozen(pause)
            .map_err(|error| ours(format!("cannot change the freezer: {error}")))?;
        *paused = pause;
        if pause {
            self.next_probe = None;
        } else {
            self.schedule_probe();
        }
        self.record();
        self.tell(if pause { "pause" } else { "unpause" }, &[]);
        Ok(())
    }
}

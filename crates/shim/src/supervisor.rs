//! The supervisor of one container: a single thread around one `poll`.
//!
//! ```text
//!  Idle --create--> Created --start--> Running --exit--> Draining --policy--> Waiting --due--> Running
//!    `--discard / create failed--.                          `---otherwise--.      `--stop--.
//!                                 `----------------------------------------`---------------`--> end
//! ```
//!
//! Draining lasts until the output streams have ended. At the end the state is recorded, everything is unmounted,
//! whoever waits is told, and the cleaner is started unless a waiter said that it cleans up itself.

mod ending;
mod requests;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use coracle_fault::Point;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::cgroup::Cgroup;
use crate::clients::{Client, Role};
use crate::config::{CONFIG_FILE, OnUnhealthy, Restart, ShimConfig, Stdin};
use crate::executor::CannotRun;
use crate::health::HealthMachine;
use crate::identity::ProcessIdentity;
use crate::log::{Logger, Source};
use crate::probe::Probe;
use crate::protocol::{Kind, Reply};
use crate::restart::{Backoff, Pace};
use crate::setup::HostNamespaces;
use crate::state::HealthStatus;
use crate::streams::{ReadOutcome, Streams};
use crate::{launch, rootfs, setup, syscall};

/// Bytes read from a stream at once.
const CHUNK: usize = 64 * 1024;
/// How long output may still come after the first process has ended.
const DRAIN: Duration = Duration::from_secs(5);
/// After this much idleness, buffers are given back.
const IDLE: Duration = Duration::from_secs(1);
/// How many chunks are read from one stream before others get their turn.
const TURNS: usize = 16;

/// Where the container is in its life.
#[derive(Clone, Debug)]
enum Phase {
    Idle,
    Created { pid: i32 },
    Running { run: Run, paused: bool },
    Draining { run: Run, code: i32, until: Instant },
    Waiting { due: Instant },
}

/// One run of the container.
#[derive(Clone, Debug)]
struct Run {
    process: ProcessIdentity,
    since: Timestamp,
    began: Instant,
}

/// How a container ended for good.
struct End {
    code: i32,
    started: Option<Timestamp>,
    out_of_memory: bool,
    error: Option<String>,
}

struct Supervisor {
    config: ShimConfig,
    bundle: PathBuf,
    host: HostNamespaces,
    identity: ProcessIdentity,
    signals: OwnedFd,
    listener: UnixListener,
    clients: Vec<Client>,
    phase: Phase,
    streams: Streams,
    log: Option<Logger>,
    backoff: Backoff,
    health: Option<HealthMachine>,
    next_probe: Option<Instant>,
    probe: Option<Probe>,
    /// When SIGKILL follows, once a stop was asked for.
    kill_at: Option<Instant>,
    by_user: bool,
    stopping: bool,
    /// Whether it starts again after this run, whatever the policy says: it was unhealthy.
    renewed: bool,
    /// Exit code of the last run.
    last_code: Option<i32>,
    /// When the next start is due, for the record.
    due: Timestamp,
    mount_points: Vec<rootfs::MountPoint>,
    chunk: Vec<u8>,
    end: Option<End>,
    /// Held until the process ends.
    _lock: File,
}

/// Runs the mode `shim run BUNDLE`: detaches, reports on standard output that it is ready, and supervises.
pub(crate) fn run(bundle: &Path) -> ExitCode {
    // The caller waits for its child, which is this one; the supervisor is a grandchild that nobody need wait for.
    match syscall::fork(|| match Supervisor::prepare(bundle) {
        Ok(supervisor) => {
            report(&Reply::Ready { pid: supervisor.identity.pid });
            supervisor.supervise()
        }
        Err(error) => {
            report(&Reply::Failed { message: error.to_string(), code: launch::OURS });
            1
        }
    }) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Tells the caller on standard output, then lets all three streams go.
fn report(reply: &Reply) {
    let mut text = serde_json::to_vec(reply).unwrap_or_default();
    text.push(b'\n');
    let _ = io::stdout().write_all(&text);
    let _ = io::stdout().flush();
    let _ = setup::forget_streams();
}

impl Supervisor {
    fn prepare(bundle: &Path) -> io::Result<Self> {
        let config: ShimConfig = serde_json::from_slice(&std::fs::read(bundle.join(CONFIG_FILE))?)?;
        let _ = rustix::process::setsid();
        std::env::set_current_dir("/")?;
        let _ = rustix::thread::set_name(c"coracle-shim");
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let lock = setup::lock(&config).map_err(|error| {
            io::Error::new(error.kind(), format!("another shim has this container: {error}"))
        })?;
        coracle_fault::hit(Point::ShimLocked)?;
        let identity = ProcessIdentity::of(rustix::process::getpid().as_raw_nonzero().get())
            .ok_or_else(|| io::Error::other("/proc is not readable"))?;
        if let Some(scope) = &config.scope {
            scope.enter()?;
        }
        let host = setup::enter_own_world(&config, bundle)?;
        coracle_fault::hit(Point::ShimEntered)?;
        let signals = syscall::signal_descriptor(&[
            libc::SIGCHLD,
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGPIPE,
        ])?;
        let (directory, name) = match (config.socket.parent(), config.socket.file_name()) {
            (Some(directory), Some(name)) => (directory, name.to_string_lossy()),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket has no name")),
        };
        let listener = launch::listen(directory, &name)?;
        listener.set_nonblocking(true)?;
        coracle_fault::hit(Point::ShimListening)?;
        let log = config.log.clone().map(Logger::open).transpose()?;
        Ok(Self {
            config,
            bundle: bundle.to_path_buf(),
            host,
            identity,
            signals,
            listener,
            clients: Vec::new(),
            phase: Phase::Idle,
            streams: Streams::default(),
            log,
            backoff: Backoff::default(),
            health: None,
            next_probe: None,
            probe: None,
            kill_at: None,
            by_user: false,
            stopping: false,
            renewed: false,
            last_code: None,
            due: Timestamp::UNIX_EPOCH,
            mount_points: Vec::new(),
            chunk: Vec::new(),
            end: None,
            _lock: lock,
        })
    }

    fn supervise(mut self) -> i32 {
        syscall::trim_heap();
        while self.end.is_none() {
            self.turn();
        }
        self.conclude();
        0
    }

    /// Waits for something to happen, and deals with it.
    fn turn(&mut self) {
        let pressed = self.clients.iter().any(Client::presses);
        let accepts_input = self.streams.accepts_input();
        let mut watched =
            vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        for client in &self.clients {
            let mut wanted = PollFlags::empty();
            if accepts_input || !matches!(client.role, Role::Attached { stdin: true, .. }) {
                wanted |= PollFlags::IN;
            }
            if client.owes() {
                wanted |= PollFlags::OUT;
            }
            watched.push(PollFd::from_borrowed_fd(client.fd(), wanted));
        }
        let clients = self.clients.len();
        let outputs =
            [Source::Stdout, Source::Stderr].map(|source| self.streams.output(source).filter(|_| !pressed));
        let extra = outputs.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        watched.extend(extra);
        if let Some(input) = self.streams.waiting_input() {
            watched.push(PollFd::from_borrowed_fd(input, PollFlags::OUT));
        }
        if let Some(output) = self.probe.as_ref().and_then(Probe::output) {
            watched.push(PollFd::from_borrowed_fd(output, PollFlags::IN));
        }
        if let Some(relay) = self.log.as_ref().and_then(Logger::waiting) {
            watched.push(PollFd::from_borrowed_fd(relay, PollFlags::OUT));
        }
        let timeout = self.time_to_next().map(|left| rustix::time::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let happened = match rustix::event::poll(&mut watched, timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => return,
            // Nothing can be watched any more; better to look again than to abandon the container.
            Err(_) => {
                std::thread::sleep(Duration::from_millis(100));
                0
            }
        };
        let client_events: Vec<PollFlags> = watched[2..2 + clients].iter().map(PollFd::revents).collect();
        let newcomer = !watched[1].revents().is_empty();
        drop(watched);
        if happened == 0 && !self.chunk.is_empty() {
            self.rest();
        }

        self.read_outputs(pressed);
        self.streams.flush();
        if let Some(log) = &mut self.log {
            log.flush();
        }
        if let Some(probe) = &mut self.probe {
            probe.read();
        }
        self.read_signals();
        for (index, events) in client_events.into_iter().enumerate() {
            if events.contains(PollFlags::OUT) {
                self.clients[index].flush();
            }
            if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.serve(index);
            }
        }
        while newcomer && let Some(client) = Client::accept(&self.listener) {
            self.clients.push(client);
        }
        self.forget_gone_clients();
        self.keep_time();
    }

    /// Gives memory back.
    fn rest(&mut self) {
        self.chunk = Vec::new();
        if let Some(log) = &mut self.log {
            log.rest();
        }
        syscall::trim_heap();
    }

    fn time_to_next(&self) -> Option<Duration> {
        let now = Instant::now();
        let phase = match self.phase {
            Phase::Draining { until, .. } => Some(until),
            Phase::Waiting { due } => Some(due),
            Phase::Idle | Phase::Created { .. } | Phase::Running { .. } => None,
        };
        let rest = (!self.chunk.is_empty()).then(|| now + IDLE);
        let probe = self.probe.as_ref().map(Probe::deadline).or(self.next_probe);
        let log = self.log.as_ref().and_then(Logger::due);
        [phase, rest, probe, self.kill_at, log]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.saturating_duration_since(now) + Duration::from_micros(500))
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if let Some(log) = &mut self.log {
            log.keep_time(now);
        }
        if self.kill_at.is_some_and(|due| due <= now) {
            self.kill_at = None;
            self.signal(libc::SIGKILL);
        }
        if let Some(probe) = &mut self.probe
            && probe.deadline() <= now
        {
            probe.time_out();
        }
        if self.probe.is_none() && self.next_probe.is_some_and(|due| due <= now) {
            self.begin_probe();
        }
        match self.phase.clone() {
            Phase::Draining { run, code, until } if self.streams.ended() || until <= now => {
                self.finish_run(&run, code);
            }
            Phase::Waiting { due } if due <= now => self.start_again(),
            _ => {}
        }
    }

    // --- streams ---

    fn read_outputs(&mut self, pressed: bool) {
        if pressed {
            return;
        }
        for source in [Source::Stdout, Source::Stderr] {
            if self.streams.output(source).is_none() {
                continue;
            }
            for _ in 0..TURNS {
                if self.chunk.is_empty() {
                    self.chunk = vec![0; CHUNK];
                }
                let ReadOutcome::Bytes(count) = self.streams.read(source, &mut self.chunk) else { break };
                let bytes = &self.chunk[..count];
                if let Some(log) = &mut self.log {
                    // A full disk must not stop the container.
                    let _ = log.take(source, bytes);
                }
                let kind = match source {
                    Source::Stdout => Kind::Stdout,
                    Source::Stderr => Kind::Stderr,
                };
                for client in &mut self.clients {
                    client.output(kind, bytes);
                }
                if self.clients.iter().any(Client::presses) {
                    return;
                }
            }
        }
    }

    fn forget_gone_clients(&mut self) {
        let streams = &mut self.streams;
        let once = self.config.stdin == Stdin::Once;
        let mut left_alone = false;
        self.clients.retain(|client| {
            left_alone |= client.is_gone() && matches!(client.role, Role::Attached { .. });
            if client.is_gone() && once && matches!(client.role, Role::Attached { stdin: true, .. }) {
                streams.close_input();
            }
            !client.is_gone()
        });
        if left_alone && self.config.bound_to_client && self.end.is_none() {
            self.stop(Some(libc::SIGKILL), Some(0));
        }
    }

    // --- processes ---

    fn read_signals(&mut self) {
        while let Some(signal) = syscall::read_signal(self.signals.as_fd()) {
            if matches!(signal, libc::SIGTERM | libc::SIGINT) {
                self.stop(None, None);
            }
        }
        while let Ok(Some(ended)) = syscall::wait(-1, false) {
            let of_probe = self.probe.as_ref().is_some_and(|probe| probe.pid() == ended.pid);
            match &self.phase {
                Phase::Running { run, .. } if run.process.pid == ended.pid => {
                    let _ = coracle_fault::hit(Point::ShimReaped);
                    let until = Instant::now() + DRAIN;
                    self.phase = Phase::Draining { run: run.clone(), code: ended.code, until };
                    self.kill_at = None;
                    self.next_probe = None;
                    if self.config.kill_all {
                        // Without a process namespace of their own, nobody ends the others with the first.
                        Cgroup::new(&self.config.cgroup).kill();
                    }
                }
                Phase::Created { pid } if *pid == ended.pid => {
                    self.end = Some(End {
                        code: ended.code,
                        started: None,
                        out_of_memory: false,
                        error: Some("the container ended before it was started".to_owned()),
                    });
                }
                _ if of_probe => self.end_probe(ended.code),
                _ => {
                    if let Some(log) = &mut self.log {
                        log.child_ended(ended.pid);
                    }
                }
            }
        }
    }

    /// Deals with the end of a run whose output is complete.
    fn finish_run(&mut self, run: &Run, code: i32) {
        if let Some(probe) = self.probe.take() {
            probe.abandon();
        }
        let ran = run.began.elapsed();
        self.streams = Streams::default();
        if let Some(log) = &mut self.log {
            let _ = log.finish();
        }
        let cgroup = Cgroup::new(&self.config.cgroup);
        let out_of_memory = cgroup.oom_kills() > 0;
        let _ = cgroup.remove();
        launch::forget(&self.bundle);
        let _ = coracle_fault::hit(Point::ShimDrained);
        self.last_code = Some(code);
        if out_of_memory {
            self.tell("oom", &[]);
        }
        self.tell("die", &[("exitCode", code.to_string()), ("execDuration", ran.as_secs().to_string())]);
        let delay = if self.stopping {
            None
        } else {
            let policy =
                if std::mem::take(&mut self.renewed) { Restart::Always } else { self.config.restart };
            self.backoff.next(policy, pace(&self.config), code, ran)
        };
        match delay {
            Some(delay) => {
                self.phase = Phase::Waiting { due: Instant::now() + delay };
                self.due = Timestamp::now() + delay;
                self.record();
            }
            None => self.end = Some(End { code, started: Some(run.since), out_of_memory, error: None }),
        }
    }

    // --- health ---

    fn schedule_probe(&mut self) {
        let Phase::Running { run, .. } = &self.phase else { return };
        self.next_probe =
            self.health.as_ref().map(|health| Instant::now() + health.delay(run.began.elapsed()));
    }

    /// Does what the check says of a container that has become unhealthy.
    fn draw_consequence(&mut self, consequence: OnUnhealthy) {
        if self.stopping {
            return;
        }
        match consequence {
            OnUnhealthy::None => {}
            OnUnhealthy::Kill => self.signal(libc::SIGKILL),
            OnUnhealthy::Stop => self.stop(None, None),
            OnUnhealthy::Restart => {
                self.renewed = true;
                self.ask_to_end(None, None);
            }
        }
    }

    fn begin_probe(&mut self) {
        self.next_probe = None;
        let (Phase::Running { run, paused: false }, Some(health)) = (&self.phase, &self.health) else {
            return;
        };
        match Probe::begin(&self.config, &self.bundle, run.process.pid, health.check()) {
            Ok(probe) => self.probe = Some(probe),
            Err(_) => self.schedule_probe(),
        }
    }

    fn end_probe(&mut self, code: i32) {
        let (Some(probe), Some(health)) = (self.probe.take(), &mut self.health) else { return };
        if let Phase::Running { run, .. } = &self.phase {
            let changed = health.take(probe.finish(code), run.began.elapsed());
            let (status, consequence) = (health.health().status, health.check().on_unhealthy);
            self.record();
            if changed {
                self.tell(&format!("health_status: {}", status.word()), &[]);
            }
            self.schedule_probe();
            if changed && status == HealthStatus::Unhealthy {
                self.draw_consequence(consequence);
            }
        }
    }
}

fn ours(message: String) -> CannotRun {
    CannotRun { code: launch::OURS, message }
}

/// Returns how restarts follow one another.
fn pace(config: &ShimConfig) -> Pace {
    Pace {
        delay: config.restart_delay.map(Duration::from_millis),
        steady: config.restart_window.map(Duration::from_millis),
    }
}

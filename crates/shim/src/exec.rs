//! A further process in a running container: `shim exec BUNDLE FILE`.
//!
//! The mode joins the container, forks the program into it, passes signals and, with a terminal, bytes between the
//! two sides, and ends with the program's exit code. Without a terminal the program gets this process's own streams.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::config::{CONFIG_FILE, ShimConfig};
use crate::confinement::Confinement;
use crate::detach::KeyWatch;
use crate::executor::{CannotRun, complain};
use crate::launch::OURS;
use crate::state::ShimState;
use crate::{enter, syscall};

/// What is to run, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Environment over the container's own.
    pub env: Vec<(String, String)>,
    /// Working directory; `None` means the container's.
    pub cwd: Option<PathBuf>,
    /// User; `None` means the container's.
    pub user: Option<ExecUser>,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// Whether it keeps all capabilities and has no filter.
    pub privileged: bool,
    /// The keys that let go of its terminal; empty lets nothing go.
    #[serde(default)]
    pub detach_keys: Vec<u8>,
}

/// Ids of a user, looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

/// Runs the mode.
pub(crate) fn run(bundle: &Path, file: &Path) -> ExitCode {
    let code = match execute(bundle, file) {
        Ok(code) => code,
        Err(refusal) => {
            complain(&refusal);
            refusal.code
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn ours(error: &dyn std::fmt::Display) -> CannotRun {
    CannotRun { code: OURS, message: error.to_string() }
}

fn execute(bundle: &Path, file: &Path) -> Result<i32, CannotRun> {
    let request: ExecRequest = read_json(file)?;
    // It may hold secrets in the environment.
    let _ = fs::remove_file(file);
    if request.terminal && !request.detach_keys.is_empty() {
        return in_front(bundle, &request);
    }
    perform(bundle, &request, None)
}

/// Stands before a process that does the work, and ends before that when its terminal is let go: the program dies with
/// its own parent, which goes on.
fn in_front(bundle: &Path, request: &ExecRequest) -> Result<i32, CannotRun> {
    let (mut told, teller) = io::pipe().map_err(|error| ours(&error))?;
    let watched = [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
    let signals = syscall::signal_descriptor(&watched).map_err(|error| ours(&error))?;
    let mut teller = Some(teller);
    let worker = syscall::fork(|| {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        match perform(bundle, request, teller.take()) {
            Ok(code) => code,
            Err(refusal) => {
                complain(&refusal);
                refusal.code
            }
        }
    })
    .map_err(|error| ours(&error))?;
    // Ours is closed, so that the worker's end shows.
    drop(teller);
    let mut listens = true;
    loop {
        let mut watched = vec![PollFd::new(&signals, PollFlags::IN)];
        if listens {
            watched.push(PollFd::new(&told, PollFlags::IN));
        }
        let _ = rustix::event::poll(&mut watched, None);
        let said = watched.get(1).is_some_and(|told| !told.revents().is_empty());
        if said {
            match io::Read::read(&mut told, &mut [0]) {
                Ok(count) if count > 0 => return Ok(0),
                _ => listens = false,
            }
        }
        while let Some(signal) = syscall::read_signal(signals.as_fd()) {
            if signal != libc::SIGCHLD {
                let _ = syscall::kill(worker, signal);
            }
        }
        while let Ok(Some(ended)) = syscall::wait(-1, false) {
            if ended.pid == worker {
                return Ok(ended.code);
            }
        }
    }
}

/// Runs the program and returns its exit code; `teller` is told when its terminal is let go.
fn perform(bundle: &Path, request: &ExecRequest, teller: Option<io::PipeWriter>) -> Result<i32, CannotRun> {
    let config: ShimConfig = read_json(&bundle.join(CONFIG_FILE))?;
    let pid = match read_json(&config.state)? {
        ShimState::Running { process, .. } if process.exists() => process.pid,
        ShimState::Paused { .. } => return Err(ours(&"the container is paused")),
        _ => return Err(ours(&"the container does not run")),
    };
    let spec = enter::load_spec(bundle)?;
    let confinement = Confinement::of(&config, bundle)?;
    let doors = enter::join(&config, pid)?;
    let terminal = if request.terminal {
        Some(enter::make_terminal().map_err(|error| ours(&format!("cannot make a terminal: {error}")))?)
    } else {
        None
    };
    let keys = KeyWatch::new(&request.detach_keys);
    let (master, slave) = terminal.unzip();
    let watched = [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGWINCH];
    let signals = syscall::signal_descriptor(&watched).map_err(|error| ours(&error))?;
    let program = syscall::fork(|| {
        let refusal = enter::become_member(&spec, request, &doors, &confinement, slave);
        complain(&refusal);
        refusal.code
    })
    .map_err(|error| ours(&error))?;
    drop((spec, doors, confinement));
    Ok(relay(program, &signals, master, keys, teller))
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, CannotRun> {
    let named = |error: &dyn std::fmt::Display| ours(&format!("cannot read `{}`: {error}", path.display()));
    let bytes = fs::read(path).map_err(|error| named(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| named(&error))
}

/// Passes signals, and a terminal's bytes, until the program has ended; returns its exit code. When the keys come that let
/// go, `teller` is told, and what the program still prints goes nowhere.
fn relay(
    program: i32,
    signals: &OwnedFd,
    master: Option<OwnedFd>,
    mut keys: KeyWatch,
    mut teller: Option<io::PipeWriter>,
) -> i32 {
    let mut input_open = master.is_some();
    let mut output_open = master.is_some();
    let mut ended = None;
    if let Some(master) = &master {
        copy_size(master.as_fd());
    }
    loop {
        if let Some(code) = ended
            && !output_open
        {
            return code;
        }
        let stdin = rustix::stdio::stdin();
        let mut watched = vec![PollFd::new(signals, PollFlags::IN)];
        if let Some(master) = &master {
            if output_open {
                watched.push(PollFd::new(master, PollFlags::IN));
            }
            if input_open && ended.is_none() {
                watched.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
        }
        // After the end, what is left of the output is there already.
        let timeout = ended.map(|_| rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 });
        match rustix::event::poll(&mut watched, timeout.as_ref()) {
            Ok(0) => return ended.unwrap_or(OURS),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return ended.unwrap_or(OURS),
        }
        while let Some(signal) = syscall::read_signal(signals.as_fd()) {
            match (signal, &master) {
                (libc::SIGWINCH, Some(master)) => copy_size(master.as_fd()),
                (libc::SIGCHLD, _) | (libc::SIGWINCH, None) => {}
                _ => drop(syscall::kill(program, signal)),
            }
        }
        while let Ok(Some(child)) = syscall::wait(-1, false) {
            if child.pid == program {
                ended = Some(child.code);
            }
        }
        let Some(master) = &master else {
            if let Some(code) = ended {
                return code;
            }
            continue;
        };
        if output_open && ready(master.as_fd()) {
            output_open = copy(master.as_fd(), rustix::stdio::stdout());
        }
        if input_open && ended.is_none() && ready(stdin) {
            match feed(stdin, master.as_fd(), &mut keys) {
                Fed::More => {}
                Fed::End => input_open = false,
                Fed::LetGo => {
                    input_open = false;
                    // From here on we stand alone: without the terminal, and without who started us.
                    let _ = rustix::process::set_parent_process_death_signal(None);
                    let _ = rustix::process::setsid();
                    let _ = crate::setup::forget_streams();
                    if let Some(mut teller) = teller.take() {
                        let _ = io::Write::write_all(&mut teller, b"D");
                    }
                }
            }
        }
    }
}

fn ready(fd: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut watched, Some(&now)), Ok(count) if count > 0)
}

/// What became of a piece of input.
enum Fed {
    More,
    End,
    LetGo,
}

/// Passes what one read of the input brings.
fn feed(from: BorrowedFd<'_>, to: BorrowedFd<'_>, keys: &mut KeyWatch) -> Fed {
    let mut buffer = [0; 16 * 1024];
    let count = match rustix::io::read(from, &mut buffer) {
        Ok(0) => return Fed::End,
        Ok(count) => count,
        Err(Errno::INTR | Errno::AGAIN) => return Fed::More,
        Err(_) => return Fed::End,
    };
    let mut passed = Vec::new();
    let found = keys.pass(&buffer[..count], &mut passed);
    match (write_all(to, &passed), found) {
        (_, true) => Fed::LetGo,
        (true, false) => Fed::More,
        (false, false) => Fed::End,
    }
}

/// Copies what one read brings; returns whether the source may bring more.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let mut buffer = [0; 16 * 1024];
    match rustix::io::read(from, &mut buffer) {
        Ok(0) => false,
        Ok(count) => write_all(to, &buffer[..count]),
        Err(Errno::INTR | Errno::AGAIN) => true,
        Err(_) => false,
    }
}

/// Writes all of it, also to what does not wait; returns whether that worked.
fn write_all(to: BorrowedFd<'_>, mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut watched = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                let _ = rustix::event::poll(&mut watched, None);
            }
            Err(_) => return false,
        }
    }
    true
}

/// Gives the program's terminal the size of ours.
fn copy_size(master: BorrowedFd<'_>) {
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        let _: io::Result<()> = syscall::resize_terminal(master, size.ws_row, size.ws_col);
    }
}

//! Making a container's first process through libcontainer.
//!
//! libcontainer runs in a short-lived copy of the shim, with the container as the shim's own child: whatever it
//! leaves behind in memory, working directory or process attributes ends with the copy, and the shim stays small.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::{Deserialize, Serialize};

use crate::config::ShimConfig;
use crate::confinement::Confinement;
use crate::executor::{CannotRun, FirstProgram};
use crate::streams::ContainerEnds;
use crate::{setup, syscall};

/// Exit code for a failure that is ours rather than the program's, as Docker has it.
pub(crate) const OURS: i32 = 125;

/// What the copy of the shim reports.
#[derive(Serialize, Deserialize)]
enum Report {
    Made { pid: i32 },
    Failed { code: i32, message: String },
}

/// Returns the directory that holds libcontainer's state.
fn runtime_root(bundle: &Path) -> PathBuf {
    bundle.join("runtime")
}

fn name(config: &ShimConfig) -> &str {
    config.id.get(..12).unwrap_or(&config.id)
}

/// Removes what libcontainer recorded about the last run.
pub(crate) fn forget(bundle: &Path) {
    let _ = fs::remove_dir_all(runtime_root(bundle));
}

/// Makes the first process, which then waits for [`start`]. Returns its process id.
pub(crate) fn create(
    config: &ShimConfig,
    bundle: &Path,
    ends: Option<ContainerEnds>,
) -> Result<i32, CannotRun> {
    forget(bundle);
    let ours = |error: &dyn std::fmt::Display| CannotRun { code: OURS, message: error.to_string() };
    let (reader, writer) = io::pipe().map_err(|error| ours(&error))?;
    let helper = syscall::fork(|| {
        // The container's process keeps what it has until it executes its program. A copy of the shim's lock or of a
        // client's connection in it would hide that the shim was killed meanwhile.
        let mut kept = vec![writer.as_raw_fd()];
        if let Some(ends) = &ends {
            kept.extend([&ends.stdin, &ends.stdout, &ends.stderr].map(AsRawFd::as_raw_fd));
        }
        syscall::close_others(kept);
        let report = match build(config, bundle, ends) {
            Ok(pid) => Report::Made { pid },
            Err(CannotRun { code, message }) => Report::Failed { code, message },
        };
        let text = serde_json::to_vec(&report).unwrap_or_default();
        let mut writer = writer;
        i32::from(writer.write_all(&text).is_err())
    })
    .map_err(|error| ours(&error))?;
    let report = read_report(reader);
    let _ = syscall::wait(helper, true);
    match report {
        Ok(Report::Made { pid }) => Ok(pid),
        Ok(Report::Failed { code, message }) => Err(CannotRun { code, message }),
        Err(error) => Err(ours(&format!("the container could not be made: {error}"))),
    }
}

fn read_report(mut reader: io::PipeReader) -> io::Result<Report> {
    // The container's process holds the other end until it executes its program: read one message, not to the end.
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = reader.read(&mut chunk)?;
        text.extend_from_slice(&chunk[..count]);
        match serde_json::from_slice(&text) {
            Ok(report) => return Ok(report),
            Err(error) if count == 0 || !error.is_eof() => return Err(error.into()),
            Err(_) => {}
        }
    }
}

fn build(config: &ShimConfig, bundle: &Path, ends: Option<ContainerEnds>) -> Result<i32, CannotRun> {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let confinement = Confinement::of(config, bundle)?;
    let secrets = setup::secret_environment(config)
        .map_err(|error| CannotRun { code: OURS, message: error.to_string() })?;
    fs::create_dir_all(runtime_root(bundle))
        .map_err(|error| CannotRun { code: OURS, message: error.to_string() })?;
    let built = ContainerBuilder::new(name(config).to_owned(), SyscallType::Linux)
        .with_executor(FirstProgram { init: config.init, confinement, secrets })
        .with_root_path(runtime_root(bundle))
        .map(|builder| match ends {
            Some(ends) => builder.with_stdin(ends.stdin).with_stdout(ends.stdout).with_stderr(ends.stderr),
            None => builder.with_console_socket(Some(bundle.join("console.sock"))),
        })
        .and_then(|builder| {
            builder
                .as_init(bundle)
                .with_systemd(false)
                .with_detach(true)
                .as_sibling(true)
                .with_no_pivot(root_is_initramfs())
                .build()
        });
    match built {
        Ok(container) => match container.pid() {
            Some(pid) => Ok(pid.as_raw()),
            None => Err(CannotRun { code: OURS, message: "the container has no process".to_owned() }),
        },
        Err(error) => {
            let text = causes(&error);
            Err(CannotRun::find(&text).unwrap_or(CannotRun { code: OURS, message: text }))
        }
    }
}

/// Returns an error's text with those of its causes that it does not hold already.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// The kernel refuses to pivot away from the file system that an initial RAM disk was unpacked to.
fn root_is_initramfs() -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|text| {
        text.lines()
            .rfind(|line| line.split_ascii_whitespace().nth(4) == Some("/"))
            .is_some_and(|line| line.contains(" - rootfs "))
    })
}

/// Lets the first process go.
pub(crate) fn start(config: &ShimConfig, bundle: &Path) -> io::Result<()> {
    let directory = runtime_root(bundle).join(name(config));
    let mut stream = connect(&directory, "notify.sock")?;
    stream.write_all(b"start container")
}

/// Connects to the socket `name` in `directory`, whose path may be longer than an address can hold.
pub(crate) fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let directory = open_directory(directory)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// Listens at the socket `name` in `directory`, replacing one that was left behind.
pub(crate) fn listen(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let directory = open_directory(directory)?;
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    let _ = fs::remove_file(&path);
    // Whoever may write to it may command the shim: nobody but its owner, whatever the caller's mask says.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Takes the terminal that libcontainer sent to the listening console socket.
pub(crate) fn receive_terminal(console: &UnixListener) -> io::Result<OwnedFd> {
    console.set_nonblocking(true)?;
    let (stream, _) = console.accept()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 64];
    let mut buffers = [io::IoSliceMut::new(&mut bytes)];
    rustix::net::recvmsg(&stream, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message
            && let Some(terminal) = descriptors.next()
        {
            return Ok(terminal);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "no terminal came"))
}

/// Opens `/dev/null` for a standard stream.
pub(crate) fn null() -> io::Result<OwnedFd> {
    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
}

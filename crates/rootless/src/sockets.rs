//! Sockets of the host, bound by the holder for who is inside: only the holder is still in the host's network.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::descriptors;
use crate::protocol::{Protocol, Reply, Request, SocketRequest};
use crate::world::{Home, in_user_namespace};

/// Name of a holder's socket.
const SOCKET: &str = "sock";

/// How long a holder may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Whoever lends sockets of the host to this process.
#[derive(Clone, Debug)]
pub struct Lender {
    directory: PathBuf,
}

/// Returns who lends sockets of the host, if this process is inside a world whose run root is `run_root`.
pub fn lender(run_root: &Path) -> Option<Lender> {
    let directory = Home::new(run_root).directory().to_path_buf();
    (in_user_namespace() && directory.join("lock").exists()).then_some(Lender { directory })
}

impl Lender {
    /// Returns a socket bound in the host's network: close-on-exec, not blocking, a stream already listening.
    pub fn socket(&self, request: SocketRequest) -> io::Result<OwnedFd> {
        let stream = connect(&self.directory)?;
        descriptors::send(&stream, &Request::Socket(request), &[])?;
        match descriptors::receive(&stream)? {
            (Reply::Done, mut sockets) if sockets.len() == 1 => Ok(sockets.remove(0)),
            (Reply::Failed(errno), _) => Err(io::Error::from_raw_os_error(errno)),
            (Reply::Done, _) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Connects to the holder of `directory`.
pub(crate) fn connect(directory: &Path) -> io::Result<UnixStream> {
    let directory = open(directory)?;
    let stream = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Listens in `directory`, whose path may be longer than an address can hold; replaces what was left behind.
pub(crate) fn listen_in(directory: &Path) -> io::Result<UnixListener> {
    let held = open(directory)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", held.as_raw_fd());
    remove(directory);
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes the socket's name.
pub(crate) fn remove(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(SOCKET));
}

fn open(directory: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Binds a socket in this process's network.
pub(crate) fn bind_here(request: &SocketRequest) -> io::Result<OwnedFd> {
    let family = if request.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match request.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if request.address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !request.both_families)?;
    }
    match request.protocol {
        Protocol::Tcp => {
            // Connections that linger must not keep a new keeper from the port.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &request.address)?;
            listen(&socket, BACKLOG)?;
        }
        Protocol::Udp => bind(&socket, &request.address)?,
    }
    Ok(socket)
}

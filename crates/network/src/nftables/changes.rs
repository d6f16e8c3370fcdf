//! News of the packet filter: somebody has changed some table of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr};
use rustix::net::{RecvFlags, recv};

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;

/// A subscription. Readable when something has changed, by whomever; what, is not told.
#[derive(Debug)]
pub struct Changes {
    socket: Socket,
}

impl Changes {
    /// Subscribes in the calling thread's network namespace.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(libc::NETLINK_NETFILTER as isize)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(GROUP)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// Takes what has been told so far, and returns whether that was anything.
    pub fn take(&self) -> bool {
        let mut buffer = [0; 4096];
        let mut any = false;
        loop {
            match recv(self.socket.as_fd(), &mut buffer[..], RecvFlags::empty()) {
                // Too much happened for the socket's buffer.
                Ok(_) | Err(rustix::io::Errno::NOBUFS) => any = true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return any,
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

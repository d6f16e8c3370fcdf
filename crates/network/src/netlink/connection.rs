//! One synchronous netlink socket, of any protocol: frames out, frames in.
//!
//! A socket belongs to the network namespace of the thread that opened it, and stays there.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size_force, set_socket_timeout};
use rustix::net::{RecvFlags, recv};

/// The length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;

/// Netlink is answered from within the system call; only a lost answer can take this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Larger than any datagram that the kernel builds for a dump (it uses at most 32 KiB).
const DATAGRAM: usize = 64 * 1024;

/// What any socket's buffer takes (the kernel's default is 208 KiB, of which it counts some for itself).
const ORDINARY: usize = 64 * 1024;

/// A message from the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: Vec<u8>,
}

/// A message to the kernel, without its header.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) body: Vec<u8>,
}

/// A netlink socket that is connected to the kernel.
pub(crate) struct Connection {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a socket of `protocol` (`NETLINK_*`) in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Acknowledgements need not carry our own message back.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM] })
    }

    /// Appends `request` to `buffer` with the next sequence number, which is returned.
    pub(crate) fn frame(&mut self, buffer: &mut Vec<u8>, request: &Request) -> u32 {
        self.sequence += 1;
        let length = HEADER + request.body.len();
        buffer.extend((length as u32).to_ne_bytes());
        buffer.extend(request.kind.to_ne_bytes());
        buffer.extend((request.flags | NLM_F_REQUEST).to_ne_bytes());
        buffer.extend(self.sequence.to_ne_bytes());
        buffer.extend(0_u32.to_ne_bytes());
        buffer.extend(&request.body);
        buffer.resize(buffer.len().next_multiple_of(4), 0);
        self.sequence
    }

    /// Sends framed messages as one datagram; the kernel handles all of them before this returns.
    pub(crate) fn send(&self, datagram: &[u8]) -> io::Result<()> {
        // A transaction must go as one datagram, however many rules it has.
        if datagram.len() > ORDINARY {
            set_socket_send_buffer_size_force(self.socket.as_fd(), datagram.len() * 2)?;
        }
        let sent = self.socket.send(datagram, 0)?;
        if sent == datagram.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Receives one datagram's messages.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<Frame>> {
        let (_, length) = recv(self.socket.as_fd(), self.buffer.as_mut_slice(), RecvFlags::empty())?;
        frames(self.buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?)
    }

    /// Sends all requests in one datagram and returns each one's outcome, in order. The kernel goes on after a failure.
    pub(crate) fn exchange(&mut self, requests: &[Request]) -> io::Result<Vec<io::Result<()>>> {
        let mut datagram = Vec::new();
        let mut sequences = Vec::with_capacity(requests.len());
        for request in requests {
            let asked = Request { flags: request.flags | NLM_F_ACK, ..request.clone() };
            sequences.push(self.frame(&mut datagram, &asked));
        }
        self.send(&datagram)?;
        let mut outcomes: Vec<Option<io::Result<()>>> = requests.iter().map(|_| None).collect();
        while outcomes.iter().any(Option::is_none) {
            for frame in self.receive()? {
                let position = sequences.iter().position(|sequence| *sequence == frame.sequence);
                if let (Some(position), NLMSG_ERROR) = (position, frame.kind) {
                    outcomes[position] = Some(acknowledgement(&frame.body));
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Asks for one object; none if it is not there (`ENOENT`, `ENODEV`).
    pub(crate) fn get(&mut self, request: &Request) -> io::Result<Option<Frame>> {
        let mut datagram = Vec::new();
        let sequence = self.frame(&mut datagram, request);
        self.send(&datagram)?;
        loop {
            for frame in self.receive()? {
                if frame.sequence != sequence {
                    continue;
                }
                if frame.kind != NLMSG_ERROR {
                    return Ok(Some(frame));
                }
                return match acknowledgement(&frame.body) {
                    Ok(()) => Ok(None),
                    Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                        Ok(None)
                    }
                    Err(error) => Err(error),
                };
            }
        }
    }

    /// Asks for all objects of a kind.
    pub(crate) fn dump(&mut self, request: &Request) -> io::Result<Vec<Frame>> {
        let mut datagram = Vec::new();
        let asked = Request { flags: request.flags | NLM_F_DUMP, ..request.clone() };
        let sequence = self.frame(&mut datagram, &asked);
        self.send(&datagram)?;
        let mut objects = Vec::new();
        loop {
            for frame in self.receive()? {
                match frame.kind {
                    _ if frame.sequence != sequence => {}
                    NLMSG_DONE => return Ok(objects),
                    NLMSG_ERROR => acknowledgement(&frame.body)?,
                    _ => objects.push(frame),
                }
            }
        }
    }
}

/// Returns what an `NLMSG_ERROR` body says: zero is success, else a negative errno.
pub(crate) fn acknowledgement(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk().map_or(-libc::EBADMSG, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

fn frames(mut datagram: &[u8]) -> io::Result<Vec<Frame>> {
    let mut frames = Vec::new();
    while datagram.len() >= HEADER {
        let word = |at: usize| datagram[at..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        let length = word(0) as usize;
        if length < HEADER || length > datagram.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let kind = (word(4).to_ne_bytes().first_chunk()).map_or(0, |bytes| u16::from_ne_bytes(*bytes));
        frames.push(Frame { kind, sequence: word(8), body: datagram[HEADER..length].to_vec() });
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
    }
    Ok(frames)
}

/// Returns the attributes of a message or of a nested attribute: kind without its flags, and value.
pub(crate) fn attributes(mut data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d, ..] = *data else { return None };
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = data.get(4..length)?;
        data = data.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & 0x3fff, value))
    })
}

//! What is said over a holder's socket: one line of JSON each way, the reply with descriptors beside it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Longest line.
pub(crate) const LONGEST: usize = 4096;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// The namespaces: user, mount, network. The client counts as inside until it closes the connection.
    Enter,
    /// To count as inside until the connection is closed, without more.
    Stay,
    /// A socket of the host.
    Socket(SocketRequest),
}

/// What a holder answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// Done; descriptors come with it where there are any.
    Done,
    /// Refused with an errno.
    Failed(i32),
}

/// Kinds of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// A listening stream.
    Tcp,
    /// A bound datagram socket.
    Udp,
}

/// A socket to be bound in the host's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRequest {
    /// Its kind.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
    /// Whether a socket of IPv6 takes IPv4 too.
    pub both_families: bool,
}

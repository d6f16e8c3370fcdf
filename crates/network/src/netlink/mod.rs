//! Links, addresses and routes of the kernel, by netlink.
//!
//! Owns bridges, the veth pairs between them and containers, and reading what the host has. Decides nothing: names,
//! addresses and MTU are arguments. Every function acts in the network namespace of the calling thread.

mod attach;
mod bridge;
pub(crate) mod connection;
mod host;
mod message;
mod sysctl;

use std::io;

pub use attach::{Attachment, Interface, Ipv6Link, attach, loopback};
pub use bridge::{Bridge, delete_link, ensure_bridge};
pub use host::{HostFacts, HostRoute, host_facts, links, routes};
pub(crate) use sysctl::routes_loopback;
pub use sysctl::{enable_forwarding, enable_forwarding6, route_loopback};

/// The kernel refused something.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct NetlinkError {
    /// What was tried, in the infinitive, e.g. `create bridge cr-0123abcd`.
    pub action: String,
    /// The kernel's answer.
    pub source: io::Error,
}

impl NetlinkError {
    pub(crate) fn new(action: impl Into<String>, source: io::Error) -> Self {
        Self { action: action.into(), source }
    }
}

/// Returns a stable, locally administered hardware address for an IPv4 address, as Docker does: a reused address
/// keeps its hardware address, so that no neighbour's table goes stale.
pub fn hardware_address(address: std::net::Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

//! The few kernel settings that networks need, by `/proc/sys/net` of the calling thread's namespace.

use std::fs;
use std::io;

use super::NetlinkError;

/// Lets the host pass packets between its links: without it no container reaches beyond its bridge.
///
/// The setting is the host's and is never taken back, since others may have come to rely on it. It also makes the host
/// a router between its other links, if its own rules allow that.
pub fn enable_forwarding() -> Result<(), NetlinkError> {
    set("net/ipv4/ip_forward", "1").map_err(|source| NetlinkError::new("set net.ipv4.ip_forward", source))
}

/// Lets packets from and to loopback addresses pass a bridge of ours, which our filter then guards.
pub fn route_loopback(bridge: &str) {
    // Where it is refused, the keeper carries what comes by loopback.
    let _carried = set(&format!("net/ipv4/conf/{bridge}/route_localnet"), "1");
}

/// Returns whether packets from and to loopback addresses pass a link.
pub(crate) fn routes_loopback(link: &str) -> bool {
    let setting = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{link}/route_localnet"));
    setting.is_ok_and(|text| text.trim() == "1")
}

/// Lets a link of the calling thread's namespace have IPv6 addresses, also where links have none unless told.
pub(super) fn allow_ipv6(link: &str) {
    // A kernel that refuses says so again when the address is given.
    let _told_later = set(&format!("net/ipv6/conf/{link}/disable_ipv6"), "0");
}

/// As [`enable_forwarding`], for IPv6. A host that forwards takes no more routes from its neighbours unless its links are
/// told to (`accept_ra=2`), which Docker leaves to the administrator too.
pub fn enable_forwarding6() -> Result<(), NetlinkError> {
    set("net/ipv6/conf/all/forwarding", "1")
        .map_err(|source| NetlinkError::new("set net.ipv6.conf.all.forwarding", source))
}

/// Settings of a container's own namespace, Docker's two: ports below 1024 and `ping` need no privilege there, since
/// its ports are nobody else's.
pub(super) fn unprivileged_ports_and_ping() {
    // Failure (a read-only /proc/sys) leaves the kernel's stricter defaults, which are safe.
    let _stricter = set("net/ipv4/ip_unprivileged_port_start", "0");
    let _stricter = set("net/ipv4/ping_group_range", "0\t2147483647");
}

/// Sets a parameter of the calling thread's network namespace, named as in `sysctl` without the leading `net.`.
pub(super) fn set_here(name: &str, value: &str) -> io::Result<()> {
    let illegal = |part: &str| part.is_empty() || part.contains('/');
    if name.split('.').any(illegal) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is malformed"));
    }
    set(&format!("net/{}", name.replace('.', "/")), value)
}

fn set(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/{name}");
    // Reading first spares hosts with a read-only /proc/sys and the right value.
    if fs::read_to_string(&path)?.trim() == value {
        return Ok(());
    }
    fs::write(&path, value)
}

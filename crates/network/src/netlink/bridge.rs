//! Bridges: one a network.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::connection::Connection;
use super::host::link_index;
use super::{NetlinkError, hardware_address, message, sysctl};
use crate::subnet::Subnet;

/// A bridge as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The link's name.
    pub name: String,
    /// The bridge's own address: the gateway of its containers.
    pub gateway: Ipv4Addr,
    /// The network that the address lies in.
    pub subnet: Subnet,
    /// Its IPv6 address and the number of leading bits of the network it lies in.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// The largest packet in bytes; [`super::HostFacts::mtu`] unless the user says otherwise.
    pub mtu: u32,
}

/// Makes the bridge exist, be up and have its address. Does nothing to one that is complete, and may run in several
/// processes at once.
pub fn ensure_bridge(bridge: &Bridge) -> Result<(), NetlinkError> {
    let failed = |action: &str| {
        let action = format!("{action} bridge {}", bridge.name);
        move |source| NetlinkError::new(action, source)
    };
    let mut connection =
        Connection::open(libc::NETLINK_ROUTE as isize).map_err(failed("reach the kernel for"))?;
    let mut index = link_index(&mut connection, &bridge.name).map_err(failed("look for"))?;
    if index.is_none() {
        let requests = [
            message::new_bridge(&bridge.name, hardware_address(bridge.gateway), bridge.mtu),
            message::up(&bridge.name),
        ];
        let outcomes = connection.exchange(&requests).map_err(failed("create"))?;
        let mut outcomes = outcomes.into_iter();
        unless_there(outcomes.next()).map_err(failed("create"))?;
        outcomes.next().unwrap_or(Ok(())).map_err(failed("bring up"))?;
        index = link_index(&mut connection, &bridge.name).map_err(failed("look for"))?;
    }
    let index = index.ok_or_else(|| failed("find")(io::ErrorKind::NotFound.into()))?;
    // Also for one that was there: its maker may have died between the two steps.
    let requests = [message::new_address(index, bridge.gateway, bridge.subnet), message::up(&bridge.name)];
    let outcomes = connection.exchange(&requests).map_err(failed("configure"))?;
    let mut outcomes = outcomes.into_iter();
    unless_there(outcomes.next()).map_err(failed("give an address to"))?;
    outcomes.next().unwrap_or(Ok(())).map_err(failed("bring up"))?;
    if let Some((address, prefix)) = bridge.ipv6 {
        sysctl::allow_ipv6(&bridge.name);
        let requests = [message::new_address6(index, address, prefix)];
        let outcomes = connection.exchange(&requests).map_err(failed("configure"))?;
        unless_there(outcomes.into_iter().next()).map_err(failed("give an IPv6 address to"))?;
    }
    Ok(())
}

/// Takes the link called `name` away, a bridge or a veth (whose other end goes with it). Absence is success.
pub fn delete_link(name: &str) -> Result<(), NetlinkError> {
    let failed = |source| NetlinkError::new(format!("delete link {name}"), source);
    let mut connection = Connection::open(libc::NETLINK_ROUTE as isize).map_err(failed)?;
    let outcome = connection.exchange(&[message::delete_link(name)]).map_err(failed)?.into_iter().next();
    match outcome {
        Some(Err(error)) if error.raw_os_error() != Some(libc::ENODEV) => Err(failed(error)),
        Some(Err(_) | Ok(())) | None => Ok(()),
    }
}

fn unless_there(outcome: Option<io::Result<()>>) -> io::Result<()> {
    match outcome {
        Some(Err(error)) if error.raw_os_error() != Some(libc::EEXIST) => Err(error),
        Some(Err(_) | Ok(())) | None => Ok(()),
    }
}

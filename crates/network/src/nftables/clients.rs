//! The tables inside containers that lead virtual addresses to replicas, see [`crate::services`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Applied, encode, note, transact};
use crate::netlink::NetlinkError;
use crate::netlink::connection::Connection;
use crate::table::Table;

/// One container's network namespace, and the table that it should have.
#[derive(Debug)]
pub struct ClientTable {
    /// The namespace.
    pub namespace: OwnedFd,
    /// The table; none takes away what is there.
    pub table: Option<Table>,
}

/// Makes each namespace's table be what it should be, each in one transaction, and returns each one's outcome. A table
/// that is as it should be is left alone.
///
/// The caller's thread stays in its own namespace. As with [`super::apply`], callers take the host's lock on networks
/// before they read the records that tables are made from.
pub fn apply_clients(
    clients: &[ClientTable],
    _lock: &crate::lock::Lock,
) -> Vec<Result<Applied, NetlinkError>> {
    if clients.is_empty() {
        return Vec::new();
    }
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("services".to_owned())
            .spawn_scoped(scope, || clients.iter().map(apply_one).collect::<Vec<_>>());
        match worker.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => vec![Err(failed(error))],
        }
    })
}

fn apply_one(client: &ClientTable) -> Result<Applied, NetlinkError> {
    move_into_link_name_space(client.namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| failed(error.into()))?;
    let mut connection = Connection::open(libc::NETLINK_NETFILTER as isize).map_err(failed)?;
    let present = connection.get(&encode::get_table()).map_err(failed)?;
    let wanted = client.table.as_ref().map(note);
    let as_it_should_be = match (&wanted, &present) {
        (None, None) => true,
        (Some(wanted), Some(frame)) => encode::table_note(&frame.body).as_deref() == Some(wanted),
        (None, Some(_)) | (Some(_), None) => false,
    };
    if as_it_should_be {
        return Ok(Applied::Unchanged);
    }
    let requests = encode::replacement(client.table.as_ref(), &wanted.unwrap_or_default());
    transact(&mut connection, requests).map_err(failed)?;
    Ok(Applied::Replaced)
}

fn failed(source: io::Error) -> NetlinkError {
    NetlinkError::new("lead services' addresses to their replicas in a container", source)
}

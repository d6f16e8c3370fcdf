//! The tables inside containers that lead virtual addresses to replicas, see [`crate::services`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Applied, encode, flows, note, transact};
use crate::netlink::NetlinkError;
use crate::netlink::connection::Connection;
use crate::services::{ServiceAddress, client_table};

/// One container's network namespace, and the services that it should reach.
#[derive(Debug)]
pub struct Client {
    /// The namespace.
    pub namespace: OwnedFd,
    /// The services of its networks; none at all takes away what is there.
    pub services: Vec<ServiceAddress>,
    /// With which replica it begins.
    pub first: usize,
}

/// Makes each namespace's table be what it should be, each in one transaction, and returns each one's outcome. A table
/// that is as it should be is left alone.
///
/// The caller's thread stays in its own namespace. As with [`super::apply`], callers take the host's lock on networks
/// before they read the records that tables are made from.
pub fn apply_clients(clients: &[Client], _lock: &crate::lock::Lock) -> Vec<Result<Applied, NetlinkError>> {
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

fn apply_one(client: &Client) -> Result<Applied, NetlinkError> {
    move_into_link_name_space(client.namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| failed(error.into()))?;
    let mut connection = Connection::open(libc::NETLINK_NETFILTER as isize).map_err(failed)?;
    let present = connection.get(&encode::get_table()).map_err(failed)?;
    let table = client_table(&client.services, client.first);
    let wanted = table.as_ref().map(note);
    let as_it_should_be = match (&wanted, &present) {
        (None, None) => true,
        (Some(wanted), Some(frame)) => encode::table_note(&frame.body).as_deref() == Some(wanted),
        (None, Some(_)) | (Some(_), None) => false,
    };
    if as_it_should_be {
        return Ok(Applied::Unchanged);
    }
    let requests = encode::replacement(table.as_ref(), &wanted.unwrap_or_default());
    transact(&mut connection, requests).map_err(failed)?;
    // A kernel that cannot tell what it remembers forgets by itself, after a silence.
    let _forgotten_later = flows::forget(&mut connection, &client.services);
    Ok(Applied::Replaced)
}

fn failed(source: io::Error) -> NetlinkError {
    NetlinkError::new("lead services' addresses to their replicas in a container", source)
}

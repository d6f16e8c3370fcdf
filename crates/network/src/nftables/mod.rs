//! Puts a rule set into the kernel, by netlink: no `nft` program is needed.
//!
//! The whole of our state in the packet filter is one table, `inet coracle`, replaced in one transaction. The table
//! carries a digest of its rules as its comment, so an unchanged set costs two questions to the kernel.
//!
//! `accept` in one table does not overrule `drop` in another. Where iptables (its nft kind: Docker, ufw) drops by policy
//! what it does not know, [`guests`] adds a few marked rules of ours there, and takes them away with our table.

mod changes;
mod clients;
mod encode;
mod flows;
mod guests;
mod link;

use std::io::{self, Write};
use std::net::Ipv4Addr;

use coracle_oci::Sha256Writer;
use netlink_packet_core::{NLM_F_ACK, NLMSG_ERROR};

use crate::lock::Lock;
use crate::netlink::NetlinkError;
use crate::netlink::connection::{Connection, Request, acknowledgement};
use crate::netlink::routes_loopback;
use crate::port::Protocol;
use crate::rules::{RuleSet, Surroundings, client_map};
use crate::table::Table;

pub use changes::Changes;
pub use clients::{Client, apply_clients};
pub use guests::{ForwardDrop, forward_drops};
pub use link::guard_link;

/// Part of the digest: a release that encodes the same text otherwise must change it.
const ENCODING: &str = "1";

/// What applying a rule set did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The table was as it should be.
    Unchanged,
    /// The table was replaced, made or taken away.
    Replaced,
}

/// Makes the kernel's table be what `rules` says.
///
/// The proof of a held lock closes a race: of two processes that read the records and then apply them, the one that
/// read first could apply last. Take the lock before reading the records that `rules` is made from, and use one
/// lock file for all processes of a host.
pub fn apply(rules: &RuleSet, _lock: &Lock) -> Result<Applied, NetlinkError> {
    let failed = |source| NetlinkError::new("replace the packet filter's table inet coracle", source);
    let mut connection = Connection::open(libc::NETLINK_NETFILTER as isize).map_err(failed)?;
    let others = guests::chains(&mut connection).map_err(failed)?;
    let surroundings = surroundings(rules, &others);
    let table = (!rules.is_empty()).then(|| rules.table(&surroundings));
    let present = connection.get(&encode::get_table()).map_err(failed)?;
    let note = table.as_ref().map(note);
    let as_it_should_be = match (&note, &present) {
        (None, None) => true,
        (Some(wanted), Some(frame)) => encode::table_note(&frame.body).as_deref() == Some(wanted),
        (None, Some(_)) | (Some(_), None) => false,
    };
    if !as_it_should_be {
        let requests = encode::replacement(table.as_ref(), &note.unwrap_or_default());
        transact(&mut connection, requests).map_err(failed)?;
    }
    let failed =
        |source| NetlinkError::new("let our networks through the packet filter's other tables", source);
    let passes = guests::settle(&mut connection, &others, table.is_some(), rules).map_err(failed)?;
    Ok(if as_it_should_be && passes == Applied::Unchanged { Applied::Unchanged } else { Applied::Replaced })
}

fn surroundings(rules: &RuleSet, others: &[guests::Chain]) -> Surroundings {
    let bridges = rules.networks.iter().map(|network| network.bridge.clone());
    Surroundings {
        // In a normal user's network no client of another machine arrives but through its keeper.
        filters_input: others.iter().any(guests::Chain::filters_input)
            || coracle_rootless::in_user_namespace(),
        loopback: bridges.filter(|bridge| routes_loopback(bridge)).collect(),
    }
}

/// Says to the filter that the connection from this host's port `port` serves `client`, so that it gets that address. Where the
/// filter has no such map, because it needs none, nothing happens.
pub(crate) fn tell_client(protocol: Protocol, port: u16, client: Ipv4Addr) -> io::Result<()> {
    let mut connection = Connection::open(libc::NETLINK_NETFILTER as isize)?;
    match transact(&mut connection, vec![encode::new_client(client_map(protocol), port, client)]) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome,
    }
}

fn note(table: &Table) -> String {
    let mut digest = Sha256Writer::new(io::sink());
    // Writing to a sink cannot fail.
    let _infallible = write!(digest, "{ENCODING}\n{table}");
    let hex = digest.finish().1.to_string();
    let hex = hex.rsplit(':').next().unwrap_or_default();
    format!("rules {}", &hex[..hex.len().min(32)])
}

/// Does all of `requests` or none.
fn transact(connection: &mut Connection, mut requests: Vec<Request>) -> io::Result<()> {
    // Only the last message before the end is acknowledged: an answer each would overflow the socket's buffer with
    // some hundred rules. Failures are always told.
    if let Some(last) = requests.last_mut() {
        last.flags |= NLM_F_ACK;
    }
    let mut datagram = Vec::new();
    let mut sequences = vec![connection.frame(&mut datagram, &encode::batch_begin())];
    sequences.extend(requests.iter().map(|request| connection.frame(&mut datagram, request)));
    let last = sequences[sequences.len() - 1];
    connection.frame(&mut datagram, &encode::batch_end());
    connection.send(&datagram)?;
    loop {
        for frame in connection.receive()? {
            if sequences.contains(&frame.sequence) && frame.kind == NLMSG_ERROR {
                acknowledgement(&frame.body)?;
                if frame.sequence == last {
                    return Ok(());
                }
            }
        }
    }
}

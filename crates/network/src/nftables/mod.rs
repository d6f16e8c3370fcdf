//! Puts a rule set into the kernel, by netlink: no `nft` program is needed.
//!
//! The whole of our state in the packet filter is one table, `inet coracle`, replaced in one transaction. The table
//! carries a digest of its rules as its comment, so an unchanged set costs one question to the kernel. Somebody else's
//! table is never touched.

mod encode;

use std::io::{self, Write};

use coracle_oci::Sha256Writer;

use crate::lock::Lock;
use crate::netlink::NetlinkError;
use crate::netlink::connection::{Connection, Frame, acknowledgement, attributes};
use crate::rules::RuleSet;
use crate::table::Table;

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

/// A chain of somebody else that drops what it does not know among the packets that pass through this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardDrop {
    /// The family of its table, e.g. `ip`.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name, e.g. `FORWARD`.
    pub chain: String,
}

/// Makes the kernel's table be what `rules` says.
///
/// The proof of a held lock closes a race: of two processes that read the records and then apply them, the one that
/// read first could apply last. Take the lock before reading the records that `rules` is made from, and use one
/// lock file for all processes of a host.
pub fn apply(rules: &RuleSet, _lock: &Lock) -> Result<Applied, NetlinkError> {
    let failed = |source| NetlinkError::new("replace the packet filter's table inet coracle", source);
    let table = (!rules.is_empty()).then(|| rules.table());
    let mut connection = Connection::open(libc::NETLINK_NETFILTER as isize).map_err(failed)?;
    let present = connection.get(&encode::get_table()).map_err(failed)?;
    let note = table.as_ref().map(note);
    match (&note, &present) {
        (None, None) => return Ok(Applied::Unchanged),
        (Some(wanted), Some(frame)) if encode::table_note(&frame.body).as_deref() == Some(wanted) => {
            return Ok(Applied::Unchanged);
        }
        (None | Some(_), _) => {}
    }
    replace(&mut connection, table.as_ref(), &note.unwrap_or_default()).map_err(failed)?;
    Ok(Applied::Replaced)
}

/// Returns the chains of others that drop by policy what passes through this host. `accept` in our table does not
/// overrule them: where there are any, containers may not reach beyond their bridge. Rules of the legacy iptables are
/// not seen.
pub fn forward_drops() -> Result<Vec<ForwardDrop>, NetlinkError> {
    let failed = |source| NetlinkError::new("list the packet filter's chains", source);
    let mut connection = Connection::open(libc::NETLINK_NETFILTER as isize).map_err(failed)?;
    let chains = connection.dump(&encode::all_chains()).map_err(failed)?;
    Ok(chains.iter().filter_map(forward_drop).collect())
}

fn forward_drop(frame: &Frame) -> Option<ForwardDrop> {
    let family = match frame.body.first()? {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    let all = || attributes(&frame.body[4..]);
    let value = |kind| all().find(|(found, _)| *found == kind).map(|(_, value)| value);
    let number = |value: &[u8]| value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let text = |value: &[u8]| String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned();
    let hook = attributes(value(4)?).find(|(kind, _)| *kind == 1).and_then(|(_, value)| number(value))?;
    let drops = hook == 2 && number(value(5)?)? == encode::DROP;
    drops.then_some(ForwardDrop { family: family.to_owned(), table: text(value(1)?), chain: text(value(3)?) })
}

fn note(table: &Table) -> String {
    let mut digest = Sha256Writer::new(io::sink());
    // Writing to a sink cannot fail.
    let _infallible = write!(digest, "{ENCODING}\n{table}");
    let hex = digest.finish().1.to_string();
    let hex = hex.rsplit(':').next().unwrap_or_default();
    format!("rules {}", &hex[..hex.len().min(32)])
}

fn replace(connection: &mut Connection, table: Option<&Table>, note: &str) -> io::Result<()> {
    let requests = encode::replacement(table, note);
    let mut datagram = Vec::new();
    let mut sequences = Vec::with_capacity(requests.len());
    // Only the last message before the end is acknowledged: an answer each would overflow the socket's buffer with
    // some hundred rules. Failures are always told.
    let last = requests.len() - 2;
    for (position, mut request) in requests.into_iter().enumerate() {
        if position == last {
            request.flags |= netlink_packet_core::NLM_F_ACK;
        }
        sequences.push(connection.frame(&mut datagram, &request));
    }
    connection.send(&datagram)?;
    loop {
        for frame in connection.receive()? {
            if sequences.contains(&frame.sequence) && frame.kind == netlink_packet_core::NLMSG_ERROR {
                acknowledgement(&frame.body)?;
                if frame.sequence == sequences[last] {
                    return Ok(());
                }
            }
        }
    }
}

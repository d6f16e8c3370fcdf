//! Flows of datagrams that the kernel remembers. A client that goes on sending from one socket keeps its flow alive for ever,
//! and with it the replica that it was once given: when that is no longer in the set, the flow must be forgotten.
//!
//! Connections are left alone: what was begun with a replica that leaves goes on until either side ends it.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_ACK;

use crate::netlink::connection::{Connection, Request, attributes};
use crate::services::ServiceAddress;

/// `NFNL_SUBSYS_CTNETLINK`, the high byte of the messages' kinds.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;
const UDP: u8 = 17;

/// Forgets the calling namespace's flows to addresses of `services` that lead to none of their endpoints.
pub(super) fn forget(connection: &mut Connection, services: &[ServiceAddress]) -> io::Result<()> {
    let families = [libc::AF_INET, libc::AF_INET6].map(|family| u8::try_from(family).unwrap_or_default());
    let mut stale = Vec::new();
    for family in families {
        if family == families[1] && services.iter().all(|service| service.address6.is_none()) {
            continue;
        }
        let all = Request { kind: SUBSYSTEM | GET, flags: 0, body: vec![family, 0, 0, 0] };
        for frame in connection.dump(&all)? {
            let Some(flow) = Flow::read(&frame.body) else { continue };
            if flow.protocol == UDP && leads_elsewhere(&flow, services) {
                let mut body = vec![family, 0, 0, 0];
                let length = u16::try_from(flow.original.len() + 4).map_err(io::Error::other)?;
                body.extend(length.to_ne_bytes());
                body.extend((1_u16 | 1 << 15).to_ne_bytes()); // CTA_TUPLE_ORIG, nested
                body.extend(flow.original);
                stale.push(Request { kind: SUBSYSTEM | DELETE, flags: NLM_F_ACK, body });
            }
        }
    }
    if !stale.is_empty() {
        // One that has ended by itself is as good as forgotten.
        let _ended = connection.exchange(&stale)?;
    }
    Ok(())
}

fn leads_elsewhere(flow: &Flow<'_>, services: &[ServiceAddress]) -> bool {
    let of = |service: &&ServiceAddress| {
        flow.to == IpAddr::from(service.address) || service.address6.is_some_and(|address| flow.to == address)
    };
    let leads = |service: &ServiceAddress| {
        service.endpoints.iter().any(|(address, address6)| {
            flow.answered_by == IpAddr::from(*address)
                || address6.is_some_and(|address| flow.answered_by == address)
        })
    };
    services.iter().find(of).is_some_and(|service| !leads(service))
}

/// One remembered flow.
struct Flow<'a> {
    /// The tuple that names it, as the kernel wrote it.
    original: &'a [u8],
    protocol: u8,
    to: IpAddr,
    answered_by: IpAddr,
}

impl<'a> Flow<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let find = |data: &'a [u8], wanted| attributes(data).find(|(kind, _)| *kind == wanted).map(|it| it.1);
        let body = body.get(4..)?;
        let (original, reply) = (find(body, 1)?, find(body, 2)?); // CTA_TUPLE_ORIG, CTA_TUPLE_REPLY
        let address = |tuple: &'a [u8], four, six| {
            let addresses = find(tuple, 1)?; // CTA_TUPLE_IP
            let v4 = find(addresses, four).and_then(|it| it.first_chunk::<4>()).map(|it| IpAddr::from(*it));
            v4.or_else(|| find(addresses, six)?.first_chunk::<16>().map(|it| IpAddr::from(*it)))
        };
        Some(Self {
            original,
            protocol: *find(find(original, 2)?, 1)?.first()?, // CTA_TUPLE_PROTO, CTA_PROTO_NUM
            to: address(original, 2, 4)?,                     // CTA_IP_V4_DST, CTA_IP_V6_DST
            answered_by: address(reply, 1, 3)?,               // CTA_IP_V4_SRC, CTA_IP_V6_SRC
        })
    }
}

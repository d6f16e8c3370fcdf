//! Addresses of a project's networks against the routes of the machine.

use std::net::{IpAddr, Ipv4Addr};

use coracle_report::Severity;

use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&SUBNET_OVERLAP], run: Run::Subject(run) };

static SUBNET_OVERLAP: Rule = Rule {
    id: "SubnetOverlap",
    family: Family::Host,
    severity: Severity::Error,
    title: "a network's addresses must not be in use on this machine",
    explanation: "When the machine has a route for addresses that a network of the project asks for (a company's network, a VPN, another engine's bridge), one of both cannot be reached any more, so that making the network is refused. Leave `ipam` out, and free addresses are chosen, or ask for a range that no route covers: `ip route` shows them.",
    example: Some((
        "networks:\n  back:\n    ipam: { config: [{ subnet: 10.0.0.0/8 }] }",
        "networks:\n  back: {}",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let (Some(host), Some(project)) = (subject.host, subject.project()) else { return };
    for (key, network) in &project.networks {
        // One that is there already has its addresses.
        let there = host.networks.iter().flatten().any(|own| *own == network.name);
        let wanted = network.subnet.as_deref().and_then(read).filter(|_| !network.external && !there);
        let Some(wanted) = wanted else { continue };
        let clash = host.routes.iter().find(|route| {
            let IpAddr::V4(address) = route.address else { return false };
            route.network.as_deref() != Some(&network.name) && overlap(wanted, (address, route.prefix))
        });
        let Some(route) = clash else { continue };
        let written = subject.loaded.and_then(|loaded| loaded.span_of(&["networks", key, "ipam"]));
        let Some(span) = written.or_else(|| network.span.clone()) else { continue };
        let taken = match &route.network {
            Some(other) => format!("network `{other}` of ours"),
            None => format!("a route through {}", route.device),
        };
        let subnet = network.subnet.as_deref().unwrap_or_default();
        let message =
            format!("network `{key}` asks for {subnet}, and {taken} has {}/{}", route.address, route.prefix);
        findings
            .add(&SUBNET_OVERLAP, &span, message)
            .hint("leave `ipam` out: free addresses are chosen then");
    }
}

/// Reads an IPv4 network such as `172.28.0.0/16`.
fn read(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    Some((address.parse().ok()?, prefix))
}

fn overlap(a: (Ipv4Addr, u8), b: (Ipv4Addr, u8)) -> bool {
    let prefix = u32::from(a.1.min(b.1).min(32));
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    a.0.to_bits() & mask == b.0.to_bits() & mask
}

//! Top-level `networks`.

use std::net::{IpAddr, Ipv4Addr};

use coracle_report::Diagnostic;
use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{Ipv6Pool, Network, NetworkDriver};
use crate::tree::{Mapping, Value};

use super::Decoder;

/// The addresses of a network.
#[derive(Default)]
struct Pool {
    subnet: Option<String>,
    gateway: Option<Ipv4Addr>,
    range: Option<String>,
    reserved: IndexMap<String, Ipv4Addr>,
    ipv6: Ipv6Pool,
}

impl Decoder<'_> {
    pub(super) fn network(&mut self, key: &str, field: &Field<'_>) -> Option<Network> {
        let span = Some(self.span(field.key));
        let empty = Mapping::new();
        let mut fields = match field.node.value {
            Value::Null => Fields::new(&empty, field.path.clone()),
            Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => field.mapping(self.findings)?,
        };
        let mut refusals = Vec::new();
        let (name, external) = self.name(key, &mut fields);
        let driver = self.driver(&name, external, &mut fields, &mut refusals);
        let internal = fields.boolean("internal", self.findings);
        let pool = fields.take("ipam").map(|field| self.pool(&field, &mut refusals)).unwrap_or_default();
        let driver_options =
            fields.take("driver_opts").map(|field| field.filled_pairs(self.findings)).unwrap_or_default();
        let labels = fields.take("labels").map(|field| field.filled_pairs(self.findings)).unwrap_or_default();
        if let Some(field) = fields.take("enable_ipv4")
            && !field.boolean(self.findings)
        {
            let message = format!("{}: a network always has IPv4 addresses too", field.path);
            self.findings.warning("not-honoured", field.key, message);
        }
        // Every network can be attached to by hand.
        fields.take("attachable");
        let ipv6 = fields.boolean("enable_ipv6", self.findings).then_some(pool.ipv6);
        fields.finish(&[], self.findings);
        Some(Network {
            span,
            name,
            driver,
            external,
            internal,
            subnet: pool.subnet,
            gateway: pool.gateway,
            range: pool.range,
            reserved: pool.reserved,
            ipv6,
            driver_options,
            labels,
            refusals,
        })
    }

    fn driver(
        &mut self,
        name: &str,
        external: bool,
        fields: &mut Fields<'_>,
        refusals: &mut Vec<Diagnostic>,
    ) -> NetworkDriver {
        let Some(field) = fields.take("driver") else {
            // Docker's two networks that are no bridges; others make them.
            return match name {
                "host" if external => NetworkDriver::Host,
                "none" if external => NetworkDriver::None,
                _ => NetworkDriver::Bridge,
            };
        };
        let Some(text) = field.text(self.findings) else { return NetworkDriver::Bridge };
        let why = match text {
            "bridge" | "default" | "" => return NetworkDriver::Bridge,
            "host" => return NetworkDriver::Host,
            "none" | "null" => return NetworkDriver::None,
            "overlay" => "needs a cluster, and there is none",
            "macvlan" | "ipvlan" => "would put containers on the host’s own network, which is not supported",
            _ => "is not supported, only `bridge`, `host` and `none` are",
        };
        let message = format!("{}: network driver `{text}` {why}", field.path);
        refusals.push(self.refusal(
            "network-driver",
            &field,
            message,
            "leave `driver` out: a bridge is made",
        ));
        NetworkDriver::Bridge
    }

    /// Reads `ipam`; a bridge has one subnet of each kind.
    fn pool(&mut self, field: &Field<'_>, refusals: &mut Vec<Diagnostic>) -> Pool {
        let mut out = Pool::default();
        let Some(mut ipam) = field.mapping(self.findings) else { return out };
        if let Some(driver) = ipam.take("driver")
            && let Some(text) = driver.text(self.findings).filter(|text| !matches!(*text, "default" | ""))
        {
            let message = format!("{}: address driver `{text}` is not supported", driver.path);
            refusals.push(self.refusal("network-driver", &driver, message, "leave it out"));
        }
        for item in ipam.take("config").map(|config| config.list(self.findings)).unwrap_or_default() {
            let Some(mut pool) = item.mapping(self.findings) else { continue };
            let subnet = pool.take("subnet");
            let range = pool.take("ip_range");
            let gateway = pool.take("gateway");
            let reserved = pool.take("aux_addresses");
            pool.finish(&[], self.findings);
            let of_ipv6 = subnet.as_ref().and_then(|field| field.node.text()).is_some_and(is_ipv6);
            let given = if of_ipv6 { &mut out.ipv6.subnet } else { &mut out.subnet };
            if let Some(field) = &subnet {
                if given.is_some() {
                    let message = format!("{}: a bridge network has one subnet of each kind", field.path);
                    refusals.push(self.refusal("network-addresses", field, message, "make two networks"));
                    continue;
                }
                *given = field.parse(self.findings, if of_ipv6 { ipv6_subnet } else { ipv4_subnet });
            }
            match gateway.and_then(|field| field.parse(self.findings, address)) {
                Some(IpAddr::V4(address)) => out.gateway = Some(address),
                Some(IpAddr::V6(address)) => out.ipv6.gateway = Some(address),
                None => {}
            }
            if let Some(field) = range {
                if field.node.text().is_some_and(is_ipv6) {
                    let message = format!("{}: IPv6 addresses come from the whole subnet", field.path);
                    self.findings.warning("not-honoured", field.key, message);
                } else {
                    out.range = field.parse(self.findings, ipv4_range);
                }
            }
            for (name, field) in reserved.map(|field| field.entries(self.findings)).unwrap_or_default() {
                // IPv6 addresses follow from IPv4 ones, so that there is nothing to keep free.
                if let Some(IpAddr::V4(address)) = field.parse(self.findings, address) {
                    out.reserved.insert(name.to_owned(), address);
                }
            }
        }
        ipam.finish(&["options"], self.findings);
        out
    }
}

fn is_ipv6(text: &str) -> bool {
    text.split_once('/').map_or(text, |(address, _)| address).parse::<std::net::Ipv6Addr>().is_ok()
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an IP address"))
}

/// Checks an IPv4 subnet in CIDR form.
fn ipv4_subnet(text: &str) -> Result<String, String> {
    let fail = || format!("`{text}` is not an IPv4 subnet such as `172.28.0.0/16`");
    let (address, bits) = text.split_once('/').ok_or_else(fail)?;
    let legal =
        address.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| (1..=30).contains(&bits));
    if legal { Ok(text.to_owned()) } else { Err(fail()) }
}

/// Checks a part of an IPv4 subnet in CIDR form.
fn ipv4_range(text: &str) -> Result<String, String> {
    let fail = || format!("`{text}` is not a range such as `172.28.5.0/24`");
    let (address, bits) = text.split_once('/').ok_or_else(fail)?;
    let legal = address.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 32);
    if legal { Ok(text.to_owned()) } else { Err(fail()) }
}

/// Checks an IPv6 subnet in CIDR form.
fn ipv6_subnet(text: &str) -> Result<String, String> {
    let fail = || format!("`{text}` is not an IPv6 subnet such as `fd00:1::/64`");
    let (_, bits) = text.split_once('/').ok_or_else(fail)?;
    if bits.parse::<u8>().is_ok_and(|bits| (8..=126).contains(&bits)) {
        Ok(text.to_owned())
    } else {
        Err(fail())
    }
}

//! `ports`, `networks`, `network_mode` and the other ways of a service to the outside.

use coracle_report::{Diagnostic, Span};
use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{HostPorts, Link, MacAddress, NetworkAttachment, NetworkMode, Port, Protocol};
use crate::ports;
use crate::tree::Value;

use super::Decoder;
use super::isolation::{Reference, reference};

impl Decoder<'_> {
    pub(super) fn ports(&mut self, field: &Field<'_>, refusals: &mut Vec<Diagnostic>) -> Vec<Port> {
        let mut out = Vec::new();
        for item in field.list(self.findings) {
            let span = self.span(item.node.mark);
            if let Some(text) = item.node.text() {
                if text.to_ascii_lowercase().ends_with("/sctp") {
                    refusals.push(self.no_sctp(&item));
                    continue;
                }
                match ports::parse(text) {
                    Ok(ports) => out.extend(ports.into_iter().map(|port| Port {
                        span: span.clone(),
                        host_ip: port.host_ip,
                        published: port.published,
                        target: port.target,
                        protocol: port.protocol,
                    })),
                    Err(reason) => {
                        item.bad(self.findings, &reason);
                    }
                }
            } else {
                out.extend(self.long_port(&item, refusals));
            }
        }
        out
    }

    /// Returns why a port cannot be had. Other commands than `up` and `run` need not know.
    fn no_sctp(&mut self, item: &Field<'_>) -> Diagnostic {
        let message = format!("{}: SCTP ports cannot be published", item.path);
        self.refusal("port-protocol", item, message, "publish TCP or UDP, or say `network_mode: host`")
    }

    fn long_port(&mut self, item: &Field<'_>, refusals: &mut Vec<Diagnostic>) -> Option<Port> {
        let span = self.span(item.node.mark);
        let mut fields = item.mapping(self.findings)?;
        let host_ip = fields.take("host_ip").and_then(|field| {
            field.parse(self.findings, |text| {
                text.parse().map_err(|_| format!("`{text}` is not an IP address"))
            })
        });
        let published = fields.take("published").and_then(|field| field.parse(self.findings, ports::range));
        let protocol = fields.take("protocol");
        let is_sctp = protocol
            .as_ref()
            .is_some_and(|field| field.node.text().is_some_and(|text| text.eq_ignore_ascii_case("sctp")));
        let protocol =
            protocol.filter(|_| !is_sctp).and_then(|field| field.parse(self.findings, ports::protocol_of));
        let target = fields.take("target");
        for informative in ["name", "mode", "app_protocol"] {
            fields.take(informative);
        }
        fields.finish(&[], self.findings);
        if is_sctp {
            refusals.push(self.no_sctp(item));
            return None;
        }
        let Some(target) = target else {
            let message = format!("{} has no `target`", item.path);
            self.findings.error("missing-key", item.node.mark, message);
            return None;
        };
        let (target, last) = target.parse(self.findings, ports::range)?;
        if target != last {
            item.bad(
                self.findings,
                "the long form publishes one container port; use the short form for ranges",
            );
            return None;
        }
        let published = match published {
            None => HostPorts::Any,
            Some((first, last)) if first == last => HostPorts::One(first),
            Some((first, last)) => HostPorts::Range(first, last),
        };
        Some(Port { span, host_ip, published, target, protocol: protocol.unwrap_or(Protocol::Tcp) })
    }

    /// Reads `network_mode` and `networks`, which exclude each other.
    pub(super) fn networks(
        &mut self,
        fields: &mut Fields<'_>,
    ) -> (NetworkMode, IndexMap<String, NetworkAttachment>) {
        let mode = fields.take("network_mode");
        let networks = fields.take("networks");
        if let (Some(mode), Some(_)) = (&mode, &networks) {
            mode.bad(self.findings, "`network_mode` and `networks` exclude each other");
        }
        let mode = mode.and_then(|mode| {
            mode.parse(self.findings, |text| match text {
                "bridge" | "default" => Ok(NetworkMode::DefaultBridge),
                "none" => Ok(NetworkMode::None),
                "host" => Ok(NetworkMode::Host),
                _ => match reference(text)? {
                    Reference::Service(name) => Ok(NetworkMode::Service(name.to_owned())),
                    Reference::Container(name) => Ok(NetworkMode::Container(name.to_owned())),
                    Reference::Word(_) => Err(format!(
                        "`{text}` is none of `bridge`, `none`, `host`, `service:NAME` and `container:NAME`"
                    )),
                },
            })
        });
        if let Some(mode) = mode {
            return (mode, IndexMap::new());
        }
        let mut attachments = IndexMap::new();
        match networks {
            None => {
                attachments.insert("default".to_owned(), NetworkAttachment::default());
            }
            Some(networks) => {
                for (key, field) in networks.entries(self.findings) {
                    let attachment = self.attachment(&field).unwrap_or_default();
                    attachments.insert(key.to_owned(), attachment);
                }
            }
        }
        (NetworkMode::Networks, attachments)
    }

    fn attachment(&mut self, field: &Field<'_>) -> Option<NetworkAttachment> {
        if matches!(field.node.value, Value::Null) {
            return None;
        }
        let mut fields = field.mapping(self.findings)?;
        let mut attachment = NetworkAttachment {
            aliases: fields.texts("aliases", self.findings),
            ipv4_address: fields.take("ipv4_address").and_then(|field| {
                let read = |text: &str| text.parse().map_err(|_| format!("`{text}` is not an IPv4 address"));
                field.parse(self.findings, read)
            }),
            ipv6_address: fields.take("ipv6_address").and_then(|field| {
                let read = |text: &str| text.parse().map_err(|_| format!("`{text}` is not an IPv6 address"));
                field.parse(self.findings, read)
            }),
            link_local_ips: fields
                .take("link_local_ips")
                .map(|field| self.addresses(&field))
                .unwrap_or_default(),
            mac_address: fields.take("mac_address").and_then(|field| field.parse(self.findings, mac_address)),
            interface_name: fields
                .take("interface_name")
                .and_then(|field| field.parse(self.findings, interface_name)),
            sysctls: Vec::new(),
            priority: fields.take("priority").and_then(|field| field.number(self.findings)).unwrap_or(0),
            gateway_priority: fields
                .take("gw_priority")
                .and_then(|field| field.number(self.findings))
                .unwrap_or(0),
        };
        if let Some(options) = fields.take("driver_opts") {
            for (name, option) in options.entries(self.findings) {
                let Some(value) = option.text(self.findings) else { continue };
                match name {
                    "com.docker.network.endpoint.sysctls" => {
                        attachment.sysctls = value.split(',').map(str::to_owned).collect();
                    }
                    "com.docker.network.endpoint.ifname" => {
                        attachment.interface_name = option.parse(self.findings, interface_name);
                    }
                    _ => {
                        let message = format!("{}: no such option of the driver; it is ignored", option.path);
                        self.findings.warning("not-honoured", option.key, message);
                    }
                }
            }
        }
        fields.finish(&[], self.findings);
        Some(attachment)
    }

    /// Reads `links` or `external_links`: `TARGET[:ALIAS]`.
    pub(super) fn links(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Vec<Link> {
        let mut links = Vec::new();
        let Some(field) = fields.take(key) else { return links };
        for item in field.list(self.findings) {
            let Some(text) = item.text(self.findings) else { continue };
            let (target, alias) = text.split_once(':').unwrap_or((text, text));
            if target.is_empty() || alias.is_empty() || alias.contains(':') {
                item.bad(self.findings, &format!("`{text}` is not of the form NAME[:ALIAS]"));
                continue;
            }
            let span = self.span(item.node.mark);
            links.push(Link { span, target: target.to_owned(), alias: alias.to_owned() });
        }
        links
    }

    /// Returns the services that links and shared namespaces name, and where: those start first.
    pub(super) fn shared_services(&self, links: &[Link], fields: &Fields<'_>) -> Vec<(String, Span)> {
        let mut services: Vec<_> =
            links.iter().map(|link| (link.target.clone(), link.span.clone())).collect();
        for key in ["network_mode", "ipc", "pid"] {
            let Some(field) = fields.peek(key) else { continue };
            if let Some(Ok(Reference::Service(name))) = field.node.text().map(reference) {
                services.push((name.to_owned(), self.span(field.node.mark)));
            }
        }
        services
    }

    /// Reads `extra_hosts` to pairs of name and address.
    pub(super) fn extra_hosts(&mut self, field: &Field<'_>) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for (name, field) in field.entries(self.findings) {
            for address in field.texts(self.findings) {
                let bare = address.trim_start_matches('[').trim_end_matches(']');
                if address != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
                    let reason = format!("`{address}` is neither an IP address nor `host-gateway`");
                    field.bad(self.findings, &reason);
                    continue;
                }
                out.push((name.to_owned(), bare.to_owned()));
            }
        }
        out
    }
}

/// Reads a hardware address of one link.
pub(super) fn mac_address(text: &str) -> Result<MacAddress, String> {
    let wrong = || format!("`{text}` is no hardware address such as `02:42:ac:11:00:02`");
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    let mut bytes = [0; 6];
    if parts.len() != bytes.len() {
        return Err(wrong());
    }
    for (byte, part) in bytes.iter_mut().zip(parts) {
        let legal = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| legal).ok_or_else(wrong)?;
    }
    if bytes[0] & 1 == 1 {
        return Err(format!("`{text}` is the address of a group, not of one link"));
    }
    Ok(MacAddress(bytes))
}

/// Reads the name of a link.
fn interface_name(text: &str) -> Result<String, String> {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if (1..=15).contains(&text.len()) && text.chars().all(legal) && !matches!(text, "." | ".." | "lo") {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no name of a link: up to 15 letters, digits, `.`, `_` and `-`"))
    }
}

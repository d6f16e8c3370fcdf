//! `ports`, `networks`, `network_mode` and the other ways of a service to the outside.

use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{HostPorts, NetworkAttachment, NetworkMode, Port, Protocol};
use crate::ports;
use crate::tree::Value;

use super::Decoder;

impl Decoder<'_> {
    pub(super) fn ports(&mut self, field: &Field<'_>) -> Vec<Port> {
        let mut out = Vec::new();
        for item in field.list(self.findings) {
            let span = self.span(item.node.mark);
            if let Some(text) = item.node.text() {
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
                out.extend(self.long_port(&item));
            }
        }
        out
    }

    fn long_port(&mut self, item: &Field<'_>) -> Option<Port> {
        let span = self.span(item.node.mark);
        let mut fields = item.mapping(self.findings)?;
        let host_ip = fields.take("host_ip").and_then(|field| {
            field.parse(self.findings, |text| {
                text.parse().map_err(|_| format!("`{text}` is not an IP address"))
            })
        });
        let published = fields.take("published").and_then(|field| field.parse(self.findings, ports::range));
        let protocol =
            fields.take("protocol").and_then(|field| field.parse(self.findings, ports::protocol_of));
        let target = fields.take("target");
        for informative in ["name", "mode", "app_protocol"] {
            fields.take(informative);
        }
        fields.finish(&[], self.findings);
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
                _ if text.starts_with("service:") || text.starts_with("container:") => {
                    Err(format!("`{text}`: sharing another container's network is not supported yet"))
                }
                _ => Err(format!("`{text}` is none of `bridge`, `none` and `host`")),
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
        let attachment = NetworkAttachment {
            aliases: fields.texts("aliases", self.findings),
            ipv4_address: fields.take("ipv4_address").and_then(|field| {
                let read = |text: &str| text.parse().map_err(|_| format!("`{text}` is not an IPv4 address"));
                field.parse(self.findings, read)
            }),
        };
        let later = [
            "interface_name",
            "ipv6_address",
            "link_local_ips",
            "mac_address",
            "driver_opts",
            "priority",
            "gw_priority",
        ];
        fields.finish(&later, self.findings);
        Some(attachment)
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

//! The short form of ports: `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, each port possibly a range.

use std::net::IpAddr;

use crate::source::Mark;
use crate::tree::Node;

use super::forms::{integer, mapping, text};

/// One published port of the long form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    host_ip: String,
    published: String,
    target: u16,
    protocol: String,
}

impl Port {
    /// Returns the long form.
    pub(super) fn node(&self, mark: Mark) -> Node {
        let mut node = mapping(mark, [("mode", text(mark.implied(), "ingress"))]);
        if let Some(port) = node.mapping_mut() {
            let mut set = |key: &str, node| {
                super::forms::or_insert(port, key, node);
            };
            if !self.host_ip.is_empty() {
                set("host_ip", text(mark, self.host_ip.as_str()));
            }
            set("target", integer(mark, i64::from(self.target)));
            if !self.published.is_empty() {
                set("published", text(mark, self.published.as_str()));
            }
            set("protocol", text(mark, self.protocol.as_str()));
        }
        node
    }
}

/// Reads a short form; ranges that map one to one are spread, sorted as texts.
pub(super) fn parse(short: &str) -> Result<Vec<Port>, String> {
    let (rest, protocol) = short.split_once('/').unwrap_or((short, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("`{short}`: protocol `{protocol}` is none of tcp, udp and sctp"));
    }
    let (address, published, target) = split(rest);
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(format!("`{short}`: `{address}` is not an IP address"));
    }
    if target.is_empty() {
        return Err(format!("`{short}` has no container port"));
    }
    let (first, last) = range(target)?;
    let host = if published.is_empty() { None } else { Some(range(published)?) };
    let count = last - first;
    let mut ports = Vec::new();
    for offset in 0..=count {
        let published = match host {
            None => String::new(),
            Some((start, end)) if end - start == count => (start + offset).to_string(),
            Some((start, end)) if count == 0 => format!("{start}-{end}"),
            Some((start, end)) => {
                let (host, inside) = (u32::from(end - start) + 1, u32::from(count) + 1);
                return Err(format!("`{short}` maps {host} host ports to {inside} container ports"));
            }
        };
        let host_ip = address.to_owned();
        ports.push(Port { host_ip, published, target: first + offset, protocol: protocol.clone() });
    }
    ports.sort_by_key(|port| port.target.to_string());
    Ok(ports)
}

/// Splits into address, host port and container port; the first two may be empty.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((before, target)) = text.rsplit_once(':') else { return ("", "", text) };
    match before.rsplit_once(':') {
        Some((address, published)) => (address, published, target),
        None => ("", before, target),
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is not a port up to 65535"));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("the range `{text}` runs backwards"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match parse(text) {
            Err(error) => error,
            Ok(ports) => {
                let show = |port: &Port| {
                    format!("{}|{}|{}/{}", port.host_ip, port.published, port.target, port.protocol)
                };
                ports.iter().map(show).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn short_forms_are_read() {
        let table = [
            ("80", "||80/tcp"),
            ("8080:80", "|8080|80/tcp"),
            ("127.0.0.1:8080:80/udp", "127.0.0.1|8080|80/udp"),
            ("127.0.0.1::80", "127.0.0.1||80/tcp"),
            ("[::1]:8080:80", "::1|8080|80/tcp"),
            ("3000-3001:4000-4001", "|3000|4000/tcp |3001|4001/tcp"),
            ("9-10", "||10/tcp ||9/tcp"),
            ("3000-3005:80", "|3000-3005|80/tcp"),
            ("1-3:1-2", "`1-3:1-2` maps 3 host ports to 2 container ports"),
            ("80/x", "`80/x`: protocol `x` is none of tcp, udp and sctp"),
            ("99999", "`99999` is not a port up to 65535"),
        ];
        for (text, expected) in table {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}

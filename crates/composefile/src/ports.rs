//! The short form of published ports: `[[ip:][host]:]container[/protocol]`, each port possibly a range.

use std::net::IpAddr;

use crate::model::{HostPorts, Protocol};

/// One parsed entry; ranges that map one to one are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShortPort {
    pub(crate) host_ip: Option<IpAddr>,
    pub(crate) published: HostPorts,
    pub(crate) target: u16,
    pub(crate) protocol: Protocol,
}

/// Splits into address, host port and container port; the first two may be empty.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host_ip, rest) = bracketed.split_once("]:")?;
        let (published, target) = rest.rsplit_once(':').unwrap_or(("", rest));
        return Some((host_ip, published, target));
    }
    let Some((before, target)) = text.rsplit_once(':') else { return Some(("", "", text)) };
    match before.rsplit_once(':') {
        Some((host_ip, published)) => Some((host_ip, published, target)),
        None if before.parse::<std::net::Ipv4Addr>().is_ok() => Some((before, "", target)),
        None => Some(("", before, target)),
    }
}

/// Reads the short form.
pub(crate) fn parse(text: &str) -> Result<Vec<ShortPort>, String> {
    let (rest, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((rest, protocol)) => (rest, protocol_of(protocol)?),
    };
    let Some((host_ip, published, target)) = split(rest) else {
        return Err(format!("`{text}` is not a port of the form [[address:]host:]container[/protocol]"));
    };
    let host_ip = match host_ip {
        "" => None,
        address => Some(address.parse().map_err(|_| format!("`{address}` is not an IP address"))?),
    };
    let (first, last) = range(target)?;
    let count = last - first;
    let published = if published.is_empty() { None } else { Some(range(published)?) };
    let published_at = |offset: u16| match published {
        None => Ok(HostPorts::Any),
        Some((start, end)) if end - start == count => Ok(HostPorts::One(start + offset)),
        Some((start, end)) if count == 0 => Ok(HostPorts::Range(start, end)),
        Some((start, end)) => {
            let host = u32::from(end - start) + 1;
            let container = u32::from(count) + 1;
            Err(format!("`{text}` maps {host} host ports to {container} container ports"))
        }
    };
    (0..=count)
        .map(|offset| {
            let published = published_at(offset)?;
            Ok(ShortPort { host_ip, published, target: first + offset, protocol })
        })
        .collect()
}

/// Reads a port or a range `first-last`.
pub(crate) fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a port between 1 and 65535")),
    };
    match text.split_once('-') {
        None => port(text).map(|port| (port, port)),
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            if first <= last { Ok((first, last)) } else { Err(format!("the range `{text}` runs backwards")) }
        }
    }
}

/// Reads a protocol.
pub(crate) fn protocol_of(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err(format!("protocol `{text}` is neither tcp nor udp")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(text: &str) -> String {
        match parse(text) {
            Err(error) => format!("error: {error}"),
            Ok(ports) => {
                let ports: Vec<_> = ports
                    .iter()
                    .map(|port| {
                        let published = match port.published {
                            HostPorts::Any => "any".to_owned(),
                            HostPorts::One(port) => port.to_string(),
                            HostPorts::Range(first, last) => format!("{first}..{last}"),
                        };
                        let host_ip = port.host_ip.map_or_else(|| "*".to_owned(), |ip| ip.to_string());
                        format!("{host_ip} {published} {} {:?}", port.target, port.protocol)
                    })
                    .collect();
                ports.join(", ")
            }
        }
    }

    #[test]
    fn reads_the_short_form() {
        let table = [
            ("80", "* any 80 Tcp"),
            ("8080:80", "* 8080 80 Tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080 80 Tcp"),
            ("127.0.0.1::80", "127.0.0.1 any 80 Tcp"),
            ("127.0.0.1:80", "127.0.0.1 any 80 Tcp"),
            ("[::1]:8080:80", "::1 8080 80 Tcp"),
            ("::1:8080:80", "::1 8080 80 Tcp"),
            ("53:53/udp", "* 53 53 Udp"),
            ("3000-3001:4000-4001", "* 3000 4000 Tcp, * 3001 4001 Tcp"),
            ("3000-3005:80", "* 3000..3005 80 Tcp"),
            ("3000-3001", "* any 3000 Tcp, * any 3001 Tcp"),
            ("3000-3005:80-81", "error: `3000-3005:80-81` maps 6 host ports to 2 container ports"),
            ("0:80", "error: `0` is not a port between 1 and 65535"),
            ("80:99999", "error: `99999` is not a port between 1 and 65535"),
            ("x:80:80", "error: `x` is not an IP address"),
            ("80:80/sctp", "error: protocol `sctp` is neither tcp nor udp"),
            ("", "error: `` is not a port between 1 and 65535"),
            ("90-80:1", "error: the range `90-80` runs backwards"),
        ];
        for (text, expected) in table {
            assert_eq!(show(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9:/\\[\\].\\-a-z]{0,30}") {
            let _ = parse(&text);
        }
    }
}

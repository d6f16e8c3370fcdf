//! The files `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname` of containers.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use coracle_container::ContainerSpec;
use coracle_network::dns::ResolvConf;

use crate::networks::Attachments;

/// What the host's resolver is configured by.
pub struct HostResolver {
    own: String,
    behind_stub: Option<String>,
}

impl HostResolver {
    /// Reads the host's files; what is missing is empty.
    pub fn read() -> Self {
        Self {
            own: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
            behind_stub: std::fs::read_to_string("/run/systemd/resolve/resolv.conf").ok(),
        }
    }

    /// Returns the host's own configuration, loopback servers included.
    pub fn own(&self) -> ResolvConf {
        ResolvConf::parse(&self.own)
    }

    /// Returns the text of a container's `/etc/resolv.conf`. `name_server` is the gateway whose keeper knows names.
    pub fn resolv_conf(&self, spec: &ContainerSpec, name_server: Option<Ipv4Addr>) -> String {
        let mut config = match name_server {
            Some(gateway) if spec.dns.is_empty() => ResolvConf::for_network(&self.own, gateway),
            _ => ResolvConf::for_container(&self.own, self.behind_stub.as_deref()),
        };
        if !spec.dns.is_empty() {
            config.servers.clone_from(&spec.dns);
        }
        if !spec.dns_search.is_empty() {
            // Docker: a dot alone means no domain at all.
            config.search = spec.dns_search.iter().filter(|domain| *domain != ".").cloned().collect();
        }
        if !spec.dns_options.is_empty() {
            config.options.clone_from(&spec.dns_options);
        }
        config.render()
    }
}

/// Returns the text of a container's `/etc/hosts`.
pub fn hosts(
    hostname: &str,
    domainname: Option<&str>,
    attachments: &Attachments,
    extra: &[(String, String)],
) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    text.push_str(
        "fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    let gateway = attachments.endpoints.first().map_or(Ipv4Addr::LOCALHOST, |(_, network)| network.gateway);
    for (name, address) in extra {
        let address = match address.as_str() {
            "host-gateway" => gateway.to_string(),
            address => address.to_owned(),
        };
        let _ = writeln!(text, "{address}\t{name}");
    }
    // The full name first: it is the canonical one.
    let name = match domainname {
        Some(domain) if !hostname.contains('.') => format!("{hostname}.{domain} {hostname}"),
        Some(_) | None => hostname.to_owned(),
    };
    for (endpoint, _) in &attachments.endpoints {
        let _ = writeln!(text, "{}\t{name}", endpoint.address);
        if let Some(address) = endpoint.address6 {
            let _ = writeln!(text, "{address}\t{name}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_name_extra_hosts() {
        let extra =
            [("api".to_owned(), "10.9.9.9".to_owned()), ("host".to_owned(), "host-gateway".to_owned())];
        let text = hosts("web", None, &Attachments::default(), &extra);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.9.9.9\tapi\n127.0.0.1\thost\n"));
    }
}

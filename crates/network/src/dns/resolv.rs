//! `/etc/resolv.conf` as a value: what the host uses, and what a container is given.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// Public resolvers, for a host whose own can only be reached by itself. Docker falls back to the same first one.
const PUBLIC: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8))];

/// The parts of `resolv.conf(5)` that we carry over. The last `search` and every `options` count, as in glibc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Whom to ask, in order.
    pub servers: Vec<IpAddr>,
    /// Domains to try for short names.
    pub search: Vec<String>,
    /// E.g. `ndots:1`.
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Reads the text of a `resolv.conf`; what it does not know it leaves out, as every resolver does.
    pub fn parse(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone (`fe80::1%eth0`) means nothing in another namespace.
                    read.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search" | "domain") => read.search = words.map(str::to_owned).collect(),
                Some("options") => read.options.extend(words.map(str::to_owned)),
                Some(_) | None => {}
            }
        }
        read
    }

    /// Returns what a container on the default bridge is given: the host's resolvers but those on its loopback; if none
    /// is left, those that systemd-resolved asks (`upstream`, the text of `/run/systemd/resolve/resolv.conf`); if there
    /// are none either, public ones.
    pub fn for_container(host: &str, upstream: Option<&str>) -> Self {
        let mut own = Self::parse(host);
        own.servers.retain(is_reachable);
        if own.servers.is_empty()
            && let Some(upstream) = upstream
        {
            own.servers = Self::parse(upstream).servers;
            own.servers.retain(is_reachable);
        }
        if own.servers.is_empty() {
            own.servers = PUBLIC.to_vec();
        }
        own
    }

    /// Returns what a container on a network with a name server is given: that server alone, and the host's domains.
    /// `ndots:0` makes a service's plain name be asked as it is first.
    pub fn for_network(host: &str, gateway: Ipv4Addr) -> Self {
        let mut own = Self::parse(host);
        own.servers = vec![IpAddr::V4(gateway)];
        if !own.options.iter().any(|option| option.starts_with("ndots:")) {
            own.options.push("ndots:0".to_owned());
        }
        own
    }

    /// Returns the text of the file.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            let _infallible = writeln!(text, "nameserver {server}");
        }
        for (word, values) in [("search", &self.search), ("options", &self.options)] {
            if !values.is_empty() {
                let _infallible = writeln!(text, "{word} {}", values.join(" "));
            }
        }
        text
    }
}

fn is_reachable(server: &IpAddr) -> bool {
    match server {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_unspecified(),
        // Containers have no IPv6.
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_hosts_have() {
        let text = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.1 ; old\nnameserver fe80::1%eth0\n\
                    domain old.example\nsearch a.example b.example\noptions edns0 trust-ad\nsortlist 1.2.3.4\n";
        let read = ResolvConf::parse(text);
        assert_eq!(read.servers, ["127.0.0.53".parse::<IpAddr>().unwrap(), "10.0.0.1".parse().unwrap()]);
        assert_eq!(read.search, ["a.example", "b.example"]);
        assert_eq!(read.options, ["edns0", "trust-ad"]);
    }

    #[test]
    fn a_container_gets_resolvers_that_it_can_reach() {
        let given = |host: &str, upstream: Option<&str>| ResolvConf::for_container(host, upstream).render();
        assert_eq!(
            given("nameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch x\n", None),
            "nameserver 10.0.0.1\nsearch x\n"
        );
        assert_eq!(given("nameserver 127.0.0.53\n", Some("nameserver 10.0.0.2\n")), "nameserver 10.0.0.2\n");
        assert_eq!(
            given("nameserver ::1\n", Some("nameserver 127.0.0.1\n")),
            "nameserver 1.1.1.1\nnameserver 8.8.8.8\n"
        );
        assert_eq!(given("", None), "nameserver 1.1.1.1\nnameserver 8.8.8.8\n");
    }

    #[test]
    fn a_networks_container_asks_its_gateway() {
        let gateway = Ipv4Addr::new(10, 1, 0, 1);
        let given =
            ResolvConf::for_network("nameserver 10.0.0.1\nsearch x\noptions edns0\n", gateway).render();
        assert_eq!(given, "nameserver 10.1.0.1\nsearch x\noptions edns0 ndots:0\n");
        let given = ResolvConf::for_network("options ndots:2\n", gateway).render();
        assert_eq!(given, "nameserver 10.1.0.1\noptions ndots:2\n");
    }
}

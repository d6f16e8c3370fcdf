//! Published ports on hosts with a firewall of their own, in throwaway namespaces: rules as ufw, Docker and firewalld write them.
#![allow(clippy::unwrap_used, reason = "a failure in a test's world is a failure of the test")]

use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use coracle_network::keeper;
use coracle_network::ports::HostSockets;
use coracle_network::{Protocol, PublishedPort};
use coracle_testkit::{privileged, program};

mod world;
use world::scope::{DIRECTORY, Scope};
use world::{Container, HOST_OUTSIDE, OUTSIDE, PeerTeller, World, ask, silent};

/// No test: this binary run again as the keeper, its protocol on descriptor 3.
#[test]
#[ignore = "the other tests start it"]
fn keeper_process() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let output = File::options().write(true).open("/proc/self/fd/3").unwrap();
        let _told = keeper::run(Path::new(&directory), output, HostSockets::Own);
    }
}

/// What `ufw enable` leaves with its defaults (incoming and routed traffic denied), in the form of iptables-nft.
const UFW: &str = "
table ip filter {
	chain ufw-before-input {
		iifname \"lo\" accept
		ct state related,established accept
		ct state invalid drop
	}
	chain ufw-user-input {
	}
	chain ufw-before-forward {
		ct state related,established accept
	}
	chain ufw-user-forward {
	}
	chain INPUT {
		type filter hook input priority filter; policy drop;
		jump ufw-before-input
		jump ufw-user-input
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		jump ufw-before-forward
		jump ufw-user-forward
	}
	chain OUTPUT {
		type filter hook output priority filter; policy accept;
	}
}";

/// What firewalld makes of one zone that knows ssh alone.
const FIREWALLD: &str = "
table inet firewalld {
	chain filter_IN_public {
		tcp dport 22 accept
	}
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		ct state { established, related } accept
		iifname \"lo\" accept
		ct state invalid drop
		jump filter_IN_public
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname \"lo\" accept
		ct state invalid drop
		reject with icmpx admin-prohibited
	}
}";

fn port(protocol: Protocol, host_ip: Option<&str>, host_port: u16, to: Ipv4Addr) -> PublishedPort {
    PublishedPort {
        protocol,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        container_ip: to,
        container_port: 80,
    }
}

/// A host with a firewall, two containers, and the first one's ports published; its keeper lives as long as the value.
struct Host {
    world: World,
    one: Container,
    two: Container,
    scope: Scope,
    nft: std::path::PathBuf,
    ports: Vec<PublishedPort>,
}

impl Host {
    fn new(rules: &str) -> Option<Self> {
        let nft = program("nft")?;
        let mut world = World::new();
        let network = world.network("10.1.0.0/24", false);
        let (one, two) = (world.container(&[network], 2), world.container(&[network], 3));
        let ports = vec![
            port(Protocol::Tcp, None, 8080, one.address),
            port(Protocol::Udp, None, 8080, one.address),
            port(Protocol::Tcp, Some("127.0.0.1"), 8081, one.address),
        ];
        let scope = Scope::new(&world);
        let host = Self { world, one, two, scope, nft, ports };
        host.nft(rules);
        host.world.apply(&host.ports);
        host.scope.change(&host.world.host, |state| state.ports.clone_from(&host.ports)).unwrap();
        Some(host)
    }

    fn nft(&self, rules: &str) {
        let output = self.world.host.run(|| Command::new(&self.nft).arg(rules).output().unwrap());
        assert!(output.status.success(), "{output:?}");
    }

    fn asked_outside(&self) -> Option<String> {
        self.world.outside.run(|| ask((HOST_OUTSIDE, 8080)))
    }
}

#[test]
fn ufw_closes_published_ports_until_it_allows_them() {
    if !privileged() {
        return;
    }
    let Some(host) = Host::new(UFW) else { return };
    let _server = PeerTeller::start(&host.one.namespace, 80);
    assert_eq!(host.world.outside.run(|| silent((HOST_OUTSIDE, 8080))), None, "denied by default");
    // The host itself is let through by ufw, and by nobody's help but the kernel's.
    assert_eq!(host.world.host.run(|| ask(("127.0.0.1", 8080))).as_deref(), Some("10.1.0.1"));
    assert_eq!(host.world.host.run(|| ask(("127.0.0.1", 8081))).as_deref(), Some("10.1.0.1"));

    // `ufw allow 8080`: through the keeper, and still the client's own address.
    host.nft("add rule ip filter ufw-user-input tcp dport 8080 accept");
    for _ in 0..3 {
        assert_eq!(host.asked_outside(), Some(OUTSIDE.to_string()));
    }
    // `ufw deny from 192.0.2.9` before it.
    host.nft("insert rule ip filter ufw-user-input ip saddr 192.0.2.9 drop");
    assert_eq!(host.world.outside.run(|| silent((HOST_OUTSIDE, 8080))), None, "denied by its address");
    // Containers go out, which ufw's policy for routed traffic would not allow, and find names.
    let _outside = PeerTeller::start(&host.world.outside, 80);
    assert_eq!(host.two.namespace.run(|| ask((OUTSIDE, 80))), Some(HOST_OUTSIDE.to_string()));
    let _name_server = PeerTeller::start(&host.world.host, 53);
    assert_eq!(host.two.namespace.run(|| ask(("10.1.0.1", 53))).as_deref(), Some("10.1.0.3"));
    // A rule of the administrator's for routed traffic stays in force too.
    host.nft("add rule ip filter ufw-user-forward ip daddr 192.0.2.9 drop");
    host.world.apply(&host.ports);
    assert_eq!(host.two.namespace.run(|| silent((OUTSIDE, 80))), None);
}

#[test]
fn firewalld_closes_published_ports_until_it_allows_them() {
    if !privileged() {
        return;
    }
    let Some(host) = Host::new(FIREWALLD) else { return };
    let _server = PeerTeller::start(&host.one.namespace, 80);
    assert_eq!(host.asked_outside(), None, "the zone does not know it");
    // `firewall-cmd --add-port=8080/tcp`
    host.nft("add rule inet firewalld filter_IN_public tcp dport 8080 accept");
    assert_eq!(host.asked_outside(), Some(OUTSIDE.to_string()));
    let _outside = PeerTeller::start(&host.world.outside, 80);
    assert_eq!(host.two.namespace.run(|| ask((OUTSIDE, 80))), Some(HOST_OUTSIDE.to_string()));
    let _name_server = PeerTeller::start(&host.world.host, 53);
    assert_eq!(host.two.namespace.run(|| ask(("10.1.0.1", 53))).as_deref(), Some("10.1.0.3"));
}

#[test]
fn datagrams_pass_a_firewall_under_their_clients_address() {
    if !privileged() {
        return;
    }
    let Some(host) = Host::new(UFW) else { return };
    host.nft("add rule ip filter ufw-user-input udp dport 8080 accept");
    let (sender, receiver) = mpsc::channel();
    host.one.namespace.spawn(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap();
        sender.send(()).unwrap();
        let mut word = [0; 16];
        while let Ok((_, peer)) = socket.recv_from(&mut word) {
            socket.send_to(peer.ip().to_string().as_bytes(), peer).unwrap();
        }
    });
    receiver.recv().unwrap();
    let answer = host.world.outside.run(|| {
        let socket = UdpSocket::bind((OUTSIDE, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.connect((HOST_OUTSIDE, 8080)).unwrap();
        socket.send(b"who am I?").unwrap();
        let mut word = [0; 64];
        let length = socket.recv(&mut word).unwrap();
        String::from_utf8_lossy(&word[..length]).into_owned()
    });
    assert_eq!(answer, OUTSIDE.to_string());
}

#[test]
fn a_loopback_port_is_the_hosts_alone() {
    if !privileged() {
        return;
    }
    let Some(host) = Host::new("add table ip unused") else { return };
    let _server = PeerTeller::start(&host.one.namespace, 80);
    assert_eq!(host.world.host.run(|| ask(("127.0.0.1", 8081))).as_deref(), Some("10.1.0.1"));
    assert_eq!(host.world.outside.run(|| ask((HOST_OUTSIDE, 8081))), None);
    assert_eq!(host.two.namespace.run(|| ask(("10.1.0.1", 8081))), None);
    // A neighbour that sends to the loopback address by the link, a container among them.
    let _own = PeerTeller::start(&host.world.host, 9000);
    for (from, gateway) in [(&host.world.outside, "192.0.2.1"), (&host.two.namespace, "10.1.0.1")] {
        let Some(ip) = program("ip") else { return };
        let tricked = from.run(|| {
            let set =
                |arguments: &[&str]| Command::new(&ip).args(arguments).output().unwrap().status.success();
            let link = "eth0";
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{link}/route_localnet"), "1").unwrap();
            set(&["route", "del", "table", "local", "127.0.0.0/8", "dev", "lo"]);
            set(&["route", "del", "table", "local", "127.0.0.1", "dev", "lo"]);
            set(&["route", "add", "127.0.0.0/8", "via", gateway, "dev", link])
        });
        assert!(tricked);
        assert_eq!(from.run(|| silent(("127.0.0.1", 8081))), None, "the published port, from {gateway}");
        assert_eq!(from.run(|| silent(("127.0.0.1", 9000))), None, "the host's own service, from {gateway}");
    }
}

#[test]
fn neighbours_reach_a_published_port_and_their_own() {
    if !privileged() {
        return;
    }
    let Some(host) = Host::new("add table ip unused") else { return };
    let _server = PeerTeller::start(&host.one.namespace, 80);
    for from in [&host.one.namespace, &host.two.namespace] {
        for address in ["10.1.0.1".parse().unwrap(), HOST_OUTSIDE] {
            assert_eq!(from.run(|| ask((address, 8080))).as_deref(), Some("10.1.0.1"));
        }
    }
    assert_eq!(host.asked_outside(), Some(OUTSIDE.to_string()));
}

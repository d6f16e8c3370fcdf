//! A host in a namespace of its own, containers on its bridges, and an outside that knows no route to them.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod scope;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use coracle_network::netlink::{
    Attachment, Bridge, Interface, attach, delete_link, ensure_bridge, route_loopback,
};
use coracle_network::nftables::{Applied, apply};
use coracle_network::{Lock, NetworkRules, PublishedPort, RuleSet, Subnet, names};
use coracle_testkit::NetworkNamespace;

/// How long a connection that must fail is waited for. A drop is silent, so some wait is unavoidable; it is long enough
/// that a connection that works is made well within.
pub const SILENCE: Duration = Duration::from_millis(500);

pub struct World {
    pub host: NetworkNamespace,
    pub outside: NetworkNamespace,
    pub dir: tempfile::TempDir,
    pub networks: Vec<NetworkRules>,
}

pub struct Container {
    pub namespace: NetworkNamespace,
    pub address: Ipv4Addr,
}

pub const HOST_OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

impl World {
    /// Makes the host and the outside, on one link, with 192.0.2.1 and 192.0.2.9.
    pub fn new() -> Self {
        let host = NetworkNamespace::new().unwrap();
        let outside = NetworkNamespace::new().unwrap();
        let subnet: Subnet = "192.0.2.0/24".parse().unwrap();
        coracle_network::netlink::loopback(host.as_fd()).unwrap();
        host.run(|| {
            coracle_network::netlink::enable_forwarding().unwrap();
            let bridge =
                Bridge { name: "uplink0".to_owned(), gateway: HOST_OUTSIDE, subnet, ipv6: None, mtu: 1400 };
            ensure_bridge(&bridge).unwrap();
            let link = interface("uplink0", "outside0", OUTSIDE, subnet, None);
            attach(outside.as_fd(), &Attachment { interfaces: vec![link] }).unwrap();
        });
        Self { host, outside, dir: tempfile::tempdir().unwrap(), networks: Vec::new() }
    }

    /// Adds a network; its number is its place in `networks`.
    pub fn network(&mut self, subnet: &str, internal: bool) -> usize {
        let subnet: Subnet = subnet.parse().unwrap();
        let number = self.networks.len();
        let name = names::bridge(&format!("{number:08}"));
        let gateway = subnet.default_gateway();
        let bridge = Bridge { name: name.clone(), gateway, subnet, ipv6: None, mtu: 1400 };
        self.host.run(|| {
            ensure_bridge(&bridge).unwrap();
            route_loopback(&bridge.name);
        });
        self.networks.push(NetworkRules {
            bridge: name,
            subnet,
            gateway: subnet.default_gateway(),
            ipv6: false,
            internal,
            masquerade: !internal,
        });
        number
    }

    /// Adds a container with the address `last` of each of the networks.
    pub fn container(&self, networks: &[usize], last: u8) -> Container {
        let namespace = NetworkNamespace::new().unwrap();
        let interfaces: Vec<Interface> = networks
            .iter()
            .enumerate()
            .map(|(position, number)| {
                let network = &self.networks[*number];
                let [a, b, c, _] = network.subnet.network().octets();
                let address = Ipv4Addr::new(a, b, c, last);
                let host_name = names::veth(&format!("{last:02x}{number:06x}"), position as u8, 0);
                let gateway = (!network.internal).then_some(network.gateway);
                let mut made = interface(&network.bridge, &host_name, address, network.subnet, gateway);
                made.name = format!("eth{position}");
                made
            })
            .collect();
        let address = interfaces[0].address;
        self.host.run(|| attach(namespace.as_fd(), &Attachment { interfaces }).unwrap());
        Container { namespace, address }
    }

    pub fn rules(&self, ports: &[PublishedPort]) -> RuleSet {
        RuleSet { networks: self.networks.clone(), ports: ports.to_vec() }
    }

    pub fn lock_path(&self) -> PathBuf {
        self.dir.path().join("rules.lock")
    }

    pub fn apply(&self, ports: &[PublishedPort]) -> Applied {
        let (rules, path) = (self.rules(ports), self.lock_path());
        self.host.run(|| apply(&rules, &Lock::acquire(&path).unwrap()).unwrap())
    }

    pub fn clear(&self) {
        let path = self.lock_path();
        self.host.run(|| {
            apply(&RuleSet::default(), &Lock::acquire(&path).unwrap()).unwrap();
            for network in &self.networks {
                delete_link(&network.bridge).unwrap();
            }
        });
    }
}

pub fn interface(
    bridge: &str,
    host_name: &str,
    address: Ipv4Addr,
    subnet: Subnet,
    gateway: Option<Ipv4Addr>,
) -> Interface {
    Interface {
        bridge: bridge.to_owned(),
        host_name: host_name.to_owned(),
        name: "eth0".to_owned(),
        address,
        subnet,
        gateway,
        ipv6: None,
        hardware: None,
        mtu: 1400,
        link_local: Vec::new(),
        isolated: false,
        sysctls: Vec::new(),
    }
}

/// A server that tells each client the address it came from, until it has served one or is dropped.
pub struct PeerTeller {
    pub port: u16,
    thread: Option<JoinHandle<()>>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl PeerTeller {
    pub fn start(namespace: &NetworkNamespace, port: u16) -> Self {
        Self::named(namespace, port, "")
    }

    /// As [`Self::start`]; says `name` first.
    pub fn named(namespace: &NetworkNamespace, port: u16, name: &'static str) -> Self {
        let (sender, receiver) = mpsc::channel();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = namespace.spawn(move || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            sender.send(()).unwrap();
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok((mut stream, peer)) = listener.accept() {
                    let _gone = stream.write_all(format!("{name}{}", peer.ip()).as_bytes());
                } else {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        receiver.recv().unwrap();
        Self { port, thread: Some(thread), stop }
    }
}

impl Drop for PeerTeller {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Connects and returns what the server says; none if it cannot be reached. Where silence is expected, use [`silent`].
pub fn ask(address: impl ToSocketAddrs) -> Option<String> {
    ask_within(address, Duration::from_secs(20))
}

/// Returns what the server says after all; none if the address is refused, or silent for a while.
pub fn silent(address: impl ToSocketAddrs) -> Option<String> {
    ask_within(address, SILENCE)
}

fn ask_within(address: impl ToSocketAddrs, patience: Duration) -> Option<String> {
    let address: SocketAddr = address.to_socket_addrs().unwrap().next().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

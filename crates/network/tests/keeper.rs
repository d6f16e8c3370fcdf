//! The keeper as a process of its own, in throwaway namespaces.
#![allow(clippy::unwrap_used, reason = "a failure in a test's world is a failure of the test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use coracle_network::dns::{Endpoint, Zone};
use coracle_network::keeper::{self, Home, HomeError, KeeperState};
use coracle_network::ports::HostSockets;
use coracle_network::{Protocol, PublishedPort};
use coracle_testkit::{NetworkNamespace, privileged};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};

mod world;
use world::scope::{DIRECTORY, Scope};
use world::{HOST_OUTSIDE, OUTSIDE, PeerTeller, World, ask};

/// No test: this binary run again as the keeper, its protocol on descriptor 3.
#[test]
#[ignore = "the other tests start it"]
fn keeper_process() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let output = File::options().write(true).open("/proc/self/fd/3").unwrap();
        let _told = keeper::run(Path::new(&directory), output, HostSockets::Own);
    }
}

fn published(
    protocol: Protocol,
    host_ip: Option<&str>,
    host_port: u16,
    to: Ipv4Addr,
    port: u16,
) -> PublishedPort {
    let host_ip = host_ip.map(|ip| ip.parse().unwrap());
    PublishedPort { protocol, host_ip, host_port, container_ip: to, container_port: port }
}

fn tcp(host_ip: Option<&str>, host_port: u16, to: Ipv4Addr) -> PublishedPort {
    published(Protocol::Tcp, host_ip, host_port, to, 80)
}

fn zone(world: &World, number: usize, endpoints: Vec<Endpoint>) -> Zone {
    let network = &world.networks[number];
    Zone {
        network: format!("net{number}"),
        gateway: network.gateway,
        subnet: network.subnet,
        internal: network.internal,
        listens: true,
        endpoints,
        subnet6: None,
        services: Vec::new(),
    }
}

fn endpoint(name: &str, address: Ipv4Addr) -> Endpoint {
    Endpoint {
        container: format!("id-{name}"),
        name: name.to_owned(),
        aliases: Vec::new(),
        links: Vec::new(),
        service: None,
        address: Some(address),
        address6: None,
        ready: true,
    }
}

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn text(reply: &[u8]) -> String {
    let reply = Message::from_vec(reply).unwrap();
    let data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
    format!("{:?} {}", reply.metadata.response_code, data.join(" ")).trim_end().to_owned()
}

fn resolve(server: Ipv4Addr, name: &str) -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    socket.connect((server, 53)).unwrap();
    socket.send(&query(name)).unwrap();
    let mut buffer = [0; 4096];
    match socket.recv(&mut buffer) {
        Ok(length) => text(&buffer[..length]),
        Err(error) => error.kind().to_string(),
    }
}

fn resolve_by_tcp(server: Ipv4Addr, names: &[&str]) -> Vec<String> {
    let mut stream = TcpStream::connect((server, 53)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut answers = Vec::new();
    for name in names {
        let query = query(name);
        stream.write_all(&(query.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&query).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).unwrap();
        answers.push(text(&reply));
    }
    answers
}

/// A resolver that answers every name with 203.0.113.7, over UDP and TCP; it lives as long as the test process.
fn start_upstream(namespace: &NetworkNamespace) {
    fn reply(query: &[u8]) -> Vec<u8> {
        let mut message = Message::from_vec(query).unwrap().into_response();
        let name = message.queries[0].name().clone();
        message.add_answer(Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::new(203, 0, 113, 7)))));
        message.to_vec().unwrap()
    }
    let (sender, receiver) = mpsc::channel();
    let ready = sender.clone();
    namespace.spawn(move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            socket.send_to(&reply(&buffer[..length]), client).unwrap();
        }
    });
    namespace.spawn(move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap();
        sender.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let reply = reply(&query);
            stream.write_all(&(reply.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&reply).unwrap();
        }
    });
    receiver.recv().unwrap();
    receiver.recv().unwrap();
}

#[test]
fn names_are_answered_and_others_forwarded() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let (a, b) = (world.network("10.1.0.0/24", false), world.network("10.2.0.0/24", false));
    let inner = world.network("10.3.0.0/24", true);
    let (one, two, shut) = (world.container(&[a], 2), world.container(&[b], 2), world.container(&[inner], 2));
    world.apply(&[]);
    let scope = Scope::new(&world);
    let set = |state: &mut KeeperState| {
        state.zones = vec![
            zone(&world, a, vec![endpoint("one", one.address), endpoint("web", Ipv4Addr::new(10, 1, 0, 9))]),
            zone(&world, b, vec![endpoint("two", two.address)]),
            zone(&world, inner, vec![endpoint("shut", shut.address)]),
        ];
    };
    scope.change(&world.host, set).unwrap();
    let (gateway_a, gateway_b) = (world.networks[a].gateway, world.networks[b].gateway);
    let from_one = |name: &str| one.namespace.run(|| resolve(gateway_a, name));
    assert_eq!(from_one("web."), "NoError 10.1.0.9");
    assert_eq!(from_one("two."), "NXDomain", "another network's name, and no resolver to ask");
    assert_eq!(two.namespace.run(|| resolve(gateway_b, "two.")), "NoError 10.2.0.2");

    // A resolver that nobody answers, one that refuses, then one that works.
    start_upstream(&world.outside);
    let upstreams: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), OUTSIDE.into()];
    scope.change(&world.host, |state| state.upstreams = upstreams).unwrap();
    assert_eq!(from_one("debian.org."), "NoError 203.0.113.7");
    assert_eq!(from_one("two."), "NoError 203.0.113.7", "a single label that is not ours is asked upstream");
    assert_eq!(from_one("one."), "NoError 10.1.0.2");
    let by_tcp = one.namespace.run(|| resolve_by_tcp(gateway_a, &["web.", "debian.org.", "WEB.net0."]));
    assert_eq!(by_tcp, ["NoError 10.1.0.9", "NoError 203.0.113.7", "NoError 10.1.0.9"]);
    let gateway = world.networks[inner].gateway;
    assert_eq!(shut.namespace.run(|| resolve(gateway, "shut.")), "NoError 10.3.0.2");
    assert_eq!(
        shut.namespace.run(|| resolve(gateway, "debian.org.")),
        "NXDomain",
        "an internal network asks nobody"
    );

    // A replaced container is found at its new address at once.
    let moved =
        |state: &mut KeeperState| state.zones[0].endpoints[1].address = Some(Ipv4Addr::new(10, 1, 0, 77));
    scope.change(&world.host, moved).unwrap();
    assert_eq!(from_one("web."), "NoError 10.1.0.77");

    // A network that goes frees its port.
    scope.change(&world.host, |state| state.zones.truncate(1)).unwrap();
    world.host.run(|| UdpSocket::bind((gateway_b, 53)).unwrap());
    world.host.run(|| TcpListener::bind((gateway_b, 53)).unwrap());
}

#[test]
fn published_ports_serve_loopback_neighbours_and_both_families() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let (one, neighbour) = (world.container(&[network], 2), world.container(&[network], 3));
    let ports = vec![tcp(None, 8080, one.address), tcp(Some("127.0.0.1"), 8081, one.address)];
    world.apply(&ports);
    let _server = PeerTeller::start(&one.namespace, 80);
    let scope = Scope::new(&world);
    scope.change(&world.host, |state| state.ports = ports).unwrap();
    let at = |address: &str| world.host.run(|| ask(address.parse::<SocketAddr>().unwrap()));
    assert_eq!(at("127.0.0.1:8080").as_deref(), Some("10.1.0.1"));
    assert_eq!(at("[::1]:8080").as_deref(), Some("10.1.0.1"));
    assert_eq!(at("127.0.0.1:8081").as_deref(), Some("10.1.0.1"));
    assert_eq!(at("[::1]:8081"), None);
    // By the packet filter, with the client's own address.
    assert_eq!(world.outside.run(|| ask((HOST_OUTSIDE, 8080))), Some(OUTSIDE.to_string()));
    assert_eq!(world.outside.run(|| ask((HOST_OUTSIDE, 8081))), None);
    assert_eq!(neighbour.namespace.run(|| ask((HOST_OUTSIDE, 8080))).as_deref(), Some("10.1.0.1"));
    assert_eq!(one.namespace.run(|| ask((HOST_OUTSIDE, 8080))).as_deref(), Some("10.1.0.1"), "itself");

    // The target changes without the port being let go.
    let two = world.container(&[network], 4);
    let (sender, receiver) = mpsc::channel();
    let thread = two.namespace.spawn(move || {
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        sender.send(()).unwrap();
        listener.accept().unwrap().0.write_all(b"two").unwrap();
    });
    receiver.recv().unwrap();
    scope.change(&world.host, |state| state.ports = vec![tcp(None, 8080, two.address)]).unwrap();
    // By IPv6 it is the keeper that carries; IPv4 is translated by rules that this test leaves as they are.
    assert_eq!(at("[::1]:8080").as_deref(), Some("two"));
    thread.join().unwrap();
    world.host.run(|| TcpListener::bind("127.0.0.1:8081").unwrap());
    // Nobody listens: the client is reset, not told an empty reply.
    assert_eq!(at("[::1]:8080"), None);
}

#[test]
fn half_closed_and_large_streams_come_through_whole() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    let scope = Scope::new(&world);
    scope.change(&world.host, |state| state.ports = vec![tcp(None, 8080, one.address)]).unwrap();
    let (sender, receiver) = mpsc::channel();
    // Reads all, and only then answers with what it read.
    let server = one.namespace.spawn(move || {
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        sender.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    receiver.recv().unwrap();
    let sent: Vec<u8> =
        (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let received = world.host.run(|| {
        let mut stream = TcpStream::connect("127.0.0.1:8080").unwrap();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    server.join().unwrap();
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
}

#[test]
fn a_thousand_connections_at_once() {
    const CONNECTIONS: usize = 1000;
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    let scope = Scope::new(&world);
    scope.change(&world.host, |state| state.ports = vec![tcp(None, 8080, one.address)]).unwrap();
    let (sender, receiver) = mpsc::channel();
    // Answers the first only when all are there.
    let server = one.namespace.spawn(move || {
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        sender.send(()).unwrap();
        let all: Vec<TcpStream> = (0..CONNECTIONS).map(|_| listener.accept().unwrap().0).collect();
        for (number, mut stream) in all.into_iter().enumerate() {
            stream.write_all(number.to_string().as_bytes()).unwrap();
        }
    });
    receiver.recv().unwrap();
    let mut answers: Vec<usize> = world.host.run(|| {
        let clients: Vec<TcpStream> =
            (0..CONNECTIONS).map(|_| TcpStream::connect("127.0.0.1:8080").unwrap()).collect();
        clients
            .into_iter()
            .map(|mut client| {
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                answer.parse().unwrap()
            })
            .collect()
    });
    server.join().unwrap();
    answers.sort_unstable();
    assert_eq!(answers, (0..CONNECTIONS).collect::<Vec<_>>());
}

#[test]
fn datagrams_go_and_come() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    let scope = Scope::new(&world);
    let port = published(Protocol::Udp, None, 9999, one.address, 7);
    world.apply(std::slice::from_ref(&port));
    scope.change(&world.host, |state| state.ports = vec![port]).unwrap();
    let (sender, receiver) = mpsc::channel();
    one.namespace.spawn(move || {
        let socket = UdpSocket::bind("0.0.0.0:7").unwrap();
        sender.send(()).unwrap();
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], client).unwrap();
        }
    });
    receiver.recv().unwrap();
    let echo = |server: SocketAddr, word: &str| {
        let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(local).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.connect(server).unwrap();
        socket.send(word.as_bytes()).unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    for server in ["127.0.0.1:9999", "[::1]:9999", "127.0.0.1:9999"] {
        assert_eq!(world.host.run(|| echo(server.parse().unwrap(), server)), server);
    }
    let outside = SocketAddr::from((HOST_OUTSIDE, 9999));
    assert_eq!(world.outside.run(|| echo(outside, "outside")), "outside");
    // Its clients' sockets do not keep a port that is no longer published.
    scope.change(&world.host, |state| state.ports = vec![tcp(None, 8080, one.address)]).unwrap();
    world.host.run(|| UdpSocket::bind("0.0.0.0:9999").unwrap());
}

#[test]
fn a_busy_port_is_named_and_nothing_is_changed() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    let scope = Scope::new(&world);
    let _server = PeerTeller::start(&one.namespace, 80);
    let taken = world.host.run(|| TcpListener::bind("0.0.0.0:8081").unwrap());
    // With no keeper before, none is left after.
    let both = |state: &mut KeeperState| {
        state.ports = vec![tcp(None, 8080, one.address), tcp(None, 8081, one.address)];
    };
    let error = scope.change(&world.host, both).unwrap_err();
    let me = std::process::id();
    assert!(error.to_string().starts_with("port 8081/tcp on this host is in use by "), "{error}");
    assert!(error.to_string().ends_with(&format!("(pid {me})")), "{error}");
    assert!(!scope.home.directory().exists());
    world.host.run(|| TcpListener::bind("0.0.0.0:8080").unwrap());

    scope.change(&world.host, |state| state.ports = vec![tcp(None, 8080, one.address)]).unwrap();
    let pid = scope.pid();
    let before = scope.home.state().unwrap();
    let error = scope.change(&world.host, both).unwrap_err();
    let HomeError::Busy(failures) = &error else { panic!("{error}") };
    assert_eq!(failures[0].holder.as_ref().unwrap().pid, me);
    assert_eq!(scope.home.state().unwrap(), before);
    assert_eq!(scope.pid(), pid, "the same keeper goes on");
    let ask_it = || world.host.run(|| ask("127.0.0.1:8080"));
    assert_eq!(ask_it().as_deref(), Some("10.1.0.1"));
    // Two containers on one port of the host.
    let twice = |state: &mut KeeperState| state.ports.push(tcp(None, 8080, Ipv4Addr::new(10, 1, 0, 3)));
    assert!(matches!(scope.change(&world.host, twice), Err(HomeError::Busy(_))));
    // A port that moves to another address is not in its own way; when that fails it is where it was.
    let moved = |state: &mut KeeperState| state.ports = vec![tcp(Some("127.0.0.1"), 8080, one.address)];
    let and_busy = |state: &mut KeeperState| {
        state.ports = vec![tcp(Some("127.0.0.1"), 8080, one.address), tcp(None, 8081, one.address)];
    };
    assert!(matches!(scope.change(&world.host, and_busy), Err(HomeError::Busy(_))));
    assert_eq!(world.host.run(|| ask("[::1]:8080")).as_deref(), Some("10.1.0.1"));
    scope.change(&world.host, moved).unwrap();
    assert_eq!(ask_it().as_deref(), Some("10.1.0.1"));
    assert_eq!(world.host.run(|| ask("[::1]:8080")), None);
    drop(taken);
    scope.change(&world.host, both).unwrap();
    assert_eq!(scope.home.status().unwrap().unwrap().ports.len(), 2);
}

#[test]
fn a_killed_keeper_is_followed_by_one_that_serves_the_same() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    let _server = PeerTeller::start(&one.namespace, 80);
    let scope = Scope::new(&world);
    let set = |state: &mut KeeperState| {
        state.ports = vec![tcp(None, 8080, one.address)];
        state.zones = vec![zone(&world, network, vec![endpoint("one", one.address)])];
    };
    scope.change(&world.host, set).unwrap();
    let first = scope.pid().unwrap();
    scope.kill();
    assert_eq!(scope.pid(), None);
    assert_eq!(world.host.run(|| ask("127.0.0.1:8080")), None);
    scope.change(&world.host, |_| {}).unwrap();
    assert_ne!(scope.pid().unwrap(), first);
    assert_eq!(world.host.run(|| ask("127.0.0.1:8080")).as_deref(), Some("10.1.0.1"));
    let gateway = world.networks[network].gateway;
    assert_eq!(one.namespace.run(|| resolve(gateway, "one.")), "NoError 10.1.0.2");

    // An unchanged state asks nothing of it; an empty one ends it and leaves no file.
    let second = scope.pid();
    scope.change(&world.host, |_| {}).unwrap();
    assert_eq!(scope.pid(), second);
    scope.change(&world.host, |state| *state = KeeperState::default()).unwrap();
    assert!(!scope.home.directory().exists());
    world.host.run(|| TcpListener::bind("0.0.0.0:8080").unwrap());
}

#[test]
fn many_processes_change_one_scope_at_once() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    let scope = Scope::new(&world);
    std::thread::scope(|threads| {
        for number in 0..12_u16 {
            let (scope, world, address) = (&scope, &world, one.address);
            threads.spawn(move || {
                for round in 0..3 {
                    let port = tcp(None, 9000 + number, address);
                    scope.change(&world.host, |state| state.ports.push(port.clone())).unwrap();
                    if round < 2 || number >= 6 {
                        scope.change(&world.host, |state| state.ports.retain(|held| *held != port)).unwrap();
                    }
                }
            });
        }
    });
    let mut held: Vec<u16> =
        scope.home.status().unwrap().unwrap().ports.iter().map(|port| port.host_port).collect();
    held.sort_unstable();
    assert_eq!(held, (9000..9006).collect::<Vec<_>>());
}

#[test]
fn what_cannot_start_says_so() {
    if !privileged() {
        return;
    }
    let world = World::new();
    let home = Home::new(world.dir.path().join("keepers/scope"));
    let edit = |state: &mut KeeperState| state.ports = vec![tcp(None, 1, Ipv4Addr::new(10, 1, 0, 2))];
    let error = home.change(|| Command::new("/nowhere/coracle"), edit).unwrap_err();
    assert_eq!(error.to_string(), "cannot start the keeper");
    let speak = || {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no room"]);
        command
    };
    assert_eq!(home.change(speak, edit).unwrap_err().to_string(), "the keeper did not start: no room");
    assert!(!home.directory().exists(), "nothing is left of a scope that never was");
    let mut broken = PathBuf::from(home.directory());
    fs::create_dir_all(&broken).unwrap();
    broken.push("state.json");
    fs::write(&broken, "{").unwrap();
    assert_eq!(home.state().unwrap_err().to_string(), format!("cannot read {}", broken.display()));
}

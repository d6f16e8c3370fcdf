//! Virtual addresses of services, in throwaway namespaces.
#![allow(clippy::unwrap_used, reason = "a failure in a test's world is a failure of the test")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use coracle_network::nftables::{Applied, Client, apply_clients};
use coracle_network::{Lock, ServiceAddress};
use coracle_testkit::{NetworkNamespace, privileged};

mod world;
use world::{Container, PeerTeller, World, ask};

const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);

fn service(replicas: &[&Container]) -> ServiceAddress {
    let endpoints = replicas.iter().map(|replica| (replica.address, None)).collect();
    ServiceAddress { address: VIRTUAL, address6: None, endpoints }
}

/// Leads the virtual address to `replicas` in each of `clients`.
fn lead(world: &World, clients: &[&Container], services: &[ServiceAddress]) -> Vec<Applied> {
    let clients: Vec<Client> = clients
        .iter()
        .map(|client| Client {
            namespace: client.namespace.as_fd().try_clone_to_owned().unwrap(),
            services: services.to_vec(),
            first: 0,
        })
        .collect();
    let lock = Lock::acquire(&world.lock_path()).unwrap();
    apply_clients(&clients, &lock).into_iter().map(Result::unwrap).collect()
}

/// A client and two replicas on one network.
fn three(internal: bool) -> (World, [Container; 3]) {
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", internal);
    let containers = [2, 3, 4].map(|last| world.container(&[network], last));
    world.apply(&[]);
    (world, containers)
}

#[test]
fn replicas_take_turns_and_see_the_client() {
    if !privileged() {
        return;
    }
    for internal in [false, true] {
        let (world, [client, one, two]) = three(internal);
        let everyone = [&client, &one, &two];
        assert_eq!(lead(&world, &everyone, &[service(&[&one, &two])]), [Applied::Replaced; 3]);
        assert_eq!(lead(&world, &everyone, &[service(&[&one, &two])]), [Applied::Unchanged; 3]);
        let _servers =
            [PeerTeller::named(&one.namespace, 80, "one "), PeerTeller::named(&two.namespace, 80, "two ")];
        let ask = |from: &NetworkNamespace| from.run(|| ask((VIRTUAL, 80))).unwrap();
        let answers: Vec<String> = (0..4).map(|_| ask(&client.namespace)).collect();
        assert_eq!(answers, ["one 10.1.0.2", "two 10.1.0.2", "one 10.1.0.2", "two 10.1.0.2"]);
        // A replica reaches its own service, itself among it.
        let answers = [ask(&one.namespace), ask(&one.namespace)];
        assert_eq!(answers, ["one 10.1.0.3", "two 10.1.0.3"]);
    }
}

#[test]
fn a_replica_that_leaves_keeps_its_connections_and_gets_no_more() {
    if !privileged() {
        return;
    }
    let (world, [client, one, two]) = three(false);
    lead(&world, &[&client], &[service(&[&one, &two])]);
    let echo = |container: &Container| {
        let (sender, receiver) = mpsc::channel();
        container.namespace.spawn(move || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap();
            sender.send(()).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut word = [0; 4];
            while stream.read_exact(&mut word).is_ok() {
                stream.write_all(&word).unwrap();
            }
        });
        receiver.recv().unwrap();
    };
    echo(&one);
    let mut established = client.namespace.run(|| TcpStream::connect((VIRTUAL, 80)).unwrap());
    established.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut says = |word: &[u8; 4]| {
        established.write_all(word).unwrap();
        let mut answer = [0; 4];
        established.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, word);
    };
    says(b"here");
    lead(&world, &[&client], &[service(&[&two])]);
    let _server = PeerTeller::named(&two.namespace, 80, "two ");
    for _ in 0..4 {
        assert_eq!(client.namespace.run(|| ask((VIRTUAL, 80))).as_deref(), Some("two 10.1.0.2"));
    }
    says(b"and ");
    // Even when nobody is left, what was begun goes on, and what is new is refused at once.
    lead(&world, &[&client], &[service(&[])]);
    says(b"on..");
    let refused = client.namespace.run(|| TcpStream::connect((VIRTUAL, 80)).unwrap_err().kind());
    assert_eq!(refused, ErrorKind::ConnectionRefused);
}

#[test]
fn datagrams_go_to_replicas_and_are_answered() {
    if !privileged() {
        return;
    }
    let (world, [client, one, two]) = three(false);
    lead(&world, &[&client], &[service(&[&one])]);
    for replica in [&one, &two] {
        let (sender, receiver) = mpsc::channel();
        let own = replica.address.to_string();
        replica.namespace.spawn(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap();
            sender.send(()).unwrap();
            while let Ok((_, peer)) = socket.recv_from(&mut [0; 16]) {
                socket.send_to(own.as_bytes(), peer).unwrap();
            }
        });
        receiver.recv().unwrap();
    }
    // Connected: only an answer from the virtual address is taken.
    let socket = client.namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    client.namespace.run(|| socket.connect((VIRTUAL, 53)).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ask = || {
        socket.send(b"name?").unwrap();
        let mut word = [0; 16];
        let length = socket.recv(&mut word).unwrap();
        String::from_utf8_lossy(&word[..length]).into_owned()
    };
    assert_eq!(ask(), one.address.to_string());
    // The same socket, the other replica: it was never silent, but the first is no longer meant.
    lead(&world, &[&client], &[service(&[&two])]);
    assert_eq!(ask(), two.address.to_string());
}

#[test]
fn no_request_is_lost_while_replicas_change() {
    if !privileged() {
        return;
    }
    let (world, [client, one, two]) = three(false);
    lead(&world, &[&client], &[service(&[&one, &two])]);
    let _servers =
        [PeerTeller::named(&one.namespace, 80, "one "), PeerTeller::named(&two.namespace, 80, "two ")];
    let (sender, receiver) = mpsc::channel::<()>();
    let asking = client.namespace.spawn(move || {
        let (mut asked, mut answered) = (0, 0);
        while receiver.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            asked += 1;
            answered += usize::from(ask((VIRTUAL, 80)).is_some_and(|answer| answer.ends_with("10.1.0.2")));
        }
        (asked, answered)
    });
    for _ in 0..30 {
        for replicas in [&[&one][..], &[&one, &two], &[&two], &[&two, &one]] {
            lead(&world, &[&client], &[service(replicas)]);
        }
    }
    drop(sender);
    let (asked, answered) = asking.join().unwrap();
    assert!(asked > 0);
    assert_eq!(answered, asked);
}

#[test]
fn a_table_goes_with_its_last_service() {
    if !privileged() {
        return;
    }
    let (world, [client, one, _]) = three(false);
    assert_eq!(lead(&world, &[&client], &[]), [Applied::Unchanged]);
    assert_eq!(lead(&world, &[&client], &[service(&[&one])]), [Applied::Replaced]);
    assert_eq!(lead(&world, &[&client], &[]), [Applied::Replaced]);
    assert_eq!(lead(&world, &[&client], &[]), [Applied::Unchanged]);
}

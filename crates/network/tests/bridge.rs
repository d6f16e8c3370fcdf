//! Bridges, links and the packet filter, in throwaway namespaces.
#![allow(clippy::unwrap_used, reason = "a failure in a test's world is a failure of the test")]

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

use coracle_network::netlink::{self, Attachment, attach};
use coracle_network::nftables::{Applied, apply, forward_drops};
use coracle_network::rules::Surroundings;
use coracle_network::{Lock, Protocol, PublishedPort};
use coracle_testkit::{NetworkNamespace, privileged, program};

mod world;
use world::{HOST_OUTSIDE, OUTSIDE, PeerTeller, World, ask, silent};

fn tcp(host_ip: Option<&str>, host_port: u16, to: Ipv4Addr) -> PublishedPort {
    PublishedPort {
        protocol: Protocol::Tcp,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        container_ip: to,
        container_port: 80,
    }
}

/// The addresses, routes and MTU of a namespace as an outsider's tool sees them.
fn ip(namespace: &NetworkNamespace, arguments: &[&str]) -> Option<String> {
    let ip = program("ip")?;
    let output = namespace.run(|| Command::new(ip).args(arguments).output().unwrap());
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn containers_of_one_network_reach_each_other() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let (one, two) = (world.container(&[network], 2), world.container(&[network], 3));
    world.apply(&[]);
    let _server = PeerTeller::start(&two.namespace, 80);
    assert_eq!(one.namespace.run(|| ask((two.address, 80))).as_deref(), Some("10.1.0.2"));
    assert_eq!(world.host.run(|| ask((two.address, 80))).as_deref(), Some("10.1.0.1"));

    if let Some(addresses) = ip(&one.namespace, &["-o", "address"]) {
        assert!(addresses.contains("inet 10.1.0.2/24 brd 10.1.0.255 scope global eth0"), "{addresses}");
        assert!(addresses.contains("inet 127.0.0.1/8"), "{addresses}");
        assert!(!addresses.contains("fe80"), "no IPv6 address of its own making: {addresses}");
        let links = ip(&one.namespace, &["-o", "link", "show", "eth0"]).unwrap();
        assert!(links.contains("mtu 1400") && links.contains("02:42:0a:01:00:02"), "{links}");
        let routes = ip(&one.namespace, &["route"]).unwrap();
        assert!(routes.contains("default via 10.1.0.1 dev eth0"), "{routes}");
    }
}

#[test]
fn networks_are_isolated_unless_a_container_is_on_both() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let (a, b) = (world.network("10.1.0.0/24", false), world.network("10.2.0.0/24", false));
    let (one, two) = (world.container(&[a], 2), world.container(&[b], 2));
    let both = world.container(&[a, b], 9);
    world.apply(&[]);
    let _server = PeerTeller::start(&two.namespace, 80);
    assert_eq!(one.namespace.run(|| silent((two.address, 80))), None);
    assert_eq!(both.namespace.run(|| ask((two.address, 80))).as_deref(), Some("10.2.0.9"));
}

#[test]
fn what_leaves_takes_the_hosts_address_and_nothing_comes_in() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    world.apply(&[]);
    let _outside = PeerTeller::start(&world.outside, 80);
    assert_eq!(one.namespace.run(|| ask((OUTSIDE, 80))), Some(HOST_OUTSIDE.to_string()));

    // Even a neighbour that has a route cannot reach an unpublished port.
    let _inside = PeerTeller::start(&one.namespace, 80);
    if ip(&world.outside, &["route", "add", "10.1.0.0/24", "via", "192.0.2.1"]).is_some() {
        assert_eq!(world.outside.run(|| silent((one.address, 80))), None);
    }
}

#[test]
fn an_internal_network_reaches_nothing_outside() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let (inner, outer) = (world.network("10.1.0.0/24", true), world.network("10.2.0.0/24", false));
    let (one, two) = (world.container(&[inner], 2), world.container(&[inner], 3));
    let published = world.container(&[outer], 2);
    let on_both = world.container(&[inner, outer], 9);
    world.apply(&[tcp(None, 8080, published.address), tcp(None, 8081, two.address)]);
    let _servers = [
        PeerTeller::start(&two.namespace, 80),
        PeerTeller::start(&world.outside, 80),
        PeerTeller::start(&published.namespace, 80),
        PeerTeller::start(&world.host, 22),
    ];
    let from_inside = |address: Ipv4Addr, port: u16| one.namespace.run(|| ask((address, port)));
    assert_eq!(from_inside(two.address, 80).as_deref(), Some("10.1.0.2"), "neighbours are reached");
    // Give it the way out that an internal network does not have, to see that it leads nowhere.
    if ip(&one.namespace, &["route", "add", "default", "via", "10.1.0.1"]).is_some() {
        let from_inside = |address: Ipv4Addr, port: u16| one.namespace.run(|| silent((address, port)));
        assert_eq!(from_inside(OUTSIDE, 80), None, "the outside");
        assert_eq!(from_inside(HOST_OUTSIDE, 22), None, "the host's own services");
        assert_eq!(
            from_inside(Ipv4Addr::new(10, 1, 0, 1), 22),
            None,
            "the host's own services by the gateway"
        );
        assert_eq!(from_inside(HOST_OUTSIDE, 8080), None, "another network's published port");
    }
    assert_eq!(
        world.outside.run(|| ask((HOST_OUTSIDE, 8081))),
        None,
        "an internal network publishes nothing"
    );
    assert_eq!(on_both.namespace.run(|| ask((OUTSIDE, 80))), Some(HOST_OUTSIDE.to_string()));
}

#[test]
fn a_published_port_keeps_the_clients_address() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let (a, b) = (world.network("10.1.0.0/24", false), world.network("10.2.0.0/24", false));
    let (one, other) = (world.container(&[a], 2), world.container(&[b], 2));
    let ports = [
        tcp(None, 8080, one.address),
        tcp(Some("192.0.2.1"), 8081, one.address),
        tcp(Some("127.0.0.1"), 8082, one.address),
    ];
    world.apply(&ports);
    let _server = PeerTeller::start(&one.namespace, 80);
    let reach = |from: &NetworkNamespace, port: u16| from.run(|| ask((HOST_OUTSIDE, port)));
    assert_eq!(reach(&world.outside, 8080), Some(OUTSIDE.to_string()));
    assert_eq!(reach(&world.outside, 8081), Some(OUTSIDE.to_string()));
    assert_eq!(
        world.outside.run(|| silent((HOST_OUTSIDE, 8082))),
        None,
        "a port on loopback is not for others"
    );
    assert_eq!(reach(&world.host, 8080), Some(HOST_OUTSIDE.to_string()));
    assert_eq!(reach(&other.namespace, 8080).as_deref(), Some("10.1.0.1"), "another network's container");
}

#[test]
fn an_unchanged_set_is_not_written_again() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    assert_eq!(world.apply(&[]), Applied::Unchanged, "nothing needs nothing");
    world.network("10.1.0.0/24", false);
    world.network("10.2.0.0/24", true);
    let target = Ipv4Addr::new(10, 1, 0, 2);
    assert_eq!(world.apply(&[]), Applied::Replaced);
    assert_eq!(world.apply(&[]), Applied::Unchanged);
    let ports = [tcp(None, 8080, target), tcp(Some("192.0.2.1"), 8081, target)];
    assert_eq!(world.apply(&ports), Applied::Replaced);
    assert_eq!(world.apply(&[ports[1].clone(), ports[0].clone()]), Applied::Unchanged);
    world.clear();
    assert_eq!(world.apply(&[]), Applied::Replaced);
}

#[test]
fn the_kernel_holds_what_the_text_says() {
    if !privileged() {
        return;
    }
    let Some(nft) = program("nft") else { return };
    let mut world = World::new();
    world.network("10.1.0.0/24", false);
    world.network("10.2.0.0/20", true);
    let target = Ipv4Addr::new(10, 1, 0, 2);
    let mut ports = vec![tcp(None, 8080, target), tcp(Some("192.0.2.1"), 8081, target)];
    ports.push(PublishedPort { protocol: Protocol::Udp, ..tcp(None, 8080, target) });
    world.apply(&ports);
    let list = || {
        let output =
            world.host.run(|| Command::new(&nft).args(["-n", "-y", "list", "ruleset"]).output().unwrap());
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = list();
    // Ours carries no comment, and prints words where the numeric listing prints numbers.
    let listed: Vec<&str> = listed.lines().filter(|line| !line.contains("comment ")).collect();
    let loopback = world.networks.iter().map(|network| network.bridge.clone()).collect();
    let host = Surroundings { filters_input: false, loopback };
    let ours = world.rules(&ports).table(&host).to_string();
    let numeric = |text: &str| {
        text.replace("priority dstnat", "priority -100")
            .replace("priority srcnat", "priority 100")
            .replace("priority filter", "priority 0")
            .replace("priority raw", "priority -300")
            .replace("established,related", "0x2,0x4")
            .replace("ct status dnat", "ct status 0x20")
            .replace("type local", "type 2")
    };
    assert_eq!(numeric(&listed.join("\n")), numeric(ours.trim_end()));
    world.clear();
    assert_eq!(list(), "");
}

#[test]
fn networks_work_where_another_table_drops_what_it_does_not_know() {
    if !privileged() {
        return;
    }
    let Some(nft) = program("nft") else { return };
    for docker in [false, true] {
        let mut world = World::new();
        let network = world.network("10.1.0.0/24", false);
        let (one, two) = (world.container(&[network], 2), world.container(&[network], 3));
        let run = |arguments: &[&str]| {
            let output = world.host.run(|| Command::new(&nft).args(arguments).output().unwrap());
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let mut foreign = "add table ip filter; \
            add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }; \
            add chain ip filter INPUT { type filter hook input priority 0; policy drop; }"
            .to_owned();
        if docker {
            foreign.push_str(
                "; add chain ip filter DOCKER-USER; add rule ip filter FORWARD jump DOCKER-USER; \
                add rule ip filter DOCKER-USER return",
            );
        }
        run(&[&foreign]);
        let before = run(&["list", "ruleset"]);
        let drops = world.host.run(|| forward_drops().unwrap());
        let names: Vec<_> =
            drops.iter().map(|d| (d.family.as_str(), d.table.as_str(), d.chain.as_str())).collect();
        assert_eq!(names, [("ip", "filter", "FORWARD")]);

        let ports = [tcp(None, 8080, one.address)];
        assert_eq!(world.apply(&ports), Applied::Replaced);
        assert_eq!(world.apply(&ports), Applied::Unchanged);
        let _servers = [PeerTeller::start(&one.namespace, 80), PeerTeller::start(&world.outside, 80)];
        assert_eq!(two.namespace.run(|| ask((one.address, 80))).as_deref(), Some("10.1.0.3"));
        assert_eq!(two.namespace.run(|| ask((OUTSIDE, 80))), Some(HOST_OUTSIDE.to_string()));
        // What the host drops stays dropped, a published port too: see `firewall`.
        assert_eq!(world.outside.run(|| silent((HOST_OUTSIDE, 8080))), None);
        let _name_server = PeerTeller::start(&world.host, 53);
        assert_eq!(two.namespace.run(|| ask(("10.1.0.1", 53))).as_deref(), Some("10.1.0.3"));

        // Whoever sets the other table anew takes our rules away; the next to apply puts them back.
        let chain = if docker { "DOCKER-USER" } else { "FORWARD" };
        run(&["flush", "chain", "ip", "filter", chain]);
        assert_eq!(world.apply(&ports), Applied::Replaced);
        assert_eq!(two.namespace.run(|| ask((OUTSIDE, 80))), Some(HOST_OUTSIDE.to_string()));
        if docker {
            run(&["add", "rule", "ip", "filter", "DOCKER-USER", "return"]);
        }
        world.clear();
        assert_eq!(run(&["list", "ruleset"]), before);
    }
}

#[test]
fn many_processes_may_apply_at_once() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    world.network("10.1.0.0/24", false);
    let path = world.lock_path();
    let shared = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..16_u16 {
            let (world, shared, path) = (&world, &shared, &path);
            scope.spawn(move || {
                world.host.run(|| {
                    shared.lock().unwrap().push(tcp(None, 9000 + number, Ipv4Addr::new(10, 1, 0, 2)));
                    let lock = Lock::acquire(path).unwrap();
                    let ports = shared.lock().unwrap().clone();
                    apply(&world.rules(&ports), &lock).unwrap();
                });
            });
        }
    });
    let ports = shared.into_inner().unwrap();
    assert_eq!(ports.len(), 16);
    assert_eq!(world.apply(&ports), Applied::Unchanged, "the last to apply had read everything");
}

#[test]
fn a_large_set_fits() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    world.network("10.1.0.0/24", false);
    let ports: Vec<_> = (1..=3000).map(|port| tcp(None, port, Ipv4Addr::new(10, 1, 0, 2))).collect();
    assert_eq!(world.apply(&ports), Applied::Replaced);
    assert_eq!(world.apply(&ports), Applied::Unchanged);
}

#[test]
fn bridges_are_made_once_whoever_asks() {
    if !privileged() {
        return;
    }
    let world = World::new();
    let before = world.host.run(|| netlink::links().unwrap());
    let subnet: coracle_network::Subnet = "10.7.0.0/24".parse().unwrap();
    let bridge = netlink::Bridge {
        name: "cr-race".to_owned(),
        gateway: subnet.default_gateway(),
        subnet,
        ipv6: None,
        mtu: 1400,
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| world.host.run(|| netlink::ensure_bridge(&bridge).unwrap()));
        }
    });
    let mut expected = before.clone();
    expected.push("cr-race".to_owned());
    expected.sort();
    assert_eq!(world.host.run(|| netlink::links().unwrap()), expected);
    world.host.run(|| netlink::delete_link("cr-race").unwrap());
    world.host.run(|| netlink::delete_link("cr-race").unwrap());
    assert_eq!(world.host.run(|| netlink::links().unwrap()), before);
}

#[test]
fn host_facts_name_routes_and_the_uplinks_mtu() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    let facts = one.namespace.run(|| netlink::host_facts().unwrap());
    assert_eq!((facts.mtu, facts.uplink.as_deref()), (1400, Some("eth0")));
    assert!(facts.taken.contains(&"10.1.0.0/24".parse().unwrap()), "{facts:?}");
    assert!(facts.taken.iter().all(|subnet| subnet.prefix() > 1), "{facts:?}");
    // A VPN's routes lie in a table of its own, as wg-quick makes it.
    let vpn = ["route", "add", "10.210.0.0/16", "dev", "eth0", "table", "51820"];
    if ip(&one.namespace, &vpn).is_some() {
        let facts = one.namespace.run(|| netlink::host_facts().unwrap());
        let chosen = coracle_network::ipam::choose_subnet(&[], &facts.taken).unwrap();
        assert_eq!(chosen.to_string(), "172.29.0.0/24");
    }
    let bare = NetworkNamespace::new().unwrap().run(|| netlink::host_facts().unwrap());
    assert_eq!((bare.mtu, bare.uplink), (1500, None));
}

#[test]
fn a_failed_attachment_leaves_nothing_and_says_what_failed() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let before = world.host.run(|| netlink::links().unwrap());
    let subnet = world.networks[network].subnet;
    let namespace = NetworkNamespace::new().unwrap();
    let good =
        world::interface(&world.networks[network].bridge, "good0", "10.1.0.2".parse().unwrap(), subnet, None);
    let mut bad = good.clone();
    bad.host_name = "bad0".to_owned();
    // The same name inside: the kernel refuses the second.
    let attachment = Attachment { interfaces: vec![good.clone(), bad] };
    let error = world.host.run(|| attach(namespace.as_fd(), &attachment).unwrap_err());
    assert!(error.to_string().starts_with("cannot create link bad0 on bridge cr-"), "{error}");
    assert_eq!(world.host.run(|| netlink::links().unwrap()), before);
    let mut nowhere = good;
    nowhere.bridge = "cr-none".to_owned();
    let attachment = Attachment { interfaces: vec![nowhere] };
    let error = world.host.run(|| attach(namespace.as_fd(), &attachment).unwrap_err());
    assert_eq!(error.to_string(), "cannot find bridge cr-none");
}

#[test]
fn a_stale_link_of_the_same_name_gives_way() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let before = world.host.run(|| netlink::links().unwrap()).len();
    let first = world.container(&[network], 2);
    let second = world.container(&[network], 2);
    assert_eq!(world.host.run(|| netlink::links().unwrap()).len(), before + 1);
    let inside = second.namespace.run(|| netlink::links().unwrap());
    assert!(inside.contains(&"eth0".to_owned()), "{inside:?}");
    assert!(!first.namespace.run(|| netlink::links().unwrap()).contains(&"eth0".to_owned()));
}

#[test]
fn links_end_with_their_container() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let before = world.host.run(|| netlink::links().unwrap());
    let network = world.network("10.1.0.0/24", false);
    let one = world.container(&[network], 2);
    world.apply(&[tcp(None, 8080, one.address)]);
    drop(one);
    world.clear();
    // The kernel takes namespaces away in its own time.
    while world.host.run(|| netlink::links().unwrap()) != before {
        std::thread::yield_now();
    }
}

#[test]
fn a_link_as_it_was_asked_for() {
    if !privileged() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let rules = &world.networks[network];
    let connect = |last: u8, isolated: bool| {
        let namespace = NetworkNamespace::new().unwrap();
        let address = Ipv4Addr::new(10, 1, 0, last);
        let mut link = world::interface(
            &rules.bridge,
            &format!("crvasked{last}"),
            address,
            rules.subnet,
            Some(rules.gateway),
        );
        link.name = "lan0".to_owned();
        link.hardware = Some([0x02, 0x42, 0xac, 0, 0, last]);
        link.link_local = vec!["169.254.7.7".parse().unwrap(), "fe80::7".parse().unwrap()];
        link.sysctls = vec![("ipv4.conf.lan0.log_martians".to_owned(), "1".to_owned())];
        link.isolated = isolated;
        world.host.run(|| attach(namespace.as_fd(), &Attachment { interfaces: vec![link] }).unwrap());
        namespace
    };
    let (one, two, open) = (connect(2, true), connect(3, true), connect(4, false));
    world.apply(&[]);
    let _server = PeerTeller::start(&two, 80);
    let two_address = Ipv4Addr::new(10, 1, 0, 3);
    assert_eq!(one.run(|| silent((two_address, 80))), None, "isolated links do not reach each other");
    assert_eq!(world.host.run(|| ask((two_address, 80))).as_deref(), Some("10.1.0.1"));
    let martians = "/proc/sys/net/ipv4/conf/lan0/log_martians";
    assert_eq!(one.run(|| std::fs::read_to_string(martians).unwrap()).trim(), "1");
    if let Some(addresses) = ip(&open, &["-o", "address"]) {
        for address in ["10.1.0.4/24", "169.254.7.7/16", "fe80::7/64"] {
            assert!(addresses.contains(address), "{addresses}");
        }
        let links = ip(&open, &["-o", "link", "show", "lan0"]).unwrap();
        assert!(links.contains("02:42:ac:00:00:04"), "{links}");
    }
    world.clear();
}

#[test]
fn containers_reach_each_other_by_ipv6() {
    if !privileged() || !std::path::Path::new("/proc/net/if_inet6").exists() {
        return;
    }
    let mut world = World::new();
    let network = world.network("10.1.0.0/24", false);
    let rules = world.networks[network].clone();
    let gateway: std::net::Ipv6Addr = "fd00:1::1".parse().unwrap();
    let bridge = netlink::Bridge {
        name: rules.bridge.clone(),
        gateway: rules.gateway,
        subnet: rules.subnet,
        ipv6: Some((gateway, 64)),
        mtu: 1400,
    };
    world.host.run(|| {
        // Twice: a bridge that is complete is left alone.
        netlink::ensure_bridge(&bridge).unwrap();
        netlink::ensure_bridge(&bridge).unwrap();
        netlink::enable_forwarding6().unwrap();
    });
    world.networks[network].ipv6 = true;
    world.apply(&[]);
    let connect = |last: u8| {
        let namespace = NetworkNamespace::new().unwrap();
        let address = Ipv4Addr::new(10, 1, 0, last);
        let host_name = format!("crvsix{last}");
        let mut link =
            world::interface(&rules.bridge, &host_name, address, rules.subnet, Some(rules.gateway));
        let address = format!("fd00:1::{last}").parse().unwrap();
        link.ipv6 = Some(netlink::Ipv6Link { address, prefix: 64, gateway: Some(gateway) });
        world.host.run(|| attach(namespace.as_fd(), &Attachment { interfaces: vec![link] }).unwrap());
        namespace
    };
    let (one, two) = (connect(2), connect(3));
    let listener = two.run(|| std::net::TcpListener::bind("[::]:8080").unwrap());
    let thread = std::thread::spawn(move || listener.accept().unwrap().1.ip().to_string());
    one.run(|| std::net::TcpStream::connect("[fd00:1::3]:8080").unwrap());
    assert_eq!(thread.join().unwrap(), "fd00:1::2");
    if let Some(routes) = ip(&one, &["-6", "route"]) {
        assert!(routes.contains("default via fd00:1::1"), "{routes}");
    }
    world.clear();
}

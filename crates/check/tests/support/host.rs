//! Machines written as text: what is said of one in `-- host --`, beside a good one that has everything.

use std::net::IpAddr;

use coracle_check::{Cgroups, Disk, HostFacts, Listener, Occupant, Route};
use coracle_composefile::Protocol;

const GIB: u64 = 1 << 30;

/// Reads the lines of a machine; what they do not say is as it should be.
pub fn read<'l>(lines: impl Iterator<Item = &'l str>) -> HostFacts {
    let mut facts = good();
    for line in lines {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let words: Vec<&str> = value.split_whitespace().collect();
        let texts = || words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        match key {
            "unknown" => facts = HostFacts { root: true, ..HostFacts::default() },
            "user" => facts.root = value.trim() == "root",
            "listener" => facts.listeners.push(listener(&words)),
            "disk" => facts.disks.push(Disk {
                path: words[0].into(),
                total: number(words[1]),
                available: number(words[2]),
                inodes_available: words.get(3).map(|word| number(word)),
            }),
            "memory" => facts.memory_total = Some(number(words[0])),
            "cpus" => facts.cpus = Some(number(words[0]) as u32),
            "kernel" => words[0].clone_into(&mut facts.kernel),
            "machine" => words[0].clone_into(&mut facts.architecture),
            "emulated" => facts.emulated = texts(),
            "cgroups" => {
                facts.cgroups = Some(match words[0] {
                    "v1" => Cgroups::V1,
                    "v2" => Cgroups::V2,
                    "none" => Cgroups::None,
                    other => panic!("`{other}` is no layout"),
                });
                facts.controllers = texts()[1..].to_vec();
            }
            "missing" => facts
                .features
                .iter_mut()
                .filter(|(name, _)| words.contains(&name.as_str()))
                .for_each(|(_, there)| *there = false),
            "sysctl" => facts.sysctls.insert(0, (words[0].to_owned(), words[1].to_owned())),
            "skew" => facts.clock_skew = Some(value.trim().parse().expect("seconds")),
            "route" => {
                let (address, prefix) = words[0].split_once('/').expect("address/prefix");
                facts.routes.push(Route {
                    address: address.parse().expect("an address"),
                    prefix: prefix.parse().expect("a prefix"),
                    device: words[1].to_owned(),
                    network: words.get(2).map(|name| (*name).to_owned()),
                });
            }
            "open-files" => {
                facts.open_files = Some(number(words[0]));
                facts.raises_limits = words.get(1) == Some(&"raised");
            }
            "networks" => facts.networks = Some(texts()),
            "volumes" => facts.volumes = Some(texts()),
            "container" => facts.containers.push(Occupant {
                name: words[0].to_owned(),
                project: words.get(1).map(|word| (*word).to_owned()),
                service: words.get(2).map(|word| (*word).to_owned()),
            }),
            other => panic!("`{other}` is nothing that is said of a machine"),
        }
    }
    facts
}

/// A machine that nothing can be said against.
fn good() -> HostFacts {
    let parameters = [
        ("vm.max_map_count", "1048576"),
        ("vm.overcommit_memory", "1"),
        ("fs.inotify.max_user_watches", "524288"),
        ("fs.nr_open", "1048576"),
        ("net.ipv4.ip_unprivileged_port_start", "1024"),
    ];
    let features = ["overlay", "bridge", "veth", "nf_tables", "user-namespaces"];
    HostFacts {
        disks: vec![Disk {
            path: "/var/lib/coracle".into(),
            total: 100 * GIB,
            available: 50 * GIB,
            inodes_available: Some(5_000_000),
        }],
        memory_total: Some(16 * GIB),
        memory_available: Some(12 * GIB),
        cpus: Some(4),
        kernel: "6.12.41+deb13-amd64".to_owned(),
        architecture: "amd64".to_owned(),
        cgroups: Some(Cgroups::V2),
        controllers: ["cpuset", "cpu", "io", "memory", "pids"].map(str::to_owned).to_vec(),
        features: features.map(|name| (name.to_owned(), true)).to_vec(),
        sysctls: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        clock_skew: Some(0),
        open_files: Some(1_048_576),
        raises_limits: true,
        networks: Some(Vec::new()),
        volumes: Some(Vec::new()),
        root: true,
        ..HostFacts::default()
    }
}

/// Reads `0.0.0.0:8080/tcp`, then `by NAME PID` or `for CONTAINER [PROJECT]`.
fn listener(words: &[&str]) -> Listener {
    let (socket, protocol) = words[0].rsplit_once('/').expect("address:port/protocol");
    let (address, port) = socket.rsplit_once(':').expect("address:port");
    let address: IpAddr = address.trim_matches(['[', ']']).parse().expect("an address");
    let (mut holder, mut container, mut project) = (None, None, None);
    match words.get(1..) {
        Some(["by", name, pid]) => holder = Some(((*name).to_owned(), pid.parse().expect("a pid"))),
        Some(["for", name, rest @ ..]) => {
            container = Some((*name).to_owned());
            project = rest.first().map(|name| (*name).to_owned());
        }
        _ => {}
    }
    let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
    Listener { address, port: port.parse().expect("a port"), protocol, holder, project, container }
}

/// Reads `512M`, `16G`, `100k` or a plain number.
fn number(text: &str) -> u64 {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().expect("a number") << shift
}

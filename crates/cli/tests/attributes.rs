//! What a compose file says a container is, seen from inside it: namespaces, networks, devices, limits, security.

mod support;

use std::fs;
use std::path::Path;

use support::{SOON, coracle, eventually, holds, inspect, ready, text_at, unique};

const FILE: &str = r#"
services:
  web:
    image: busybox
    command: sh -c 'echo shared > /dev/shm/note; exec sleep 1000'
    stop_grace_period: 0s
    hostname: box
    domainname: example.org
    dns_opt: [ndots:3]
    extra_hosts: ["gate=host-gateway"]
    ipc: shareable
    networks:
      back: {gw_priority: 1}
      front:
        priority: 10
        aliases: [api]
        ipv4_address: 10.213.77.9
        mac_address: 02:42:ac:11:65:43
        interface_name: lan0
        link_local_ips: [169.254.8.8]
        driver_opts: {com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1}
  side:
    image: busybox
    command: sleep 1001
    stop_grace_period: 0s
    network_mode: service:web
    pid: service:web
    ipc: service:web
  linked:
    image: busybox
    command: sleep 1002
    stop_grace_period: 0s
    networks: [front]
    links: ["web:database"]
  lonely:
    image: busybox
    command: sleep 1003
    stop_grace_period: 0s
    networks: [apart]
  alone:
    image: busybox
    command: sleep 1004
    stop_grace_period: 0s
    networks: [apart]
  hostly:
    image: busybox
    command: sleep 1005
    stop_grace_period: 0s
    uts: host
    pid: host
    ipc: host
    cgroup: host
  limited:
    image: busybox
    command: sleep 1006
    stop_grace_period: 0s
    devices: ["/dev/fuse:/dev/mine:r"]
    device_cgroup_rules: ["c 10:200 rw"]
    mem_limit: 64m
    mem_swappiness: 10
    oom_kill_disable: true
    oom_score_adj: 500
    cpu_period: 50000
    cpu_quota: 25000
    blkio_config: {weight: 300}
    cgroup_parent: /PARENT/deep
    annotations: {org.example.note: hello}
    security_opt: ["seccomp=./profile.json", "systempaths=unconfined", "mask=/etc/group"]
networks:
  front:
    driver_opts: {com.docker.network.driver.mtu: 1300}
    ipam:
      config:
        - {subnet: 10.213.77.0/24, ip_range: 10.213.77.128/25, aux_addresses: {router: 10.213.77.128}}
  back:
  apart:
    driver_opts: {com.docker.network.bridge.enable_icc: "false"}
"#;

const PROFILE: &str = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]
}"#;

/// A project that is taken down with this value.
struct Project<'a> {
    name: String,
    directory: &'a Path,
}

impl Project<'_> {
    fn inside(&self, service: &str, script: &str) -> String {
        coracle(["exec", &format!("{}-{service}-1", self.name), "sh", "-c", script]).run().ok().stdout
    }

    fn succeeds(&self, service: &str, script: &str) -> bool {
        let script = format!("if {script}; then echo yes; else echo no; fi");
        self.inside(service, &script).ends_with("yes\n")
    }

    fn up(&self) -> support::Outcome {
        coracle(["up", "-p", &self.name]).dir(self.directory).run()
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        coracle(["down", "-p", &self.name]).dir(self.directory).quietly();
    }
}

#[test]
fn a_project_is_what_its_file_says() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let directory = tempfile::tempdir().unwrap();
    let name = unique("attributes");
    let parent = unique("parent");
    fs::write(directory.path().join("compose.yaml"), FILE.replace("PARENT", &parent)).unwrap();
    fs::write(directory.path().join("profile.json"), PROFILE).unwrap();
    let project = Project { name, directory: directory.path() };
    project.up().ok();

    networks(&project);
    namespaces(&project);
    limits(&project);
    assert!(project.up().ok().stderr.lines().all(|line| !line.contains("creat")), "nothing is to do");

    // Who lives in another's network starts anew with it.
    let web = format!("{}-web-1", project.name);
    let side = format!("{}-side-1", project.name);
    let since = |name: &str| text_at(&inspect(name), "State.StartedAt").to_owned();
    let before = since(&side);
    coracle(["stop", "-t", "0", &web]).run().ok();
    project.up().ok();
    assert_ne!(since(&side), before);
    assert!(project.inside("side", "ip addr show lan0").contains("10.213.77.9/24"));

    let on_cgroup = |group: &str| {
        let roots = fs::read_dir("/sys/fs/cgroup").unwrap();
        roots.flatten().any(|root| root.path().join(group).exists())
    };
    assert!(on_cgroup(&parent));
    drop(project);
    assert!(!on_cgroup(&parent), "a parent made for it goes with it");
}

fn networks(project: &Project<'_>) {
    let links = project.inside("web", "ip addr show lan0; cat /proc/sys/net/ipv4/conf/lan0/log_martians");
    for word in ["mtu 1300", "02:42:ac:11:65:43", "10.213.77.9/24", "169.254.8.8/16"] {
        assert!(links.contains(word), "no `{word}` in {links}");
    }
    assert!(links.ends_with("\n1\n"), "{links}");
    // The other network is the way out.
    let route = project.inside("web", "ip route show default");
    assert!(route.contains("dev eth0"), "{route}");
    let range = project.inside("linked", "hostname -i");
    let last: u8 = range.trim().parse::<std::net::Ipv4Addr>().expect("an address").octets()[3];
    assert!(last > 128, "{range} lies outside of the range, or is kept free");

    let hosts = project.inside("web", "cat /etc/hosts");
    assert!(hosts.contains("box.example.org box") && hosts.contains("gate"), "{hosts}");
    assert_eq!(project.inside("web", "cat /proc/sys/kernel/domainname"), "example.org\n");
    assert!(project.inside("web", "cat /etc/resolv.conf").contains("options ndots:3"));

    let looked_up = |service: &str, name: &str| {
        project.succeeds(service, &format!("nslookup -type=a {name} | grep -q 10.213.77.9"))
    };
    eventually("names are answered", SOON, || {
        holds(looked_up("linked", "api"), || "`api` is not known".to_owned())
    });
    assert!(looked_up("linked", "database"), "a link is a name");
    assert!(!looked_up("web", "database"), "of whoever has it alone");

    let address = project.inside("alone", "hostname -i");
    let ping = format!("ping -c 1 -W 1 {} > /dev/null 2>&1", address.trim());
    assert!(project.succeeds("alone", &ping));
    assert!(!project.succeeds("lonely", &ping), "containers of this network do not reach each other");
}

fn namespaces(project: &Project<'_>) {
    let of = |service: &str, kind: &str| project.inside(service, &format!("readlink /proc/self/ns/{kind}"));
    for kind in ["net", "pid", "ipc"] {
        assert_eq!(of("side", kind), of("web", kind), "{kind}");
    }
    assert_ne!(of("side", "mnt"), of("web", "mnt"));
    assert_eq!(project.inside("side", "cat /dev/shm/note"), "shared\n");
    assert_eq!(project.inside("side", "hostname"), "box\n");
    let processes = project.inside("side", "ps");
    assert!(processes.contains("sleep 1000") && processes.contains("sleep 1001"), "{processes}");

    for kind in ["uts", "pid", "ipc", "cgroup"] {
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        assert_eq!(Path::new(of("hostly", kind).trim()), ours, "{kind}");
        assert_ne!(of("web", kind), of("hostly", kind), "{kind}");
    }
}

fn limits(project: &Project<'_>) {
    assert_eq!(project.inside("limited", "cat /proc/1/oom_score_adj /proc/self/oom_score_adj"), "500\n500\n");
    assert!(project.succeeds("limited", "[ -c /dev/mine ]"));
    assert!(!project.succeeds("limited", "mkdir /made 2> /dev/null"), "the profile refuses it");
    assert_eq!(project.inside("limited", "cat /etc/group"), "", "it is masked");
    let made = inspect(&format!("{}-limited-1", project.name));
    assert_eq!(support::at(&made, "HostConfig.Annotations")["org.example.note"], "hello");
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let limit = project.inside("limited", "cat /sys/fs/cgroup/cpu.max");
        assert_eq!(limit, "25000 50000\n");
        return;
    }
    let cgroup = |file: &str| project.inside("limited", &format!("cat /sys/fs/cgroup/{file}"));
    assert_eq!(cgroup("cpu/cpu.cfs_quota_us"), "25000\n");
    assert_eq!(cgroup("cpu/cpu.cfs_period_us"), "50000\n");
    assert_eq!(cgroup("memory/memory.swappiness"), "10\n");
    assert!(cgroup("memory/memory.oom_control").contains("oom_kill_disable 1"));
    let devices = cgroup("devices/devices.list");
    assert!(devices.contains("c 10:229 r\n") && devices.contains("c 10:200 rw"), "{devices}");
    if Path::new("/sys/fs/cgroup/blkio/blkio.bfq.io_serviced").exists() {
        assert_eq!(cgroup("blkio/blkio.bfq.weight"), "300\n");
    }
}

#[test]
fn networks_have_ipv6_addresses() {
    if !ready() || !Path::new("/proc/net/if_inet6").exists() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = "services:
  fixed: {image: busybox, command: httpd -f -p 8080, stop_grace_period: 0s, networks: {n: {ipv6_address: 'fdc0:ac1e::7'}}}
  other: {image: busybox, command: sleep 1000, stop_grace_period: 0s, networks: [n, plain]}
networks:
  n: {enable_ipv6: true, ipam: {config: [{subnet: 'fdc0:ac1e::/64'}]}}
  plain:
";
    fs::write(directory.path().join("compose.yaml"), file).unwrap();
    let project = Project { name: unique("six"), directory: directory.path() };
    project.up().ok();
    assert!(project.inside("fixed", "ip -6 addr show eth0").contains("fdc0:ac1e::7/64"));
    let route = project.inside("other", "ip -6 route show default");
    assert!(route.contains("via fdc0:ac1e::1"), "{route}");
    assert!(project.succeeds("other", "nslookup -type=aaaa tasks.fixed | grep -q fdc0:ac1e::7"));
    // The service's own address is another, and leads there by both families.
    let service = project.inside("other", "nslookup -type=aaaa fixed | sed -n '/^Name/,$s/^Address: *//p'");
    assert!(service.starts_with("fdc0:ac1e::") && service.trim() != "fdc0:ac1e::7", "{service}");
    let asked =
        project.inside("other", &format!("wget -T 5 -O- http://[{}]:8080/ 2>&1; true", service.trim()));
    assert!(asked.contains("404"), "{asked}");
    // Not found is an answer; silence would not be.
    let asked = project.inside("other", "wget -T 5 -O- http://[fdc0:ac1e::7]:8080/ 2>&1; true");
    assert!(asked.contains("404"), "{asked}");
    let network = inspect(&format!("{}_n", project.name));
    assert_eq!(support::at(&network, "EnableIPv6"), true);
    assert_eq!(project.inside("fixed", "grep -c fdc0 /etc/hosts"), "1\n");

    let made = unique("made");
    coracle(["network", "create", "--ipv6", &made]).run().ok();
    let guard = support::Removed::network(&made);
    let seen = coracle(["run", "--rm", "--network", &made, "busybox", "ip", "-6", "addr", "show", "eth0"]);
    let seen = seen.run().ok();
    assert!(seen.stdout.contains("inet6 fd"), "{seen}");
    coracle(["network", "create", "--subnet", "fd00:1::/64", &unique("made")]).run().refuses(1, &["--ipv6"]);
    drop(guard);
}

#[test]
fn what_cannot_be_given_stops_an_up_with_its_line() {
    if !ready() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let name = unique("refused");
    for (attributes, line, words) in [
        ("gpus: all", 4, "no driver for GPUs"),
        ("userns_mode: private", 4, "user namespaces"),
        ("runtime: kata", 4, "no runtime `kata`"),
    ] {
        let file = format!("services:\n  a:\n    image: busybox\n    {attributes}\n");
        fs::write(directory.path().join("compose.yaml"), file).unwrap();
        let refused = coracle(["up", "-p", &name]).dir(directory.path()).run().ended(1);
        let place = format!("compose.yaml:{line}");
        assert!(refused.stderr.contains(words) && refused.stderr.contains(&place), "{refused}");
        assert!(!coracle(["ps", "-a"]).run().ok().stdout.contains(&name));
        // What is not there can still be taken down.
        coracle(["down", "-p", &name]).dir(directory.path()).run().ok();
    }
}

#[test]
fn flags_say_the_same() {
    if !ready() {
        return;
    }
    let owner =
        support::Container::start("owner", ["--ipc", "shareable", "-h", "owner", "busybox", "sleep", "1000"]);
    let name = owner.0.as_str();
    let joined = format!("container:{name}");
    let seen = coracle(["run", "--rm", "--network", &joined, "--pid", &joined])
        .args(["--ipc", &joined, "busybox", "sh", "-c", "hostname; ps"])
        .run()
        .ok();
    assert!(seen.stdout.starts_with("owner\n") && seen.stdout.contains("sleep 1000"), "{seen}");
    coracle(["run", "--rm", "--network", &joined, "-p", "80", "busybox", "true"])
        .run()
        .refuses(1, &["published ports"]);
    coracle(["run", "--rm", "--network", "container:nobody-here", "busybox", "true"])
        .run()
        .refuses(1, &["nobody-here"]);
    let private = support::Container::start("private", ["busybox", "sleep", "1000"]);
    coracle(["run", "--rm", "--ipc", &format!("container:{}", private.0), "busybox", "true"])
        .run()
        .refuses(1, &["does not share its ipc namespace"]);
    coracle(["run", "--rm", "--uts", "host", "-h", "x", "busybox", "true"]).run().refuses(1, &["name"]);
    coracle(["run", "--rm", "--sysctl", "kernel.panic=5", "busybox", "true"])
        .run()
        .refuses(1, &["kernel.panic", "would change the host"]);
    // Nobody of a container without processes of its own is left when its first one ends.
    let script = "sleep 98765 & exit 3";
    coracle(["run", "--rm", "--pid", "host", "busybox", "sh", "-c", script]).run().ended(3);
    let left = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line.contains("98765"))
    });
    assert!(!left);
}

#[test]
fn a_network_of_one_project_serves_another() {
    if !ready() {
        return;
    }
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = unique("shared");
    let service = "image: busybox, command: sleep 1000, stop_grace_period: 0s";
    let first =
        format!("services: {{a: {{{service}, networks: [n]}}}}\nnetworks: {{n: {{name: {shared}}}}}\n");
    fs::write(one.path().join("compose.yaml"), first).unwrap();
    let owner = Project { name: unique("owner"), directory: one.path() };
    owner.up().ok();
    let links = format!("external_links: ['{}-a-1:elder']", owner.name);
    let second = format!(
        "services: {{b: {{{service}, networks: [default, n], {links}}}}}\nnetworks: {{n: {{external: true, name: {shared}}}}}\n"
    );
    fs::write(two.path().join("compose.yaml"), second).unwrap();
    let guest = Project { name: unique("guest"), directory: two.path() };
    guest.up().ok();
    let known = |project: &Project<'_>, service: &str, name: &str| {
        let script = format!("nslookup -type=a {name} | tail -n +3 | grep -q Address");
        eventually(&format!("`{name}` is known to {service}"), SOON, || {
            holds(project.succeeds(service, &script), || "it is not".to_owned())
        });
    };
    // Each asks the name server of its own first network.
    known(&guest, "b", "a");
    known(&guest, "b", "elder");
    known(&owner, "a", "b");
    // A container of no project is known too, as long as it is there.
    let late = support::Container::start("late", ["--network", &shared, "busybox", "sleep", "1000"]);
    known(&owner, "a", &late.0);
    known(&guest, "b", &late.0);
    let name = late.0.clone();
    drop(late);
    let script = format!("nslookup -type=a {name} | tail -n +3 | grep -q Address");
    assert!(!owner.succeeds("a", &script) && !guest.succeeds("b", &script));
    drop(guest);
    drop(owner);
}

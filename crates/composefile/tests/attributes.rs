//! Attributes of the kernel's making: what each is read as, and what is said about those that cannot be given.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use coracle_composefile::{
    CgroupMode, DependencyCondition, IpcMode, LoadRequest, Loaded, Loader, NetworkDriver, NetworkMode,
    PidMode, Project, Service, UtsMode, load,
};

struct Files(HashMap<PathBuf, String>);

impl Loader for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

fn loaded(text: &str) -> Loaded {
    let files = [("/p/compose.yml", text), ("/p/profile.json", "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}")];
    let files = files.map(|(path, text)| (PathBuf::from(path), text.to_owned()));
    let request = LoadRequest {
        files: vec!["/p/compose.yml".into()],
        project_directory: "/p".into(),
        ..LoadRequest::default()
    };
    load(&request, &Files(files.into())).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"))
}

fn project(text: &str) -> Project {
    loaded(text).project
}

/// Reads a service `a` beside `b`; `attributes` are lines of it.
fn service(attributes: &str) -> Service {
    let lines = attributes.replace('\n', "\n    ");
    project(&format!("services:\n  a:\n    image: a\n    {lines}\n  b: {{image: b}}\n")).services["a"].clone()
}

#[test]
fn namespaces() {
    let shared = service("ipc: service:b\npid: container:x\nuts: host\ncgroup: host");
    assert_eq!(shared.isolation.ipc, IpcMode::Service("b".to_owned()));
    assert_eq!(shared.isolation.pid, PidMode::Container("x".to_owned()));
    assert_eq!((shared.isolation.uts, shared.isolation.cgroup), (UtsMode::Host, CgroupMode::Host));
    let implied = &shared.depends_on["b"];
    assert_eq!((implied.condition, implied.required), (DependencyCondition::Started, true));
    assert!(implied.restart && implied.span.start.line == 4, "{implied:?}");
    for (mode, read) in [
        ("shareable", IpcMode::Shareable),
        ("none", IpcMode::None),
        ("host", IpcMode::Host),
        ("private", IpcMode::Private),
    ] {
        assert_eq!(service(&format!("ipc: {mode}")).isolation.ipc, read);
    }
    assert_eq!(service("pid: host").isolation.pid, PidMode::Host);
    assert_eq!(service("network_mode: service:b").network_mode, NetworkMode::Service("b".to_owned()));
    assert_eq!(service("network_mode: container:x").network_mode, NetworkMode::Container("x".to_owned()));
    assert!(service("network_mode: container:x").depends_on.is_empty());
    // What is written wins over what is implied.
    let own = service("network_mode: service:b\ndepends_on: {b: {condition: service_healthy}}");
    assert_eq!(own.depends_on["b"].condition, DependencyCondition::Healthy);
}

#[test]
fn names_and_links() {
    let read = service(
        "domainname: example.org\ndns_opt: [ndots:2, rotate]\nlinks: [b, 'b:db']\nexternal_links: ['old-db:mysql']\nmac_address: 02-42-AC-11-65-43\nannotations: {a: 1, b: x}",
    );
    assert_eq!(read.domainname.as_deref(), Some("example.org"));
    assert_eq!(read.dns_options, ["ndots:2", "rotate"]);
    let links: Vec<_> = read.links.iter().map(|link| (link.target.as_str(), link.alias.as_str())).collect();
    assert_eq!(links, [("b", "b"), ("b", "db")]);
    assert_eq!(read.external_links[0].alias, "mysql");
    assert!(read.depends_on.contains_key("b") && read.depends_on.len() == 1);
    assert_eq!(read.mac_address.unwrap().0, [0x02, 0x42, 0xac, 0x11, 0x65, 0x43]);
    assert_eq!(read.annotations["a"], "1");
}

#[test]
fn devices_and_limits() {
    let read = service(
        "devices: ['/dev/fuse', '/dev/a:/dev/b:r', {source: /dev/c, target: /dev/d, permissions: rw}]
device_cgroup_rules: ['c 1:3 mr']
cgroup_parent: /shop
oom_score_adj: -500
oom_kill_disable: true
mem_swappiness: 10
cpu_period: 50000
cpu_quota: 25000
cpu_rt_period: 400000
cpu_rt_runtime: '95000'
blkio_config:
  weight: 300
  weight_device: [{path: /dev/sda, weight: 400}]
  device_read_bps: [{path: /dev/sdb, rate: 12mb}]
  device_write_iops: [{path: /dev/sdb, rate: 30}]",
    );
    let devices: Vec<_> = read
        .devices
        .iter()
        .map(|device| {
            (device.source.to_str().unwrap(), device.target.to_str().unwrap(), &*device.permissions)
        })
        .collect();
    assert_eq!(
        devices,
        [("/dev/fuse", "/dev/fuse", "rwm"), ("/dev/a", "/dev/b", "r"), ("/dev/c", "/dev/d", "rw")]
    );
    assert_eq!(read.device_rules[0].rule, "c 1:3 mr");
    assert_eq!((read.cgroup_parent.as_deref(), read.oom_score_adj), (Some("/shop"), Some(-500)));
    let limits = &read.resources;
    assert!(limits.oom_kill_disable);
    assert_eq!((limits.cpu_period, limits.cpu_quota), (Some(50_000), Some(25_000)));
    assert_eq!((limits.cpu_rt_period, limits.cpu_rt_runtime), (Some(400_000), Some(95_000)));
    assert_eq!((limits.memory_swappiness, limits.block_io.weight), (Some(10), Some(300)));
    assert_eq!(limits.block_io.weight_device[0].rate, 400);
    assert_eq!(limits.block_io.device_read_bps[0].rate, 12 << 20);
    assert_eq!(limits.block_io.device_write_iops[0].path, Path::new("/dev/sdb"));
}

#[test]
fn options_of_security() {
    let read = service(
        "security_opt: ['no-new-privileges:true', 'seccomp:profile.json', 'apparmor=mine', 'label:disable', 'systempaths=unconfined', 'mask=/a:/b', 'unmask=/proc/keys']",
    );
    assert!(read.no_new_privileges == Some(true) && !read.seccomp_unconfined);
    let profile = read.security.seccomp_profile.unwrap();
    assert_eq!(profile.path, Path::new("/p/profile.json"));
    assert!(profile.text.contains("SCMP_ACT_ALLOW") && profile.span.start.line == 4);
    assert_eq!(
        (read.security.apparmor.as_deref(), read.security.labels),
        (Some("mine"), vec!["disable".to_owned()])
    );
    assert!(read.security.system_paths_unconfined);
    assert_eq!((read.security.mask.len(), read.security.unmask.len()), (2, 1));
    assert!(service("security_opt: [seccomp=unconfined]").seccomp_unconfined);
}

#[test]
fn networks_with_everything() {
    let text = "services:
  a:
    image: a
    networks:
      front:
        mac_address: 02:42:ac:11:65:43
        link_local_ips: [169.254.1.1]
        interface_name: lan0
        priority: 5
        gw_priority: -1
        driver_opts: {com.docker.network.endpoint.sysctls: 'net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=1'}
  h: {image: a, networks: [outside]}
networks:
  front:
    driver_opts: {com.docker.network.driver.mtu: 1400}
    ipam:
      config:
        - subnet: 10.9.0.0/24
          ip_range: 10.9.0.128/25
          aux_addresses: {router: 10.9.0.5}
  outside: {external: true, name: host}
";
    let project = project(text);
    let on = &project.services["a"].networks["front"];
    assert_eq!(on.mac_address.unwrap().0[5], 0x43);
    assert_eq!((on.priority, on.gateway_priority), (5, -1));
    assert_eq!(
        (on.interface_name.as_deref(), on.link_local_ips.len(), on.sysctls.len()),
        (Some("lan0"), 1, 2)
    );
    let front = &project.networks["front"];
    assert_eq!(front.range.as_deref(), Some("10.9.0.128/25"));
    assert_eq!(front.reserved["router"].to_string(), "10.9.0.5");
    assert_eq!(front.driver_options["com.docker.network.driver.mtu"], "1400");
    assert_eq!(project.networks["outside"].driver, NetworkDriver::Host);
    assert_eq!(front.ipv6, None);

    let both = "{enable_ipv6: true, ipam: {config: [{subnet: 10.9.0.0/24}, {subnet: 'fd00:9::/64', gateway: 'fd00:9::1'}]}}";
    let text = format!(
        "services:\n  a: {{image: a, networks: {{n: {{ipv6_address: 'fd00:9::7'}}}}}}\nnetworks: {{n: {both}}}\n"
    );
    let loaded = loaded(&text);
    assert_eq!(loaded.not_honoured().count(), 0);
    let pool = loaded.project.networks["n"].ipv6.clone().unwrap();
    assert_eq!(pool.subnet.as_deref(), Some("fd00:9::/64"));
    assert_eq!(pool.gateway.unwrap().to_string(), "fd00:9::1");
    let on = &loaded.project.services["a"].networks["n"];
    assert_eq!(on.ipv6_address.unwrap().to_string(), "fd00:9::7");
}

#[test]
fn what_cannot_be_given_is_refused_or_warned_of_with_its_line() {
    for (attribute, code) in [
        ("gpus: all", "no-gpu-driver"),
        ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}", "no-gpu-driver"),
        ("devices: ['vendor.com/device=gpu']", "no-gpu-driver"),
        ("userns_mode: private", "no-user-namespace"),
        ("runtime: kata", "no-runtime"),
    ] {
        let refusals = service(attribute).refusals;
        let codes: Vec<_> = refusals.iter().map(|refusal| refusal.code.as_str()).collect();
        assert_eq!(codes, [code], "{attribute}");
        assert_eq!(refusals[0].span.as_ref().unwrap().start.line, 4, "{attribute}");
        assert!(!refusals[0].hints.is_empty(), "{attribute}");
    }
    for attribute in ["userns_mode: host", "runtime: runc", "isolation: default", "use_api_socket: false"] {
        let text = format!("services:\n  a:\n    image: a\n    {attribute}\n");
        let loaded = loaded(&text);
        assert!(loaded.project.services["a"].refusals.is_empty(), "{attribute}");
        assert_eq!(loaded.not_honoured().count(), 0, "{attribute}");
    }
    for attribute in [
        "cpu_count: 2",
        "cpu_percent: 50",
        "isolation: hyperv",
        "credential_spec: {file: x.json}",
        "storage_opt: {size: 1G}",
        "use_api_socket: true",
    ] {
        let loaded = loaded(&format!("services:\n  a:\n    image: a\n    {attribute}\n"));
        let warnings: Vec<_> = loaded.not_honoured().collect();
        assert_eq!(warnings.len(), 1, "{attribute}: {warnings:?}");
        assert_eq!(warnings[0].span.as_ref().unwrap().start.line, 4, "{attribute}");
    }
    for network in ["driver: macvlan", "driver: overlay", "ipam: {driver: dhcp}"] {
        let network = format!("services:\n  a: {{image: a, networks: [n]}}\nnetworks:\n  n: {{{network}}}\n");
        let refusals = project(&network).networks["n"].refusals.clone();
        assert_eq!((refusals.len(), &*refusals[0].code), (1, "network-driver"), "{network}");
    }
}

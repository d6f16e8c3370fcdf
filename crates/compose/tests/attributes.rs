//! What attributes of the kernel's making become in a container's specification, in a network, and in a plan.

mod support;

use std::sync::atomic::AtomicBool;

use coracle_compose::{ObservedRun, Options, execute};
use coracle_container::{IpcMode, NetworkMode, PidMode};
use support::{Recorder, World, plan, project, show, try_wanted, wanted};

#[test]
fn shared_namespaces_name_the_first_container() {
    let wanted = wanted(
        "services:\n  a: {image: a, network_mode: 'service:b', pid: 'service:b', ipc: 'service:c'}\n  b: {image: b, scale: 2}\n  c: {image: c, container_name: sea, ipc: shareable}\n",
    );
    let spec = &wanted.services["a"].containers[0];
    assert_eq!(spec.network_mode, NetworkMode::Container("shop-b-1".to_owned()));
    assert!(spec.networks.is_empty());
    assert_eq!(spec.isolation.pid, PidMode::Container("shop-b-1".to_owned()));
    assert_eq!(spec.isolation.ipc, IpcMode::Container("sea".to_owned()));
    let shares: Vec<_> =
        wanted.services["a"].depends_on.iter().map(|it| (it.service.as_str(), it.shares)).collect();
    assert_eq!(shares, [("b", true), ("c", true)]);
    let order: Vec<_> = wanted.services.keys().collect();
    assert_eq!(order, ["b", "c", "a"]);
}

#[test]
fn what_excludes_anothers_network_is_an_error_with_its_place() {
    let text = "services:\n  a:\n    image: a\n    network_mode: service:b\n    ports: ['80:80']\n    hostname: x\n  b: {image: b}\n";
    let errors = try_wanted(&project(text), &[]).unwrap_err();
    let text = show(&errors);
    assert!(text.contains("published ports") && text.contains("`hostname`"), "{text}");
    assert!(errors.iter().all(|error| error.code == "network-conflict" && error.span.is_some()), "{text}");
}

#[test]
fn refusals_are_errors_of_an_up() {
    let errors = try_wanted(&project("services:\n  a: {image: a, gpus: all}\n"), &[]).unwrap_err();
    assert_eq!(errors[0].code, "no-gpu-driver");
    let text = "services:\n  a: {image: a, networks: [n]}\nnetworks:\n  n: {driver: macvlan}\n";
    assert_eq!(try_wanted(&project(text), &[]).unwrap_err()[0].code, "network-driver");
}

#[test]
fn links_are_names_of_containers() {
    let wanted = wanted(
        "services:\n  a: {image: a, links: ['b:db'], external_links: ['old:mysql']}\n  b: {image: b, scale: 2}\n",
    );
    let links: Vec<_> = wanted.services["a"].containers[0]
        .links
        .iter()
        .map(|link| (link.container.as_str(), link.alias.as_str()))
        .collect();
    assert_eq!(
        links,
        [("shop-b-1", "db"), ("shop-b-1", "b-1"), ("shop-b-2", "db"), ("shop-b-2", "b-2"), ("old", "mysql"),]
    );
}

#[test]
fn networks_in_the_order_of_their_priority() {
    let text = "services:\n  a:\n    image: a\n    mac_address: '02:42:ac:00:00:01'\n    networks:\n      one: {priority: 1, gw_priority: 3}\n      two: {priority: 10, interface_name: lan0}\nnetworks: {one: , two: {ipam: {config: [{subnet: 10.9.0.0/24, ip_range: 10.9.0.0/28}]}}}\n";
    let wanted = wanted(text);
    let networks = &wanted.services["a"].containers[0].networks;
    assert_eq!((networks[0].network.as_str(), networks[1].network.as_str()), ("shop_two", "shop_one"));
    assert_eq!(networks[0].mac_address.unwrap().to_string(), "02:42:ac:00:00:01");
    assert_eq!((networks[1].gateway_priority, networks[1].mac_address), (3, None));
    assert_eq!(wanted.networks["two"].range.as_deref(), Some("10.9.0.0/28"));
}

#[test]
fn networks_of_the_host_are_its_namespace() {
    let text = "services:\n  a: {image: a, networks: [h]}\n  b: {image: b, networks: [n]}\nnetworks:\n  h: {external: true, name: host}\n  n: {driver: none}\n";
    let wanted = wanted(text);
    assert_eq!(wanted.services["a"].containers[0].network_mode, NetworkMode::Host);
    assert_eq!(wanted.services["b"].containers[0].network_mode, NetworkMode::None);
    assert!(wanted.networks.is_empty());
}

#[test]
fn devices_limits_and_security_are_carried_over() {
    let text = "services:\n  a:\n    image: a\n    devices: ['/dev/fuse:/dev/f:r']\n    device_cgroup_rules: ['c 1:3 mr']\n    cpu_quota: 25000\n    blkio_config: {weight: 300}\n    oom_score_adj: 7\n    cgroup_parent: shop\n    annotations: {a: b}\n    dns_opt: [ndots:2]\n    domainname: example.org\n    security_opt: [systempaths=unconfined]\n";
    let spec = wanted(text).services["a"].containers[0].clone();
    assert_eq!(spec.devices[0].access.to_string(), "r");
    assert_eq!(spec.device_rules[0].to_string(), "c 1:3 rm");
    assert_eq!((spec.resources.cpu_quota, spec.resources.block_io.weight), (Some(25_000), Some(300)));
    assert_eq!((spec.oom_score_adj, spec.cgroup_parent.as_deref()), (Some(7), Some("shop")));
    assert_eq!((spec.annotations["a"].as_str(), spec.domainname.as_deref()), ("b", Some("example.org")));
    assert!(spec.security.system_paths_unconfined && spec.dns_options == ["ndots:2"]);
    let wrong = "services:\n  a: {image: a, device_cgroup_rules: ['c 1 mr']}\n";
    let errors = try_wanted(&project(wrong), &[]).unwrap_err();
    assert!(errors[0].span.is_some(), "{}", show(&errors));
}

#[test]
fn a_container_without_them_keeps_its_digest() {
    // Whoever upgrades does not want every container replaced.
    let wanted = wanted("services:\n  a: {image: a}\n");
    let spec = serde_json::to_value(&wanted.services["a"].containers[0]).unwrap();
    for field in
        ["isolation", "security", "links", "annotations", "device_rules", "cgroup_parent", "oom_score_adj"]
    {
        assert!(spec.get(field).is_none(), "{field}");
    }
    assert!(spec["resources"].get("block_io").is_none());
}

#[test]
fn who_lives_in_anothers_namespace_restarts_with_it() {
    let wanted = wanted("services:\n  a: {image: a, network_mode: 'service:b'}\n  b: {image: b}\n");
    let world = World::new();
    let options = Options::default();
    execute(&plan(&wanted, &world, &options), &world, &Recorder::default(), None, &AtomicBool::new(false))
        .unwrap_or_else(|errors| panic!("{}", show(&errors)));
    assert!(plan(&wanted, &world, &options).is_empty());
    world.set("shop-b-1", ObservedRun::Exited { code: 0, by_user: true });
    let text = plan(&wanted, &world, &options).to_string();
    let place = |step: &str| text.find(step).unwrap_or_else(|| panic!("no `{step}` in\n{text}"));
    assert!(place("start container shop-b-1") < place("stop container shop-a-1"), "{text}");
    assert!(place("stop container shop-a-1") < place("start container shop-a-1"), "{text}");
}

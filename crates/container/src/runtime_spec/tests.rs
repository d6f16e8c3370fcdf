use serde_json::Value;

use super::*;
use crate::{NetworkMode, Resources, SecretFile, Ulimit};

fn container() -> ContainerSpec {
    serde_json::from_value(json!({
        "name": "web",
        "image": "nginx:alpine",
        "image_id": format!("sha256:{}", "a".repeat(64)),
        "entrypoint": ["/entry.sh"],
        "command": ["nginx", "-g", "daemon off;"],
        "environment": { "NGINX_VERSION": "1.22" },
        "working_directory": "/srv",
        "network_mode": "bridge",
        "stop_signal": "SIGQUIT",
        "stop_grace_seconds": 10,
        "scope": "_standalone",
    }))
    .unwrap()
}

fn facts() -> Facts {
    Facts {
        id: ContainerId::from_random([0xab; 32]),
        rootfs: PathBuf::from("/run/coracle/containers/x/bundle/rootfs"),
        uid: 101,
        gid: 101,
        additional_gids: vec![101],
        home: "/var/cache/nginx".to_owned(),
        network_namespace: NetworkNamespace::Own,
        host_name_variable: true,
        host_name: "host".to_owned(),
        apparmor_profile: None,
        apparmor_enabled: false,
        mounts: Vec::new(),
        etc: EtcFiles::default(),
        secrets: None,
        namespaces: PathBuf::from("/run/bundle/namespaces"),
        devices: Vec::new(),
        block_devices: BTreeMap::new(),
        available_capabilities: u64::MAX,
        hard_limits: BTreeMap::new(),
        swap_accounting: true,
        kernel: (6, 1),
        throttles: vec![0, 1],
        controls: Controls::default(),
        limits: true,
        largest_group: u32::MAX - 1,
        oom_score: OomScore::default(),
    }
}

/// Returns the document as JSON, sets sorted, without the long seccomp lists.
fn document(container: &ContainerSpec, facts: &Facts) -> Value {
    let mut document = serde_json::to_value(oci_runtime_spec(container, facts).unwrap().spec).unwrap();
    for set in ["bounding", "effective", "permitted"] {
        if let Some(list) = document["process"]["capabilities"][set].as_array_mut() {
            list.sort_by_key(ToString::to_string);
        }
    }
    let seccomp = &mut document["linux"]["seccomp"];
    if !seccomp.is_null() {
        *seccomp = json!("default");
    }
    document
}

#[test]
fn a_plain_container() {
    insta::assert_json_snapshot!(document(&container(), &facts()));
}

#[test]
fn everything_asked() {
    let mut container = container();
    container.tty = true;
    container.read_only = true;
    container.no_new_privileges = true;
    container.hostname = Some("web.example".to_owned());
    container.cap_add = vec!["NET_ADMIN".to_owned()];
    container.cap_drop = vec!["ALL".to_owned()];
    container.shm_size = Some(1 << 20);
    container.sysctls = BTreeMap::from([
        ("net.core.somaxconn".to_owned(), "1024".to_owned()),
        ("kernel.shmmax".to_owned(), "65536".to_owned()),
    ]);
    container.resources = Resources {
        memory: Some(256 << 20),
        memory_swap: None,
        memory_reservation: Some(128 << 20),
        millicpus: Some(1500),
        cpu_shares: Some(512),
        cpuset: Some("0".to_owned()),
        pids: Some(100),
        ..Resources::default()
    };
    container.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 1024, hard: 1 << 20 }];
    let secret = |target: &str| SecretFile {
        source: PathBuf::from("/project/secrets/x"),
        target: target.to_owned(),
        uid: 0,
        gid: 0,
        mode: 0o444,
    };
    container.secrets = vec![secret("/run/secrets/password"), secret("/etc/app/key.pem")];
    let mut facts = facts();
    facts.secrets = Some(PathBuf::from("/run/bundle/secrets"));
    facts.apparmor_profile = Some("docker-default".to_owned());
    facts.hard_limits = BTreeMap::from([("nofile".to_owned(), 4096)]);
    facts.etc.hosts = Some(PathBuf::from("/run/bundle/hosts"));
    facts.etc.resolv_conf = Some(PathBuf::from("/run/bundle/resolv.conf"));
    facts.mounts = vec![
        ResolvedMount {
            source: ResolvedSource::Path(PathBuf::from("/volumes/deep")),
            target: "/data/deep".to_owned(),
            read_only: true,
            recursion: Recursion::default(),
        },
        ResolvedMount {
            source: ResolvedSource::Tmpfs { size: Some(4096), mode: Some(0o700), options: Vec::new() },
            target: "/data".to_owned(),
            read_only: false,
            recursion: Recursion::default(),
        },
        ResolvedMount {
            source: ResolvedSource::Path(PathBuf::from("/project/hosts")),
            target: "/etc/hosts".to_owned(),
            read_only: false,
            recursion: Recursion::default(),
        },
    ];
    facts.devices = vec![DeviceNode {
        path: PathBuf::from("/dev/fuse"),
        access: DeviceAccess::default(),
        block: false,
        major: 10,
        minor: 229,
        mode: 0o20666,
        uid: 0,
        gid: 0,
    }];
    insta::assert_json_snapshot!(document(&container, &facts));
    let written = oci_runtime_spec(&container, &facts).unwrap();
    assert_eq!(written.network_sysctls["net.core.somaxconn"], "1024");
    assert_eq!(written.network_sysctls["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(written.notes, ["the limit `nofile` stays at 4096: raising it needs CAP_SYS_RESOURCE"]);
}

#[test]
fn privileged_lifts_the_walls() {
    let mut container = container();
    container.privileged = true;
    container.network_mode = NetworkMode::Host;
    let facts = Facts { network_namespace: NetworkNamespace::Host, ..facts() };
    let document = document(&container, &facts);
    assert!(document["linux"]["seccomp"].is_null());
    assert_eq!(document["linux"]["maskedPaths"], json!([]));
    assert_eq!(document["linux"]["resources"]["devices"], json!([{ "allow": true, "access": "rwm" }]));
    assert_eq!(document["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 41);
    assert!(oci_runtime_spec(&container, &facts).unwrap().network_sysctls.is_empty());
}

#[test]
fn nothing_lies_over_proc() {
    let at = |target: &str| {
        let mut facts = facts();
        facts.mounts = vec![ResolvedMount {
            source: ResolvedSource::Path(PathBuf::from("/src")),
            target: target.to_owned(),
            read_only: false,
            recursion: Recursion::default(),
        }];
        oci_runtime_spec(&container(), &facts).map(|_| ()).err()
    };
    for target in ["/proc", "/proc/", "//proc/sys", "/data/../proc/self/attr", "/proc/./kcore"] {
        assert_eq!(at(target), Some(RuntimeSpecError::ProcMount(target.to_owned())));
    }
    for target in ["/process", "/data/proc", "/proc/cpuinfo", "/proc/sys/kernel/ns_last_pid", "/proc/.."] {
        assert_eq!(at(target), None, "{target}");
    }
}

#[test]
fn an_empty_home_is_none() {
    let mut container = container();
    container.environment.insert("HOME".to_owned(), String::new());
    let document = document(&container, &facts());
    let environment = document["process"]["env"].as_array().unwrap();
    assert!(environment.contains(&json!("HOME=/var/cache/nginx")), "{environment:?}");
    assert!(!environment.contains(&json!("HOME=")), "{environment:?}");
}

#[test]
fn nonsense_is_refused() {
    let refused = |change: &dyn Fn(&mut ContainerSpec)| {
        let mut container = container();
        change(&mut container);
        oci_runtime_spec(&container, &facts()).map(|_| ()).unwrap_err()
    };
    assert_eq!(
        refused(&|container| {
            container.entrypoint.clear();
            container.command.clear();
        }),
        RuntimeSpecError::NoCommand
    );
    assert_eq!(
        refused(&|container| container.cap_add = vec!["FLY".to_owned()]),
        RuntimeSpecError::Capability("FLY".to_owned())
    );
    assert_eq!(
        refused(&|container| {
            container.ulimits = vec![Ulimit { name: "luck".to_owned(), soft: 1, hard: 1 }];
        }),
        RuntimeSpecError::Ulimit("luck".to_owned())
    );
    assert_eq!(
        refused(&|container| {
            container.ulimits = vec![Ulimit { name: "core".to_owned(), soft: 2, hard: 1 }];
        }),
        RuntimeSpecError::UlimitOrder("core".to_owned())
    );
}

#[test]
fn secrets_stay_in_their_place() {
    assert_eq!(secret_place(3, "/run/secrets/db/password"), PathBuf::from("run/db/password"));
    assert_eq!(secret_place(3, "/run/secrets/../passwd"), PathBuf::from("other/3"));
    assert_eq!(secret_place(3, "/etc/key"), PathBuf::from("other/3"));
}

#[test]
fn what_lies_below_a_read_only_bind_is_read_only() {
    let options = |recursion, read_only| {
        let mut facts = facts();
        facts.mounts = vec![ResolvedMount {
            source: ResolvedSource::Path(PathBuf::from("/src")),
            target: "/data".to_owned(),
            read_only,
            recursion,
        }];
        let document = document(&container(), &facts);
        let mounts = document["mounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["destination"] == "/data").unwrap();
        let words: Vec<&str> =
            mount["options"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        words.join(",")
    };
    for (recursion, read_only, expected) in [
        (Recursion::Enabled, false, "rbind,rw"),
        (Recursion::Enabled, true, "rbind,ro,rro"),
        (Recursion::ReadOnly, true, "rbind,ro,rro"),
        (Recursion::Writable, true, "rbind,ro"),
        (Recursion::Disabled, true, "bind,ro"),
    ] {
        assert_eq!(options(recursion, read_only), expected);
    }
}

#[test]
fn options_of_a_tmpfs_take_the_place_of_what_they_contradict() {
    let options = |given: &[&str]| {
        let mut facts = facts();
        facts.mounts = vec![ResolvedMount {
            source: ResolvedSource::Tmpfs {
                size: Some(64),
                mode: None,
                options: given.iter().map(|&option| option.to_owned()).collect(),
            },
            target: "/data".to_owned(),
            read_only: false,
            recursion: Recursion::default(),
        }];
        let document = document(&container(), &facts);
        let mounts = document["mounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["destination"] == "/data").unwrap();
        mount["options"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
    };
    assert_eq!(options(&[]), "noexec,nosuid,nodev,mode=1777,size=64");
    assert_eq!(options(&["exec", "uid=7"]), "nosuid,nodev,mode=1777,size=64,uid=7");
}

#[test]
fn namespaces_are_made_shared_or_joined() {
    use crate::{CgroupMode, IpcMode, Isolation, PidMode, UtsMode};
    let mut container = container();
    container.domainname = Some("example.org".to_owned());
    let made = document(&container, &facts());
    let types: Vec<&str> = made["linux"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|namespace| namespace["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["pid", "ipc", "uts", "mount", "cgroup"]);
    assert_eq!(made["domainname"], "example.org");

    container.isolation =
        Isolation { ipc: IpcMode::Host, pid: PidMode::Host, uts: UtsMode::Host, cgroup: CgroupMode::Host };
    let shared = document(&container, &facts());
    assert_eq!(shared["linux"]["namespaces"], json!([{ "type": "mount" }]));
    assert!(shared["hostname"].is_null() && shared["domainname"].is_null());
    assert!(shared["process"]["env"].as_array().unwrap().contains(&json!("HOSTNAME=host")));
    let shm = |document: &Value| {
        let mounts = document["mounts"].as_array().unwrap();
        mounts.iter().find(|mount| mount["destination"] == "/dev/shm").cloned()
    };
    assert_eq!(shm(&shared).unwrap()["source"], "/dev/shm");

    container.isolation = Isolation {
        ipc: IpcMode::Container("db".to_owned()),
        pid: PidMode::Container("db".to_owned()),
        ..Isolation::default()
    };
    let joined = document(&container, &facts());
    assert_eq!(
        joined["linux"]["namespaces"],
        json!([
            { "type": "pid", "path": "/run/bundle/namespaces/pid" },
            { "type": "ipc", "path": "/run/bundle/namespaces/ipc" },
            { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
        ])
    );
    assert_eq!(shm(&joined).unwrap()["source"], "/run/bundle/namespaces/shm");

    container.isolation.ipc = IpcMode::None;
    assert_eq!(shm(&document(&container, &facts())), None);
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    use crate::{IpcMode, UtsMode};
    let outcome = |key: &str, change: &dyn Fn(&mut ContainerSpec, &mut Facts)| {
        let (mut container, mut facts) = (container(), facts());
        container.sysctls = BTreeMap::from([(key.to_owned(), "1".to_owned())]);
        change(&mut container, &mut facts);
        oci_runtime_spec(&container, &facts).is_ok()
    };
    let as_is = |_: &mut ContainerSpec, _: &mut Facts| {};
    for key in ["net.ipv4.ip_forward", "net/ipv4/ip_forward", "kernel.shmmax", "fs.mqueue.msg_max"] {
        assert!(outcome(key, &as_is), "{key}");
    }
    for key in ["kernel.panic", "vm.swappiness", "fs.file-max", "", "net..x"] {
        assert!(!outcome(key, &as_is), "{key}");
    }
    assert!(!outcome("net.ipv4.ip_forward", &|_, facts| facts.network_namespace = NetworkNamespace::Host));
    assert!(!outcome("kernel.sem", &|container, _| container.isolation.ipc = IpcMode::Host));
    assert!(!outcome("kernel.domainname", &|container, _| container.isolation.uts = UtsMode::Host));
}

#[test]
fn limits_that_this_kernel_has() {
    use crate::{BlockIo, DeviceLimit};
    let mut container = container();
    let limit = |rate| vec![DeviceLimit { path: PathBuf::from("/dev/vda"), rate }];
    container.oom_score_adj = Some(-500);
    container.device_rules = vec!["c 10:* r".parse().unwrap()];
    container.cgroup_parent = Some("/shop/".to_owned());
    container.resources = Resources {
        cpu_period: Some(50_000),
        cpu_quota: Some(25_000),
        cpu_rt_runtime: Some(1_000),
        memory_swappiness: Some(0),
        oom_kill_disable: true,
        block_io: BlockIo {
            weight: Some(300),
            device_read_bps: limit(1 << 20),
            device_write_iops: limit(50),
            ..BlockIo::default()
        },
        ..Resources::default()
    };
    let mut known = facts();
    known.block_devices = BTreeMap::from([(PathBuf::from("/dev/vda"), (254, 0))]);
    let written = oci_runtime_spec(&container, &known).unwrap();
    assert_eq!(written.notes.len(), 6, "{:#?}", written.notes);
    let less = document(&container, &known);
    assert!(less["linux"]["resources"]["blockIO"].is_null() && less["process"]["oomScoreAdj"].is_null());

    known.controls =
        Controls { swappiness: true, oom_control: true, realtime: true, io_weight: true, io_throttle: true };
    known.oom_score = OomScore { current: 0, may_lower: true };
    assert!(oci_runtime_spec(&container, &known).unwrap().notes.is_empty());
    let all = document(&container, &known);
    assert_eq!(all["process"]["oomScoreAdj"], -500);
    assert_eq!(all["linux"]["cgroupsPath"], "/shop/coracle-abababababab");
    assert_eq!(
        all["linux"]["resources"]["cpu"],
        json!({ "period": 50_000, "quota": 25_000, "realtimeRuntime": 1_000 })
    );
    assert_eq!(all["linux"]["resources"]["memory"]["swappiness"], 0);
    assert_eq!(
        all["linux"]["resources"]["devices"][1],
        json!({ "allow": true, "type": "c", "major": 10, "access": "r" })
    );
    let io = &all["linux"]["resources"]["blockIO"];
    assert_eq!(io["weight"], 300);
    assert_eq!(io["throttleReadBpsDevice"], json!([{ "major": 254, "minor": 0, "rate": 1 << 20 }]));

    container.resources.millicpus = Some(500);
    assert_eq!(oci_runtime_spec(&container, &known).unwrap_err(), RuntimeSpecError::CpuLimits);
}

#[test]
fn options_of_security() {
    use crate::Security;
    let mut container = container();
    container.security = Security {
        seccomp_profile: Some(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#.to_owned()),
        apparmor: Some("mine".to_owned()),
        labels: vec!["disable".to_owned()],
        mask: vec!["/etc/shadow".to_owned()],
        unmask: vec!["/proc/keys".to_owned()],
        system_paths_unconfined: false,
    };
    let written = oci_runtime_spec(&container, &facts()).unwrap();
    assert_eq!(written.notes.len(), 1, "{:?}", written.notes);
    let spec = serde_json::to_value(written.spec).unwrap();
    assert_eq!(spec["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ALLOW");
    let masked = spec["linux"]["maskedPaths"].as_array().unwrap();
    assert!(masked.contains(&json!("/etc/shadow")) && masked.contains(&json!("/proc/kcore")));
    assert!(!masked.contains(&json!("/proc/keys")));

    container.security.system_paths_unconfined = true;
    let open = document(&container, &Facts { apparmor_enabled: true, ..facts() });
    assert_eq!(open["linux"]["maskedPaths"], json!(["/etc/shadow"]));
    assert_eq!(open["linux"]["readonlyPaths"], json!([]));
    assert_eq!(open["process"]["apparmorProfile"], "mine");
}

#[test]
fn a_normal_user_gets_what_there_is() {
    let mut container = container();
    container.resources.memory = Some(64 << 20);
    container.resources.pids = Some(10);
    let mut known = facts();
    known.limits = false;
    known.largest_group = 0;
    let written = oci_runtime_spec(&container, &known).unwrap();
    let document = serde_json::to_value(&written.spec).unwrap();
    assert!(document["linux"]["resources"].is_null());
    assert_eq!(
        written.notes,
        [
            "limits of memory, processes are not enforced: this user has no control group of its own (coracle doctor)"
        ]
    );
    assert_eq!(written.network_sysctls["net.ipv4.ping_group_range"], "0 0");
    assert!(!document["mounts"].to_string().contains("gid=5"));
}

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
        apparmor_profile: None,
        mounts: Vec::new(),
        etc: EtcFiles::default(),
        secrets: None,
        devices: Vec::new(),
        available_capabilities: u64::MAX,
        hard_limits: BTreeMap::new(),
        swap_accounting: true,
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

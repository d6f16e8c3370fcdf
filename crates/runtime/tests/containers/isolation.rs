//! What a container may not do.

use coracle_container::runtime_spec::{ResolvedMount, ResolvedSource};
use coracle_container::{ContainerState, Recursion, Ulimit};
use coracle_runtime::ResolvedUser;

use crate::machine::machine;

#[test]
fn memory_is_limited_and_the_kill_is_seen() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("x=a; while :; do x=$x$x; done");
    container.record.spec.resources.memory = Some(16 << 20);
    let output = container.run();
    assert_eq!(output.code, 137, "{output:?}");
    let state = container.state();
    assert!(matches!(state, ContainerState::Exited { out_of_memory: true, .. }), "{state:?}");
}

#[test]
fn the_number_of_processes_is_limited() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("for n in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all");
    container.record.spec.resources.pids = Some(5);
    let output = container.run();
    assert!(!output.stdout.contains("all") && output.stderr.contains("fork"), "{output:?}");
}

#[test]
fn processor_time_is_limited_by_the_kernel() {
    let Some(machine) = machine() else { return };
    let mut container =
        machine.shell("cat /sys/fs/cgroup/cpu*/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null");
    container.record.spec.resources.millicpus = Some(250);
    let output = container.run();
    assert!(output.stdout.contains("25000"), "{output:?}");
}

#[test]
fn capabilities_and_seccomp() {
    let Some(machine) = machine() else { return };
    let caps = |container: &mut crate::machine::Container<'_>| {
        let text = container.run().stdout;
        let line = text.lines().find(|line| line.starts_with("CapBnd")).unwrap().to_owned();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    let status = ["cat", "/proc/self/status"];
    assert_eq!(caps(&mut machine.container(&status)), 0xa804_25fb);
    let mut none = machine.container(&status);
    none.record.spec.cap_drop = vec!["ALL".to_owned()];
    assert_eq!(caps(&mut none), 0);
    let filtered = machine.container(&status).run().stdout;
    assert!(filtered.lines().any(|line| line == "Seccomp:\t2"), "{filtered}");

    let denied = machine.shell("unshare -U true && echo done").run();
    assert!(!denied.stdout.contains("done"), "{denied:?}");
    let denied = machine.shell("mount -t tmpfs x /tmp && echo done").run();
    assert!(!denied.stdout.contains("done"), "{denied:?}");
    let mut open = machine.shell("unshare -U true && echo done");
    open.record.spec.seccomp_unconfined = true;
    let output = open.run();
    assert!(output.stdout.contains("done"), "{output:?}");
    let mut privileged = machine.shell("mount -t tmpfs x /tmp && echo done");
    privileged.record.spec.privileged = true;
    let output = privileged.run();
    assert!(output.stdout.contains("done"), "{output:?}");
}

#[test]
fn users_are_users() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell(
        "id -u; id -g; id -G; touch /x 2>/dev/null || echo denied; echo $HOME; grep CapEff /proc/self/status; echo again > /dev/stdout",
    );
    container.prepared.user =
        ResolvedUser { uid: 1000, gid: 1001, groups: vec![1001, 50], home: "/home/app".to_owned() };
    let output = container.run();
    assert_eq!(
        output.stdout, "1000\n1001\n1001 50\ndenied\n/home/app\nCapEff:\t0000000000000000\nagain\n",
        "{output:?}"
    );
}

#[test]
fn the_root_can_be_read_only() {
    let Some(machine) = machine() else { return };
    let mut container =
        machine.shell("touch /x || echo denied; touch /data/y && echo written; touch /ro/z || echo ro");
    container.record.spec.read_only = true;
    container.prepared.mounts = vec![
        ResolvedMount {
            source: ResolvedSource::Tmpfs { size: Some(4096 * 4), mode: None, options: Vec::new() },
            target: "/data".to_owned(),
            read_only: false,
            recursion: Recursion::default(),
        },
        ResolvedMount {
            source: ResolvedSource::Path(machine.path().join("lower/etc")),
            target: "/ro".to_owned(),
            read_only: true,
            recursion: Recursion::default(),
        },
    ];
    let output = container.run();
    assert_eq!(output.stdout, "denied\nwritten\nro\n", "{output:?}");
}

#[test]
fn kernel_files_are_masked_and_the_host_is_not_seen() {
    let Some(machine) = machine() else { return };
    let output = machine
        .shell("ls /proc | grep -c '^[0-9]'; cat /proc/kcore | head -c 1 | wc -c; echo 1 > /proc/sys/kernel/panic || echo ro; hostname; ls /proc/self/fd")
        .run();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(lines[0].parse::<u32>().unwrap() <= 4, "{output:?}");
    assert_eq!(&lines[1..3], ["0", "ro"], "{output:?}");
    assert!(lines[3].starts_with("fe57"), "{output:?}");
    assert!(lines.len() <= 8, "descriptors leaked: {output:?}");
}

#[test]
fn limits_of_processes() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("ulimit -n; ulimit -Hn");
    container.record.spec.ulimits = vec![Ulimit { name: "nofile".to_owned(), soft: 77, hard: 99 }];
    let output = container.run();
    assert_eq!(output.stdout, "77\n99\n", "{output:?}");
}

#[test]
fn the_network_is_its_own_with_loopback_and_low_ports() {
    let Some(machine) = machine() else { return };
    let output = machine
        .shell("ip -o link | wc -l; ping -c1 -W2 127.0.0.1 >/dev/null && echo pong; cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
        .run();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(&lines[1..], ["pong", "0"], "{output:?}");
}

#[test]
fn no_new_privileges() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("grep -E 'NoNewPrivs|Seccomp:' /proc/self/status");
    container.record.spec.no_new_privileges = true;
    let output = container.run();
    assert_eq!(output.stdout, "NoNewPrivs:\t1\nSeccomp:\t2\n", "{output:?}");
}

#[test]
fn the_working_directory_is_made() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("pwd; stat -c %u .");
    container.record.spec.working_directory = "/srv/app/deep".to_owned();
    container.prepared.user = ResolvedUser { uid: 9, gid: 9, groups: vec![9], home: "/".to_owned() };
    let output = container.run();
    assert_eq!(output.stdout, "/srv/app/deep\n9\n", "{output:?}");
}

//! Attacks on `/proc`, `/sys`, `/dev` and the kernel's own doors.

use crate::support::{SOON, eventually, holds};
use crate::{Entry, World};

/// Tells what of the kernel can be written or read. Opens for writing, and writes nothing.
const PROBE: &str = r"
    for file in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity; do
        if (: >> $file) 2>/dev/null; then echo writable $file; fi
    done
    for file in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do
        if [ -e $file ] && [ $(head -c 10 $file 2>/dev/null | wc -c) != 0 ]; then echo readable $file; fi
    done
    if [ -d /sys/firmware ] && [ $(ls /sys/firmware | wc -l) != 0 ]; then echo readable /sys/firmware; fi
    head -1 /proc/self/status | grep -q Name && echo real
";

/// Fails unless the container was refused, or sees a real `/proc` whose walls stand.
#[track_caller]
fn walls_stand(outcome: &crate::support::Outcome) {
    if outcome.code() == 0 {
        assert_eq!(outcome.stdout, "real\n", "{outcome}");
    } else {
        assert!(!outcome.stdout.contains("able /"), "{outcome}");
        assert!(!outcome.stderr.is_empty() && !outcome.stderr.contains("panicked"), "{outcome}");
    }
}

#[test]
fn the_probe_sees() {
    let Some(world) = World::new() else { return };
    world.image("walls", &[], "");
    let usual = world.run(&[], "walls", PROBE).ok();
    assert_eq!(usual.stdout, "real\n", "{usual}");
    let open = world.run(&["--security-opt", "systempaths=unconfined"], "walls", PROBE).ok();
    assert!(open.stdout.contains("writable /proc/sys/kernel/core_pattern"), "{open}");
}

/// CVE-2019-16884: a volume of the image over `/proc`, so that profiles are written to files of the image.
#[test]
fn cve_2019_16884_no_volume_lies_over_proc() {
    let Some(world) = World::new() else { return };
    let fake = [
        Entry::Directory("proc"),
        Entry::Directory("proc/self"),
        Entry::File("proc/self/status", b"fake", 0o644),
    ];
    world.image("volume", &fake, "VOLUME /proc\n");
    walls_stand(&world.run(&[], "volume", PROBE));
    walls_stand(&world.run(&["-v", "mine:/proc"], "volume", PROBE));
    walls_stand(&world.run(&["--tmpfs", "/proc/self/attr"], "volume", PROBE));
    let bind = format!("{}:/proc/sys", world.text("canary"));
    world.run(&["-v", &bind], "volume", PROBE).refuses(1, &["`/proc/sys` cannot be mounted over"]);
    world.canary_sings();
}

/// CVE-2019-19921: `/proc` of the image is a link into a volume that another container has prepared.
#[test]
fn cve_2019_19921_proc_is_no_link_into_a_volume() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let prepare =
        "mkdir -p /v/proc/self/attr /v/proc/sys; : > /v/proc/self/attr/exec; echo Name > /v/proc/self/status";
    world.run(&["-v", "shared:/v"], "plain", prepare).ok();
    world.image("linked", &[Entry::Link("proc", "v/proc")], "");
    let refused = world.run(&["-v", "shared:/v"], "linked", PROBE);
    walls_stand(&refused);
    assert!(refused.stderr.contains("`/proc` is a symbolic link"), "{refused}");
    walls_stand(&world.run(&["-v", "shared:/v"], "plain", PROBE));
}

/// CVE-2022-0185 and its class: faults of the kernel that new user namespaces open to everybody.
#[test]
fn cve_2022_0185_no_new_user_namespaces() {
    let Some(world) = World::new() else { return };
    world.image("kernel", &[], "");
    let script = "unshare -U true && echo users; unshare -m true && echo mounts; unshare -n true && echo net; mount -t tmpfs x /tmp && echo mounted; echo end";
    for options in [&[][..], &["-u", "1000"], &["--cap-add", "NET_ADMIN"]] {
        let tried = world.run(options, "kernel", script).ok();
        assert_eq!(tried.stdout, "end\n", "{tried}");
    }
    let built = world.build(&[], &format!("RUN {} true\n", script.replace("; echo end", ";")));
    let said = built.stdout.clone() + &built.stderr;
    assert!(!said.lines().any(|line| line.ends_with(" users") || line.ends_with(" mounts")), "{built}");
    // The control: without the filter it works.
    let open = world.run(&["--security-opt", "seccomp=unconfined"], "kernel", script).ok();
    assert!(open.stdout.contains("users"), "{open}");
}

/// CVE-2023-27561: the same as CVE-2019-19921 come back, by a link that changes meanwhile.
#[test]
fn cve_2023_27561_a_link_that_changes_is_no_proc() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    world.image("linked", &[Entry::Link("proc", "v/now")], "");
    let swap = "mkdir -p /v/dir/sys /v/dir/self/attr; : > /v/ready; while :; do ln -sfn /v/dir /v/now; rm -f /v/now; mkdir /v/now; rmdir /v/now; done";
    world.start("swap", &["-v", "shared:/v"], "plain", swap);
    for _ in 0..5 {
        let tried = world.run(&["-v", "shared:/v"], "linked", PROBE);
        walls_stand(&tried);
        assert_ne!(tried.code(), 0, "{tried}");
    }
}

/// CVE-2023-28642: `/proc` or `/sys` of the image is a link to a directory of the image.
#[test]
fn cve_2023_28642_proc_and_sys_are_no_links() {
    let Some(world) = World::new() else { return };
    for (name, link) in [("one", "proc"), ("two", "sys")] {
        let entries =
            [Entry::Directory("tmp/fake"), Entry::Directory("tmp/fake/self"), Entry::Link(link, "tmp/fake")];
        world.image(name, &entries, "");
        let refused = world.run(&[], name, PROBE);
        walls_stand(&refused);
        assert!(refused.stderr.contains(&format!("`/{link}` is a symbolic link")), "{refused}");
    }
    // A build step is a container too.
    let context = world.path("one");
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nADD root.tar /\nRUN echo step-ran\n").unwrap();
    let built =
        world.call(&["build", "--progress", "plain", "--network", "none", context.to_str().unwrap()]).run();
    assert_ne!(built.code(), 0, "{built}");
}

/// CVE-2025-31133: `/dev/null`, which hides files of the kernel, is exchanged for something else.
#[test]
fn cve_2025_31133_what_hides_kernel_files_is_the_null_device() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let null = [Entry::Directory("dev"), Entry::Link("dev/null", "/proc/sys/kernel/core_pattern")];
    world.image("null", &null, "");
    walls_stand(&world.run(&[], "null", PROBE));
    // A volume over /dev that another container prepared.
    world
        .run(
            &["-v", "dev:/v"],
            "plain",
            "ln -s /proc/sys/kernel/core_pattern /v/null; ln -s /proc/kcore /v/zero",
        )
        .ok();
    walls_stand(&world.run(&["-v", "dev:/dev"], "plain", PROBE));
    let swap = "while :; do ln -sfn /proc/sys/kernel/core_pattern /v/null; rm -f /v/null; done";
    world.start("swap", &["-v", "dev:/v"], "plain", swap);
    for _ in 0..3 {
        walls_stand(&world.run(&["-v", "dev:/dev"], "plain", PROBE));
    }
}

/// CVE-2025-52565: `/dev/console`, or the terminal mounted there, is exchanged for a link to a file of the kernel.
#[test]
fn cve_2025_52565_the_console_is_a_terminal() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let console = [
        Entry::Directory("dev"),
        Entry::Link("dev/console", "/proc/sys/kernel/core_pattern"),
        Entry::Directory("dev/pts"),
        Entry::Link("dev/pts/0", "/proc/sys/kernel/core_pattern"),
        Entry::Link("dev/ptmx", "/proc/sys/kernel/core_pattern"),
    ];
    world.image("console", &console, "");
    let script = "stat -c '%F %t' /dev/console; if (: >> /proc/sys/kernel/core_pattern) 2>/dev/null; then echo writable; fi";
    let seen = world.run(&["-t"], "console", script).ok();
    let text = seen.stdout.replace('\r', "");
    assert_eq!(text, "character special file 88\n", "major number 136: {seen}");
    // A volume over /dev/pts, and one over /dev.
    let prepare = "ln -s /proc/sys/kernel/core_pattern /v/0; ln -s /proc/sys/kernel/core_pattern /v/ptmx; ln -s /proc/sys/kernel/core_pattern /v/console";
    world.run(&["-v", "pts:/v"], "plain", prepare).ok();
    for place in ["pts:/dev/pts", "pts:/dev"] {
        let tried = world.run(&["-t", "-v", place], "plain", script);
        assert!(!tried.stdout.contains("writable"), "{tried}");
    }
}

/// CVE-2025-52881: what the runtime writes to `/proc` for a process that enters is led elsewhere.
#[test]
fn cve_2025_52881_nothing_we_write_to_proc_is_led_elsewhere() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    // The container may mount, and mounts a `/proc` of its own making over the real one.
    let script = "echo 100 > /hit; mount -t tmpfs x /proc && mkdir -p /proc/self/attr/apparmor && \
        ln -s /hit /proc/self/oom_score_adj && ln -s /hit /proc/self/attr/exec && ln -s /hit /proc/self/attr/apparmor/exec && \
        ln -s self /proc/thread-self && echo laid; sleep 100";
    let options = [
        "--cap-add",
        "SYS_ADMIN",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "apparmor=unconfined",
    ];
    world.start("trap", &[&options[..], &["--oom-score-adj", "567"]].concat(), "plain", script);
    eventually("the trap is laid", SOON, || {
        let log = world.call(&["logs", "trap"]).run();
        holds(log.stdout.contains("laid"), || log.to_string())
    });
    // Whether it can enter at all does not matter; what is written where does.
    world.call(&["exec", "trap", "true"]).run();
    let hit = world.call(&["exec", "trap", "cat", "/hit"]).run();
    let out = world.path("hit");
    world.call(&["cp", "trap:/hit", out.to_str().unwrap()]).run().ok();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "100\n", "{hit}");
    // The control: where nothing lies over it, the score is the one asked for.
    world.start("usual", &["--oom-score-adj", "567"], "plain", "sleep 100");
    assert_eq!(world.call(&["exec", "usual", "cat", "/proc/self/oom_score_adj"]).run().ok().line(), "567");
    // Kernel parameters go the same way.
    let set = world
        .run(&["--sysctl", "kernel.shm_rmid_forced=1"], "plain", "cat /proc/sys/kernel/shm_rmid_forced")
        .ok();
    assert_eq!(set.line(), "1");
}

/// CVE-2026-41579: `/dev` of the image is a link to a directory of the host, in which links are then made.
#[test]
fn cve_2026_41579_dev_is_no_link_to_the_host() {
    let Some(world) = World::new() else { return };
    let canary = world.text("canary");
    world.image("dev", &[Entry::Link("dev", &canary)], "");
    let refused = world.run(&[], "dev", "ls -la /dev/");
    world.canary_sings();
    assert!(refused.code() != 0 && refused.stderr.contains("`/dev` is a symbolic link"), "{refused}");
    let context = world.path("dev");
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nADD root.tar /\nRUN echo step-ran\n").unwrap();
    let built =
        world.call(&["build", "--progress", "plain", "--network", "none", context.to_str().unwrap()]).run();
    assert_ne!(built.code(), 0, "{built}");
    world.canary_sings();
}

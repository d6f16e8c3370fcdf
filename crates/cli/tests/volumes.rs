//! What Compose's `volumes` and `volumes_from` bring into containers: parts of volumes, images, mounts below mounts.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Files, SOON, Snapshot, coracle, ready, unique};

const FILE: &str = r#"
services:
  filler:
    image: busybox
    stop_grace_period: 0s
    command: [sh, -c, "mkdir -p /v/a/b && echo deep > /v/a/b/f && ln -sfn /etc /v/out && exec sleep 600"]
    volumes: ["vol:/v", /anonymous]
    healthcheck: {test: [CMD, test, -e, /v/out], interval: 200ms, timeout: 5s}
  user:
    image: busybox
    stop_grace_period: 0s
    command: [sleep, "600"]
    depends_on: {filler: {condition: service_healthy}}
    tmpfs: ["/run/own:exec,uid=7,size=1m"]
    volumes:
      - {type: volume, source: vol, target: /sub, volume: {subpath: a/b}}
      - {type: bind, source: ./src, target: /ro, read_only: true}
      - {type: bind, source: ./src, target: /top-ro, read_only: true, bind: {recursive: writable}}
      - {type: bind, source: ./src, target: /flat, bind: {recursive: disabled}}
      - {type: bind, source: ./src, target: /slave, bind: {propagation: rslave}}
      - {type: tmpfs, target: /t, tmpfs: {size: 64k, mode: 0700}}
      - {type: image, source: busybox, target: /img, image: {subpath: bin}}
      - {type: volume, source: memory, target: /memory}
      - {type: volume, source: device, target: /device}
  other:
    image: busybox
    stop_grace_period: 0s
    command: [sleep, "600"]
    volumes_from: [filler, "user:ro"]
volumes:
  vol:
  memory: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m,mode=750"}}
  device: {driver: local, driver_opts: {type: none, o: bind, device: ./device}}
"#;

/// A mount of the host that goes with this value.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(arguments: &[&str], at: &Path) -> Self {
        let status = Command::new("mount").args(arguments).arg(at).status().expect("mount runs");
        assert!(status.success(), "mount {arguments:?} {}", at.display());
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A project that goes with this value.
struct Project<'d>(&'d Path, String);

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _ = coracle(["down", "-v", "--timeout", "0", "-p", &self.1]).dir(self.0).bound(SOON).run();
    }
}

#[test]
fn every_kind_of_mount_is_as_compose_has_it() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for name in ["src", "device"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    fs::write(path.join("device/f"), "dev\n").unwrap();
    fs::write(path.join("compose.yaml"), FILE).unwrap();
    let src = path.join("src");
    let _src = Mounted::new(&["--bind", src.to_str().unwrap()], &src);
    assert!(Command::new("mount").arg("--make-shared").arg(&src).status().unwrap().success());
    for name in ["below", "late"] {
        fs::create_dir(src.join(name)).unwrap();
    }
    let _below = Mounted::new(&["-t", "tmpfs", "tmpfs"], &src.join("below"));
    fs::write(src.join("below/f"), "").unwrap();

    let before = Snapshot::take(Files::Snapshots);
    let name = unique("volumes");
    {
        let _project = Project(path, name.clone());
        coracle(["up", "-p", &name]).dir(path).run().ok();
        let inside = |service: &str, script: &str| {
            let container = format!("{name}-{service}-1");
            coracle(["exec", &container, "sh", "-c", script]).run()
        };
        let is = |script: &str, expected: &str| {
            assert_eq!(inside("user", script).ok().stdout.trim(), expected, "{script}");
        };
        let refused = |service: &str, script: &str| {
            let outcome = inside(service, script).ended(1);
            assert!(outcome.stderr.contains("Read-only file system"), "{script}: {outcome}");
        };
        is("cat /sub/f", "deep");
        refused("user", "touch /ro/x");
        refused("user", "touch /ro/below/x");
        refused("user", "touch /top-ro/x");
        is("touch /top-ro/below/y && ls /ro/below", "f\ny");
        is("ls /flat/below", "");
        is("stat -c %a /t; df -k /t | awk 'END {print $2}'", "700\n64");
        is("stat -c %u /run/own; grep -c ' /run/own .*noexec' /proc/mounts; true", "7\n0");
        is("/img/echo said", "said");
        refused("user", "touch /img/x");
        is("cat /device/f; stat -c %a /memory; echo shared > /memory/f", "dev\n750");

        let late = Mounted::new(&["-t", "tmpfs", "tmpfs"], &src.join("late"));
        fs::write(src.join("late/seen"), "").unwrap();
        is("ls /slave/late; ls /flat/late /ro/late | grep -c seen; true", "seen\n0");
        drop(late);

        assert_eq!(inside("other", "cat /memory/f /v/a/b/f").ok().stdout, "shared\ndeep\n");
        refused("other", "touch /memory/x");
        inside("other", "touch /v/x /anonymous/x && test ! -e /t").ok();

        let missing = FILE.replace("subpath: a/b", "subpath: a/none");
        fs::write(path.join("compose.yaml"), missing).unwrap();
        let outcome = coracle(["up", "-p", &name]).dir(path).run();
        outcome.refuses(1, &["there is nothing at `a/none`"]);
        let leads_out = FILE.replace("subpath: a/b", "subpath: out/ssl");
        fs::write(path.join("compose.yaml"), leads_out).unwrap();
        coracle(["up", "-p", &name]).dir(path).run().refuses(1, &["there is nothing at `out/ssl`"]);
    }
    before.nothing_is_left();
}

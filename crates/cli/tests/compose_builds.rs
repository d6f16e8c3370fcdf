//! What Compose's `build` gives to the steps of a build, through `up` and through `bake`: one and the same.

mod support;

use std::fs;

use support::{coracle, ready, unique};

const FILE: &str = r#"
services:
  built:
    image: NAME
    command: [cat, /seen]
    build:
      context: .
      dockerfile_inline: |
        FROM busybox
        ARG WHO
        RUN --mount=type=secret,id=key --mount=type=secret,id=file \
            { echo $$WHO; cat /run/secrets/key; cat /run/secrets/file; ulimit -n; \
              df -k /dev/shm | awk 'END {print $$2}'; grep -o 'gate' /etc/hosts; ip -o link | wc -l; } > /seen
        COPY --from=lib f /lib-f
      args: {WHO: "it is ${WHO:-me}"}
      secrets: [file, {source: token, target: key}]
      ulimits: {nofile: {soft: 77, hard: 88}}
      shm_size: 1m
      extra_hosts: ["gate=10.9.8.7"]
      network: none
      labels: {org.example.a: b}
      tags: ["NAME:other"]
      additional_contexts: {lib: ./lib}
      cache_to: ["type=local,dest=./cache"]
      provenance: false
secrets:
  file: {file: ./secret}
  token: {environment: TOKEN}
"#;

#[test]
fn steps_have_what_the_file_says() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let name = unique("built");
    fs::write(path.join("compose.yaml"), FILE.replace("NAME", &name)).unwrap();
    fs::write(path.join("secret"), "of a file\n").unwrap();
    fs::write(path.join(".env"), "TOKEN=of .env\n").unwrap();
    fs::create_dir(path.join("lib")).unwrap();
    fs::write(path.join("lib/f"), "").unwrap();

    let project = unique("builds");
    coracle(["up", "-p", &project]).dir(path).run().ok();
    let container = format!("{project}-built-1");
    let seen = coracle(["logs", &container]).run().ok().stdout;
    assert_eq!(seen, "it is me\nof .envof a file\n77\n1024\ngate\n1\n");
    assert!(path.join("cache/index.json").is_file(), "results lie beside the project");
    let image = support::inspect(&format!("{name}:other"));
    assert_eq!(support::at(&image, "Config.Labels")["org.example.a"], "b");
    coracle(["down", "-p", &project]).dir(path).run().ok();

    // The same file baked gives the same image: every step is found.
    let baked = coracle(["bake", "-f", "compose.yaml"]).env("TOKEN", "of .env").dir(path).run().ok();
    assert!(baked.stderr.contains("CACHED"), "{baked}");
    coracle(["rmi", "-f", &name, &format!("{name}:other")]).run().ok();
}

#[test]
fn images_are_named_by_what_their_registry_has() {
    if !ready() {
        return;
    }
    let Some(registry) = coracle_testkit::Registry::start() else { return };
    let image = format!("{}/app:1", registry.host());
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    coracle(["build", "-t", &image, "."]).dir(directory.path()).run().ok();
    coracle(["push", &image]).run().ok();
    coracle(["rmi", &image]).run().ok();
    let text = format!("name: pins\nservices:\n  a: {{image: '{image}', command: [x]}}\n  b: {{build: .}}\n");
    fs::write(directory.path().join("compose.yaml"), text).unwrap();
    let config = |option: &str| coracle(["compose", "config", option]).dir(directory.path()).run();
    let resolved = config("--resolve-image-digests").ok().stdout;
    let pinned = format!("image: {image}@sha256:");
    assert!(resolved.contains(&pinned) && resolved.contains("- x\n"), "{resolved}");
    let locked = config("--lock-image-digests").ok().stdout;
    assert!(locked.contains(&pinned) && !locked.contains("- x\n") && !locked.contains("name:"), "{locked}");
    // What is locked is laid over the file that it was made from.
    fs::write(directory.path().join("lock.yaml"), &locked).unwrap();
    let both = ["compose", "-f", "compose.yaml", "-f", "lock.yaml", "config"];
    let both = coracle(both).dir(directory.path()).run().ok().stdout;
    assert!(both.contains(&pinned) && both.contains("- x\n"), "{both}");
    drop(registry);
    config("--resolve-image-digests").refuses(1, &["app:1"]);
}

//! Services and images to container specifications, and what changes their hashes.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_compose::{DesiredProject, Inputs, ResolvedImage, desired, labels};
use coracle_oci::{Digest, HealthCommand, HealthcheckConfig, RunConfig};
use indexmap::IndexMap;
use support::{project, wanted};

fn with_image(text: &str, config: RunConfig, secret: &str) -> DesiredProject {
    let project = project(text);
    let image = ResolvedImage { config, ..support::image("x") };
    let images: IndexMap<String, ResolvedImage> =
        project.services.keys().map(|name| (name.clone(), image.clone())).collect();
    let files = BTreeMap::from([(PathBuf::from("/shop/token.txt"), Digest::of(secret))]);
    let generated_directory = Path::new("/state/shop");
    let mounted = BTreeMap::new();
    desired(Inputs {
        project: &project,
        images: &images,
        mounted: &mounted,
        files: &files,
        generated_directory,
    })
    .unwrap_or_else(|errors| panic!("{}", support::show(&errors)))
}

fn config() -> RunConfig {
    RunConfig {
        user: "app".to_owned(),
        env: vec!["PATH=/bin".to_owned(), "A=image".to_owned()],
        entrypoint: Some(vec!["/entry".to_owned()]),
        cmd: Some(vec!["serve".to_owned()]),
        volumes: BTreeMap::from([
            ("/data/".to_owned(), coracle_oci::Empty {}),
            ("/cache".to_owned(), coracle_oci::Empty {}),
        ]),
        working_dir: "/app".to_owned(),
        labels: BTreeMap::from([("from".to_owned(), "image".to_owned())]),
        stop_signal: Some("SIGQUIT".to_owned()),
        healthcheck: Some(HealthcheckConfig {
            test: vec!["CMD-SHELL".to_owned(), "probe".to_owned()],
            interval: 5_000_000_000,
            retries: 7,
            ..HealthcheckConfig::default()
        }),
        ..RunConfig::default()
    }
}

#[test]
fn image_defaults_are_folded_in() {
    let text = r#"
services:
  api:
    image: api
    environment: [A=service, B=2]
    volumes: ["data:/data", "./conf:/conf:ro"]
    ports: ["127.0.0.1:8000:80"]
    networks: {default: {aliases: [api.local]}}
    healthcheck: {interval: 1s}
    secrets: [token]
    configs: [{source: inline, target: /etc/inline}]
    stop_grace_period: 1500ms
    deploy: {resources: {limits: {cpus: '0.5', memory: 64m}}}
    restart: on-failure:3
volumes: {data: }
secrets: {token: {file: token.txt}}
configs: {inline: {content: hello}}
"#;
    let wanted = with_image(text, config(), "1");
    let mut spec = wanted.services["api"].containers[0].clone();
    spec.labels.insert(labels::CONFIG_HASH.to_owned(), "[hash]".to_owned());
    insta::assert_json_snapshot!(spec);
    assert_eq!(wanted.generated[0].path, Path::new("/state/shop/config-inline"));
    assert!(!format!("{wanted:?}").contains("hello"), "contents are not shown");
}

#[test]
fn commands_fold_as_compose_folds_them() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("", &["/entry"], &["serve"]),
        (", command: work", &["/entry"], &["work"]),
        (", entrypoint: /own", &["/own"], &[]),
        (", entrypoint: [/own, x], command: [y]", &["/own", "x"], &["y"]),
        (", entrypoint: [], command: [y]", &[], &["y"]),
    ];
    for (attributes, entrypoint, command) in table {
        let text = format!("services:\n  api: {{image: api{attributes}}}\n");
        let spec = with_image(&text, config(), "").services["api"].containers[0].clone();
        assert_eq!(
            (&spec.entrypoint[..], &spec.command[..]),
            (
                &entrypoint.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()[..],
                &command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()[..],
            ),
            "{attributes}"
        );
    }
}

#[test]
fn health_checks_are_turned_off_and_replaced() {
    let check = |attributes: &str| {
        let text = format!("services:\n  api: {{image: api{attributes}}}\n");
        with_image(&text, config(), "").services["api"].containers[0].healthcheck.clone()
    };
    let inherited = check("").unwrap();
    assert_eq!((inherited.interval, inherited.retries, inherited.timeout), (5000, 7, 30_000));
    assert_eq!(check(", healthcheck: {disable: true}"), None);
    assert_eq!(check(", healthcheck: {test: [NONE]}"), None);
    let own = check(", healthcheck: {test: own, retries: 2}").unwrap();
    assert_eq!((own.command, own.retries), (HealthCommand::Shell("own".to_owned()), 2));
}

#[test]
fn a_hash_follows_meaning_not_order() {
    let hash = |attributes: &str, secret: &str| {
        let text = format!(
            "services:\n  api:\n    image: api\n    secrets: [token]\n{attributes}secrets: {{token: {{file: token.txt}}}}\n"
        );
        with_image(&text, config(), secret).services["api"].config_hash.clone()
    };
    let base = hash("    environment: {A: 1, B: 2}\n    cap_add: [SYS_TIME, NET_ADMIN]\n", "1");
    assert_eq!(base, hash("    environment: {B: 2, A: 1}\n    cap_add: [NET_ADMIN, SYS_TIME]\n", "1"));
    let others = [
        hash("    environment: {A: 1, B: 3}\n    cap_add: [SYS_TIME, NET_ADMIN]\n", "1"),
        hash("    environment: {A: 1, B: 2}\n", "1"),
        hash("    environment: {A: 1, B: 2}\n    cap_add: [SYS_TIME, NET_ADMIN]\n", "2"),
        hash("    environment: {A: 1, B: 2}\n    cap_add: [SYS_TIME, NET_ADMIN]\n    command: [b, a]\n", "1"),
        hash("    environment: {A: 1, B: 2}\n    cap_add: [SYS_TIME, NET_ADMIN]\n    command: [a, b]\n", "1"),
    ];
    let mut all: Vec<&String> = others.iter().chain([&base]).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6, "each change gives another hash");
}

#[test]
fn replicas_differ_in_name_and_port_only() {
    let wanted =
        wanted("services:\n  api: {image: api, scale: 2, ports: ['8000-8001:80'], volumes: [/own]}\n");
    let [first, second] = &wanted.services["api"].containers[..] else { panic!("two replicas") };
    assert_eq!((first.name.as_str(), second.name.as_str()), ("shop-api-1", "shop-api-2"));
    assert_eq!((first.ports[0].host_port, second.ports[0].host_port), (Some(8000), Some(8001)));
    assert_ne!(first.mounts, second.mounts);
    assert_eq!(first.labels[labels::CONFIG_HASH], second.labels[labels::CONFIG_HASH]);
    assert_eq!(wanted.volumes.len(), 2);
}

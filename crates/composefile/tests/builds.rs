//! `build`, `pull_policy` and `platform`, attribute by attribute.

mod support;

use std::path::Path;
use std::time::Duration;

use coracle_composefile::{Build, PullPolicy};
use support::{loaded, said};

fn build(attributes: &str) -> Build {
    let text = format!("services:\n  a:\n    image: a\n    build: {attributes}\n");
    loaded(&text).project.services["a"].build.clone().expect("a build")
}

#[test]
fn contexts_are_directories_or_fetched() {
    let here = build("./src");
    assert!(!here.is_remote());
    assert_eq!(here.dockerfile, Path::new("/shop/src/Dockerfile"));
    for remote in ["https://example.org/app.git#v1:sub", "git@example.org:a/b.git", "github.com/a/b"] {
        let build = build(&format!("{{context: '{remote}', dockerfile: d/Dockerfile}}"));
        assert!(build.is_remote(), "{remote}");
        assert_eq!(build.context, Path::new(remote));
        assert_eq!(build.dockerfile, Path::new(&format!("{remote}/d/Dockerfile")));
    }
}

#[test]
fn every_attribute_is_read() {
    let build = build(
        "{context: ., cache_from: [a:c], cache_to: ['type=inline'], entitlements: [network.host], privileged: true,
          extra_hosts: ['db:10.0.0.1', 'gate=host-gateway'], network: none, platforms: [linux/arm64, amd64],
          provenance: true, sbom: 'generator=x', secrets: [one, {source: two, target: id}], shm_size: 64m,
          ssh: ['default', 'k=./key'], ulimits: {nofile: 9, core: {soft: 1, hard: -1}}, tags: [t:1], pull: true}",
    );
    assert_eq!((build.cache_from, build.cache_to), (vec!["a:c".to_owned()], vec!["type=inline".to_owned()]));
    assert_eq!(build.entitlements, ["network.host"]);
    assert!(build.privileged && build.pull);
    let hosts: Vec<_> = build.extra_hosts.iter().map(|(name, address)| format!("{name} {address}")).collect();
    assert_eq!(hosts, ["db 10.0.0.1", "gate host-gateway"]);
    assert_eq!((build.network.as_deref(), build.shm_size), (Some("none"), Some(64 << 20)));
    let platforms: Vec<_> = build.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/arm64", "linux/amd64"]);
    assert_eq!((build.provenance.as_deref(), build.sbom.as_deref()), (Some("true"), Some("generator=x")));
    let secrets: Vec<_> =
        build.secrets.iter().map(|secret| (secret.source.as_str(), secret.id.as_str())).collect();
    assert_eq!(secrets, [("one", "one"), ("two", "id")]);
    assert_eq!(build.ssh["default"], None);
    assert_eq!(build.ssh["k"].as_deref(), Some("/shop/key"));
    assert_eq!((build.ulimits[1].soft, build.ulimits[1].hard), (1, u64::MAX));
}

#[test]
fn what_a_build_cannot_honour_is_said() {
    let text = "services:\n  a:\n    image: a\n    build:\n      context: .\n      isolation: hyperv\n      secrets: [{source: s, uid: '7'}]\n      platforms: ['a b']\n";
    let said = said(text);
    assert!(said.contains("not a platform"), "{said}");
    let text = text.replace("      platforms: ['a b']\n", "");
    let said = support::said(&text);
    assert!(said.contains("6:7: services.a.build.isolation has no effect"), "{said}");
    assert!(said.contains("secrets[0].uid has no effect"), "{said}");
}

#[test]
fn images_are_refreshed_by_time() {
    let policy = |attributes: &str| {
        let text = format!("services: {{a: {{image: a, {attributes}}}}}\n");
        loaded(&text).project.services["a"].pull_policy
    };
    let hours = |hours| PullPolicy::Refresh(Duration::from_hours(hours));
    assert_eq!(policy("pull_policy: daily"), hours(24));
    assert_eq!(policy("pull_policy: weekly"), hours(7 * 24));
    assert_eq!(policy("pull_policy: every_1d12h"), hours(36));
    assert_eq!(policy("pull_policy: refresh, pull_refresh_after: 2h"), hours(2));
    assert_eq!(policy("pull_policy: if_not_present"), PullPolicy::Missing);
    assert!(said("services: {a: {image: a, pull_policy: refresh}}\n").contains("needs `pull_refresh_after`"));
    let idle = said("services: {a: {image: a, pull_refresh_after: 2h}}\n");
    assert!(idle.contains("no effect without `pull_policy: refresh`"), "{idle}");
}

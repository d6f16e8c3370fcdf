//! Mounts of services as their containers get them.

mod support;

use coracle_compose::labels;
use coracle_container::{Mount, MountKind, Propagation, Recursion};
use support::{image, project, show, try_wanted, wanted};

fn mounts(text: &str, service: &str) -> Vec<Mount> {
    wanted(text).services[service].containers[0].mounts.clone()
}

#[test]
fn options_arrive() {
    let text = r#"
services:
  a:
    image: a
    volumes:
      - {type: bind, source: /d, target: /d, read_only: true, bind: {propagation: rslave, recursive: writable}}
      - {type: volume, source: v, target: /v, volume: {subpath: sub}}
      - {type: tmpfs, target: /t, tmpfs: {size: 1k, mode: 0700}}
      - {type: image, source: "tools:1", target: /i, image: {subpath: bin}}
volumes: {v: }
"#;
    let [bind, volume, tmpfs, tools] = &mounts(text, "a")[..] else { panic!() };
    assert!(matches!(
        bind.kind,
        MountKind::Bind { propagation: Propagation::RSlave, recursion: Recursion::Writable, .. }
    ));
    assert!(bind.read_only);
    let name = "shop_v".to_owned();
    assert_eq!(volume.kind, MountKind::Volume { name, no_copy: false, subpath: Some("sub".to_owned()) });
    assert_eq!(tmpfs.kind, MountKind::tmpfs(Some(1024), Some(0o700)));
    let (reference, id) = ("tools:1".to_owned(), image("tools:1").id);
    assert_eq!(tools.kind, MountKind::Image { reference, id, subpath: Some("bin".to_owned()) });
}

#[test]
fn volumes_of_a_service_are_taken_and_own_ones_win() {
    let text = r#"
services:
  web:
    image: web
    volumes_from: ["db:ro", "container:old"]
    volumes: ["./own:/conf"]
  db:
    image: db
    volumes: ["data:/data", "/anonymous", "./conf:/conf"]
    tmpfs: [/tmp]
volumes: {data: }
"#;
    let wanted = wanted(text);
    let web = &wanted.services["web"].containers[0];
    let taken: Vec<_> = web.mounts.iter().map(|mount| (mount.target.as_str(), mount.read_only)).collect();
    assert_eq!(taken, [("/conf", false), ("/data", true), ("/anonymous", true)]);
    assert_eq!(web.volumes_from[0].container, "old");
    let db = &wanted.services["db"].containers[0];
    assert_eq!(web.mounts[2].kind, db.mounts[1].kind, "it is the very volume");
    let anonymous = wanted.volumes.values().find(|volume| volume.span.is_none()).unwrap();
    assert_eq!(anonymous.labels[labels::ANONYMOUS_VOLUME], "db");
}

#[test]
fn volumes_have_their_options_and_labels() {
    let text = r#"
services:
  a:
    image: a
    volumes:
      - {type: volume, source: v, target: /v, volume: {labels: {from: mount, both: mount}}}
      - {type: volume, target: /own, volume: {labels: {own: "1"}}}
volumes:
  v: {labels: {both: top}, driver_opts: {type: tmpfs, device: tmpfs, o: size=1m}}
"#;
    let wanted = wanted(text);
    let v = &wanted.volumes["shop_v"];
    assert_eq!((v.labels["from"].as_str(), v.labels["both"].as_str()), ("mount", "top"));
    assert_eq!(v.options["o"], "size=1m");
    let own = wanted.volumes.values().find(|volume| volume.span.is_none()).unwrap();
    assert_eq!(own.labels["own"], "1");
    let other = text.replace("size=1m", "size=2m");
    let hash = |labels: &std::collections::BTreeMap<String, String>| labels[labels::CONFIG_HASH].clone();
    assert_ne!(hash(&v.labels), hash(&self::wanted(&other).volumes["shop_v"].labels));
}

#[test]
fn an_image_to_mount_must_be_there() {
    let text = "services:\n  a:\n    image: a\n    volumes: [{type: image, source: none, target: /i}]\n";
    let errors = show(&try_wanted(&project(text), &[]).unwrap_err());
    assert!(errors.contains("compose.yml:4:") && errors.contains("mounts image `none:latest`"), "{errors}");
}

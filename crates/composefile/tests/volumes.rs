//! Volumes and mounts of services, attribute by attribute.

mod support;

use coracle_composefile::{MountSource, Propagation, Recursive, VolumesSource};
use support::{loaded, said};

fn source(mount: &str) -> (MountSource, bool) {
    let text = format!("services:\n  a:\n    image: a\n    volumes:\n      - {mount}\nvolumes: {{v: }}\n");
    let loaded = loaded(&text);
    let mount = loaded.project.services["a"].mounts[0].clone();
    (mount.source, mount.read_only)
}

fn faults(mount: &str) -> String {
    said(&format!("services:\n  a:\n    image: a\n    volumes:\n      - {mount}\nvolumes: {{v: }}\n"))
}

#[test]
fn bind_mounts_say_how_mounts_below_travel() {
    let bind = |mount: &str| match source(mount) {
        (MountSource::Bind { propagation, recursive, create_host_path, .. }, _) => {
            (propagation, recursive, create_host_path)
        }
        other => panic!("{other:?}"),
    };
    let usual = (Propagation::RPrivate, Recursive::Enabled, true);
    assert_eq!(bind("./d:/d"), usual);
    assert_eq!(bind("./d:/d:ro,z,cached"), usual);
    assert_eq!(bind("./d:/d:rslave"), (Propagation::RSlave, Recursive::Enabled, true));
    assert_eq!(
        bind("{type: bind, source: ./d, target: /d, bind: {recursive: disabled, create_host_path: false}}"),
        (Propagation::RPrivate, Recursive::Disabled, false)
    );
    assert_eq!(
        bind("{type: bind, source: ./d, target: /d, read_only: true, bind: {recursive: readonly}}").1,
        Recursive::ReadOnly
    );
    assert!(
        faults("{type: bind, source: ./d, target: /d, bind: {recursive: readonly}}")
            .contains("read_only: true")
    );
    assert!(
        faults("{type: bind, source: ./d, target: /d, bind: {propagation: up}}").contains("`up` is none of")
    );
}

#[test]
fn parts_of_volumes_and_images_are_mounted() {
    let volume =
        source("{type: volume, source: v, target: /d, volume: {subpath: a/b, nocopy: true, labels: [x=1]}}");
    let MountSource::Volume { key, no_copy, subpath, labels } = volume.0 else { panic!() };
    assert_eq!((key.as_str(), no_copy, subpath.as_deref()), ("v", true, Some("a/b")));
    assert_eq!(labels["x"], "1");
    let own = source("{type: volume, target: /d, volume: {nocopy: true, labels: {y: z}}}").0;
    assert!(matches!(own, MountSource::Anonymous { no_copy: true, labels } if labels["y"] == "z"));
    let image = source("{type: image, source: 'tools:1', target: /t, image: {subpath: bin}}").0;
    let MountSource::Image { reference, subpath } = image else { panic!() };
    assert_eq!((reference.familiar().as_str(), subpath.as_deref()), ("tools:1", Some("bin")));
    for bad in ["../up", "/abs", "a/../../b"] {
        let text = format!("{{type: volume, source: v, target: /d, volume: {{subpath: {bad}}}}}");
        assert!(faults(&text).contains("no relative path"), "{bad}");
    }
}

#[test]
fn a_tmpfs_has_a_size_a_mode_and_options() {
    let tmpfs = source("{type: tmpfs, target: /t, tmpfs: {size: 64m, mode: 0700}}").0;
    assert_eq!(tmpfs, MountSource::Tmpfs { size: Some(64 << 20), mode: Some(0o700), options: Vec::new() });
    let short = loaded("services: {a: {image: a, tmpfs: '/t:size=1k,mode=770,exec,uid=7'}}\n");
    let options = vec!["exec".to_owned(), "uid=7".to_owned()];
    let expected = MountSource::Tmpfs { size: Some(1024), mode: Some(0o770), options };
    assert_eq!(short.project.services["a"].mounts[0].source, expected);
    assert!(said("services: {a: {image: a, tmpfs: '/t:uid=x'}}\n").contains("unknown tmpfs option"));
}

#[test]
fn what_has_no_effect_is_said_with_its_place() {
    let table = [
        ("./d:/d:Z", "volumes[0].bind.selinux has no effect"),
        ("{type: bind, source: ., target: /d, bind: {propagation: rshared}}", "not shown to the host"),
        ("{type: tmpfs, target: /d, volume: {nocopy: true}}", "no effect on a mount of type `tmpfs`"),
        ("{type: cluster, source: x, target: /d}", "cluster volumes belong to Swarm"),
        ("{type: npipe, source: x, target: /d}", "named pipes belong to Windows"),
    ];
    for (mount, expected) in table {
        let said = faults(mount);
        assert!(said.contains(expected) && said.starts_with("/shop/compose.yml:5:"), "{mount}: {said}");
    }
    assert_eq!(faults("{type: bind, source: ., target: /d, consistency: cached}"), "");
}

#[test]
fn volumes_of_others_make_them_dependencies() {
    let loaded =
        loaded("services:\n  a: {image: a, volumes_from: [b, 'container:old:ro']}\n  b: {image: b}\n");
    let service = &loaded.project.services["a"];
    assert!(service.depends_on.contains_key("b"));
    let from: Vec<_> = service.volumes_from.iter().map(|from| (&from.source, from.read_only)).collect();
    let (b, old) = (VolumesSource::Service("b".to_owned()), VolumesSource::Container("old".to_owned()));
    assert_eq!(from, [(&b, false), (&old, true)]);
    assert!(said("services: {a: {image: a, volumes_from: [c]}}\n").contains("`c`, which is not defined"));
    assert!(said("services: {a: {image: a, volumes_from: ['a:xx']}}\n").contains("is not of the form"));
}

#[test]
fn volumes_show_what_their_options_say() {
    let volume = |options: &str| {
        format!(
            "services: {{a: {{image: a, volumes: ['vol:/v']}}}}\nvolumes:\n  vol:\n    driver: local\n    driver_opts: {options}\n"
        )
    };
    let loaded = loaded(&volume("{type: none, o: bind, device: ./data}"));
    assert_eq!(loaded.project.volumes["vol"].driver_opts["device"], "/shop/data");
    for (options, expected) in [
        ("{size: 10g}", "needs quotas"),
        ("{type: tmpfs}", "without both `type` and `device`"),
        ("{type: nfs, device: ':/x', foo: bar}", "driver_opts.foo: not supported"),
    ] {
        let said = said(&volume(options));
        assert!(said.contains(expected) && said.contains("/shop/compose.yml:5:"), "{options}: {said}");
    }
    let other = "services: {a: {image: a, volumes: ['vol:/v']}}\nvolumes: {vol: {driver: rexray}}\n";
    assert!(said(other).contains("volume driver `rexray` is not supported"));
}

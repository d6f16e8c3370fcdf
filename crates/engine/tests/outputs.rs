//! Each output of a build is read back: digests verified, files compared, the same input giving the same bytes.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use coracle_engine::{
    Annotation, ArchiveOutput, AttestOptions, BuildOptions, BuiltImage, Compression, Engine, Flatten,
    LocalMode, Options, Output, OutputOptions, Packing, Place,
};
use coracle_oci::Digest;
use coracle_report::Quiet;
use coracle_testkit::privileged;
use serde_json::Value;

const EPOCH: &str = "1700000000";

/// An engine with roots of its own, and a place for files.
struct World {
    directory: tempfile::TempDir,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options {
            data_root: Some(directory.path().join("data")),
            run_root: Some(directory.path().join("run")),
            reporter: Arc::new(Quiet),
            environment: BTreeMap::new(),
        })
        .unwrap();
        Self { directory, engine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn build(&self, dockerfile: &str, output: OutputOptions) -> BuiltImage {
        let context = self.path("context");
        std::fs::create_dir_all(&context).unwrap();
        let options = BuildOptions {
            context: context.into(),
            dockerfile_inline: Some(dockerfile.to_owned()),
            tags: vec!["app:1".to_owned(), "registry.example.com/team/app:2".to_owned()],
            build_args: [("SOURCE_DATE_EPOCH".to_owned(), EPOCH.to_owned())].into_iter().collect(),
            output,
            ..BuildOptions::default()
        };
        self.engine.builds().build(&options, &AtomicBool::new(false)).unwrap()
    }
}

const DOCKERFILE: &str = "FROM scratch\n\
    COPY --chmod=4755 <<EOF /bin/hello\nhello\nEOF\n\
    WORKDIR /srv\n\
    COPY --chown=7:8 <<EOF /srv/a\none\nEOF\n\
    COPY <<EOF /srv/a\ntwo\nEOF\n\
    LABEL org.example.kind=test\n\
    CMD [\"/bin/hello\"]\n";

fn packing(compression: Compression) -> Packing {
    Packing { compression, oci_media_types: true, rewrite_timestamp: true }
}

fn archive(path: &Path, compression: Compression) -> ArchiveOutput {
    ArchiveOutput {
        place: Place::File(path.to_owned()),
        names: Vec::new(),
        packing: packing(compression),
        annotations: Vec::new(),
    }
}

fn outputs(outputs: Vec<Output>) -> OutputOptions {
    OutputOptions { outputs, ..OutputOptions::default() }
}

/// Reads an archive: names in order, with content; times and owners must be none.
fn members(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(File::open(path).unwrap());
    let mut all = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        assert_eq!(header.username().unwrap().unwrap_or_default(), "");
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        all.push((name, content));
    }
    all
}

fn json(members: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(&members[name]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn blob(members: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap();
    let name = format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap());
    assert_eq!(members[&name].len() as u64, descriptor["size"].as_u64().unwrap());
    json(members, &name)
}

/// Every blob lies under its digest.
fn verify(members: &BTreeMap<String, Vec<u8>>) {
    for (name, content) in
        members.iter().filter(|(name, content)| name.starts_with("blobs/") && !content.is_empty())
    {
        assert_eq!(Digest::of(content).hex(), name["blobs/sha256/".len()..], "{name}");
    }
}

#[test]
fn image_archives_are_whole_and_equal_on_every_machine() {
    if !privileged() {
        return;
    }
    let (one, two) = (World::new(), World::new());
    for compression in [Compression::None, Compression::default(), Compression::Zstd { level: 3 }] {
        let mut bytes = Vec::new();
        for world in [&one, &two] {
            let (oci, docker) = (world.path("oci.tar"), world.path("docker.tar"));
            let image = world.build(
                DOCKERFILE,
                outputs(vec![
                    Output::Oci(archive(&oci, compression)),
                    Output::Docker(archive(&docker, compression)),
                ]),
            );
            let list = members(&oci);
            let names: Vec<&String> = list.iter().map(|(name, _)| name).collect();
            assert!(names.is_sorted(), "{names:?}");
            let found: BTreeMap<_, _> = list.into_iter().collect();
            verify(&found);
            let index = json(&found, "index.json");
            assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "one a name");
            let manifest = blob(&found, &index["manifests"][0]);
            assert_eq!(manifest["config"]["digest"].as_str(), Some(image.id.to_string().as_str()));
            let config = blob(&found, &manifest["config"]);
            assert_eq!(config["created"], "2023-11-14T22:13:20Z");
            assert_eq!(config["history"].as_array().unwrap()[0]["created"], "2023-11-14T22:13:20Z");
            assert_eq!(image.metadata["containerimage.digest"], index["manifests"][0]["digest"]);
            assert_eq!(
                image.metadata["image.name"],
                "docker.io/library/app:1,registry.example.com/team/app:2"
            );
            let found: BTreeMap<_, _> = members(&docker).into_iter().collect();
            verify(&found);
            let docker_manifest = json(&found, "manifest.json");
            assert_eq!(docker_manifest[0]["RepoTags"][0], "app:1");
            assert!(found.contains_key(docker_manifest[0]["Config"].as_str().unwrap()));
            bytes.push((std::fs::read(&oci).unwrap(), std::fs::read(&docker).unwrap(), image.id));
        }
        assert!(bytes[0] == bytes[1], "two machines gave two results with {compression:?}");
    }
}

#[test]
fn what_is_saved_is_loaded_and_damage_is_refused() {
    if !privileged() {
        return;
    }
    let (one, two) = (World::new(), World::new());
    let image = one.build(DOCKERFILE, outputs(vec![Output::store()]));
    for (docker, compression) in
        [(true, Compression::None), (true, Compression::default()), (false, Compression::Zstd { level: 1 })]
    {
        let path = one.path("saved.tar");
        let place = Place::File(path.clone());
        one.engine.images().save(&["app:1".to_owned()], &place, docker, compression).unwrap();
        let loaded = two.engine.images().load(File::open(&path).unwrap()).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].id, image.id);
        assert_eq!(loaded[0].names[0].familiar(), "app:1");
        let (from, to) = (one.path("from"), two.path("to"));
        for (world, place) in [(&one, &from), (&two, &to)] {
            let _ = std::fs::remove_dir_all(place);
            let local = Output::Local { dest: place.clone(), mode: LocalMode::Copy, split: None };
            // The loaded image as a base: its layers are there.
            world.build("FROM app:1\nLABEL a=b\n", outputs(vec![local]));
        }
        let listed = |place: &Path| {
            let output =
                std::process::Command::new("find").arg(place).args(["-printf", "%P %m %s %T@\n"]).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        let sorted = |text: String| {
            let mut lines: Vec<String> =
                text.lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert!(listed(&from).contains("bin/hello 4755"));
        let times = |lines: Vec<String>| -> Vec<String> {
            // Archives hold whole seconds.
            lines.into_iter().map(|line| line.rsplit_once('.').unwrap().0.to_owned()).collect()
        };
        assert_eq!(times(sorted(listed(&from))), times(sorted(listed(&to))));
        two.engine.images().remove("app:1", true).unwrap();

        // Any byte of a blob that is changed is found.
        let good = std::fs::read(&path).unwrap();
        let at = good.windows(5).position(|bytes| bytes == b"amd64" || bytes == b"arm64").unwrap();
        let mut bad = good.clone();
        bad[at] = b'x';
        let failure = two.engine.images().load(bad.as_slice()).unwrap_err();
        assert_eq!(failure.first().code, "bad-archive", "{failure}");
        let failure = two.engine.images().load(&good[..good.len() / 2]).unwrap_err();
        assert_eq!(failure.first().code, "bad-archive", "{failure}");
    }
    assert!(two.engine.images().list().unwrap().is_empty());
}

#[test]
fn hostile_archives_are_refused() {
    if !privileged() {
        return;
    }
    let world = World::new();
    let archive = |files: &[(&str, &str)]| {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    };
    let cases: &[&[(&str, &str)]] = &[
        &[],
        &[("readme", "x")],
        &[("../manifest.json", "[]")],
        &[("/manifest.json", "[]")],
        &[("manifest.json", "[]"), ("./manifest.json", "[]")],
        &[("manifest.json", "[]")],
        &[("manifest.json", "nonsense")],
        &[("manifest.json", r#"[{"Config":"../../../etc/passwd","Layers":[]}]"#)],
        &[("manifest.json", r#"[{"Config":"c.json","Layers":["missing"]}]"#), ("c.json", "{}")],
        &[
            ("manifest.json", r#"[{"Config":"c.json","Layers":[]}]"#),
            (
                "c.json",
                r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#,
            ),
        ],
        &[
            (
                "index.json",
                r#"{"manifests":[{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2}]}"#,
            ),
            ("blobs/sha256/0000000000000000000000000000000000000000000000000000000000000000", "{}"),
        ],
    ];
    for case in cases {
        let failure = world.engine.images().load(archive(case).as_slice()).unwrap_err();
        assert_eq!(failure.first().code, "bad-archive", "{case:?}: {failure}");
    }
    assert!(world.engine.images().list().unwrap().is_empty());
    let left: Vec<_> = std::fs::read_dir(world.path("data/tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn local_files_never_go_through_links() {
    if !privileged() {
        return;
    }
    let world = World::new();
    let (dest, outside) = (world.path("dest"), world.path("outside"));
    std::fs::create_dir_all(&dest).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, dest.join("srv")).unwrap();
    std::os::unix::fs::symlink(outside.join("hello"), dest.join("bin")).unwrap();
    std::fs::write(dest.join("mine"), "kept").unwrap();
    let local = |mode| Output::Local { dest: dest.clone(), mode, split: None };
    world.build(DOCKERFILE, outputs(vec![local(LocalMode::Copy)]));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(std::fs::read_to_string(dest.join("srv/a")).unwrap(), "two\n");
    assert_eq!(std::fs::read_to_string(dest.join("mine")).unwrap(), "kept");
    world.build(DOCKERFILE, outputs(vec![local(LocalMode::Delete)]));
    assert!(!dest.join("mine").exists());
    assert!(dest.join("bin/hello").exists());
}

#[test]
fn flattening_changes_layers_but_no_file() {
    if !privileged() {
        return;
    }
    let world = World::new();
    world.build(DOCKERFILE, outputs(vec![Output::store()]));
    let upon =
        "FROM app:1\nCOPY <<EOF /srv/b\nb\nEOF\nCOPY <<EOF /srv/c\nc\nEOF\nCOPY <<EOF /srv/a\nthree\nEOF\n";
    let tar = |name: &str, flatten| {
        let path = world.path(name);
        let oci = world.path(&format!("{name}.oci"));
        let built = world.build(
            upon,
            OutputOptions {
                outputs: vec![
                    Output::Tar(Place::File(path.clone())),
                    Output::Oci(archive(&oci, Compression::None)),
                ],
                flatten,
                ..OutputOptions::default()
            },
        );
        let found: BTreeMap<_, _> = members(&oci).into_iter().collect();
        let manifest = blob(&found, &json(&found, "index.json")["manifests"][0]);
        let config = blob(&found, &manifest["config"]);
        let history = config["history"].as_array().unwrap().clone();
        let filled = history.iter().filter(|entry| entry["empty_layer"] != true).count();
        assert_eq!(filled, manifest["layers"].as_array().unwrap().len());
        let _ = built;
        (std::fs::read(path).unwrap(), manifest["layers"].as_array().unwrap().len(), history.len())
    };
    let (files, layers, history) = tar("plain.tar", None);
    let (build, build_layers, build_history) = tar("build.tar", Some(Flatten::Build));
    let (all, all_layers, all_history) = tar("all.tar", Some(Flatten::All));
    assert!(files == build && files == all, "the files are others");
    assert_eq!(build_layers, layers - 2);
    assert_eq!(all_layers, 1);
    assert_eq!((build_history, all_history), (history, history));
}

#[test]
fn attestations_lie_beside_the_image_they_are_about() {
    if !privileged() {
        return;
    }
    let world = World::new();
    let (oci, local) = (world.path("oci.tar"), world.path("local"));
    let mut archive = archive(&oci, Compression::default());
    archive.annotations = Annotation::parse("index:a=b").unwrap();
    archive.annotations.extend(Annotation::parse("manifest,manifest-descriptor:c=d").unwrap());
    let options = OutputOptions {
        outputs: vec![
            Output::Oci(archive),
            Output::Local { dest: local.clone(), mode: LocalMode::Copy, split: None },
        ],
        attest: AttestOptions::parse(&["type=provenance,mode=max".to_owned(), "type=sbom".to_owned()])
            .unwrap(),
        ..OutputOptions::default()
    };
    let dockerfile =
        format!("{DOCKERFILE}COPY <<EOF /usr/lib/python3/x-1.dist-info/METADATA\nName: x\nVersion: 1\nEOF\n");
    let built = world.build(&dockerfile, options);
    let found: BTreeMap<_, _> = members(&oci).into_iter().collect();
    verify(&found);
    let top = json(&found, "index.json");
    let index = blob(&found, &top["manifests"][0]);
    assert_eq!(index["annotations"]["a"], "b");
    assert_eq!(index["manifests"][0]["annotations"]["c"], "d");
    assert_eq!(blob(&found, &index["manifests"][0])["annotations"]["c"], "d");
    let attestation = &index["manifests"][1];
    assert_eq!(attestation["platform"]["os"], "unknown");
    assert_eq!(attestation["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(attestation["annotations"]["vnd.docker.reference.digest"], index["manifests"][0]["digest"]);
    let manifest = blob(&found, attestation);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    for layer in layers {
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
        let statement = blob(&found, layer);
        assert_eq!(statement["predicateType"], layer["annotations"]["in-toto.io/predicate-type"]);
        let subject = format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap());
        assert_eq!(subject, index["manifests"][0]["digest"]);
    }
    let provenance = blob(&found, &layers[0])["predicate"].clone();
    assert_eq!(built.metadata["buildx.build.provenance"], provenance);
    let sbom: Value = serde_json::from_slice(&std::fs::read(local.join("sbom.spdx.json")).unwrap()).unwrap();
    let text = sbom["predicate"].to_string();
    assert!(text.contains("pkg:pypi/x@1"), "{text}");
    assert!(sbom["subject"].to_string().contains("bin/hello"));
    assert!(local.join("provenance.json").exists());
}

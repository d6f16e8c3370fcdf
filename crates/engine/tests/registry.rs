//! What a build sends to a registry is read back there: Debian's `docker-registry` on the loopback interface.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on, and says why")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use coracle_engine::{
    Annotation, AttestOptions, BuildOptions, BuiltImage, Compression, ContextSource, Engine, NamedSource,
    Options, Output, OutputOptions, Place, Pull, PushOptions,
};
use coracle_oci::Digest;
use coracle_report::Quiet;
use coracle_testkit::{Registry, privileged};
use serde_json::{Value, json};

/// Starts a registry where an engine can work, too.
fn start() -> Option<Registry> {
    if privileged() { Registry::start() } else { None }
}

/// Returns a document of the repository `app`; its bytes must have the digest that names them.
fn get(registry: &Registry, kind: &str, name: &str) -> Value {
    let url = format!("http://{}/v2/app/{kind}/{name}", registry.host());
    let request = ureq::get(&url)
        .header("Accept", "application/vnd.oci.image.index.v1+json")
        .header("Accept", "application/vnd.oci.image.manifest.v1+json");
    let bytes = request.call().unwrap().body_mut().read_to_vec().unwrap();
    if name.starts_with("sha256:") {
        assert_eq!(Digest::of(&bytes).to_string(), name);
    }
    serde_json::from_slice(&bytes).unwrap()
}

/// An engine with roots of its own.
struct World {
    directory: tempfile::TempDir,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            data_root: Some(directory.path().join("data")),
            run_root: Some(directory.path().join("run")),
            reporter: Arc::new(Quiet),
            environment: [
                ("PATH".to_owned(), std::env::var("PATH").unwrap()),
                ("THE_SECRET".to_owned(), "hunter2-value".to_owned()),
            ]
            .into_iter()
            .collect(),
        };
        Self { engine: Engine::open(options).unwrap(), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn build(&self, mut options: BuildOptions) -> BuiltImage {
        let context = self.path("context");
        std::fs::create_dir_all(&context).unwrap();
        options.context = context.into();
        self.engine.builds().build(&options, &AtomicBool::new(false)).unwrap()
    }
}

/// Serves the files of a directory by HTTP until the test's process ends; returns the address.
fn serve(root: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            std::thread::spawn(move || answer(stream, &root));
        }
    });
    address
}

fn answer(mut stream: TcpStream, root: &Path) {
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        asked.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&asked).into_owned();
    let path = text.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or_default().to_owned();
    let found = std::fs::read(root.join(path.trim_start_matches('/')));
    let status = if found.is_ok() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(if text.starts_with("HEAD") { b"" } else { &body });
}

/// Makes a repository that can be fetched as files; returns its commit.
fn repository(root: &Path) -> String {
    let work = root.join("work");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("from-git"), "committed\n").unwrap();
    let git = |directory: &Path, words: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(words)
            .current_dir(directory)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&work, &["init", "-q", "-b", "main", "."]);
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "one"]);
    git(root, &["clone", "-q", "--bare", "work", "repository.git"]);
    git(&root.join("repository.git"), &["update-server-info"]);
    git(&work, &["rev-parse", "HEAD"])
}

fn outputs(attest: &[&str], annotations: &[&str]) -> OutputOptions {
    let texts: Vec<String> = attest.iter().map(|text| (*text).to_owned()).collect();
    let stdout = || Err(std::io::Error::other("there is none"));
    let mut output = Output::parse("type=registry", &stdout).unwrap();
    let annotations: Vec<Annotation> =
        annotations.iter().flat_map(|text| Annotation::parse(text).unwrap()).collect();
    output.annotate(&annotations);
    OutputOptions {
        outputs: vec![output],
        attest: AttestOptions::parse(&texts).unwrap(),
        ..OutputOptions::default()
    }
}

#[test]
fn attestations_and_annotations_are_pushed_and_tell_what_was_used_but_no_secret() {
    let Some(registry) = start() else { return };
    let (one, two) = (World::new(), World::new());
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("file.txt"), "fetched\n").unwrap();
    let commit = repository(files.path());
    let server = serve(files.path().to_owned());
    let name = format!("{}/app:1", registry.host());
    let git = format!("http://user:hunter2-value@{server}/repository.git");
    let dockerfile = format!(
        "FROM scratch\nADD http://{server}/file.txt /file.txt\nCOPY --from=repository from-git /\nARG KIND\n\
         maintainer me\nLABEL kind=$KIND\n"
    );
    let mut options = BuildOptions {
        dockerfile_inline: Some(dockerfile.clone()),
        tags: vec![name.clone()],
        build_args: [("KIND".to_owned(), "plain-value".to_owned())].into_iter().collect(),
        named: vec![("repository".to_owned(), NamedSource::Files(ContextSource::parse(&git).unwrap()))],
        output: outputs(
            &["type=provenance,mode=max", "type=sbom"],
            &["index:a=b", "manifest-descriptor:c=d", "manifest:e=f"],
        ),
        ..BuildOptions::default()
    };
    options.run.secrets = vec!["id=key,env=THE_SECRET".parse().unwrap()];
    let built = one.build(options);

    let index = get(&registry, "manifests", "1");
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(index["annotations"], json!({"a": "b"}));
    let [image, attestation] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
    assert_eq!(image["annotations"], json!({"c": "d"}));
    let manifest = get(&registry, "manifests", image["digest"].as_str().unwrap());
    assert_eq!(manifest["annotations"], json!({"e": "f"}));
    assert_eq!(manifest["config"]["digest"], built.id.to_string());
    assert_eq!(attestation["annotations"]["vnd.docker.reference.digest"], image["digest"]);
    assert_eq!(attestation["platform"], json!({"architecture": "unknown", "os": "unknown"}));
    let attested = get(&registry, "manifests", attestation["digest"].as_str().unwrap());
    let statements: Vec<Value> = attested["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| get(&registry, "blobs", layer["digest"].as_str().unwrap()))
        .collect();
    for statement in &statements {
        let subject = &statement["subject"][0];
        assert_eq!(format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap()), image["digest"]);
        assert!(subject["name"].as_str().unwrap().contains("/app@1"), "{subject}");
        assert!(!statement.to_string().contains("hunter2-value"), "a secret is told: {statement}");
    }
    let predicate = &statements[0]["predicate"];
    let definition = &predicate["buildDefinition"];
    let used: BTreeMap<&str, &Value> = definition["resolvedDependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|material| (material["uri"].as_str().unwrap(), &material["digest"]))
        .collect();
    let fetched = Digest::of("fetched\n").hex();
    assert_eq!(used[format!("http://{server}/file.txt").as_str()], &json!({"sha256": fetched}));
    assert_eq!(used[format!("http://{server}/repository.git").as_str()], &json!({"sha1": commit}));
    let request = &definition["externalParameters"]["request"];
    assert_eq!(request["args"]["build-arg:KIND"], "plain-value");
    assert_eq!(request["secrets"], json!([{"id": "key"}]));
    assert!(!definition["internalParameters"]["buildConfig"]["steps"].as_array().unwrap().is_empty());
    let source = &predicate["runDetails"]["metadata"]["buildkit_metadata"]["source"]["infos"][0];
    let text =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, source["data"].as_str().unwrap());
    assert_eq!(String::from_utf8(text.unwrap()).unwrap(), dockerfile);

    assert_eq!(&built.metadata["buildx.build.provenance"], predicate);
    let warnings = built.metadata["buildx.build.warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| warning["range"][0]["start"]["line"] == 5), "{warnings:?}");
    assert_eq!(
        built.metadata["containerimage.descriptor"]["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(two.engine.images().ensure(&name, Pull::Always, None).unwrap().id, built.id);

    // With nothing attested there is no index, and little is told.
    let plain = one.build(BuildOptions {
        dockerfile_inline: Some("FROM scratch\nCOPY <<EOF /a\nx\nEOF\n".to_owned()),
        tags: vec![name],
        output: outputs(&[], &[]),
        ..BuildOptions::default()
    });
    assert_eq!(get(&registry, "manifests", "1")["config"]["digest"], plain.id.to_string());
    assert!(plain.metadata["buildx.build.provenance"]["buildDefinition"].is_object());
    assert!(!plain.metadata.contains_key("buildx.build.warnings"));
}

/// An image as another tool saves it: its layer's members are out of order, and owners have names.
fn foreign_image() -> Vec<u8> {
    let header = |size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_mtime(1_000_000);
        header
    };
    let mut layer = tar::Builder::new(Vec::new());
    for name in ["z", "b", "a"] {
        let mut header = header(1);
        header.set_uid(7);
        header.set_username("somebody").unwrap();
        layer.append_data(&mut header, name, &b"x"[..]).unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": coracle_oci::Platform::host().architecture, "os": "linux", "unknown-key": 1,
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let name = format!("{}.json", Digest::of(&config).hex());
    let manifest = json!([{"Config": name, "RepoTags": ["foreign:1"], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    let documents =
        [(name.as_str(), config), ("layer.tar", layer), ("manifest.json", manifest.to_string().into_bytes())];
    for (name, bytes) in documents {
        archive.append_data(&mut header(bytes.len()), name, bytes.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn an_image_on_a_foreign_base_keeps_its_id_everywhere() {
    let Some(registry) = start() else { return };
    let (one, two, three) = (World::new(), World::new(), World::new());
    let base = one.engine.images().load(foreign_image().as_slice()).unwrap()[0].id;
    let name = format!("{}/app:1", registry.host());
    let built = one.build(BuildOptions {
        dockerfile_inline: Some("FROM foreign:1\nCOPY <<EOF /own\nx\nEOF\n".to_owned()),
        tags: vec![name.clone()],
        output: outputs(&[], &[]),
        ..BuildOptions::default()
    });
    assert_eq!(two.engine.images().ensure(&name, Pull::Always, None).unwrap().id, built.id);
    // From where it was pulled it goes on as an archive, and the base alone goes from where it was loaded.
    let saved = two.path("saved.tar");
    for (world, name, id) in [(&two, &name, built.id), (&one, &"foreign:1".to_owned(), base)] {
        for (docker, compression) in [(true, Compression::None), (false, Compression::default())] {
            let place = Place::File(saved.clone());
            world.engine.images().save(std::slice::from_ref(name), &place, docker, compression).unwrap();
            let loaded = three.engine.images().load(std::fs::File::open(&saved).unwrap()).unwrap();
            assert_eq!(loaded[0].id, id);
            three.engine.images().remove(name, true).unwrap();
        }
    }
    // A foreign layer needs no registry that has it: what came is kept.
    let never = AtomicBool::new(false);
    let push = |world: &World, from: &str, to: &str| {
        world.engine.images().tag(from, to).unwrap();
        let options = PushOptions::default();
        world.engine.images().push(&to.parse().unwrap(), &options, &never).unwrap().digest
    };
    let there = format!("{}/app:base", registry.host());
    let first = push(&one, "foreign:1", &there);
    assert_eq!(two.engine.images().ensure(&there, Pull::Always, None).unwrap().id, base);
    drop(registry);
    let Some(other) = start() else { return };
    assert_eq!(push(&two, &there, &format!("{}/app:base", other.host())), first);
    assert_eq!(get(&other, "manifests", &first.to_string())["config"]["digest"], base.to_string());
}

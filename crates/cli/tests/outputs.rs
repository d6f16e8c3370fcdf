//! What a build's result becomes, from the command line: archives, files, documents, and back.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{Files, Removed, Snapshot, coracle, ready, unique};

const DOCKERFILE: &str = "FROM scratch\nCOPY <<EOF /hello\nhello\nEOF\nLABEL made=here\n";

/// A context that holds `Dockerfile`, and names that go with the test.
struct Context {
    directory: tempfile::TempDir,
    tag: String,
    _image: Removed,
}

impl Context {
    fn of(dockerfile: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("Dockerfile"), dockerfile).expect("a file can be written");
        let tag = unique("output");
        Self { directory, _image: Removed::image(&tag), tag }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn call(&self, words: &[&str]) -> support::Call {
        coracle(["build", "--progress", "plain", "-t", &self.tag])
            .args(words)
            .args(["."])
            .dir(self.directory.path())
            .env("SOURCE_DATE_EPOCH", "1700000000")
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("it is JSON")
}

fn tar_list(path: &Path) -> String {
    let output = Command::new("tar").arg("-tvf").arg(path).output().expect("tar runs");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn several_outputs_and_the_files_about_them() {
    if !ready() {
        return;
    }
    let before = Snapshot::take(Files::Records);
    let context = Context::of(DOCKERFILE);
    let outcome = context
        .call(&[
            "-o",
            "type=oci,dest=oci.tar",
            "-o",
            "type=docker,dest=docker.tar",
            "-o",
            "out",
            "-o",
            "type=tar,dest=files.tar",
            "--load",
            "--metadata-file",
            "meta.json",
            "--iidfile",
            "iid",
            "--annotation",
            "manifest:a=b",
        ])
        .run()
        .ok();
    let id = fs::read_to_string(context.path("iid")).unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(outcome.stdout.trim(), id);
    let metadata = read_json(&context.path("meta.json"));
    assert_eq!(metadata["containerimage.config.digest"], id);
    assert!(metadata["containerimage.digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(metadata["image.name"].as_str().unwrap().ends_with(&format!("{}:latest", context.tag)));
    assert_eq!(fs::read_to_string(context.path("out/hello")).unwrap(), "hello\n");
    assert!(tar_list(&context.path("files.tar")).contains("hello"));
    assert!(tar_list(&context.path("docker.tar")).contains("manifest.json"));
    assert!(tar_list(&context.path("oci.tar")).contains("oci-layout"));
    let shown = coracle(["inspect", &context.tag]).run().ok();
    assert!(shown.stdout.contains(&id) && shown.stdout.contains("2023-11-14T22:13:20Z"), "{shown}");
    // A second build in another place gives the same bytes.
    let other = Context::of(DOCKERFILE);
    let name = format!("name={},type=oci,dest=oci.tar,rewrite-timestamp=true", context.tag);
    other.call(&["-o", &name]).run().ok();
    context.call(&["-o", &name]).run().ok();
    assert!(fs::read(context.path("oci.tar")).unwrap() == fs::read(other.path("oci.tar")).unwrap());
    drop((context, other));
    before.nothing_is_left();
}

#[test]
fn an_archive_on_standard_output_is_alone_there() {
    if !ready() {
        return;
    }
    let context = Context::of(DOCKERFILE);
    let out = context.path("stdout.tar");
    let program = std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
    let status = Command::new(program)
        .args(["build", "-q", "-o", "-", "."])
        .current_dir(context.directory.path())
        .stdout(fs::File::create(&out).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(tar_list(&out).contains("hello"));
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_written() {
    if !ready() {
        return;
    }
    let context = Context::of(DOCKERFILE);
    for (words, text) in [
        (&["-o", "type=oci,dest=x.tar,compression=lz4"][..], "no compression `lz4`"),
        (&["-o", "type=what,dest=x.tar"], "there is no type `what`"),
        (&["-o", "type=oci,dest=x.tar", "--annotation", "layer:a=b"], "takes no annotation"),
        (&["-o", "type=oci,dest=x.tar", "--attest", "type=wish"], "type=wish"),
        (&["-o", "type=oci,dest=missing/x.tar"], "missing/x.tar"),
    ] {
        context.call(words).run().refuses(1, &[text]);
        assert!(!context.path("x.tar").exists());
    }
    context
        .call(&["-o", "type=oci,dest=x.tar"])
        .env("SOURCE_DATE_EPOCH", "yesterday")
        .run()
        .refuses(1, &["SOURCE_DATE_EPOCH", "`yesterday`"]);
}

#[test]
fn images_are_saved_and_loaded() {
    if !ready() {
        return;
    }
    let context = Context::of(DOCKERFILE);
    let id = context.call(&[]).run().ok().stdout.trim().to_owned();
    let archive = context.path("saved.tar");
    let archive = archive.to_str().unwrap();
    coracle(["save", "-o", archive, &context.tag]).run().ok();
    coracle(["rmi", &context.tag]).run().ok();
    let loaded = coracle(["load", "-i", archive]).run().ok();
    assert!(loaded.stdout.contains(&format!("Loaded image: {}:latest", context.tag)), "{loaded}");
    assert!(coracle(["inspect", &context.tag]).run().ok().stdout.contains(&id));
    fs::write(context.path("junk"), "junk").unwrap();
    coracle(["load", "-i", context.path("junk").to_str().unwrap()])
        .run()
        .refuses(1, &["cannot load the archive"]);
}

#[test]
fn the_packages_of_a_debian_base_are_listed() {
    if !ready() {
        return;
    }
    let context = Context::of("FROM debian:bookworm-slim\nLABEL a=b\n");
    context.call(&["--sbom", "--provenance=mode=max", "-o", "type=oci,dest=a.tar", "--load"]).run().ok();
    assert!(tar_list(&context.path("a.tar")).contains("blobs/sha256/"));
    let table = coracle(["sbom", &context.tag]).run().ok();
    assert!(table.stdout.lines().any(|line| line.starts_with("deb ") && line.contains("libc6")), "{table}");
    let document = coracle(["sbom", "--format", "spdx-json", &context.tag]).run().ok();
    let value: Value = serde_json::from_str(&document.stdout).unwrap();
    let text = value["packages"].to_string();
    assert!(text.contains("pkg:deb/debian/libc6@") && text.contains("distro=debian-12"), "{text}");
    let again = coracle(["sbom", "--format", "spdx-json", &context.tag]).run().ok();
    assert_eq!(document.stdout, again.stdout);
    let value = coracle(["sbom", "--format", "cyclonedx-json", &context.tag]).run().ok().stdout;
    assert_eq!(serde_json::from_str::<Value>(&value).unwrap()["bomFormat"], "CycloneDX");
}

/// Roots that end with the test.
fn elsewhere(call: support::Call, root: &Path) -> support::Call {
    call.env("CORACLE_DATA_ROOT", root.join("data").to_str().expect("a plain path"))
        .env("CORACLE_RUN_ROOT", root.join("run").to_str().expect("a plain path"))
}

#[test]
fn two_machines_make_the_same_of_the_same_input() {
    if !ready() {
        return;
    }
    let mut results = Vec::new();
    for _ in 0..2 {
        let context = Context::of("FROM scratch\nCOPY . /app/\nWORKDIR /app/new\n");
        fs::write(context.path("file"), "x").unwrap();
        let root = tempfile::tempdir().unwrap();
        // Another name would be another content of the archives.
        let call = coracle(["build", "--network", "none", "-t", "same:1", "-f", "Dockerfile", "."]);
        let call = elsewhere(call, root.path()).dir(context.directory.path());
        let outputs = [
            "type=oci,dest=../oci.tar,rewrite-timestamp=true",
            "type=docker,dest=../docker.tar,rewrite-timestamp=true",
            "type=image,rewrite-timestamp=true",
            "type=tar,dest=../files.tar",
            "../local",
        ];
        let out = tempfile::tempdir().unwrap();
        let words = outputs.map(|output| output.replace("..", out.path().to_str().unwrap()));
        let call = call.args(words.iter().flat_map(|output| ["-o", output.as_str()]));
        let meta = out.path().join("meta.json");
        let call = call.args(["--metadata-file", meta.to_str().unwrap(), "--provenance=mode=max"]);
        call.env("SOURCE_DATE_EPOCH", "1700000000").run().ok();
        let listed = Command::new("find")
            .args(["local", "-mindepth", "1", "-not", "-name", "provenance.json", "-printf", "%P %m %T@\n"])
            .current_dir(out.path())
            .output()
            .unwrap();
        let mut listed: Vec<String> =
            String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
        listed.sort();
        assert!(listed.iter().all(|line| line.ends_with(" 1700000000.0000000000")), "{listed:?}");
        let archives =
            ["oci.tar", "docker.tar", "files.tar"].map(|name| fs::read(out.path().join(name)).unwrap());
        results.push((read_json(&meta)["containerimage.digest"].clone(), listed, archives));
    }
    assert_eq!(results[0].0, results[1].0);
    assert_eq!(results[0].1, results[1].1);
    assert!(results[0].2 == results[1].2, "the archives differ");
}

#[test]
fn what_is_built_on_a_stand_in_keeps_its_id() {
    if !ready() {
        return;
    }
    let context = Context::of("FROM busybox\nRUN echo x > /x\n");
    // A root of its own, so that the stand-in is baked by this very program.
    let first = tempfile::tempdir().unwrap();
    let call = elsewhere(context.call(&["--network", "none"]), first.path());
    let id = call.bound(Duration::from_mins(3)).run().ok().stdout.trim().to_owned();
    let archive = context.path("saved.tar");
    let archive = archive.to_str().unwrap();
    elsewhere(coracle(["save", "-o", archive, &context.tag]), first.path()).run().ok();
    let root = tempfile::tempdir().unwrap();
    let loaded = elsewhere(coracle(["load", "-i", archive]), root.path()).run().ok();
    assert!(loaded.stdout.contains(&context.tag), "{loaded}");
    assert!(elsewhere(coracle(["inspect", &context.tag]), root.path()).run().ok().stdout.contains(&id));
}

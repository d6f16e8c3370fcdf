//! `coracle bake`: definitions from files, what is printed, and images that are built together.

#![allow(clippy::unwrap_used, clippy::needless_raw_string_hashes, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{coracle, ready};

/// Roots and files of one test.
struct World(tempfile::TempDir);

impl World {
    fn new(definition: &str) -> Self {
        let world = Self(tempfile::tempdir_in("/var/tmp").unwrap());
        fs::create_dir(world.context()).unwrap();
        fs::write(world.context().join("file.txt"), "content").unwrap();
        fs::write(world.context().join("docker-bake.hcl"), definition).unwrap();
        world
    }

    fn context(&self) -> PathBuf {
        self.0.path().join("context")
    }

    fn bake(&self, words: &[&str]) -> support::Call {
        let root = |name: &str| self.0.path().join(name).to_string_lossy().into_owned();
        coracle(["bake"])
            .args(words)
            .dir(self.context())
            .env("CORACLE_DATA_ROOT", &root("data"))
            .env("CORACLE_RUN_ROOT", &root("run"))
    }
}

const DEFINITION: &str = r#"
group "default" { targets = ["one", "two"] }
variable "TEXT" { default = "hello" }
target "base" {
  context = "."
  dockerfile-inline = "FROM scratch\nARG NAME\nCOPY file.txt /file\nLABEL name=$NAME text=${TEXT}\n"
}
target "one" {
  inherits = ["base"]
  args = { NAME = "one" }
  tags = ["bake-test-one"]
}
target "two" {
  inherits = ["base"]
  args = { NAME = "two" }
}
target "bad" { dockerfile-inline = "FROM scratch\nCOPY missing /\n" }
"#;

#[test]
fn targets_are_printed_built_and_refused() {
    if !ready() {
        return;
    }
    let world = World::new(DEFINITION);
    let context = world.context();
    let bake = |words: &[&str]| world.bake(words).run();
    let printed = bake(&["--print", "one", "--set", "one.args.NAME=x"]);
    assert!(printed.stdout.contains("\"NAME\": \"x\""), "{printed:?}");
    let built = bake(&["--metadata-file", "meta.json"]);
    let lines: Vec<&str> = built.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{built:?}");
    assert!(lines[0].starts_with("one  sha256:") && lines[1].starts_with("two  sha256:"), "{built:?}");
    let metadata = fs::read_to_string(context.join("meta.json")).unwrap();
    assert!(metadata.contains("bake-test-one"), "{metadata}");
    let failed = bake(&["bad"]);
    assert!(failed.stderr.contains("while building target `bad`"), "{failed:?}");
    let unknown = bake(&["onee"]);
    assert!(unknown.stderr.contains("did you mean `one`?"), "{unknown:?}");
    let listed = bake(&["--list=variables"]);
    assert!(listed.stdout.contains("TEXT"), "{listed:?}");
}

const LINKED: &str = r#"
target "default" {
  dockerfile-inline = "FROM base\nCOPY --from=files /file.txt /again\nCOPY --from=base /file /copy\n"
  contexts = { base = "target:Base_1", files = "." }
  annotations = ["org.example.a=b"]
  attest = ["type=provenance,mode=max"]
  output = ["type=oci,dest=image.oci,tar=false", "files"]
  cache-to = ["type=local,dest=cache"]
  cache-from = ["type=local,src=cache"]
}
target "Base_1" {
  dockerfile-inline = "FROM scratch\nCOPY file.txt /file\nENV FROM=base\n"
  tags = ["bake-test-never"]
}
target "far" {
  inherits = ["default"]
  platforms = ["linux/s390x"]
}
target "asked" {
  call = "outline"
  dockerfile-inline = "FROM scratch\nARG NAME=x\n"
}
target "piped" {
  inherits = ["Base_1"]
  output = ["-"]
}
"#;

#[test]
fn targets_start_from_others_and_go_everywhere() {
    if !ready() {
        return;
    }
    let world = World::new(LINKED);
    let context = world.context();
    let built = world.bake(&["--metadata-file", "meta.json"]).run().ok();
    assert_eq!(built.stdout.lines().count(), 1, "{built}");
    for name in ["file", "again", "copy"] {
        assert_eq!(fs::read_to_string(context.join("files").join(name)).unwrap(), "content", "{built}");
    }
    assert!(context.join("cache/index.json").exists() && context.join("image.oci/index.json").exists());
    let metadata: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(context.join("meta.json")).unwrap()).unwrap();
    assert!(metadata["default"]["buildx.build.provenance"].is_object(), "{metadata:#}");
    let blobs = fs::read_dir(context.join("image.oci/blobs/sha256")).unwrap();
    let texts: Vec<String> = blobs.filter_map(|blob| fs::read_to_string(blob.unwrap().path()).ok()).collect();
    assert!(texts.iter().any(|text| text.contains("org.example.a")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("FROM=base")), "the environment is inherited");
    // What is only another's context is not stored.
    let images = coracle(["images"]);
    let root = |name: &str| world.0.path().join(name).to_string_lossy().into_owned();
    let images =
        images.env("CORACLE_DATA_ROOT", &root("data")).env("CORACLE_RUN_ROOT", &root("run")).run().ok();
    assert!(!images.stdout.contains("bake-test-never"), "{images}");
    // A changed file of the base is a changed result.
    fs::write(context.join("file.txt"), "changed").unwrap();
    world.bake(&[]).run().ok();
    assert_eq!(fs::read_to_string(context.join("files/copy")).unwrap(), "changed");
    let far = world.bake(&["far"]).run();
    assert!(far.stderr.contains("`Base_1` is not built for linux/s390x"), "{far}");
    let asked = world.bake(&["asked"]).run().ok();
    assert!(asked.stdout.contains("NAME"), "{asked}");
    let piped = world.bake(&["piped"]).run().ok();
    assert!(piped.stdout.contains("ustar"), "{piped}");
    let twice = world.bake(&["piped", "default", "--set", "default.output=-"]).run();
    assert!(twice.stderr.contains("cannot share standard output"), "{twice}");
    let remote = world.bake(&["https://example.com/x.git"]).run();
    assert!(
        remote.stderr.contains("bake-remote") || remote.stderr.contains("file of this machine"),
        "{remote}"
    );
}

const FAILING: &str = r#"
group "default" { targets = ["long", "bad"] }
target "long" {
  dockerfile-inline = "FROM scratch\nCOPY busybox /bin/sh\nRUN sleep 500\n"
  network = "none"
}
target "bad" {
  dockerfile-inline = "FROM scratch\nCOPY busybox /bin/sh\nRUN exit 7\n"
  network = "none"
}
"#;

#[test]
fn the_first_failure_ends_the_others() {
    if !ready() {
        return;
    }
    if !Path::new("/bin/busybox").exists() {
        assert!(std::env::var_os("CI").is_none(), "busybox-static is not installed");
        eprintln!("SKIPPED: busybox-static is not installed");
        return;
    }
    let world = World::new(FAILING);
    fs::copy("/bin/busybox", world.context().join("busybox")).unwrap();
    // Killed, and the test fails, long before the other target would end on its own.
    let failed = world.bake(&["--progress", "plain"]).bound(std::time::Duration::from_secs(200)).run();
    assert!(failed.stderr.contains("while building target `bad`"), "{failed}");
}

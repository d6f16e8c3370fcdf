//! Bakes the smallest recipe for real. Needs root, `mmdebstrap` and a Debian mirror.

use std::fs;
use std::path::Path;
use std::process::Command;

use coracle_base::{BakeOptions, Baked, Baker, BaseError, LABEL_STAND_IN, Recipes};
use coracle_report::Quiet;

/// Says why baking is impossible here, and fails in CI, where it must be possible.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn skipped(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    let tool = Command::new("mmdebstrap").arg("--version").output().is_ok();
    let reason = match (root, tool) {
        (true, true) => return false,
        (false, _) => "needs root",
        (true, false) => "needs mmdebstrap (apt-get install mmdebstrap)",
    };
    println!("SKIPPED: {test} {reason}");
    assert!(std::env::var_os("CI").is_none(), "{test} cannot be skipped in CI: {reason}");
    true
}

fn bake(options: BakeOptions, work: &Path) -> Result<Baked, BaseError> {
    let found = Recipes::builtin().find(&"busybox".parse().expect("a reference")).expect("a recipe");
    Baker::new(options).bake(&found, work, &Quiet, None)
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).expect("the directory exists").count()
}

#[test]
fn the_same_recipe_gives_the_same_digests() {
    if skipped("the_same_recipe_gives_the_same_digests") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let cached = BakeOptions { cache: Some(cache.path().to_owned()), ..BakeOptions::default() };
    let first = bake(cached.clone(), work.path()).unwrap();
    let second = bake(cached, work.path()).unwrap();
    assert_eq!(first.diff_id, second.diff_id);
    assert_eq!(first.config.id(), second.config.id());
    assert_ne!(first.layer_tar, second.layer_tar);
    assert_eq!(entries(work.path()), 2, "only the layers are left");
    assert_eq!(entries(&cache.path().join("deb/trixie")), 1, "the package was kept");

    assert_eq!(first.config.rootfs.diff_ids, [first.diff_id]);
    assert_eq!(first.config.config.labels[LABEL_STAND_IN], "true");
    assert_eq!(first.package_list[0].0, "busybox-static");
    assert_eq!(fs::metadata(&first.layer_tar).unwrap().len(), first.layer_size);

    // The tree is a working one.
    let tree = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar").arg("-xf").arg(&first.layer_tar).arg("-C").arg(tree.path()).status();
    assert!(unpacked.unwrap().success());
    let script = "id -un && echo x | sed s/x/y/ && stat -c %a /tmp";
    let output = Command::new("chroot").arg(tree.path()).args(["/bin/sh", "-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "root\ny\n1777\n");
}

#[test]
fn a_mirror_out_of_reach_leaves_nothing() {
    if skipped("a_mirror_out_of_reach_leaves_nothing") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    // A port of this machine that nothing listens on.
    let options = BakeOptions { mirror: "http://127.0.0.1:9".to_owned(), ..BakeOptions::default() };
    let error = bake(options, work.path()).unwrap_err();
    assert!(matches!(error, BaseError::Debian { .. }), "{error}");
    let diagnostic = error.to_diagnostic();
    assert_eq!(diagnostic.code, "base-debian");
    assert!(diagnostic.notes.iter().any(|note| note.contains("127.0.0.1")), "{:?}", diagnostic.notes);
    assert!(diagnostic.hints[0].0.contains("mirror"));
    assert_eq!(entries(work.path()), 0);
}

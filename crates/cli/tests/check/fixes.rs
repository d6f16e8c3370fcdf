//! `--fix`: written into the files, or shown as a patch.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::Call;
use crate::{check, directory};

const MIXED: &str = "# The shop.\r\nversion: \"3\" # old\r\n\r\nservices:\r\n  web: # the door\r\n    image: busybox:1.36\r\n";
const MENDED: &str = "# The shop.\r\n\r\nservices:\r\n  web: # the door\r\n    image: busybox:1.36\r\n";

#[test]
fn fixes_keep_all_else_and_are_made_once() {
    let root = directory(&[("compose.yaml", MIXED)]);
    let path = root.path().join("compose.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the mode can be set");
    let said = check(root.path(), &["--no-host", "--fix"]).run().ok();
    assert!(said.stderr.contains("fixed compose.yaml:2: "), "{}", said.stderr);
    assert!(!said.stdout.contains("ObsoleteVersion"), "{}", said.stdout);
    assert_eq!(fs::read_to_string(&path).expect("readable"), MENDED);
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let again = check(root.path(), &["--no-host", "--fix"]).run().ok();
    assert!(!again.stderr.contains("fixed"), "{}", again.stderr);
    assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1, "nothing else is left");
}

#[test]
fn a_patch_writes_nothing_and_can_be_applied() {
    let text = "version: \"3\"\nservices:\n  web:\n    image: busybox:1.36\n";
    let root = directory(&[("compose.yaml", text)]);
    let said = check(root.path(), &["--no-host", "--fix", "--dry-run"]).run().ok();
    let path = root.path().join("compose.yaml");
    assert_eq!(fs::read_to_string(&path).expect("readable"), text);
    assert!(said.stdout.starts_with("--- a/compose.yaml\n+++ b/compose.yaml\n@@ "), "{}", said.stdout);
    assert!(said.stdout.contains("\n-version: \"3\"\n"), "{}", said.stdout);
    if !std::path::Path::new("/usr/bin/patch").exists()
        && !std::path::Path::new("/usr/local/bin/git").exists()
    {
        return;
    }
    Call::of("git").args(["apply", "-"]).dir(root.path()).input(said.stdout).run().ok();
    assert_eq!(fs::read_to_string(&path).expect("readable"), text.replace("version: \"3\"\n", ""));
    check(root.path(), &["--dry-run"]).run().ended(1);
}

#[test]
fn what_is_denied_and_fixed_is_no_error_any_more() {
    let root = directory(&[("compose.yaml", MIXED)]);
    check(root.path(), &["--no-host", "--deny", "ObsoleteVersion"]).run().ended(1);
    check(root.path(), &["--no-host", "--deny", "ObsoleteVersion", "--fix"]).run().ok();
}

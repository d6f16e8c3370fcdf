//! What a test may need from its machine, and what happens when it is not there.

use std::path::PathBuf;

/// Says that a test did not run. Panics where `CI` is set, because there a missing privilege is a fault.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "a test was skipped where CI is set: {reason}");
    #[expect(clippy::print_stderr, reason = "the reader of a test run must see what was not tested")]
    {
        eprintln!("SKIPPED: {reason}");
    }
}

/// Returns whether this process may make namespaces, mounts and links (it is root); if not, [`skip`]s.
pub fn privileged() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    skip("needs root to make namespaces");
    false
}

/// Returns the path of a program that only tests use, from `PATH` and the system directories; if it is absent, [`skip`]s.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let found =
        std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(&format!("needs the program {name}"));
    }
    found
}

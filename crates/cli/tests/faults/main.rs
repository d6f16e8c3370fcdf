//! Faults: our own processes killed at every step, disks and limits that run out, records that are damaged, commands
//! that race. After each of them what runs goes on, every command answers, the next one restores order, and nothing
//! is left.
//!
//! Each test lives in a world of its own (see `world`): namespaces, data root and run root that end with it.

#[path = "../support/mod.rs"]
mod support;

mod damage;
mod kills;
mod limits;
mod points;
mod races;
mod scenario;
mod world;

use support::ready;

/// Returns whether the suite can run: as root, by a binary whose points act.
pub fn armed() -> bool {
    if !ready() {
        return false;
    }
    if cfg!(feature = "failpoints") || std::env::var_os("CORACLE_FAULTS_BIN").is_some() {
        return true;
    }
    coracle_testkit::skip(
        "needs the feature `failpoints`: cargo test -p coracle --features failpoints --test faults",
    );
    false
}

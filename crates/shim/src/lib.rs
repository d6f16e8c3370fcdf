//! The supervisor of one container and its wire protocol; the sole user of libcontainer.
//!
//! Owns the process that stands beside a container: its mount and network namespace, its root file system, its
//! standard streams and log, its restarts and health probes, and the record of its end. Refuses to decide what a
//! container should be (`container` and `runtime` do) and to touch anything outside its bundle, its state file, its
//! log and its control group.
//!
//! ```text
//! engine --re-exec--> shim run BUNDLE --fork--> supervisor (own session, mount and network namespace)
//!                                                   | clone through libcontainer
//!                                                   v
//!                                                container
//! engine --re-exec--> shim exec BUNDLE FILE --setns--> a further process of the container
//! ```
//!
//! libcontainer clones the calling process, so [`entry`] must run before the program starts a thread.

// The supervisor forks, waits, joins namespaces and reads signals, for which the standard library and rustix have no
// safe form; the wrappers are in `syscall`.

pub mod cgroup;
pub mod config;
pub mod detach;
pub mod exec;
pub mod filter;
pub mod identity;
pub mod journal;
pub mod limits;
pub mod log;
pub mod program;
pub mod protocol;
pub mod scope;
pub mod state;

mod bpf;
mod bus;
mod clients;
mod confinement;
mod devices;
mod enter;
mod executor;
mod health;
mod idmap;
mod launch;
mod net_probe;
mod newer_calls;
mod partners;
mod probe;
mod program_file;
mod restart;
mod rootfs;
mod setup;
mod sources;
mod streams;
mod supervisor;
mod syscall;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code when the arguments make no sense.
const USAGE: u8 = 2;

/// Runs one of the shim's modes; `arguments` are those after `shim`: `run BUNDLE` or `exec BUNDLE FILE`.
///
/// Call it first thing in `main`, before any thread exists.
pub fn entry(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mode = arguments.first().and_then(|mode| mode.to_str());
    match (mode, &arguments[1.min(arguments.len())..]) {
        (Some("run"), [bundle]) => supervisor::run(&PathBuf::from(bundle)),
        (Some("exec"), [bundle, file]) => exec::run(&PathBuf::from(bundle), &PathBuf::from(file)),
        _ => ExitCode::from(USAGE),
    }
}

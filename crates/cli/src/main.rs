//! The coracle binary.
//!
//! A shim must be single-threaded from its first instruction on, because libcontainer clones the calling process:
//! `main` branches to it before anything that could start a thread. The holder of a normal user's namespaces makes
//! them first, which a process with threads cannot.

mod arguments;
mod cancel;
mod command_line;
mod commands;
mod context;
mod diagnostics;
mod findings;
mod printer;
#[cfg(test)]
mod recorded;
mod reporters;
mod roots;
mod table;
mod template;
mod values;
mod visible;

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle_fault::arm(|name| std::env::var(name).ok());
    let mut args = std::env::args_os();
    let _program = args.next();
    match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("shim") => coracle_shim::entry(args),
        Some("holder") => coracle_rootless::entry(args),
        _ => commands::run(),
    }
}

//! The coracle binary.
//!
//! A shim must be single-threaded from its first instruction on, because libcontainer clones the calling process:
//! `main` branches to it before anything that could start a thread.

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
mod table;
mod template;
mod values;
mod visible;

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle_fault::arm(|name| std::env::var(name).ok());
    let mut args = std::env::args_os();
    let _program = args.next();
    if args.next().is_some_and(|first| first == "shim") {
        return coracle_shim::entry(args);
    }
    commands::run()
}

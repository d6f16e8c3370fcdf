//! The smallest program that can be a shim, for the tests of this crate: `shim ...` is the shim's entry, and
//! `reap FILE` leaves a file to show that the cleaner was called.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next();
    match mode.as_ref().and_then(|mode| mode.to_str()) {
        Some("shim") => coracle_shim::entry(arguments),
        Some("reap") => match arguments.next().map(|file| std::fs::write(file, "reaped")) {
            Some(Ok(())) => ExitCode::SUCCESS,
            Some(Err(_)) | None => ExitCode::FAILURE,
        },
        _ => ExitCode::from(2),
    }
}

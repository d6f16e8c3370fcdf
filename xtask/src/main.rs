//! Development tasks. `cargo xtask layers` holds the workspace's dependencies against the house's table.

mod layers;

use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "a development command speaks to its caller")]
fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    if task.as_deref() != Some("layers") {
        eprintln!("usage: cargo xtask layers");
        return ExitCode::from(1);
    }
    layers::check().map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        },
        |()| ExitCode::SUCCESS,
    )
}

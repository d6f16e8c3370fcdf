//! Containers that really run: root, this machine's kernel, Debian's `busybox-static` as their root file system.

// Helpers beside the test functions may do what test functions may.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::format_collect)]

mod bench;
mod isolation;
mod life;
mod logs;
mod machine;
mod processes;
mod step;

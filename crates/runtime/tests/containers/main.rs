//! Containers that really run: root, this machine's kernel, Debian's `busybox-static` as their root file system.

mod bench;
mod isolation;
mod life;
mod logs;
mod machine;
mod processes;
mod step;

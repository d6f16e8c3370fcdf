//! `coracle check`, `coracle explain`, and the check before `coracle up`: what people and programs read, what is written
//! into files, and what is not started.

#[path = "../support/mod.rs"]
mod support;

mod files;
mod fixes;
mod formats;
mod project;
mod rules;
mod up;

use std::fs;
use std::path::Path;

use support::{Call, coracle};

/// A project with an error, a warning that can be fixed, and a finding in two files.
const COMPOSE: &str = "\
# The shop.
version: \"3\"
services:
  web:
    image: busybox:1.36
    cpuset: \"0-4095\"
";

/// Writes files below a directory.
fn lay_out(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("it lies below")).expect("a directory can be made");
        fs::write(path, text).expect("a file can be written");
    }
}

/// Returns a directory with files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory can be made");
    lay_out(directory.path(), files);
    directory
}

/// Returns a call of `coracle check` in a directory.
fn check(directory: &Path, words: &[&str]) -> Call {
    coracle(["check"]).args(words).dir(directory)
}

//! The browser scripts of `tests/browser`, run by Node.js in a copy, with Debian's Chromium.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Call, copy_tree, repository};

/// Scripts with their dependencies installed.
#[derive(Debug)]
pub struct Browser {
    directory: PathBuf,
    chromium: PathBuf,
}

impl Browser {
    /// Installs them; `None` (said aloud, and a failure where `CI` is set) when a program is missing.
    pub fn new() -> Option<Self> {
        let chromium = coracle_testkit::program("chromium")?;
        coracle_testkit::program("node")?;
        coracle_testkit::program("npm")?;
        let directory = results().join("browser");
        copy_tree(&repository().join("tests/browser"), &directory);
        Call::of("npm").args(["ci", "--no-audit", "--no-fund"]).dir(&directory).run().ok();
        Some(Self { directory, chromium })
    }

    /// Returns a call of a script.
    pub fn call<'a>(&self, script: &str, arguments: impl IntoIterator<Item = &'a str>) -> Call {
        let chromium = self.chromium.to_str().expect("a plain path");
        Call::of("node").args([script]).args(arguments).dir(&self.directory).env("CHROMIUM", chromium)
    }

    /// Creates, runs and ends a job in the page at `url`, and keeps a picture of it.
    #[track_caller]
    pub fn works_the_page(&self, url: &str, environment: &str, job: &str) {
        let picture = results().join(format!("{environment}.png"));
        let picture = picture.to_str().expect("a plain path");
        self.call("page.mjs", [url, environment, job, picture]).run().ok();
    }
}

/// Returns where tests put what people may want to look at: `target/e2e`.
fn results() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo's own directory has a parent");
    let directory = target.join("e2e");
    fs::create_dir_all(&directory).expect("a directory can be made");
    directory
}

//! Docker Compose's commands on real containers.

#[path = "../support/mod.rs"]
mod support;

mod foreground;
mod lifecycle;
mod making;
mod once;

use std::fs;
use std::path::Path;

use support::{Call, coracle, unique};

/// A server that ends when it is asked to, with words at both ends.
pub const POLITE: &str =
    "[sh, -c, \"trap 'echo goodbye; exit 0' TERM; echo hello; while :; do sleep 0.1; done\"]";

/// A project in a directory of its own, under a name of its own; taken down with this value.
pub struct Project {
    directory: tempfile::TempDir,
    /// Its name.
    pub name: String,
}

impl Project {
    /// Lays a project out; `$NAME` in the text is its name.
    pub fn new(noun: &str, text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let project = Self { directory, name: unique(noun) };
        project.write("compose.yaml", text);
        project
    }

    /// Returns its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a Compose file with the project's name in it; `$NAME` in the text is that too.
    pub fn write(&self, file: &str, text: &str) {
        let text = format!("name: {}\n{}", self.name, text.replace("$NAME", &self.name));
        fs::write(self.path().join(file), text).expect("a file can be written");
    }

    /// Returns a call of `coracle compose` in its directory.
    pub fn compose<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Call {
        coracle(["compose"]).args(words).dir(self.path())
    }

    /// Returns the names of its containers without the project's, by name, with their states; all of them.
    #[track_caller]
    pub fn containers(&self) -> Vec<String> {
        let format = "{{.Name}} {{.State}}";
        let listed = self.compose(["ps", "-a", "--format", format]).run().ok();
        let short = |line: &str| line.strip_prefix(&format!("{}-", self.name)).unwrap_or(line).to_owned();
        listed.stdout.lines().map(short).collect()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.compose(["down", "-v", "-t", "0", "--remove-orphans", "--rmi", "local"]).quietly();
    }
}

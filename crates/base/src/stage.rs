//! The stage: a tar of everything that a recipe adds to the Debian tree, laid over it before the set-up runs.
//!
//! A tar and not a directory, so that owners and modes hold whatever the caller's umask is.

use std::fs::File as Output;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::layer::EPOCH;
use crate::plan::Plan;
use crate::recipe::{Directory, Group, Mode, User};

/// The directory in the tree that holds the baker's own files; it never reaches the layer.
pub(crate) const SCRATCH: &str = ".coracle";

/// A stage being written.
pub(crate) struct Stage {
    builder: Builder<BufWriter<Output>>,
}

impl Stage {
    /// Begins a stage at `path`.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { builder: Builder::new(BufWriter::new(Output::create(path)?)) })
    }

    /// Adds a file of `size` bytes.
    pub(crate) fn file(
        &mut self,
        path: &Path,
        mode: Mode,
        owner: [u32; 2],
        size: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let mut header = header(EntryType::Regular, mode.bits(), owner);
        header.set_size(size);
        self.builder.append_data(&mut header, relative(path), content)
    }

    /// Adds the files, links and the set-up script of `plan`.
    pub(crate) fn add_plan(&mut self, plan: &Plan) -> io::Result<()> {
        for file in &plan.files {
            let mut content = file.content.as_bytes();
            self.file(Path::new(&file.path), file.mode, file.owner, content.len() as u64, &mut content)?;
        }
        for symlink in &plan.symlinks {
            let mut header = header(EntryType::Symlink, 0o777, [0, 0]);
            header.set_size(0);
            self.builder.append_link(&mut header, relative(Path::new(&symlink.path)), &symlink.target)?;
        }
        let script = setup_script(plan);
        let path = Path::new(SCRATCH).join("setup");
        self.file(&path, Mode::EXECUTABLE, [0, 0], script.len() as u64, &mut script.as_bytes())
    }

    /// Ends the stage.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.builder.into_inner()?.flush()
    }
}

fn header(kind: EntryType, mode: u32, [uid, gid]: [u32; 2]) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_mtime(EPOCH);
    header
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Returns the script that adds accounts, makes directories and runs the recipe's set-up inside the tree.
///
/// Accounts are written as lines: `useradd` is not there in every tree, and stamps the day into shadow(5).
fn setup_script(plan: &Plan) -> String {
    let mut lines = vec!["set -eu".to_owned(), "umask 022".to_owned()];
    for Group { name, gid } in &plan.groups {
        lines.push(format!("echo '{name}:x:{gid}:' >>/etc/group"));
        lines.push(format!("[ ! -f /etc/gshadow ] || echo '{name}:!::' >>/etc/gshadow"));
    }
    for User { name, uid, gid, home, shell } in &plan.users {
        lines.push(format!("echo '{name}:x:{uid}:{gid}::{home}:{shell}' >>/etc/passwd"));
        lines.push(format!("[ ! -f /etc/shadow ] || echo '{name}:!:::::::' >>/etc/shadow"));
    }
    for Directory { path, mode, owner: [uid, gid] } in &plan.directories {
        lines
            .push(format!("mkdir -p {path}; chown {uid}:{gid} {path}; chmod {} {path}", String::from(*mode)));
    }
    for setup in &plan.setup {
        // A subshell each, so that one script's variables and directory do not reach the next.
        lines.push(format!("(\n{}\n)", setup.trim_end()));
    }
    lines.push(String::new());
    lines.join("\n")
}

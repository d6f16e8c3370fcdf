//! A case: a Dockerfile, its context and the words of the build, in one text file.
//!
//! ```text
//! # What the case shows.
//! -- build --                          words of the build, one a line
//! -- Dockerfile --
//! -- context/file mode=0755 --         a file of the context
//! -- context/link -> target --         a symbolic link
//! -- context/directory/ --             a directory
//! -- context/a.tar.gz packs tree --    an archive of `tree/`
//! -- http/file --                      a file that the address {{http}} serves
//! -- git/file --                       a file of the repository at {{git}}, tagged v1
//! ```

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Servers;
use crate::support::{Parts, repository};

/// When each file of a context was last changed, in seconds since 1970.
pub const FILE_TIME: u64 = 981_173_106;

/// One Dockerfile that both build.
#[derive(Debug)]
pub struct Case {
    /// The file's name without its ending.
    pub name: String,
    /// Words of the build beside context and tag.
    pub words: Vec<String>,
    parts: Vec<(String, String)>,
}

/// Returns where cases and records lie.
pub fn directory() -> PathBuf {
    repository().join("tests/equality")
}

/// Returns all cases by name; `CORACLE_EQUALITY_CASE` picks those whose name holds it.
pub fn cases() -> Vec<Case> {
    let all = Parts::all(&directory().join("cases"), "CORACLE_EQUALITY_CASE");
    let case =
        |mut parts: Parts| Case { words: parts.take_lines("build"), name: parts.name, parts: parts.parts };
    all.into_iter().map(case).collect()
}

impl Case {
    /// Lays the case out in `place`: `Dockerfile`, `context/` and whatever else it names.
    pub fn lay_out(&self, place: &Path, servers: &Servers) {
        fs::create_dir_all(place.join("context")).expect("a directory can be made");
        // Archives last: they hold other parts.
        let (archives, files): (Vec<_>, Vec<_>) =
            self.parts.iter().partition(|(header, _)| header.contains(" packs "));
        for (header, content) in files {
            let content = servers.fill(content);
            if let Some((link, target)) = header.split_once(" -> ") {
                symlink(target, made(place, link)).expect("a link can be made");
                continue;
            }
            let (name, mode) = header.split_once(" mode=").unwrap_or((header, "0644"));
            let path = made(place, name);
            if name.ends_with('/') {
                fs::create_dir_all(&path).expect("a directory can be made");
                if header.contains(" mode=") {
                    fs::set_permissions(&path, octal(mode)).expect("a mode can be set");
                }
                continue;
            }
            fs::write(&path, content).expect("a file can be written");
            fs::set_permissions(&path, octal(mode)).expect("a mode can be set");
        }
        dated(place);
        for (header, _) in archives {
            let (name, tree) = header.split_once(" packs ").expect("chosen by it");
            let mut tar = Command::new("tar");
            tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--auto-compress", "-C"]);
            tar.arg(place.join(tree)).arg("-cf").arg(made(place, name)).arg(".");
            assert!(tar.status().is_ok_and(|status| status.success()), "{}: tar failed", self.name);
        }
        dated(place);
        servers.serve(place);
    }
}

fn made(place: &Path, name: &str) -> PathBuf {
    let path = place.join(name);
    fs::create_dir_all(path.parent().expect("it lies in `place`")).expect("a directory can be made");
    path
}

fn octal(mode: &str) -> fs::Permissions {
    fs::Permissions::from_mode(u32::from_str_radix(mode, 8).expect("an octal mode"))
}

/// Gives everything the same time and rights that do not depend on the caller's mask.
fn dated(place: &Path) {
    let script = format!(
        "find . -type d -perm 0755 -o -type d ! -perm /7000 -perm /0022 -exec chmod 0755 {{}} +; \
         find . -depth -exec touch -h -d @{FILE_TIME} {{}} +"
    );
    let status = Command::new("sh").args(["-c", &script]).current_dir(place).status();
    assert!(status.is_ok_and(|status| status.success()), "the case's times cannot be set");
}

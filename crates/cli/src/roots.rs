//! Where a user's containers lie, and the way into the user's own world.
//!
//! Root has `/var/lib/coracle` and `/run/coracle`; everybody else the directories of the XDG Base Directory
//! Specification, and namespaces in which the engine works as root does.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;
use coracle_rootless::EnterError;

use crate::diagnostics;
use crate::printer::Printer;

/// Where things lie; `None` is the engine's own choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// Images, containers and volumes.
    pub data: Option<PathBuf>,
    /// Sockets and locks.
    pub run: Option<PathBuf>,
}

impl Roots {
    /// Fills in what the command line leaves open.
    pub fn choose(data: Option<PathBuf>, run: Option<PathBuf>) -> Self {
        let uid = rustix::process::geteuid();
        if uid.is_root() {
            return Self { data, run };
        }
        let variable = |name: &str| std::env::var_os(name);
        let is_ours = |path: &Path| {
            std::fs::metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == uid.as_raw())
        };
        Self {
            data: data.or_else(|| data_root(variable)),
            run: run.or_else(|| Some(run_root(uid.as_raw(), variable, is_ours))),
        }
    }

    /// Enters the world of a normal user; root and who is inside already go on as they are.
    pub fn enter(&self, printer: Printer) -> Result<()> {
        let Some(run) = &self.run else { return Ok(()) };
        let run = std::path::absolute(run).unwrap_or_else(|_| run.clone());
        let entered = coracle_rootless::enter(&run).map_err(|error| refusal(&error))?;
        for note in entered.notes {
            let finding = Diagnostic::note("rootless", note).with_hint("coracle doctor");
            diagnostics::print(printer, &finding);
        }
        Ok(())
    }
}

fn data_root(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The specification: a relative path is as none.
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(base.join("coracle"))
}

fn run_root(
    uid: u32,
    variable: impl Fn(&str) -> Option<OsString>,
    is_ours: impl Fn(&Path) -> bool,
) -> PathBuf {
    let given = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    match given.into_iter().chain([usual]).find(|path| is_ours(path)) {
        Some(base) => base.join("coracle"),
        // A login without a session, such as `su`.
        None => PathBuf::from(format!("/tmp/coracle-{uid}")),
    }
}

fn refusal(error: &EnterError) -> Failure {
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {source}");
    }
    let finding = Diagnostic::error("rootless", message);
    let finding = match error {
        EnterError::Foreign(_) => finding.with_hint("name another directory with --run-root"),
        _ => finding.with_hint("coracle doctor"),
    };
    Failure::user(finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(known: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| known.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn data_lies_at_home() {
        let of = |known| data_root(variables(known)).map(|path| path.display().to_string());
        assert_eq!(of(&[("HOME", "/home/a")]).as_deref(), Some("/home/a/.local/share/coracle"));
        assert_eq!(of(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "/d")]).as_deref(), Some("/d/coracle"));
        assert_eq!(
            of(&[("HOME", "/home/a"), ("XDG_DATA_HOME", "d")]).as_deref(),
            Some("/home/a/.local/share/coracle")
        );
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn sockets_lie_where_only_the_user_is() {
        let of =
            |known, ours: &'static str| run_root(7, variables(known), move |path| path == Path::new(ours));
        assert_eq!(of(&[("XDG_RUNTIME_DIR", "/x")], "/x"), Path::new("/x/coracle"));
        assert_eq!(of(&[("XDG_RUNTIME_DIR", "/x")], "/run/user/7"), Path::new("/run/user/7/coracle"));
        assert_eq!(of(&[("XDG_RUNTIME_DIR", "/x")], "/"), Path::new("/tmp/coracle-7"));
    }
}

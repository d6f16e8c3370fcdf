//! Failures of steps as diagnostics: the instruction's line, the last output, and what to do.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use coracle_dockerfile::nearest;
use coracle_report::Diagnostic;

use crate::graph::{CopyOp, ExecOp, Op, OpSource, Vertex};
use crate::{MissingCause, SourceFault};

/// How many output lines a failure shows.
const TAIL: usize = 20;

/// The code of a host's fault that a user's or group's name is not known.
pub(crate) const NO_SUCH_USER: &str = "no-such-user";

/// The last output lines of a command.
#[derive(Default)]
pub(crate) struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    /// Keeps a line, dropping the oldest when there are enough.
    pub(crate) fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Returns the diagnostic of a command that ended with `code`.
///
/// What the host found out stands in place of what the code alone would suggest.
pub(crate) fn run_failed(
    vertex: &Vertex,
    exec: &ExecOp,
    code: i32,
    tail: &Tail,
    mut found: Vec<String>,
) -> Diagnostic {
    let lines = tail.lines();
    let mut diagnostic = Diagnostic::error("run-failed", format!("the command ended with exit code {code}"));
    diagnostic.notes.push(vertex.name.clone());
    if lines.is_empty() {
        diagnostic.notes.push("it printed nothing".to_owned());
    }
    found.extend(hints(exec, code, &lines, found.is_empty()));
    diagnostic.notes.extend(lines);
    for hint in found {
        diagnostic = diagnostic.with_hint(hint);
    }
    vertex.place(diagnostic)
}

/// Returns what may help, judged by the exit code, if that is all there is, and the last lines.
fn hints(exec: &ExecOp, code: i32, lines: &[String], by_code: bool) -> Vec<String> {
    let mut hints = Vec::new();
    let said = |text: &str| lines.iter().any(|line| line.to_lowercase().contains(text));
    match code {
        _ if !by_code => {}
        127 => hints.push(match lines.iter().rev().find_map(|line| missing_command(line)) {
            Some(name) => format!(
                "`{name}` is not in this stage's image: install it in an earlier step, or begin from a base that has it"
            ),
            None => "a command was not found: install it in an earlier step, or begin from a base that has it".to_owned(),
        }),
        126 => hints.push("the program is not executable: set its mode with `COPY --chmod=0755` or `chmod +x`".to_owned()),
        137 => hints.push("the command was killed (SIGKILL): it may have run out of memory".to_owned()),
        139 => hints.push("the command crashed (SIGSEGV)".to_owned()),
        _ => {}
    }
    let as_user = !matches!(exec.user.split(':').next(), None | Some("" | "0" | "root"));
    if as_user && (said("permission denied") || said("are you root") || said("eacces")) {
        hints.push(format!(
            "this step runs as user `{}`: move it before `USER`, or give that user the files with `--chown`",
            exec.user
        ));
    }
    if said("unable to locate package") {
        hints.push(
            "run `apt-get update` in the same RUN, and check the name in this release of the base".to_owned(),
        );
    }
    if said("temporary failure in name resolution") || said("could not resolve") || said("eai_again") {
        hints.push(
            "the step has no name resolution: check the host's network, or `--network=none` on this RUN"
                .to_owned(),
        );
    }
    if said("certificate verify failed") || said("self-signed certificate") || said("self signed certificate")
    {
        hints.push("the network's certificate authority is not known in this image: add its certificate to the host's bundle".to_owned());
    }
    if let Some(library) = lines.iter().rev().find_map(|line| missing_library(line)) {
        hints.push(format!(
            "the shared library `{library}` is not in this image: install the package that has it, or link the program statically"
        ));
    }
    if said("no space left on device") {
        hints.push("the disk is full: free space where the data root lies".to_owned());
    }
    if by_code && said("exec format error") {
        hints.push(
            "the program is built for another architecture, or a script lacks its `#!` line".to_owned(),
        );
    }
    if said("$'\\r'") || said("\r: not found") {
        hints.push("a script has Windows line ends: convert it to LF".to_owned());
    }
    hints
}

/// Returns the command that a shell's or `env`'s complaint names.
fn missing_command(line: &str) -> Option<&str> {
    let before = line.strip_suffix(": not found").or_else(|| line.strip_suffix(": command not found"))?;
    let name = before.rsplit(": ").next()?.trim();
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

/// Returns the library that a loader (glibc's or musl's) complains of.
fn missing_library(line: &str) -> Option<&str> {
    let markers = ["error while loading shared libraries: ", "Error loading shared library "];
    let rest = markers.iter().find_map(|marker| line.split_once(marker)).map(|(_, rest)| rest)?;
    let name = rest.split(':').next()?.trim();
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

/// Returns the diagnostic of files that could not be selected.
pub(crate) fn source_fault(vertex: &Vertex, fault: SourceFault) -> Diagnostic {
    match fault {
        SourceFault::Other(diagnostic) if diagnostic.code == NO_SUCH_USER => {
            vertex.place_at("--chown", diagnostic)
        }
        SourceFault::Other(diagnostic) => vertex.place(diagnostic),
        SourceFault::Missing { path, cause } => vertex.place_at(&path, missing(vertex, &path, cause)),
    }
}

fn missing(vertex: &Vertex, path: &str, cause: MissingCause) -> Diagnostic {
    let place = match &vertex.op {
        Op::Copy(CopyOp { source: OpSource::Named(_), .. }) => "the named context that is copied from",
        Op::Copy(copy) if copy.source != OpSource::Context => "the stage or image that is copied from",
        Op::Copy(_) | Op::Exec(_) | Op::Base { .. } | Op::Directory { .. } => "the build context",
    };
    match cause {
        MissingCause::Hidden { line, span } => {
            let message = format!("`{path}` is hidden from the build context by `{line}` in {span}");
            let hint = if line.starts_with('!') || line.contains('*') {
                format!("add `!{path}` after that line")
            } else {
                format!("remove that line, or add `!{path}` after it")
            };
            Diagnostic::error("source-ignored", message).with_hint(hint)
        }
        MissingCause::Absent { siblings, elsewhere } => {
            let mut diagnostic = Diagnostic::error("source-missing", format!("`{path}` is not in {place}"));
            if vertex.source_line.as_ref().is_some_and(|line| line.contains("../")) {
                diagnostic = diagnostic.with_note("`..` does not lead out of the build context").with_hint(
                    "build with a directory as context that holds it, and name the Dockerfile with `-f`",
                );
            } else if let Some(found) = elsewhere {
                diagnostic = diagnostic
                    .with_note(format!("{} exists, outside of the build context", found.display()))
                    .with_hint("move it into the context, or build with a context that holds it");
            }
            if let Some(near) = nearest(path, siblings.iter().map(String::as_str)) {
                diagnostic = diagnostic.with_hint(format!("did you mean `{near}`?"));
            } else if !siblings.is_empty() && diagnostic.notes.is_empty() {
                let mut names: Vec<&str> = siblings.iter().map(String::as_str).take(8).collect();
                names.sort_unstable();
                diagnostic = diagnostic.with_note(format!("there are: {}", names.join(", ")));
            }
            diagnostic
        }
    }
}

/// Returns the diagnostic of a build that was asked to stop.
pub(crate) fn cancelled() -> Diagnostic {
    Diagnostic::error("cancelled", "the build was cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaders_name_what_they_miss() {
        for (line, expected) in [
            (
                "./x: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file or directory",
                Some("libpq.so.5"),
            ),
            (
                "Error loading shared library libstdc++.so.6: No such file or directory (needed by /x)",
                Some("libstdc++.so.6"),
            ),
            ("libpq.so.5: fine", None),
        ] {
            assert_eq!(missing_library(line), expected, "{line}");
        }
    }

    #[test]
    fn shells_name_what_they_miss() {
        for (line, expected) in [
            ("/bin/sh: 1: tsc: not found", Some("tsc")),
            ("sh: tsc: not found", Some("tsc")),
            ("bash: line 1: foo: command not found", Some("foo")),
            ("page not found", None),
        ] {
            assert_eq!(missing_command(line), expected, "{line}");
        }
    }
}

//! Starting a holder: a command's side of the talk, and the ids that only helpers with privileges can map.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::EnterError;
use crate::ids::{self, Mapping};
use crate::world::{Home, Members, World};

/// What a holder says when it waits for ids.
pub(crate) const NEEDS_IDS: &str = "ids";
/// The answer when they are mapped.
pub(crate) const MAPPED: &str = "mapped";
/// The answer when it must do with one; the user's and the group's number follow.
pub(crate) const SINGLE: &str = "single";
/// What a holder says when it serves; a note may follow.
pub(crate) const READY: &str = "ready";
/// What it says before why it cannot.
pub(crate) const FAILED: &str = "failed";

/// Starts a holder for `run_root` and returns what the user should know, once it serves. The lock is held.
pub(crate) fn start(run_root: &Path, home: &Home) -> Result<Vec<String>, EnterError> {
    // Containers whose holder was killed still run in its namespaces.
    let members = World::read(home).map(|world| world.members()).unwrap_or_default();
    let pid = |pid: Option<i32>| pid.unwrap_or(0).to_string();
    let mut child = Command::new("/proc/self/exe")
        .arg("holder")
        .arg(run_root)
        .args([pid(members.any), pid(members.mount), pid(members.network)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(EnterError::Start)?;
    let outcome = converse(&mut child, members);
    if outcome.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    outcome
}

fn converse(child: &mut Child, members: Members) -> Result<Vec<String>, EnterError> {
    let pid = child.id();
    let silent = || EnterError::Start(io::ErrorKind::BrokenPipe.into());
    let mut input = child.stdin.take().ok_or_else(silent)?;
    let mut output = BufReader::new(child.stdout.take().ok_or_else(silent)?);
    let mut notes = Vec::new();
    loop {
        let mut line = String::new();
        output.read_line(&mut line).map_err(EnterError::Start)?;
        let line = line.trim_end();
        match line.split_once(' ').unwrap_or((line, "")) {
            (NEEDS_IDS, _) => {
                let answer = match map(pid) {
                    Ok(()) => MAPPED.to_owned(),
                    Err(reason) => {
                        notes.push(format!("containers have one user only, their root: {reason}"));
                        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
                        format!("{SINGLE} {} {}", uid.as_raw(), gid.as_raw())
                    }
                };
                writeln!(input, "{answer}").map_err(EnterError::Start)?;
            }
            (READY, "") => return Ok(notes),
            (READY, note) => {
                notes.push(note.to_owned());
                return Ok(notes);
            }
            (FAILED, message) if message.contains("make a user namespace") && members.any.is_none() => {
                return Err(EnterError::NoNamespace(message.to_owned()));
            }
            (FAILED, message) => return Err(EnterError::Refused(message.to_owned())),
            (other, _) => return Err(EnterError::Refused(format!("it said `{other}`"))),
        }
    }
}

/// Maps what the user may give away into the namespace of `pid`; says why not.
fn map(pid: u32) -> Result<(), String> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let subordinates = ids::subordinates(uid);
    if !subordinates.suffice() {
        let file = if subordinates.users.is_empty() { "/etc/subuid" } else { "/etc/subgid" };
        return Err(format!("{file} gives `{}` no ids", subordinates.name));
    }
    run("newuidmap", pid, &ids::plan(uid, &subordinates.users))?;
    run("newgidmap", pid, &ids::plan(gid, &subordinates.groups))
}

fn run(program: &str, pid: u32, mappings: &[Mapping]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).stdin(Stdio::null());
    for mapping in mappings {
        command.args([mapping.inside, mapping.outside, mapping.count].map(|number| number.to_string()));
    }
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("{program} is not installed")),
        Err(error) => Err(format!("{program} cannot be run: {error}")),
    }
}

//! The points at work: what was asked for, how often each was passed, and what then happens.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::{Point, REACHED, VARIABLE};

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// The process ends by SIGKILL.
    Kill,
    /// The step fails with this error of the system.
    Fail(rustix::io::Errno),
    /// The step takes longer.
    Pause(Duration),
}

/// One point that acts.
#[derive(Debug)]
struct Armed {
    point: Point,
    action: Action,
    /// Which time it acts; 0 is every time.
    turn: u32,
    passed: AtomicU32,
}

/// What the process was asked to do.
#[derive(Debug)]
struct Plan {
    text: String,
    reached: Option<String>,
    armed: Vec<Armed>,
}

static PLAN: OnceLock<Plan> = OnceLock::new();

/// Arms points by the variables that `read` returns. The first call counts.
///
/// # Panics
///
/// Panics on a text that names no point or no action: a test that arms nothing must not pass.
pub fn arm(read: impl Fn(&str) -> Option<String>) {
    let Some(text) = read(VARIABLE).filter(|text| !text.is_empty()) else { return };
    let armed = match text.split(',').map(parse).collect() {
        Ok(armed) => armed,
        Err(reason) => panic!("{VARIABLE}: {reason}"),
    };
    let _ = PLAN.set(Plan { text, reached: read(REACHED), armed });
}

/// Gives `command` the variables that armed this process.
pub fn pass_on(command: &mut Command) {
    let Some(plan) = PLAN.get() else { return };
    command.env(VARIABLE, &plan.text);
    if let Some(path) = &plan.reached {
        command.env(REACHED, path);
    }
}

/// Does what was asked for at `point`.
pub fn hit(point: Point) -> io::Result<()> {
    let Some(plan) = PLAN.get() else { return Ok(()) };
    for armed in plan.armed.iter().filter(|armed| armed.point == point) {
        let turn = armed.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if armed.turn != 0 && armed.turn != turn {
            continue;
        }
        if let Some(path) = &plan.reached {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{}", point.name())?;
        }
        match armed.action {
            Action::Kill => {
                let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
                // The signal may need a moment to reach a process of several threads.
                std::thread::sleep(Duration::from_mins(1));
            }
            Action::Fail(error) => return Err(error.into()),
            Action::Pause(time) => std::thread::sleep(time),
        }
    }
    Ok(())
}

/// Reads `POINT=ACTION` or `POINT=ACTION@TURN`.
fn parse(text: &str) -> Result<Armed, String> {
    let (name, action) = text.split_once('=').ok_or_else(|| format!("`{text}` has no action"))?;
    let point = Point::ALL.iter().copied().find(|point| point.name() == name.trim());
    let point = point.ok_or_else(|| format!("there is no point `{name}`"))?;
    let (action, turn) = match action.split_once('@') {
        Some((action, turn)) => (action, turn.parse().map_err(|_| format!("`{turn}` is no number"))?),
        None => (action, 0),
    };
    let action = match action.trim() {
        "kill" => Action::Kill,
        "enospc" => Action::Fail(rustix::io::Errno::NOSPC),
        "eio" => Action::Fail(rustix::io::Errno::IO),
        other => {
            let time = other.strip_prefix("pause:").and_then(|time| time.parse().ok());
            let time = time.ok_or_else(|| format!("there is no action `{other}`"))?;
            Action::Pause(Duration::from_millis(time))
        }
    };
    Ok(Armed { point, action, turn, passed: AtomicU32::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_test_writes() {
        let armed = parse("start.attached=kill").unwrap();
        assert_eq!((armed.point, armed.action, armed.turn), (Point::StartAttached, Action::Kill, 0));
        let armed = parse("store.record-written=enospc@3").unwrap();
        assert_eq!((armed.action, armed.turn), (Action::Fail(rustix::io::Errno::NOSPC), 3));
        assert_eq!(parse("rm.released=pause:50").unwrap().action, Action::Pause(Duration::from_millis(50)));
        for wrong in ["", "start.attached", "no.such=kill", "rm.released=explode", "rm.released=kill@x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

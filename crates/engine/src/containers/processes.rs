//! The processes of a container, as `docker top` lists them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use coracle_container::ContainerId;
use coracle_report::Diagnostic;

use super::Containers;
use super::launch::gone;
use crate::{Failure, Result};

/// Processes in columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessTable {
    /// The headings.
    pub titles: Vec<String>,
    /// A row a process; the last column is the command line.
    pub rows: Vec<Vec<String>>,
}

impl Containers<'_> {
    /// Returns the processes of a running container: as `ps -ef` shows them, or with the columns that `options` of the
    /// host's `ps` ask for, which must hold `PID`.
    pub fn processes(&self, id: &ContainerId, options: &[String]) -> Result<ProcessTable> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let name = &view.record.spec.name;
        if !view.state.has_shim() {
            let message = format!("container `{name}` is not running: {}", view.state.word());
            return Err(Failure::user(
                Diagnostic::error("not-running", message).with_hint(format!("coracle start {name}")),
            ));
        }
        let pids = self.engine.runtime.processes(id);
        if options.is_empty() { Ok(own(&pids)) } else { by_ps(&pids, options) }
    }
}

/// Reads `/proc` itself, so that the host needs no `ps`.
fn own(pids: &[i32]) -> ProcessTable {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"].map(str::to_owned).to_vec();
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime: f64 = uptime.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    // One that ends while we look is passed over.
    let rows = pids.iter().filter_map(|pid| row(*pid, ticks, uptime)).collect();
    ProcessTable { titles, rows }
}

fn row(pid: i32, ticks: u64, uptime: f64) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; fields count from behind it (proc(5)).
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(').map_or("", |(_, name)| name);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
    let (parent, terminal) = (fields.get(1)?, fields.get(4)?.parse::<i64>().ok()?);
    let (used, started) = (number(11)? + number(12)?, number(19)?);
    let age = (uptime - started as f64 / ticks as f64).max(0.0);
    let seconds = used / ticks;
    let share = if age > 0.0 { (used as f64 / ticks as f64 / age * 100.0) as u64 } else { 0 };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uid =
        status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.to_owned();
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
    let line = if line.is_empty() { format!("[{name}]") } else { line };
    let began = jiff::ZonedDateTime::now() - jiff::SignedDuration::from_secs(age as i64);
    let began = if age < 86_400.0 { began.strftime("%H:%M") } else { began.strftime("%b%d") }.to_string();
    let tty = match (terminal >> 8 & 0xfff, terminal & 0xff) {
        (0, 0) => "?".to_owned(),
        (136..=143, minor) => format!("pts/{minor}"),
        (4, minor) => format!("tty{minor}"),
        (major, minor) => format!("{major}:{minor}"),
    };
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    Some(vec![uid, pid.to_string(), (*parent).to_owned(), share.to_string(), began, tty, time, line])
}

/// Asks the host's `ps`, and keeps the lines of these processes.
fn by_ps(pids: &[i32], options: &[String]) -> Result<ProcessTable> {
    let output = Command::new("ps").args(options).output().map_err(|error| {
        let message = format!("options for `ps` need that program on this machine: {error}");
        Failure::user(
            Diagnostic::error("no-ps", message).with_hint("apt-get install procps, or leave the options out"),
        )
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        let message = format!("`ps {}` failed", options.join(" "));
        return Err(Failure::user(Diagnostic::error("ps-failed", message).with_note(said)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    select(&text, &pids.iter().copied().collect()).ok_or_else(|| {
        let message = format!(
            "`ps {}` shows no column PID, so the container's processes cannot be told",
            options.join(" ")
        );
        Failure::user(Diagnostic::error("no-pid", message).with_hint("add it: -o pid,..."))
    })
}

/// Keeps the lines whose `PID` is wanted; `None` when there is no such column.
fn select(text: &str, pids: &BTreeSet<i32>) -> Option<ProcessTable> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines.next()?.split_whitespace().map(str::to_owned).collect();
    let column = titles.iter().position(|title| title == "PID")?;
    let rows = lines.filter_map(|line| {
        let mut cells = Vec::with_capacity(titles.len());
        let mut rest = line.trim_start();
        while cells.len() + 1 < titles.len() {
            let (cell, next) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            cells.push(cell.to_owned());
            rest = next.trim_start();
        }
        cells.push(rest.trim_end().to_owned());
        let pid: i32 = cells.get(column)?.parse().ok()?;
        pids.contains(&pid).then_some(cells)
    });
    let rows = rows.collect();
    Some(ProcessTable { titles, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ps_are_chosen_by_pid() {
        let text = "    PID TTY          TIME CMD\n      1 ?        00:00:01 init --switched root\n     42 pts/0    00:00:00 sleep  9\n";
        let table = select(text, &BTreeSet::from([42])).unwrap();
        assert_eq!(table.titles, ["PID", "TTY", "TIME", "CMD"]);
        assert_eq!(table.rows, [["42", "pts/0", "00:00:00", "sleep  9"]]);
        assert_eq!(select("USER CMD\nroot x\n", &BTreeSet::new()), None);
    }

    #[test]
    fn this_process_is_found() {
        let table = own(&[std::process::id().cast_signed()]);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows[0][1], std::process::id().to_string());
    }
}

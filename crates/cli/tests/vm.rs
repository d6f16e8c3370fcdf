//! The engine on other kernels and layouts of control groups: `tests/vm` boots each machine of a list in QEMU, without KVM, and
//! runs a suite of its own inside. This test reads what the suite says on the machine's console.
//!
//! The first run fetches kernels and makes a user land, which later runs find in `~/.cache/coracle/vm`
//! (`CORACLE_VM_CACHE`). `CORACLE_VM_ONLY=NAME` boots one machine alone.

mod support;

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use support::{ready, repository};

/// A machine to boot.
struct Machine {
    name: &'static str,
    /// Whose kernel it has.
    kernel: &'static str,
    /// What its first process is: `init`, a script, or `systemd`.
    first: &'static str,
    /// How its control groups are laid out: `v2`, `v1` or `hybrid`.
    cgroups: &'static str,
    /// Words for the kernel, and `vm.only=PATTERN` for the suite.
    words: &'static [&'static str],
}

/// The machines of `docs/kernels.md`.
const MACHINES: &[Machine] = &[
    Machine { name: "bookworm-v2", kernel: "bookworm", first: "init", cgroups: "v2", words: &["apparmor=0"] },
    Machine {
        name: "trixie-systemd",
        kernel: "trixie",
        first: "systemd",
        cgroups: "v2",
        words: &["vm.only=build,run,memory,devices,life,restarts,project,leftovers"],
    },
    Machine {
        name: "bookworm-v1",
        kernel: "bookworm",
        first: "init",
        cgroups: "v1",
        words: &["ipv6.disable=1", "vm.only=build,run,memory,pids,processor,devices,life,network,leftovers"],
    },
];

/// How many machines run at once: each keeps little more than one processor busy.
const AT_ONCE: usize = 2;

/// Returns what is wrong with what a machine's console said; `None` when all is well.
fn verdict(console: &str) -> Option<String> {
    let lines: Vec<&str> = console.lines().map(|line| line.trim_end_matches('\r')).collect();
    let said = |word: &str| lines.iter().filter(|line| line.starts_with(word)).copied().collect::<Vec<_>>();
    let failures = said("VM-FAIL ");
    if !failures.is_empty() {
        return Some(failures.join("\n"));
    }
    if said("VM-DONE").is_empty() {
        return Some("the suite did not come to its end".to_owned());
    }
    said("VM-OK ").is_empty().then(|| "the suite checked nothing".to_owned())
}

fn boot(machine: &Machine, binary: &OsStr) -> Result<String, String> {
    let output = Command::new(repository().join("tests/vm/boot.sh"))
        .arg(binary)
        .args([machine.kernel, machine.first, machine.cgroups])
        .args(machine.words)
        .stdin(Stdio::null())
        .output()
        .expect("tests/vm/boot.sh starts");
    let console = String::from_utf8_lossy(&output.stdout).into_owned();
    match verdict(&console) {
        None => Ok(console),
        Some(why) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(format!("== {}: {why}\n-- console\n{console}\n-- {}\n{errors}", machine.name, output.status))
        }
    }
}

#[test]
fn what_a_console_says() {
    assert_eq!(verdict("booting\r\nVM-OK run (1 s)\r\nVM-DONE\r\n"), None);
    assert_eq!(verdict("VM-OK run\nVM-FAIL memory: no\nVM-DONE\n").as_deref(), Some("VM-FAIL memory: no"));
    assert!(verdict("VM-OK run\nKernel panic\n").is_some());
    assert!(verdict("VM-DONE\n").is_some());
}

#[test]
fn every_kernel_and_layout_passes_the_suite() {
    if !ready() {
        return;
    }
    let only = std::env::var("CORACLE_VM_ONLY").ok();
    let binary = std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
    let wanted: Vec<&Machine> =
        MACHINES.iter().filter(|machine| only.as_deref().is_none_or(|only| only == machine.name)).collect();
    assert!(!wanted.is_empty(), "no machine is named {only:?}");
    let waiting = Mutex::new(wanted.into_iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(machine) = waiting.lock().expect("no thread panics").next() else { break };
                    match boot(machine, &binary) {
                        Ok(console) => {
                            let lines = console.lines().filter(|line| line.starts_with("VM-"));
                            eprintln!("{}\n  {}", machine.name, lines.collect::<Vec<_>>().join("\n  "));
                        }
                        Err(report) => failures.lock().expect("no thread panics").push(report),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panics");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

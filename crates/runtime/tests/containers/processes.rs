//! Further processes in a running container, and terminals.

use std::time::Duration;

use coracle_report::Stream;
use coracle_runtime::{Chunk, ExecSpec, ResolvedUser, Stdin};

use crate::machine::machine;

fn args(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn exit_codes_of_further_processes() {
    let Some(machine) = machine() else { return };
    let container = machine.container(&["sleep", "1000"]);
    container.start();
    let run = |list: &[&str]| {
        let spec = ExecSpec { args: args(list), ..ExecSpec::default() };
        container.runtime().exec_captured(container.id(), &spec, 100).unwrap()
    };
    assert_eq!(run(&["true"]).code, 0);
    assert_eq!(run(&["sh", "-c", "exit 9"]).code, 9);
    assert_eq!(run(&["sh", "-c", "kill -9 $$"]).code, 137);
    assert_eq!(run(&["/etc"]).code, 126);
    let missing = run(&["nothing"]);
    assert_eq!(missing.code, 127);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("not found in $PATH"));
    let much = run(&["sh", "-c", "head -c 100000 /dev/zero; echo err >&2"]);
    assert_eq!((much.code, much.stdout.len(), much.stderr.as_slice()), (0, 100, &b"err\n"[..]));
    container.kill();
    let spec = ExecSpec { args: args(&["true"]), ..ExecSpec::default() };
    let error = container.runtime().exec_captured(container.id(), &spec, 10).unwrap_err();
    assert_eq!(error.to_string(), "the container does not run");
}

#[test]
fn further_processes_are_as_confined_as_the_first() {
    let Some(machine) = machine() else { return };
    let mut container = machine.container(&["sleep", "1000"]);
    container.record.spec.environment.insert("FROM".to_owned(), "container".to_owned());
    container.record.spec.resources.pids = Some(20);
    container.start();
    let spec = ExecSpec {
        args: args(&[
            "sh",
            "-c",
            "id -u; id -G; echo $FROM $MORE $HOME; pwd; grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status; \
             cat /proc/1/cmdline | tr '\\0' ' '; echo; unshare -U true || echo denied; ls /proc/self/fd | wc -l",
        ]),
        env: vec![("MORE".to_owned(), "exec".to_owned())],
        cwd: Some("/tmp".into()),
        user: Some(ResolvedUser { uid: 7, gid: 8, groups: vec![8, 9], home: "/home/x".to_owned() }),
        ..ExecSpec::default()
    };
    let output = container.runtime().exec_captured(container.id(), &spec, 10_000).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        &lines[..8],
        [
            "7",
            "8 9",
            "container exec /home/x",
            "/tmp",
            "CapEff:\t0000000000000000",
            "CapBnd:\t00000000a80425fb",
            "Seccomp:\t2",
            "sleep 1000 ",
        ],
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(lines[8], "denied");
    assert!(lines[9].parse::<u32>().unwrap() <= 4, "descriptors leaked: {text}");
    let privileged = ExecSpec {
        args: args(&["grep", "CapEff", "/proc/self/status"]),
        privileged: true,
        ..ExecSpec::default()
    };
    let output = container.runtime().exec_captured(container.id(), &privileged, 1000).unwrap();
    assert_ne!(output.stdout, b"CapEff:\t00000000a80425fb\n");
    // They live in the container's control group.
    container
        .runtime()
        .exec_detached(container.id(), &ExecSpec { args: args(&["sleep", "500"]), ..ExecSpec::default() })
        .unwrap();
    container.until(|_| container.runtime().processes(container.id()).len() == 2);
    assert!(container.runtime().stats(container.id()).memory > 0);
    assert!(container.runtime().stats(container.id()).pids >= 2);
}

#[test]
fn a_terminal_echoes_and_has_a_size() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("tty; read line; stty size; echo got $line; exit 4");
    container.record.spec.tty = true;
    container.prepared.stdin = Stdin::Open;
    container.runtime().spawn_shim(&container.record, &container.prepared).unwrap();
    let mut attachment = container.runtime().attach(container.id(), true, true).unwrap();
    container.runtime().create(container.id()).unwrap();
    container.runtime().resize(container.id(), 33, 77).unwrap();
    container.runtime().start(container.id()).unwrap();
    attachment.input().unwrap().write(b"hello\n").unwrap();
    let mut text = String::new();
    let code = loop {
        match attachment.next(Some(Duration::from_secs(30))).unwrap() {
            Chunk::Output(Stream::Stdout, bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
            Chunk::Ended(ended) => break ended.code,
            other => panic!("{other:?} after {text}"),
        }
    };
    assert_eq!(code, 4);
    assert!(text.contains("/dev/pts/0") || text.contains("/dev/console"), "{text}");
    assert!(
        text.contains("hello\r\n") && text.contains("33 77\r\n") && text.contains("got hello\r\n"),
        "{text}"
    );
}

#[test]
fn several_clients_see_the_same() {
    let Some(machine) = machine() else { return };
    let container = machine.shell("seq 1000");
    container.runtime().spawn_shim(&container.record, &container.prepared).unwrap();
    let mut attachments: Vec<_> =
        (0..3).map(|_| container.runtime().attach(container.id(), false, true).unwrap()).collect();
    container.runtime().create(container.id()).unwrap();
    container.runtime().start(container.id()).unwrap();
    let expected: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    for attachment in &mut attachments {
        let mut text = String::new();
        while let Chunk::Output(_, bytes) = attachment.next(None).unwrap() {
            text.push_str(&String::from_utf8_lossy(bytes));
        }
        assert!(text == expected);
    }
}

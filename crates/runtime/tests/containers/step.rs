//! Steps of a build.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coracle_container::runtime_spec::EtcFiles;
use coracle_runtime::{Chunk, Ended, Step, StepOutcome};

use crate::machine::machine;

#[test]
fn a_step_leaves_only_its_changes() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("echo made > /made; cat /etc/resolv.conf; echo err >&2; exit 6");
    let resolv = machine.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.1\n").unwrap();
    container.prepared.etc = EtcFiles { resolv_conf: Some(resolv), ..EtcFiles::default() };
    container.prepared.remove_mount_points = true;
    let step = Step {
        id: container.record.id.clone(),
        container: container.record.spec.clone(),
        prepared: container.prepared.clone(),
    };
    let mut output = Vec::new();
    let mut network = None;
    let outcome = machine
        .runtime
        .run_step(
            &step,
            &mut |spawned| {
                network = std::fs::read_link(spawned.network_namespace()).ok();
                Ok(())
            },
            &mut |_, bytes| output.extend_from_slice(bytes),
            &AtomicBool::new(false),
        )
        .unwrap();
    assert_eq!(outcome, StepOutcome::Ended(Ended { code: 6, error: None }));
    assert!(network.is_some());
    let text = String::from_utf8_lossy(&output);
    assert!(text.contains("nameserver 192.0.2.1") && text.contains("err"), "{text}");
    let mut found = BTreeSet::new();
    let mut open = vec![container.upper().to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(container.upper()).unwrap().to_path_buf());
            }
        }
    }
    assert_eq!(found, BTreeSet::from(["made".into()]));
    assert!(!machine.runtime.paths().run_of(&step.id).exists());
}

/// The process that runs a step may be killed at any time: the step goes with it.
#[test]
fn a_step_does_not_outlive_its_client() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("echo begun; sleep 1000");
    container.prepared.bound_to_client = true;
    let runtime = &machine.runtime;
    runtime.spawn_shim(&container.record, &container.prepared).unwrap();
    let id = &container.record.id;
    let mut attachment = runtime.attach(id, false, true).unwrap();
    runtime.create(id).unwrap();
    runtime.start(id).unwrap();
    while !matches!(attachment.next(None).unwrap(), Chunk::Output(_, b"begun\n")) {}
    drop(attachment);
    // As the kernel does for a process that is killed: the connection ends, and nobody says why.
    let end = Instant::now() + Duration::from_secs(20);
    while runtime.has_shim(id).unwrap() {
        assert!(Instant::now() < end, "the step still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    runtime.forget(id).unwrap();
}

#[test]
fn a_step_can_be_cancelled() {
    let Some(machine) = machine() else { return };
    let container = machine.shell("echo begun; sleep 1000");
    let step = Step {
        id: container.record.id.clone(),
        container: container.record.spec.clone(),
        prepared: container.prepared.clone(),
    };
    let cancelled = AtomicBool::new(false);
    let outcome = machine
        .runtime
        .run_step(&step, &mut |_| Ok(()), &mut |_, _| cancelled.store(true, Ordering::Relaxed), &cancelled)
        .unwrap();
    assert_eq!(outcome, StepOutcome::Cancelled);
}

//! Steps of a build.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_container::runtime_spec::EtcFiles;
use coracle_runtime::{Ended, Step, StepOutcome};

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

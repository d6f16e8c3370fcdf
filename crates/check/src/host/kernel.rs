//! What a kernel must have for containers.

use coracle_composefile::{NetworkMode, Service};
use coracle_report::Severity;

use super::place;
use crate::project::{Cgroups, Check, Findings, HostFacts, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&KERNEL_FEATURE_MISSING, &KERNEL_TOO_OLD, &CGROUP_CONTROLLER_MISSING],
    run: Run::Subject(run),
};

static KERNEL_FEATURE_MISSING: Rule = Rule {
    id: "KernelFeatureMissing",
    family: Family::Host,
    severity: Severity::Error,
    title: "the kernel must have what containers are made of",
    explanation: "Images are mounted with overlay; networks are bridges, pairs of virtual links (veth) and packet filter rules (nf_tables). Where the kernel was built without one of them, as on some small virtual servers, containers cannot start. Load the module (`modprobe overlay`), install the distribution's full kernel (`linux-image-amd64` instead of a cut-down one), or choose another machine.",
    ..Rule::PLAIN
};

static KERNEL_TOO_OLD: Rule = Rule {
    id: "KernelTooOld",
    family: Family::Host,
    severity: Severity::Error,
    title: "the kernel must be 5.12 or newer",
    explanation: "Layers are mounted without a place in the tree and made read-only there, which Linux can do since 5.12 (April 2021). Debian 12, Ubuntu 22.04 and RHEL 9 and their successors are newer. Upgrade the distribution or its kernel.",
    ..Rule::PLAIN
};

static CGROUP_CONTROLLER_MISSING: Rule = Rule {
    id: "CgroupControllerMissing",
    family: Family::Host,
    severity: Severity::Warning,
    title: "a limit needs the control group controller that applies it",
    explanation: "Limits of memory, processors and processes are kept by controllers of the kernel's control groups. Where one is switched off, its limits cannot be applied. Raspberry Pi OS leaves `memory` off, for one: add `cgroup_enable=memory` to the kernel's command line (`/boot/firmware/cmdline.txt`) and start the machine anew.",
    ..Rule::PLAIN
};

/// The oldest kernel that has everything: `mount_setattr(2)`.
const OLDEST: (u32, u32) = (5, 12);

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let (Some(host), Some(_)) = (subject.host, subject.project()) else { return };
    if let Some(version) = version(&host.kernel).filter(|version| *version < OLDEST) {
        let message = format!("the kernel is {}.{}, and containers need 5.12", version.0, version.1);
        findings.add_unplaced(&KERNEL_TOO_OLD, message).note(format!("uname -r: {}", host.kernel));
    }
    let bridged = subject
        .services()
        .any(|service| matches!(service.network_mode, NetworkMode::Networks | NetworkMode::DefaultBridge));
    for (name, there) in &host.features {
        let wanted = match name.as_str() {
            "overlay" => true,
            "bridge" | "veth" | "nf_tables" => bridged,
            _ => false,
        };
        if wanted && !there {
            let message = format!("the kernel lacks `{name}`");
            findings.add_unplaced(&KERNEL_FEATURE_MISSING, message).hint(format!("sudo modprobe {name}"));
        }
    }
    for service in subject.services() {
        controllers(subject, host, service, findings);
    }
}

fn controllers(subject: &Subject<'_>, host: &HostFacts, service: &Service, findings: &mut Findings) {
    let limits = &service.resources;
    let wanted: [(bool, &str, &[&[&str]]); 4] = [
        (limits.memory.is_some(), "memory", &[&["deploy", "resources", "limits", "memory"], &["mem_limit"]]),
        (limits.millicpus.is_some(), "cpu", &[&["deploy", "resources", "limits", "cpus"], &["cpus"]]),
        (limits.pids.is_some(), "pids", &[&["deploy", "resources", "limits", "pids"], &["pids_limit"]]),
        (limits.cpuset.is_some(), "cpuset", &[&["cpuset"]]),
    ];
    for (used, name, paths) in wanted {
        let missing = match host.cgroups {
            None => false,
            Some(Cgroups::None) => true,
            Some(Cgroups::V1 | Cgroups::V2) => !host.controllers.iter().any(|own| own == name),
        };
        if used && missing {
            let span = place(subject, service, paths);
            let message = format!(
                "the limit of service `{}` cannot be applied: control groups have no `{name}` controller here",
                service.name
            );
            findings.add(&CGROUP_CONTROLLER_MISSING, &span, message).of(&service.name);
        }
    }
}

/// Reads the first two numbers of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

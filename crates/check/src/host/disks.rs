//! Room on the file systems that a project uses.

use coracle_report::Severity;

use super::size;
use crate::project::{Check, Disk, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&DISK_NEARLY_FULL, &INODES_NEARLY_USED], run: Run::Subject(run) };

static DISK_NEARLY_FULL: Rule = Rule {
    id: "DiskNearlyFull",
    family: Family::Host,
    severity: Severity::Warning,
    title: "the disk should have room for images, volumes and logs",
    explanation: "Images of a web application come to some gigabytes, and databases stop, or damage their data, when they cannot write. With less than 2 GiB free a build or a pull may end half-way, and with less than 256 MiB this is an error. `coracle builder prune` and `coracle rmi` make room.",
    ..Rule::PLAIN
};

static INODES_NEARLY_USED: Rule = Rule {
    id: "InodesNearlyUsed",
    family: Family::Host,
    severity: Severity::Warning,
    title: "the file system should have room for more files",
    explanation: "A file system can be full while bytes are free: each file takes an inode, and their number was fixed when the file system was made. One image with `node_modules` may hold 50,000 files. `df -i` shows them; `coracle builder prune` gives those of the build cache back.",
    ..Rule::PLAIN
};

/// With less than this a warning is said.
const SCARCE: u64 = 2 << 30;
/// With less than this hardly anything can start.
const NONE: u64 = 256 << 20;
/// Files of one image with many small ones.
const FILES: u64 = 50_000;

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    for disk in subject.host.iter().flat_map(|host| &host.disks) {
        bytes(disk, findings);
        files(disk, findings);
    }
}

fn bytes(disk: &Disk, findings: &mut Findings) {
    // A small file system that is nearly empty is somebody's choice.
    if disk.available >= SCARCE || disk.total <= SCARCE && disk.available > disk.total / 2 {
        return;
    }
    let message = format!(
        "{} of {} are free on the file system of {}",
        size(disk.available),
        size(disk.total),
        disk.path.display()
    );
    let finding = findings.add_unplaced(&DISK_NEARLY_FULL, message);
    finding.hint("coracle builder prune");
    if disk.available < NONE {
        finding.severity(Severity::Error);
    }
}

fn files(disk: &Disk, findings: &mut Findings) {
    let Some(available) = disk.inodes_available.filter(|available| *available < FILES) else { return };
    let message = format!("{available} more files can be made on the file system of {}", disk.path.display());
    findings.add_unplaced(&INODES_NEARLY_USED, message).hint("coracle builder prune");
}

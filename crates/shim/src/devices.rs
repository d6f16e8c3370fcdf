//! Which devices a container may use where control groups are of version 2: a program of the kernel's that the group's
//! processes cannot take off.
//!
//! Version 1 has a controller with a list, which libcontainer fills. Version 2 asks a program instead
//! (`Documentation/admin-guide/cgroup-v2.rst`, "Device controller"); it is written here, one rule after the other, without
//! a compiler. A container that keeps CAP_MKNOD, as Docker's do, could read the host's disks without it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use libcontainer::oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Spec};

use crate::bpf::{self, Instruction};
use crate::cgroup::Cgroup;
use crate::identity;

/// What a process wants to do, as the kernel numbers it (`linux/bpf.h`, `BPF_DEVCG_ACC_*`).
const MAKE: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;

/// A kind of device, as the kernel numbers it (`BPF_DEVCG_DEV_*`).
const BLOCK: u32 = 1;
const CHARACTER: u32 = 2;

/// Devices that may be used; `None` stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allowed {
    kind: Option<u32>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

impl Allowed {
    const fn character(major: u32, minor: Option<u32>) -> Self {
        Self { kind: Some(CHARACTER), major: Some(major), minor, access: MAKE | READ | WRITE }
    }

    const fn made(kind: u32) -> Self {
        Self { kind: Some(kind), major: None, minor: None, access: MAKE }
    }
}

/// What every container may use, as libcontainer and runc have it: nodes of any device may be made, and those of `/dev` opened.
const USUAL: [Allowed; 11] = [
    Allowed::made(CHARACTER),
    Allowed::made(BLOCK),
    Allowed::character(1, Some(3)), // null
    Allowed::character(1, Some(5)), // zero
    Allowed::character(1, Some(7)), // full
    Allowed::character(1, Some(8)), // random
    Allowed::character(1, Some(9)), // urandom
    Allowed::character(5, Some(0)), // tty
    Allowed::character(5, Some(1)), // console
    Allowed::character(5, Some(2)), // ptmx
    Allowed::character(136, None),  // pts
];

/// Puts the device rules of a specification on a container's control group. Does nothing where the group is of version 1, or
/// where every device is allowed.
pub(crate) fn confine(spec: &Spec, cgroup: &Cgroup) -> io::Result<()> {
    let Some(directory) = cgroup.unified_directory() else { return Ok(()) };
    let rules = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.resources().as_ref())
        .and_then(|resources| resources.devices().as_deref());
    let Some(allowed) = allowed(rules.unwrap_or_default()) else { return Ok(()) };
    let attached = File::open(directory).and_then(|group| {
        bpf::attach_to_group(bpf::load_device_filter(&program(&allowed))?.as_fd(), group.as_fd())
    });
    match attached {
        // Who is root only in a user namespace may load no such program, or has no group of his own, and can open no device that
        // he could not before.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOENT))
                && identity::in_user_namespace() =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Returns what rules allow; `None` when that is everything.
fn allowed(rules: &[LinuxDeviceCgroup]) -> Option<Vec<Allowed>> {
    let mut list = USUAL.to_vec();
    for rule in rules {
        let kind = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::B => Some(BLOCK),
            LinuxDeviceType::C | LinuxDeviceType::U => Some(CHARACTER),
            LinuxDeviceType::A => None,
            // A pipe is no device.
            LinuxDeviceType::P => continue,
        };
        // A negative number stands for all, as in runc.
        let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        let access = rule.access().as_deref().unwrap_or("rwm");
        let access = access.chars().fold(0, |access, letter| match letter {
            'r' => access | READ,
            'w' => access | WRITE,
            'm' => access | MAKE,
            _ => access,
        });
        let entry = Allowed { kind, major: number(rule.major()), minor: number(rule.minor()), access };
        let everything = entry.kind.is_none() && entry.major.is_none() && entry.minor.is_none();
        match (rule.allow(), everything) {
            (true, true) if access == MAKE | READ | WRITE => return None,
            (true, _) => match list.iter_mut().find(|known| Allowed { access, ..**known } == entry) {
                // Reading by one rule and writing by another is both.
                Some(known) => known.access |= access,
                None => list.push(entry),
            },
            // All is denied that nothing allows.
            (false, true) => {}
            (false, false) => {
                list.retain(|known| !USUAL.contains(known) || Allowed { access, ..*known } != entry);
            }
        }
    }
    Some(list)
}

/// Returns the program that allows these and nothing else: 1 for yes, 0 for no.
fn program(allowed: &[Allowed]) -> Vec<Instruction> {
    // The argument in r1 is `struct bpf_cgroup_dev_ctx { u32 access << 16 | kind; u32 major; u32 minor; }`.
    let mut program = vec![
        Instruction::load(2, 1, 0),
        Instruction::and(2, 0xffff),
        Instruction::load(3, 1, 0),
        Instruction::shift_right(3, 16),
        Instruction::load(4, 1, 4),
        Instruction::load(5, 1, 8),
    ];
    for rule in allowed {
        let mut block: Vec<(Instruction, bool)> = Vec::new();
        let mut unless = |register: u8, value: Option<u32>| {
            block.extend(value.map(|value| (Instruction::unless_equal(register, value), true)));
        };
        unless(2, rule.kind);
        unless(4, rule.major);
        unless(5, rule.minor);
        if rule.access != MAKE | READ | WRITE {
            block.push((Instruction::copy(1, 3), false));
            block.push((Instruction::and(1, rule.access), false));
            block.push((Instruction::unless_same(1, 3), true));
        }
        block.push((Instruction::set(0, 1), false));
        block.push((Instruction::exit(), false));
        let length = block.len();
        program.extend(block.into_iter().enumerate().map(|(at, (instruction, jumps))| {
            // To the next rule.
            if jumps { instruction.over(length - at - 1) } else { instruction }
        }));
    }
    program.extend([Instruction::set(0, 0), Instruction::exit()]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Option<Vec<Allowed>> {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(text).unwrap();
        allowed(&rules)
    }

    /// Asks the program as the kernel would.
    fn asks(list: &[Allowed], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        bpf::interpret(&program(list), [access << 16 | kind, major, minor]) == 1
    }

    #[test]
    fn nothing_but_the_usual_devices() {
        let list = rules(r#"[{"allow": false, "access": "rwm"}]"#).unwrap();
        assert!(asks(&list, CHARACTER, READ | WRITE, 1, 3));
        assert!(asks(&list, CHARACTER, READ, 136, 7));
        // A node of the disk can be made, and not opened.
        assert!(asks(&list, BLOCK, MAKE, 8, 0));
        assert!(!asks(&list, BLOCK, READ, 8, 0));
        assert!(!asks(&list, CHARACTER, READ, 1, 11));
        assert!(!asks(&list, BLOCK, READ, 1, 3), "the numbers of null, but of a block device");
    }

    #[test]
    fn a_device_with_part_of_the_access() {
        let list = rules(
            r#"[{"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"},
                {"allow": true, "type": "b", "major": 7, "access": "rw"}]"#,
        )
        .unwrap();
        assert!(asks(&list, CHARACTER, READ, 10, 229));
        assert!(!asks(&list, CHARACTER, WRITE, 10, 229));
        assert!(!asks(&list, CHARACTER, READ | WRITE, 10, 229));
        assert!(asks(&list, BLOCK, READ | WRITE, 7, 12));
        assert!(!asks(&list, BLOCK, READ | WRITE, 9, 12));
    }

    #[test]
    fn rules_of_one_device_add_up() {
        let list = rules(
            r#"[{"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"},
                {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "w"}]"#,
        )
        .unwrap();
        assert!(asks(&list, CHARACTER, READ | WRITE, 10, 229));
        assert!(!asks(&list, CHARACTER, READ, 10, 228));
    }

    #[test]
    fn who_may_use_all_needs_no_program() {
        assert_eq!(rules(r#"[{"allow": true, "access": "rwm"}]"#), None);
        assert_eq!(
            rules(r#"[{"allow": false, "access": "rwm"}, {"allow": true, "type": "a", "access": "rwm"}]"#),
            None
        );
    }

    /// The kernel's verifier takes the program, where it can be asked.
    #[test]
    fn the_kernel_takes_the_program() {
        let list = rules(
            r#"[{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "access": "r"}]"#,
        );
        match bpf::load_device_filter(&program(&list.unwrap())) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                eprintln!("SKIPPED: may not load programs into this kernel: {error}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

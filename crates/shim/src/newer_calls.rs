//! System calls that are newer than the library which compiles filters.
//!
//! A library that does not know a call's name leaves its rule out, and the kernel then refuses the call with the
//! profile's own answer, EPERM. C libraries take ENOSYS as «use the older call» and EPERM as a refusal: `chmod` and
//! `tar` of a new image fail on an old host. So a few instructions go before the library's: rules of calls that it
//! does not know, by their numbers, which are the same on every processor from 424 on, and ENOSYS for calls that are
//! newer than everything the profile speaks of, as runc has it.

use libseccomp::{ScmpAction, ScmpArch};

/// Numbers from which on, and below which, calls are the same on all processors.
const UNIFIED: std::ops::Range<u32> = 424..1024;
/// Calls that libraries in use do not know, `include/uapi/asm-generic/unistd.h`.
const NUMBERS: [(&str, u32); 19] = [
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
];

// Operations of the kernel's filter machine, `linux/bpf_common.h`, and places in its data, `linux/seccomp.h`.
const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_ABOVE: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const ANSWER: u16 = 0x06;
const CALL: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Rules of calls by number, collected while a profile is compiled.
#[derive(Debug, Default)]
pub(crate) struct NewerCalls {
    rules: Vec<(u32, u32)>,
    highest: u32,
}

impl NewerCalls {
    /// Takes a rule for all uses of the call `name`, which the library does not know.
    pub fn add(&mut self, name: &str, action: ScmpAction) {
        if let Some(number) = number(name) {
            self.mention(number);
            if self.rules.iter().all(|(known, _)| *known != number) {
                self.rules.extend(answer(action).map(|answer| (number, answer)));
            }
        }
    }

    /// Notes that the profile speaks of a call.
    pub fn mention(&mut self, number: u32) {
        if UNIFIED.contains(&number) {
            self.highest = self.highest.max(number);
        }
    }

    /// Returns the instructions, which leave to those after them whatever they do not decide.
    pub fn instructions(&self, default: ScmpAction, architectures: &[ScmpArch]) -> Vec<u8> {
        let unknown = matches!(default, ScmpAction::Errno(_)).then_some(self.highest).filter(|it| *it > 0);
        let mut audited: Vec<u32> =
            architectures.iter().filter_map(|architecture| audit(*architecture)).collect();
        audited.sort_unstable();
        audited.dedup();
        if audited.is_empty() || (self.rules.is_empty() && unknown.is_none()) {
            return Vec::new();
        }
        let mut rest = vec![(LOAD, 0, 0, CALL)];
        let mut tail: Vec<(u16, u8, u8, u32)> = Vec::new();
        for (number, answer) in &self.rules {
            tail.push((IF_EQUAL, 0, 1, *number));
            tail.push((ANSWER, 0, 0, *answer));
        }
        if let Some(highest) = unknown {
            tail.push((IF_ABOVE, 0, 1, highest));
            tail.push((ANSWER, 0, 0, errno(libc::ENOSYS)));
        }
        let length = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        rest.push((IF_AT_LEAST, length(tail.len()), 0, UNIFIED.end));
        rest.extend(tail);
        let mut program = vec![(LOAD, 0, 0, ARCHITECTURE)];
        for (index, architecture) in audited.iter().enumerate() {
            let left = audited.len() - index - 1;
            // The last one that does not match leads over everything.
            let otherwise = if left == 0 { length(rest.len()) } else { 0 };
            program.push((IF_EQUAL, length(left), otherwise, *architecture));
        }
        program.extend(rest);
        let mut bytes = Vec::new();
        for (code, yes, no, operand) in program {
            bytes.extend(code.to_ne_bytes());
            bytes.extend([yes, no]);
            bytes.extend(operand.to_ne_bytes());
        }
        bytes
    }
}

fn number(name: &str) -> Option<u32> {
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Returns how the kernel names a processor's calls, `linux/audit.h`.
fn audit(architecture: ScmpArch) -> Option<u32> {
    match architecture {
        ScmpArch::Native if cfg!(target_arch = "x86_64") => audit(ScmpArch::X8664),
        ScmpArch::Native if cfg!(target_arch = "aarch64") => audit(ScmpArch::Aarch64),
        ScmpArch::X8664 => Some(0xC000_003E),
        ScmpArch::X86 => Some(0x4000_0003),
        ScmpArch::Aarch64 => Some(0xC000_00B7),
        ScmpArch::Arm => Some(0x4000_0028),
        ScmpArch::Riscv64 => Some(0xC000_00F3),
        ScmpArch::S390X => Some(0x8000_0016),
        _ => None,
    }
}

fn errno(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs() & 0xffff
}

fn answer(action: ScmpAction) -> Option<u32> {
    Some(match action {
        ScmpAction::Allow => libc::SECCOMP_RET_ALLOW,
        ScmpAction::Errno(code) => errno(code),
        ScmpAction::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        ScmpAction::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        ScmpAction::Trap => libc::SECCOMP_RET_TRAP,
        ScmpAction::Log => libc::SECCOMP_RET_LOG,
        ScmpAction::Trace(code) => libc::SECCOMP_RET_TRACE | u32::from(code),
        _ => return None,
    })
}

//! The system call filter of a container: compiled once to the kernel's own form, loaded from a file at every start.
//!
//! Compiling takes ten times as long as everything else about a filter, and a health probe needs one as well.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use libcontainer::oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator,
};
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use crate::newer_calls::NewerCalls;
use crate::syscall;

/// Changes whenever the same profile compiles to something else.
pub const FORM: u32 = 2;
/// Size of one instruction, bytes (`struct sock_filter`).
const INSTRUCTION: usize = 8;
/// The kernel takes no longer program (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// Why a profile cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Something that no profile of ours holds.
    #[error("the system call profile holds `{0}`, which is not supported")]
    Unsupported(String),
    /// The library refused.
    #[error("cannot compile the system call profile")]
    Compile(#[from] SeccompError),
    /// The program cannot be written.
    #[error("cannot write the system call filter")]
    Write(#[from] io::Error),
}

/// Compiles `profile` and writes the program to `out`.
pub fn compile(profile: &LinuxSeccomp, out: &File) -> Result<(), FilterError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default)?;
    let mut architectures = vec![ScmpArch::Native];
    for architecture in profile.architectures().iter().flatten() {
        let architecture = arch(*architecture)?;
        context.add_arch(architecture)?;
        architectures.push(architecture);
    }
    let mut newer = NewerCalls::default();
    // `no_new_privileges` is a matter of its own.
    context.set_ctl_nnp(false)?;
    // A search tree instead of a list: the last of 300 calls is found in nine steps. Libraries before 2.5 cannot.
    let _ = context.set_ctl_optimize(2);
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        if action == default {
            continue;
        }
        let comparisons =
            rule.args().iter().flatten().map(comparison).collect::<Result<Vec<_>, FilterError>>()?;
        for name in rule.names() {
            let Ok(call) = ScmpSyscall::from_name(name) else {
                if comparisons.is_empty() {
                    newer.add(name, action);
                }
                continue;
            };
            newer.mention(u32::try_from(call.as_raw_syscall()).unwrap_or(0));
            context.add_rule_conditional(action, call, &comparisons)?;
        }
    }
    let mut file = out;
    file.write_all(&newer.instructions(default, &architectures))?;
    context.export_bpf(out)?;
    Ok(())
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, FilterError> {
    match action {
        LinuxSeccompAction::ScmpActAllow => Ok(ScmpAction::Allow),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Ok(ScmpAction::KillThread),
        LinuxSeccompAction::ScmpActKillProcess => Ok(ScmpAction::KillProcess),
        LinuxSeccompAction::ScmpActTrap => Ok(ScmpAction::Trap),
        LinuxSeccompAction::ScmpActLog => Ok(ScmpAction::Log),
        LinuxSeccompAction::ScmpActTrace => {
            Ok(ScmpAction::Trace(errno.and_then(|errno| u16::try_from(errno).ok()).unwrap_or(0)))
        }
        LinuxSeccompAction::ScmpActErrno => {
            let errno = errno.and_then(|errno| i32::try_from(errno).ok()).unwrap_or(libc::EPERM);
            Ok(ScmpAction::Errno(errno))
        }
        LinuxSeccompAction::ScmpActNotify => Err(FilterError::Unsupported("SCMP_ACT_NOTIFY".to_owned())),
    }
}

fn arch(arch: Arch) -> Result<ScmpArch, FilterError> {
    match arch {
        Arch::ScmpArchNative => Ok(ScmpArch::Native),
        Arch::ScmpArchX86 => Ok(ScmpArch::X86),
        Arch::ScmpArchX86_64 => Ok(ScmpArch::X8664),
        Arch::ScmpArchX32 => Ok(ScmpArch::X32),
        Arch::ScmpArchArm => Ok(ScmpArch::Arm),
        Arch::ScmpArchAarch64 => Ok(ScmpArch::Aarch64),
        Arch::ScmpArchPpc64le => Ok(ScmpArch::Ppc64Le),
        Arch::ScmpArchS390x => Ok(ScmpArch::S390X),
        Arch::ScmpArchRiscv64 => Ok(ScmpArch::Riscv64),
        other => Err(FilterError::Unsupported(other.to_string())),
    }
}

fn comparison(argument: &LinuxSeccompArg) -> Result<ScmpArgCompare, FilterError> {
    let index = u32::try_from(argument.index()).unwrap_or(u32::MAX);
    let (operator, datum) = match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, argument.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, argument.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, argument.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, argument.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, argument.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, argument.value()),
        // The value is the mask here, the second value what the masked argument must be.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(argument.value()), argument.value_two().unwrap_or(0))
        }
    };
    Ok(ScmpArgCompare::new(index, operator, datum))
}

/// Reads a compiled filter.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut program = Vec::new();
    File::open(path)?.take((MAX_INSTRUCTIONS * INSTRUCTION) as u64 + 1).read_to_end(&mut program)?;
    if program.is_empty()
        || program.len() % INSTRUCTION != 0
        || program.len() > MAX_INSTRUCTIONS * INSTRUCTION
    {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed system call filter"));
    }
    Ok(program)
}

/// Puts this process, for good, under a filter that was read. Needs CAP_SYS_ADMIN or `no_new_privileges`.
pub(crate) fn load(program: &[u8]) -> io::Result<()> {
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    syscall::load_filter(&instructions)
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use serde_json::{Value, json};

    use super::*;

    const AMD64: u32 = 0xC000_003E;
    const I386: u32 = 0x4000_0003;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

    fn compiled(profile: &Value) -> Vec<libc::sock_filter> {
        let profile: LinuxSeccomp = serde_json::from_value(profile.clone()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        compile(&profile, &file).unwrap();
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
        let one = |bytes: &[u8]| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: word(&bytes[4..8]),
        };
        bytes.chunks_exact(INSTRUCTION).map(one).collect()
    }

    /// The kernel's machine, as far as filters use it.
    fn answer(program: &[libc::sock_filter], architecture: u32, call: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [call, architecture, 0, 0].to_vec();
        data.extend(arguments.iter().flat_map(|it| [(it & 0xffff_ffff) as u32, (it >> 32) as u32]));
        let (mut at, mut value) = (0, 0);
        loop {
            let it = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { it.jt } else { it.jf });
            match it.code {
                0x20 => value = data[it.k as usize / 4],
                0x54 => value &= it.k,
                0x05 => at += it.k as usize,
                0x15 => at += jump(value == it.k),
                0x25 => at += jump(value > it.k),
                0x35 => at += jump(value >= it.k),
                0x45 => at += jump(value & it.k != 0),
                0x06 => return it.k,
                other => panic!("operation {other:#x}"),
            }
        }
    }

    const fn errno(code: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | code.unsigned_abs()
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn calls_newer_than_the_library_have_their_rules() {
        let program = compiled(&json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [
                { "names": ["read", "fchmodat2", "mseal", "removexattrat"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["file_getattr"], "action": "SCMP_ACT_KILL_PROCESS" },
                { "names": ["socket"], "action": "SCMP_ACT_ALLOW",
                  "args": [{ "index": 0, "value": 38, "op": "SCMP_CMP_LT" }] },
            ],
        }));
        let of = |architecture, call| answer(&program, architecture, call, [0; 6]);
        for architecture in [AMD64, I386] {
            assert_eq!(of(architecture, 452), ALLOW, "fchmodat2");
            assert_eq!(of(architecture, 462), ALLOW, "mseal");
            assert_eq!(of(architecture, 466), ALLOW, "removexattrat");
            assert_eq!(of(architecture, 468), libc::SECCOMP_RET_KILL_PROCESS, "file_getattr");
            assert_eq!(of(architecture, 451), errno(libc::EPERM), "known to the profile's author");
            assert_eq!(of(architecture, 469), errno(libc::ENOSYS), "newer than the profile");
            assert_eq!(of(architecture, 1023), errno(libc::ENOSYS));
        }
        assert_eq!(of(AMD64, 0), ALLOW, "read");
        assert_eq!(of(AMD64, 250), errno(libc::EPERM), "keyctl");
        assert_eq!(of(AMD64, 5000), errno(libc::EPERM), "no call at all");
        let socket = |family| answer(&program, AMD64, 41, [family, 0, 0, 0, 0, 0]);
        assert_eq!((socket(2), socket(38)), (ALLOW, errno(libc::EPERM)));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_list_of_what_is_refused_refuses_what_is_newer_too() {
        let program = compiled(&json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": ["setxattrat", "chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 }],
        }));
        let of = |call| answer(&program, AMD64, call, [0; 6]);
        assert_eq!((of(463), of(90), of(452), of(900)), (errno(13), errno(13), ALLOW, ALLOW));
    }
}

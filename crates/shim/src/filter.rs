//! The system call filter of a container: compiled once to the kernel's own form, loaded from a file at every start.
//!
//! Compiling takes ten times as long as everything else about a filter, and a health probe needs one as well.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use libcontainer::oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator,
};
use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use crate::syscall;

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
}

/// Compiles `profile` and writes the program to `out`.
pub fn compile(profile: &LinuxSeccomp, out: &File) -> Result<(), FilterError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default)?;
    for architecture in profile.architectures().iter().flatten() {
        context.add_arch(arch(*architecture)?)?;
    }
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
            // A name unknown to the library is a call that it refuses anyway.
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            context.add_rule_conditional(action, call, &comparisons)?;
        }
    }
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

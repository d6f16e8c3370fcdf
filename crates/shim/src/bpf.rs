//! Small programs for the kernel: their instructions, and the two calls that bring a device filter into force.
//!
//! Only what [`crate::devices`] needs of `bpf(2)`. Layouts are those of `linux/bpf.h`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An instruction as the kernel reads it: operation, registers, offset, number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    operation: u8,
    /// The destination in the lower half, the source in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// `BPF_LDX | BPF_MEM | BPF_W`.
const LOAD: u8 = 0x61;
/// `BPF_ALU | BPF_AND | BPF_K`.
const AND: u8 = 0x54;
/// `BPF_ALU | BPF_RSH | BPF_K`.
const SHIFT_RIGHT: u8 = 0x74;
/// `BPF_ALU | BPF_MOV | BPF_X`.
const COPY: u8 = 0xbc;
/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const SET: u8 = 0xb7;
/// `BPF_JMP | BPF_JNE | BPF_K`, and with a register.
const UNLESS_EQUAL: u8 = 0x55;
const UNLESS_SAME: u8 = 0x5d;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u8 = 0x95;

impl Instruction {
    const fn new(operation: u8, destination: u8, source: u8, offset: i16, immediate: u32) -> Self {
        Self { operation, registers: destination | source << 4, offset, immediate: immediate.cast_signed() }
    }

    /// Loads 32 bits at `offset` from where `source` points.
    pub const fn load(destination: u8, source: u8, offset: i16) -> Self {
        Self::new(LOAD, destination, source, offset, 0)
    }

    /// Keeps the bits of `mask`.
    pub const fn and(destination: u8, mask: u32) -> Self {
        Self::new(AND, destination, 0, 0, mask)
    }

    /// Shifts right.
    pub const fn shift_right(destination: u8, bits: u32) -> Self {
        Self::new(SHIFT_RIGHT, destination, 0, 0, bits)
    }

    /// Copies a register.
    pub const fn copy(destination: u8, source: u8) -> Self {
        Self::new(COPY, destination, source, 0, 0)
    }

    /// Sets a register.
    pub const fn set(destination: u8, value: u32) -> Self {
        Self::new(SET, destination, 0, 0, value)
    }

    /// Jumps unless a register holds `value`; [`Self::over`] says how far.
    pub const fn unless_equal(register: u8, value: u32) -> Self {
        Self::new(UNLESS_EQUAL, register, 0, 0, value)
    }

    /// Jumps unless two registers hold the same.
    pub const fn unless_same(register: u8, other: u8) -> Self {
        Self::new(UNLESS_SAME, register, other, 0, 0)
    }

    /// Ends the program.
    pub const fn exit() -> Self {
        Self::new(EXIT, 0, 0, 0, 0)
    }

    /// The same jump, over `count` instructions.
    pub fn over(self, count: usize) -> Self {
        Self { offset: i16::try_from(count).expect("a rule has a few instructions"), ..self }
    }
}

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` needs; shorter ones are filled with zeros by the kernel.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the structure is laid out as the kernel's for this command, its size is given, and all that it points to
    // outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the kernel a program that is asked about devices.
pub(crate) fn load_device_filter(program: &[Instruction]) -> io::Result<OwnedFd> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    let count = u32::try_from(program.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the device filter is too long"))?;
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let descriptor = bpf(BPF_PROG_LOAD, &load)?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Has a control group ask a program from now on, beside those that ask already. It stays for as long as the group does.
pub(crate) fn attach_to_group(program: BorrowedFd<'_>, group: BorrowedFd<'_>) -> io::Result<()> {
    const BPF_PROG_ATTACH: libc::c_int = 8;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    let attach = Attach {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attach).map(drop)
}

/// Runs a program on the argument `context`, as far as the instructions here go.
#[cfg(test)]
pub(crate) fn interpret(program: &[Instruction], context: [u32; 3]) -> u32 {
    let mut registers = [0_u32; 6];
    let mut at = 0;
    loop {
        let Instruction { operation, registers: pair, offset, immediate } = program[at];
        let (destination, source) = (usize::from(pair & 15), usize::from(pair >> 4));
        let number = immediate.cast_unsigned();
        let mut jump = |taken: bool| at += if taken { usize::try_from(offset).unwrap() } else { 0 };
        match operation {
            LOAD => registers[destination] = context[usize::try_from(offset).unwrap() / 4],
            AND => registers[destination] &= number,
            SHIFT_RIGHT => registers[destination] >>= number,
            COPY => registers[destination] = registers[source],
            SET => registers[destination] = number,
            UNLESS_EQUAL => jump(registers[destination] != number),
            UNLESS_SAME => jump(registers[destination] != registers[source]),
            EXIT => return registers[0],
            other => panic!("no such operation: {other:#x}"),
        }
        at += 1;
    }
}

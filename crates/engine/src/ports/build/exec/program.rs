//! What a file that should be run is, read by descriptor inside the root file system: its kind, its architecture, what
//! the kernel needs to begin it. Nothing is ever run.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use coracle_snapshot::RootFs;
use coracle_snapshot::rootfs::FileKind;

/// Longest first line of a script that the kernel reads, bytes.
const LONGEST_INTERPRETER: usize = 256;
/// Segment of an ELF file that names its loader.
const PT_INTERP: u32 = 3;

/// What a program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A script and the program that its first line names.
    Script {
        /// The interpreter.
        interpreter: PathBuf,
        /// Whether the line ends as Windows has it.
        carriage_return: bool,
    },
    /// An ELF file.
    Elf {
        /// Its architecture as images call it; `None` when we know no name.
        architecture: Option<&'static str>,
        /// Its loader; `None` for a static program.
        loader: Option<PathBuf>,
    },
    /// Nothing that the kernel can begin.
    Other,
}

impl Program {
    /// Looks at the head of a file; `None` when it cannot be read.
    pub(super) fn read(root: &RootFs, path: &Path) -> Option<Self> {
        let mut file = root.open(path).ok()?;
        let mut head = [0; LONGEST_INTERPRETER];
        let mut count = 0;
        while count < head.len() {
            match file.read(&mut head[count..]).ok()? {
                0 => break,
                more => count += more,
            }
        }
        let head = &head[..count];
        if let Some(rest) = head.strip_prefix(b"#!") {
            let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let text = String::from_utf8_lossy(line);
            let carriage_return = text.ends_with('\r');
            let interpreter = text.split_whitespace().next().unwrap_or_default();
            return Some(Self::Script { interpreter: PathBuf::from(interpreter), carriage_return });
        }
        if !head.starts_with(b"\x7fELF") {
            return Some(Self::Other);
        }
        Some(elf(head, &mut file).unwrap_or(Self::Other))
    }
}

/// Returns the head of the file that the kernel would begin for `path`: its own, or that of a script's interpreter.
pub(super) fn head(root: &RootFs, path: &Path) -> Option<Vec<u8>> {
    let path = match Program::read(root, path)? {
        Program::Script { interpreter, .. } => interpreter,
        Program::Elf { .. } | Program::Other => path.to_owned(),
    };
    let mut head = Vec::new();
    root.open(&path).ok()?.take(LONGEST_INTERPRETER as u64).read_to_end(&mut head).ok()?;
    Some(head)
}

/// Reads numbers as a file's own header says they are written.
struct Numbers<'b> {
    bytes: &'b [u8],
    big: bool,
}

impl Numbers<'_> {
    fn at<const N: usize>(&self, offset: usize) -> Option<u64> {
        let mut bytes: [u8; N] = self.bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()?;
        if self.big {
            bytes.reverse();
        }
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// Reads an ELF header and looks for the loader (System V ABI, "ELF Header" and "Program Header").
fn elf(head: &[u8], file: &mut std::fs::File) -> Option<Program> {
    let wide = *head.get(4)? == 2;
    let big = *head.get(5)? == 2;
    let numbers = Numbers { bytes: head, big };
    let machine = numbers.at::<2>(18)?;
    let architecture = architecture(machine, wide, big);
    let (offset, size, count) = if wide {
        (numbers.at::<8>(32)?, numbers.at::<2>(54)?, numbers.at::<2>(56)?)
    } else {
        (numbers.at::<4>(28)?, numbers.at::<2>(42)?, numbers.at::<2>(44)?)
    };
    let mut loader = None;
    for number in 0..count.min(64) {
        let mut entry = vec![0; usize::try_from(size).ok().filter(|size| (32..=256).contains(size))?];
        file.seek(SeekFrom::Start(offset.checked_add(number * size)?)).ok()?;
        file.read_exact(&mut entry).ok()?;
        let numbers = Numbers { bytes: &entry, big };
        if numbers.at::<4>(0)? != u64::from(PT_INTERP) {
            continue;
        }
        let (place, length) = if wide {
            (numbers.at::<8>(8)?, numbers.at::<8>(32)?)
        } else {
            (numbers.at::<4>(4)?, numbers.at::<4>(16)?)
        };
        let mut name = vec![0; usize::try_from(length).ok().filter(|length| *length <= 4096)?];
        file.seek(SeekFrom::Start(place)).ok()?;
        file.read_exact(&mut name).ok()?;
        let name = String::from_utf8_lossy(&name);
        loader = Some(PathBuf::from(name.trim_end_matches('\0')));
        break;
    }
    Some(Program::Elf { architecture, loader })
}

/// Returns how images call the machine of an ELF header.
fn architecture(machine: u64, wide: bool, big: bool) -> Option<&'static str> {
    Some(match machine {
        3 => "386",
        8 => match (wide, big) {
            (false, true) => "mips",
            (false, false) => "mipsle",
            (true, true) => "mips64",
            (true, false) => "mips64le",
        },
        20 => "ppc",
        21 => {
            if big {
                "ppc64"
            } else {
                "ppc64le"
            }
        }
        22 => "s390x",
        40 => "arm",
        62 => "amd64",
        183 => "arm64",
        243 => "riscv64",
        258 => "loong64",
        _ => return None,
    })
}

/// Returns whether a path names a file with execute permission for somebody.
pub(super) fn is_executable(root: &RootFs, path: &Path) -> bool {
    let found = root.stat(path).ok().flatten();
    found.is_some_and(|metadata| metadata.kind == FileKind::File && metadata.mode & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Program> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x"), bytes).unwrap();
        Program::read(&RootFs::open_directory(directory.path()).unwrap(), Path::new("x"))
    }

    #[test]
    fn scripts_name_their_interpreter() {
        let script = |interpreter: &str, carriage_return| {
            Some(Program::Script { interpreter: PathBuf::from(interpreter), carriage_return })
        };
        assert_eq!(read(b"#!/bin/bash -e\necho\n"), script("/bin/bash", false));
        assert_eq!(read(b"#! /usr/bin/env python3\r\n"), script("/usr/bin/env", true));
        assert_eq!(read(b"#!"), script("", false));
        assert_eq!(read(b"echo"), Some(Program::Other));
        assert_eq!(read(b""), Some(Program::Other));
    }

    #[test]
    fn headers_name_architecture_and_loader() {
        let mut file = vec![0; 64 + 56 + 30];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = 183;
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file[64] = 3;
        file[72] = 120;
        file[96] = 21;
        file[120..141].copy_from_slice(b"/lib/ld-musl-arm64.so");
        let loader = Some(PathBuf::from("/lib/ld-musl-arm64.so"));
        assert_eq!(read(&file), Some(Program::Elf { architecture: Some("arm64"), loader }));
        file[64] = 1;
        assert_eq!(read(&file), Some(Program::Elf { architecture: Some("arm64"), loader: None }));
        // Damaged in any way it is nothing, and no panic.
        for length in 0..file.len() {
            read(&file[..length]);
        }
        for position in 0..64 {
            let mut damaged = file.clone();
            damaged[position] = 0xff;
            read(&damaged);
        }
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let Some(Program::Elf { architecture, .. }) = read(&own) else { panic!("we are one") };
        assert_eq!(architecture, Some(coracle_oci::Platform::host().architecture.as_str()));
    }
}

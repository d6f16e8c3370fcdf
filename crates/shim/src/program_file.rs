//! Why the kernel does not run a file that is there and executable: what its first bytes say, and what would help.
//!
//! Looks at the file as the container's own user, inside the container; nothing of it is run or trusted.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes of a file's beginning that are looked at.
const HEAD: u64 = 4096;
/// The longest name of an interpreter that is told.
const LONGEST_NAME: usize = 200;

/// Returns what is to be said of the file at `path`, which executing failed for with `error`.
pub(crate) fn explain(path: &Path, error: &io::Error) -> Option<String> {
    let code = error.raw_os_error()?;
    if !matches!(code, libc::ENOEXEC | libc::ENOENT | libc::EINVAL | libc::ELIBBAD) {
        return None;
    }
    // A named pipe must not hold us up.
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut head).ok()?;
    let needed = |name: &str| !Path::new(name).exists();
    if code == libc::ENOENT {
        return match interpreter(&head, &mut file)? {
            (name, true) if needed(&name) => Some(format!(
                "its interpreter `{name}` is not in the container; install it, or change the script's first line"
            )),
            (name, false) if needed(&name) => Some(format!(
                "its loader `{name}` is not in the container: it was linked for another C library; use an image \
                 that has it (Debian's has glibc, Alpine's has musl), or link the program statically"
            )),
            _ => None,
        };
    }
    Some(kind(&head))
}

/// Returns what a file is that the kernel takes for no program.
fn kind(head: &[u8]) -> String {
    let ours = std::env::consts::ARCH;
    match head {
        [] => "the file is empty".to_owned(),
        [0x7f, b'E', b'L', b'F', ..] => match machine(head) {
            Some(theirs) if theirs != docker(ours) => format!(
                "it is a program for {theirs}, and this machine is {ours}; use an image for it (`--platform \
                 linux/{ours}`), or have the kernel run programs for {theirs} through QEMU (Debian: `apt-get install \
                 qemu-user-static binfmt-support`)",
                ours = docker(ours)
            ),
            _ => "the program is damaged, or for a kernel with other abilities".to_owned(),
        },
        [b'M', b'Z', ..] => "it is a program for Windows; containers here are Linux ones".to_owned(),
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
            "it is a program for macOS; build it for Linux (`GOOS=linux`, `--target ...-linux-musl`)".to_owned()
        }
        [b'#', b'!', ..] => "its first line names no interpreter".to_owned(),
        [0xef, 0xbb, 0xbf, ..] => {
            "it begins with a byte order mark; save the script as UTF-8 without one".to_owned()
        }
        _ if head.iter().take(256).all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..)) => {
            "it is a script without a first line that says what runs it; begin it with `#!/bin/sh`, or run it as \
             `sh FILE`"
                .to_owned()
        }
        _ => "it is neither a program nor a script".to_owned(),
    }
}

/// Returns the processor that a program is for, in Docker's words (`e_machine` of the ELF header, elf(5)).
fn machine(head: &[u8]) -> Option<&'static str> {
    let little = match head.get(5)? {
        1 => true,
        2 => false,
        _ => return None,
    };
    let number = word(head, 18, little)?;
    Some(match (number, little) {
        (3, _) => "386",
        (8, _) => "mips",
        (20, _) => "ppc",
        (21, true) => "ppc64le",
        (21, false) => "ppc64",
        (22, _) => "s390x",
        (40, _) => "arm",
        (62, _) => "amd64",
        (183, _) => "arm64",
        (243, _) => "riscv64",
        (258, _) => "loong64",
        _ => "another processor",
    })
}

fn docker(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn word(bytes: &[u8], at: usize, little: bool) -> Option<u16> {
    let bytes: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Returns what runs a file beside the kernel, and whether it is a script's interpreter rather than a loader.
fn interpreter(head: &[u8], file: &mut File) -> Option<(String, bool)> {
    if let Some(rest) = head.strip_prefix(b"#!") {
        let line = rest.split(|byte| *byte == b'\n').next()?;
        let name = String::from_utf8_lossy(line).trim_start().split([' ', '\t']).next()?.to_owned();
        // A carriage return, of a file written on Windows, is part of the name.
        let name: String = name.escape_debug().take(LONGEST_NAME).collect();
        return Some((name, true));
    }
    // 64 bits, little endian; others are rare enough to go without.
    if !head.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1]) {
        return None;
    }
    let (start, size, count) = (long(head, 32)?, word(head, 54, true)?, word(head, 56, true)?);
    for index in 0..u64::from(count.min(64)) {
        let at = usize::try_from(start.checked_add(index * u64::from(size))?).ok()?;
        const INTERPRETER: [u8; 4] = 3u32.to_le_bytes();
        if head.get(at..at.checked_add(4)?)? != INTERPRETER {
            continue;
        }
        file.seek(SeekFrom::Start(long(head, at + 8)?)).ok()?;
        let mut name = Vec::new();
        file.take(LONGEST_NAME as u64).read_to_end(&mut name).ok()?;
        let name = name.split(|byte| *byte == 0).next()?;
        return Some((String::from_utf8_lossy(name).escape_debug().to_string(), false));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &[u8], code: i32) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, content).unwrap();
        explain(&path, &io::Error::from_raw_os_error(code))
    }

    fn elf(machine: u16) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        bytes.resize(64, 0);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes
    }

    #[test]
    fn what_is_no_program_is_named() {
        let says = |content: &[u8], words: &str| {
            let text = of(content, libc::ENOEXEC).unwrap();
            assert!(text.contains(words), "{words}: {text}");
        };
        says(b"", "empty");
        says(b"echo hello\n", "#!/bin/sh");
        says(b"MZ\x90\0", "Windows");
        says(&[0xcf, 0xfa, 0xed, 0xfe, 0], "macOS");
        says(&[0, 1, 2, 3], "neither");
        for (number, name) in [(40, "arm"), (22, "s390x"), (243, "riscv64"), (999, "another processor")] {
            says(&elf(number), &format!("a program for {name}, and this machine is"));
        }
        let own = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
        says(&elf(own), "damaged");
        assert_eq!(of(b"", libc::EACCES), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = of(b"#!/no/such/bash -e\n", libc::ENOENT).unwrap();
        assert!(text.contains("`/no/such/bash`"), "{text}");
        assert!(of(b"#!/bin/sh\r\n", libc::ENOENT).unwrap().contains("/bin/sh\\r"));
        assert_eq!(of(b"#!/bin/sh\n", libc::ENOENT), None);
        let mut program = elf(62);
        program[32..40].copy_from_slice(&64u64.to_le_bytes());
        program[54..56].copy_from_slice(&56u16.to_le_bytes());
        program[56..58].copy_from_slice(&1u16.to_le_bytes());
        program.extend(3u32.to_le_bytes());
        program.extend([0; 4]);
        program.extend(200u64.to_le_bytes());
        program.resize(200, 0);
        program.extend(b"/lib/ld-none.so.1\0");
        let text = of(&program, libc::ENOENT).unwrap();
        assert!(text.contains("`/lib/ld-none.so.1`") && text.contains("C library"), "{text}");
        // What lies is not followed.
        program[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(of(&program, libc::ENOENT), None);
    }
}

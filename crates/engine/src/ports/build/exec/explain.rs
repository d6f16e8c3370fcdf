//! Why a command could not be begun: what the files say that its complaint names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use coracle_build::ExecRequest;
use coracle_oci::Platform;
use coracle_snapshot::RootFs;
use coracle_snapshot::rootfs::FileKind;

use super::program::{Program, head, is_executable};
use crate::platforms::emulated;

/// Exit code of a program that exists and cannot be run.
const CANNOT_RUN: i32 = 126;
/// Exit code of a program that does not exist.
const NOT_FOUND: i32 = 127;
/// How many words of a complaint are looked up.
const WORDS: usize = 400;

/// Returns what is wrong with the programs that a failed command's last lines name. `root` is the file system as the
/// command left it. Pure but for reading `root`.
pub(super) fn explain(root: &RootFs, request: &ExecRequest<'_>, code: i32, lines: &[String]) -> Vec<String> {
    let said = |text: &str| lines.iter().any(|line| line.to_lowercase().contains(text));
    let about_programs = matches!(code, CANNOT_RUN | NOT_FOUND)
        || ["exec format error", "bad interpreter", "cannot execute", "required file not found"]
            .into_iter()
            .any(said)
        || lines.iter().any(|line| line.contains("\u{7f}ELF") || line.contains("ELF: not found"));
    if !about_programs {
        return Vec::new();
    }
    let path = request.env.iter().rev().find_map(|line| line.strip_prefix("PATH=")).unwrap_or_default();
    let first = request.args.first().map(String::as_str).unwrap_or_default();
    if let Some(hint) = missing_shell(root, first, &request.args) {
        return vec![hint];
    }
    let mut seen = BTreeSet::new();
    let mut hints = Vec::new();
    // Whether a file may be run is asked only where somebody was refused it.
    let denied = |line: &str| {
        let line = line.to_lowercase();
        code == CANNOT_RUN && (line.contains("denied") || line.contains("cannot"))
    };
    let mut named = vec![(first, code == CANNOT_RUN)];
    for line in lines.iter().rev() {
        let refused = denied(line);
        named.extend(words(line).map(|word| (word, refused)));
    }
    named.extend(request.args.iter().flat_map(|argument| words(argument)).map(|word| (word, false)));
    for (word, refused) in named.into_iter().take(WORDS) {
        for candidate in candidates(word, &request.cwd, path) {
            if !seen.insert((candidate.clone(), refused)) {
                continue;
            }
            let Ok(Some(metadata)) = root.stat(&candidate) else { continue };
            if metadata.kind != FileKind::File {
                continue;
            }
            let hint = fault(root, &candidate, refused).filter(|hint| !hints.contains(hint));
            hints.extend(hint);
            break;
        }
    }
    hints
}

/// Returns why a command cannot run here: its program is for another kind of processor, and the kernel says that it
/// hands such programs to no emulator. What cannot be known is tried.
pub(super) fn foreign(root: &RootFs, request: &ExecRequest<'_>) -> Option<String> {
    let path = request.env.iter().rev().find_map(|line| line.strip_prefix("PATH=")).unwrap_or_default();
    let candidates = candidates(request.args.first()?, &request.cwd, path);
    let program = candidates.iter().find(|candidate| is_executable(root, candidate))?;
    let host = Platform::host().architecture;
    let mut begun = program.clone();
    if let Program::Script { interpreter, .. } = Program::read(root, program)? {
        begun = interpreter;
    }
    let Program::Elf { architecture: Some(architecture), .. } = Program::read(root, &begun)? else {
        return None;
    };
    if runs(architecture, &host) || emulated(&head(root, &begun)?) != Some(false) {
        return None;
    }
    Some(format!(
        "`{}` is a program for {architecture}, and this host runs {host} without an emulator",
        begun.display()
    ))
}

/// Returns what to do when the shell of the shell form is not there.
fn missing_shell(root: &RootFs, program: &str, args: &[String]) -> Option<String> {
    let shell_form = args.get(1).is_some_and(|flag| flag == "-c") && args.len() == 3;
    if !shell_form || !program.starts_with('/') || root.stat(Path::new(program)).ok()?.is_some() {
        return None;
    }
    Some(format!(
        "this image has no shell (`{program}`): write the exec form `RUN [\"program\", \"argument\"]`, do the work in an earlier stage and COPY --from it, or bring a shell with `COPY --from=busybox /bin/busybox {program}`"
    ))
}

/// Cuts a line into what may be names of programs.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let marks = |c: char| {
        c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '(' | ')' | ';' | '&' | '|' | ',' | '<' | '>')
    };
    line.split(marks).map(|word| word.trim_end_matches(':')).filter(|word| !word.is_empty())
}

/// Returns where a word may be found as a program.
fn candidates(word: &str, cwd: &str, path: &str) -> Vec<PathBuf> {
    if word.contains('/') {
        return vec![Path::new(cwd).join(word).components().collect()];
    }
    path.split(':')
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| Path::new(directory).join(word))
        .collect()
}

/// Returns what keeps the kernel from beginning a file, if anything does.
fn fault(root: &RootFs, path: &Path, refused: bool) -> Option<String> {
    let shown = path.display();
    let host = Platform::host().architecture;
    let exists = |path: &Path| root.stat(path).ok().flatten().is_some();
    match Program::read(root, path)? {
        Program::Script { interpreter, carriage_return } => {
            if carriage_return {
                return Some(format!(
                    "`{shown}` has Windows line ends, so its interpreter is not found: convert it to LF (`sed -i 's/\\r$//' FILE`)"
                ));
            }
            if interpreter.as_os_str().is_empty() || !exists(&interpreter) {
                return Some(format!(
                    "`{shown}` is a script for `{}`, which is not in this image: install it, or write another `#!` line",
                    interpreter.display()
                ));
            }
            (refused && !is_executable(root, path)).then(|| not_executable(path))
        }
        Program::Elf { architecture: Some(architecture), .. } if !runs(architecture, &host) => Some(format!(
            "`{shown}` is a program for {architecture}, and this host runs {host}: build it for {host}, or build the stage for the right platform (`FROM --platform=linux/{host}`); to run foreign programs, register an emulator (`apt-get install qemu-user-static binfmt-support`)"
        )),
        Program::Elf { loader: Some(loader), .. } if !exists(&loader) => {
            Some(missing_loader(root, path, &loader))
        }
        Program::Elf { .. } => (refused && !is_executable(root, path)).then(|| not_executable(path)),
        Program::Other if refused && !is_executable(root, path) => Some(not_executable(path)),
        Program::Other if refused => Some(format!(
            "`{shown}` is neither a program nor a script with a `#!` line: begin it with `#!/bin/sh`, or run it through its interpreter"
        )),
        Program::Other => None,
    }
}

fn not_executable(path: &Path) -> String {
    format!(
        "`{0}` is not executable: `COPY --chmod=0755`, or `RUN chmod +x {0}` in an earlier step",
        path.display()
    )
}

fn missing_loader(root: &RootFs, path: &Path, loader: &Path) -> String {
    let exists = |path: &str| root.stat(Path::new(path)).ok().flatten().is_some();
    let musl = root
        .list(Path::new("/lib"))
        .is_ok_and(|names| names.iter().any(|name| name.to_string_lossy().starts_with("ld-musl-")));
    let glibc = exists("/lib64/ld-linux-x86-64.so.2") || exists("/lib/ld-linux-aarch64.so.1");
    let (shown, loader) = (path.display(), loader.display().to_string());
    let advice = match (loader.contains("ld-musl"), musl, glibc) {
        (false, true, _) => {
            "it is linked against glibc and this image has musl (Alpine): use its musl build, link it statically, or begin from a Debian base"
        }
        (true, _, true) => {
            "it is linked against musl (Alpine) and this image has glibc: use its glibc build, or link it statically"
        }
        _ => "link it statically (`CGO_ENABLED=0`, `-static`), or begin from a base that has a C library",
    };
    format!("`{shown}` exists, but its loader `{loader}` is not in this image; {advice}")
}

/// Returns whether a kernel of `host` runs programs of `architecture` by itself.
fn runs(architecture: &str, host: &str) -> bool {
    architecture == host
        || (architecture == "386" && host == "amd64")
        || (architecture == "arm" && host == "arm64")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::AtomicBool;

    use super::*;

    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Self {
            let root = Self(tempfile::tempdir().unwrap());
            root.put("bin/sh", b"#!/bin/sh\n", 0o755);
            root
        }

        fn put(&self, path: &str, content: &[u8], mode: u32) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }

        fn explain(&self, command: &[&str], code: i32, lines: &[&str]) -> String {
            let root = RootFs::open_directory(self.0.path()).unwrap();
            let (cancel, sandbox) = (AtomicBool::new(false), coracle_build::Sandbox::default());
            let request = ExecRequest {
                parent: None,
                args: command.iter().map(|word| (*word).to_owned()).collect(),
                env: vec!["PATH=/usr/bin:/bin".to_owned()],
                secret_env: Vec::new(),
                cwd: "/app".to_owned(),
                user: String::new(),
                mounts: Vec::new(),
                network: coracle_dockerfile::NetworkMode::Default,
                security: coracle_dockerfile::Security::Sandbox,
                sandbox: &sandbox,
                cancel: &cancel,
                task: coracle_report::TaskId::next(),
            };
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            explain(&root, &request, code, &lines).join("\n")
        }
    }

    fn program(machine: u8) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = machine;
        file[54] = 56;
        file
    }

    #[test]
    fn complaints_are_explained_by_what_the_files_are() {
        let root = Root::new();
        let foreign = if Platform::host().architecture == "arm64" { 62 } else { 183 };
        root.put("app/foreign", &program(foreign), 0o755);
        root.put("app/script", b"#!/usr/bin/python3\n", 0o755);
        root.put("app/dos", b"#!/bin/sh\r\n", 0o755);
        root.put("app/plain", b"#!/bin/sh\n", 0o644);
        root.put("app/text", b"hello\n", 0o755);
        let shell = |text: &'static str| ["/bin/sh", "-c", text];
        for (command, code, line, expected) in [
            (&["/app/foreign"][..], 126, "cannot run `/app/foreign`: exec format error", "is a program for"),
            (&shell("./foreign")[..], 126, "/bin/sh: 1: ./foreign: Exec format error", "is a program for"),
            (&shell("cd /app && ./foreign")[..], 2, "./foreign: 1: \u{7f}ELF: not found", "is a program for"),
            (
                &shell("./script")[..],
                127,
                "/bin/sh: 1: ./script: not found",
                "a script for `/usr/bin/python3`",
            ),
            (&["/app/script"][..], 127, "cannot run `/app/script`: no such file", "a script for"),
            (&shell("./dos")[..], 127, "/bin/sh: ./dos: not found", "Windows line ends"),
            (&shell("./plain")[..], 126, "/bin/sh: 1: ./plain: Permission denied", "is not executable"),
            (&["/app/text"][..], 126, "cannot run `/app/text`: exec format error", "neither a program nor"),
            (
                &["/bin/bash", "-c", "x"][..],
                127,
                "cannot run `/bin/bash`: no such file",
                "has no shell (`/bin/bash`)",
            ),
        ] {
            let found = root.explain(command, code, &[line]);
            assert!(found.contains(expected) && found.lines().count() == 1, "{command:?}: {found}");
        }
        assert_eq!(root.explain(&shell("false"), 1, &["./script is fine"]), "");
        assert_eq!(root.explain(&shell("nothing"), 127, &["/bin/sh: nothing: not found"]), "");
    }

    #[test]
    fn a_missing_loader_is_told_from_a_missing_program() {
        let mut file = vec![0; 64 + 56 + 40];
        file[..64].copy_from_slice(&program(if Platform::host().architecture == "arm64" { 183 } else { 62 }));
        (file[32], file[56], file[64], file[72], file[96]) = (64, 1, 3, 120, 28);
        file[120..147].copy_from_slice(b"/lib64/ld-linux-x86-64.so.2");
        let root = Root::new();
        root.put("app/tool", &file, 0o755);
        let explain =
            |root: &Root| root.explain(&["/bin/sh", "-c", "./tool"], 127, &["/bin/sh: ./tool: not found"]);
        assert!(explain(&root).contains("link it statically"), "{}", explain(&root));
        root.put("lib/ld-musl-x86_64.so.1", b"", 0o755);
        assert!(explain(&root).contains("this image has musl (Alpine)"));
        root.put("lib64/ld-linux-x86-64.so.2", b"", 0o755);
        assert_eq!(explain(&root), "");
    }
}

//! How a container's program is found and begun, in its own process, inside its own root.

use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};

use crate::confinement::Confinement;
use crate::{program_file, syscall};

/// Stands before a message that carries an exit code through libcontainer's texts.
const MARK: &str = "coracle-exit-";
/// Exit code of a program that exists and cannot be run.
pub(crate) const CANNOT_RUN: i32 = 126;
/// Exit code of a program that does not exist.
pub(crate) const NOT_FOUND: i32 = 127;

/// Why a program cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CannotRun {
    pub code: i32,
    pub message: String,
}

impl CannotRun {
    /// Finds the message and code in a text that libcontainer made around [`Self::marked`].
    pub fn find(text: &str) -> Option<Self> {
        let rest = &text[text.find(MARK)? + MARK.len()..];
        let (code, message) = rest.split_once(": ")?;
        Some(Self { code: code.parse().ok()?, message: message.to_owned() })
    }

    fn marked(&self) -> String {
        format!("{MARK}{}: {}", self.code, self.message)
    }

    fn from_error(program: &str, error: &io::Error) -> Self {
        let code = match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => NOT_FOUND,
            _ => CANNOT_RUN,
        };
        let reason = match error.raw_os_error() {
            Some(libc::ENOENT) => "no such file or directory".to_owned(),
            Some(libc::EACCES) => "permission denied".to_owned(),
            Some(libc::ENOEXEC) => "exec format error".to_owned(),
            _ => error.to_string(),
        };
        Self { code, message: format!("cannot run `{program}`: {reason}") }
    }
}

/// Finds `program` as execvp(3) would, with `path` as the value of `PATH`.
pub(crate) fn find_program(program: &str, path: &str) -> Result<CString, CannotRun> {
    let c_string = |path: &Path| {
        CString::new(path.as_os_str().as_bytes()).map_err(|_| CannotRun {
            code: NOT_FOUND,
            message: format!("cannot run `{}`: the name holds a zero byte", program.escape_debug()),
        })
    };
    let usable = |path: &Path, c_path: &CString| match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(io::Error::from_raw_os_error(libc::EACCES)),
        Ok(_) => syscall::may_execute(c_path),
        Err(error) => Err(error),
    };
    if program.contains('/') {
        let c_path = c_string(Path::new(program))?;
        return match usable(Path::new(program), &c_path) {
            Ok(()) => Ok(c_path),
            Err(error) => Err(CannotRun::from_error(program, &error)),
        };
    }
    let mut refusal = None;
    for directory in path.split(':').filter(|_| !program.is_empty()) {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(program);
        let c_path = c_string(&candidate)?;
        match usable(&candidate, &c_path) {
            Ok(()) => return Ok(c_path),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refusal = Some(error),
            Err(_) => {}
        }
    }
    Err(match refusal {
        Some(error) => CannotRun::from_error(program, &error),
        None => CannotRun {
            code: NOT_FOUND,
            message: format!("cannot run `{program}`: executable file not found in $PATH"),
        },
    })
}

/// Replaces this process by the program; returns only when that fails.
pub(crate) fn become_program(args: &[String]) -> CannotRun {
    let Some(program) = args.first() else {
        return CannotRun { code: NOT_FOUND, message: "no command is given".to_owned() };
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let found = match find_program(program, &path) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let Ok(arguments) = args.iter().map(|arg| CString::new(arg.as_str())).collect::<Result<Vec<_>, _>>()
    else {
        return CannotRun {
            code: CANNOT_RUN,
            message: format!("cannot run `{program}`: an argument holds a zero byte"),
        };
    };
    syscall::reset_signals();
    let error = syscall::execute(&found, &arguments);
    let mut refusal = CannotRun::from_error(program, &error);
    let found = Path::new(std::ffi::OsStr::from_bytes(found.as_bytes()));
    if let Some(why) = program_file::explain(found, &error) {
        refusal.message.push_str(": ");
        refusal.message.push_str(&why);
    }
    refusal
}

/// Begins the container's first program for libcontainer.
#[derive(Clone)]
pub(crate) struct FirstProgram {
    /// Whether a small init stays as process 1 and the program is its child.
    pub init: bool,
    /// What it may not do.
    pub confinement: Confinement,
    /// Variables beyond the specification's: their values stand in no file.
    pub secrets: Vec<(String, OsString)>,
}

/// Lends libcontainer's own way of setting the environment.
#[derive(Clone)]
struct Usual;

impl Executor for Usual {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        Err(ExecutorError::CantHandle("usual"))
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }
}

fn args(spec: &Spec) -> &[String] {
    spec.process().as_ref().and_then(|process| process.args().as_deref()).unwrap_or_default()
}

impl Executor for FirstProgram {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        // The user is set by now, and nothing that needs privileges is left to do.
        let refused = |refusal: CannotRun| ExecutorValidationError::ArgValidationError(refusal.marked());
        self.confinement.put_on().map_err(refused)?;
        let environment = spec.process().as_ref().and_then(|process| process.env().as_deref());
        let path = environment
            .unwrap_or_default()
            .iter()
            .rev()
            .find_map(|entry| entry.strip_prefix("PATH="))
            .unwrap_or_default();
        let program = args(spec).first().map_or("", String::as_str);
        find_program(program, path).map(drop).map_err(refused)
    }

    fn setup_envs(&self, mut variables: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        for (name, value) in &self.secrets {
            // libcontainer's map holds text; what is none keeps what can be read of it.
            variables.insert(name.clone(), value.to_string_lossy().into_owned());
        }
        Usual.setup_envs(variables)
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        // When the shim dies, so does the container: nothing may run unsupervised. The parent here is the shim itself.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        let args = args(spec);
        if self.init {
            init(args);
        }
        let refusal = become_program(args);
        complain(&refusal);
        syscall::exit_now(refusal.code)
    }
}

/// Says why on the container's standard error, where its own messages go.
pub(crate) fn complain(refusal: &CannotRun) {
    let _ = rustix::io::write(rustix::stdio::stderr(), format!("coracle: {}\n", refusal.message).as_bytes());
}

/// Runs the program as a child, passes signals on to it, reaps every orphan and ends as the child ends.
fn init(args: &[String]) -> ! {
    // This process executes nothing that would close the shim's descriptors for it.
    syscall::close_from(3);
    let forwarded: Vec<i32> = (1..=31)
        .filter(|signal| {
            !matches!(
                *signal,
                libc::SIGKILL
                    | libc::SIGSTOP
                    | libc::SIGSEGV
                    | libc::SIGBUS
                    | libc::SIGFPE
                    | libc::SIGILL
                    | libc::SIGTRAP
                    | libc::SIGABRT
            )
        })
        .collect();
    syscall::reset_signals();
    let Ok(signals) = syscall::signal_descriptor(&forwarded) else { syscall::exit_now(CANNOT_RUN) };
    let program = syscall::fork(|| {
        // Its own group, in the foreground of the terminal if there is one, so that Ctrl-C reaches it alone.
        let _ = rustix::process::setpgid(None, None);
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
        let refusal = become_program(args);
        complain(&refusal);
        refusal.code
    });
    let Ok(program) = program else { syscall::exit_now(CANNOT_RUN) };
    loop {
        let mut watched = [rustix::event::PollFd::new(&signals, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut watched, None);
        while let Some(signal) = syscall::read_signal(std::os::fd::AsFd::as_fd(&signals)) {
            // The two terminal signals are blocked so that the child may take the foreground; they mean init itself.
            if !matches!(signal, libc::SIGCHLD | libc::SIGTTIN | libc::SIGTTOU) {
                let _ = syscall::kill(program, signal);
            }
        }
        while let Ok(Some(ended)) = syscall::wait(-1, false) {
            if ended.pid == program {
                syscall::exit_now(ended.code);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn programs_are_found_or_the_reason_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        fs::write(directory.path().join("plain"), "x").unwrap();
        fs::write(directory.path().join("tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(directory.path().join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(directory.path().join("folder")).unwrap();
        assert_eq!(find_program("tool", path).unwrap().to_str().unwrap(), format!("{path}/tool"));
        let code = |program: &str| find_program(program, path).unwrap_err().code;
        assert_eq!(code("nothing"), NOT_FOUND);
        assert_eq!(code(""), NOT_FOUND);
        assert_eq!(code("folder"), CANNOT_RUN);
        assert_eq!(code(&format!("{path}/plain")), CANNOT_RUN);
        assert_eq!(code(&format!("{path}/nothing")), NOT_FOUND);
        assert_eq!(code(&format!("{path}/tool/below")), NOT_FOUND);
    }

    #[test]
    fn refusals_survive_wrapping() {
        let refusal = find_program("nothing", "/nowhere").unwrap_err();
        let text = format!("init process: {}", refusal.marked());
        assert_eq!(CannotRun::find(&text), Some(refusal));
        assert_eq!(CannotRun::find("something else"), None);
    }
}

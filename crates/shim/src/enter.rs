//! Entering a running container: its control group, its namespaces, its user, its limits and its filter.
//!
//! This is done here rather than by libcontainer's tenant builder, which gives a further process no seccomp filter
//! and no resource limits and needs several times as long.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use libcontainer::capabilities;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use pathrs::flags::OpenFlags;
use pathrs::procfs::{ProcfsBase, ProcfsHandle};
use rustix::fs::{Mode, OFlags};

use crate::cgroup::{Cgroup, Doors};
use crate::config::{self, ShimConfig};
use crate::confinement::Confinement;
use crate::exec::ExecRequest;
use crate::executor::{CANNOT_RUN, CannotRun, become_program};
use crate::launch::OURS;
use crate::syscall;

/// Namespaces in the order in which they are joined; the mount namespace last, since `/proc` changes with it.
const NAMESPACES: [&str; 6] = ["ipc", "uts", "net", "pid", "cgroup", "mnt"];

fn ours(what: &str, error: &dyn std::fmt::Display) -> CannotRun {
    CannotRun { code: OURS, message: format!("{what}: {error}") }
}

/// Reads the container's specification.
pub(crate) fn load_spec(bundle: &Path) -> Result<Spec, CannotRun> {
    Spec::load(bundle.join(config::SPEC_FILE))
        .map_err(|error| ours("cannot read the container's specification", &error))
}

/// Moves this process, and its children, into the namespaces of the container whose first process is `pid`. Returns
/// the doors of its control group: only the child goes in, so that what watches it is neither counted nor ended there.
pub(crate) fn join(config: &ShimConfig, pid: i32) -> Result<Doors, CannotRun> {
    let namespaces: Vec<(&str, File)> = NAMESPACES
        .iter()
        .map(|name| Ok((*name, File::open(format!("/proc/{pid}/ns/{name}"))?)))
        .collect::<io::Result<_>>()
        .map_err(|error| ours("cannot reach the container's namespaces", &error))?;
    let doors =
        Cgroup::new(&config.cgroup).doors().map_err(|error| ours("cannot open the control group", &error))?;
    // From here on processes of the container see this one; they must not reach into it.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| ours("cannot protect this process", &error))?;
    for (name, file) in &namespaces {
        syscall::join_namespace(file.as_fd())
            .map_err(|error| ours(&format!("cannot join the {name} namespace"), &error))?;
    }
    Ok(doors)
}

/// Makes a terminal among those of the container that was joined; returns both sides, the controlling one first.
pub(crate) fn make_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    // Number of the pts multiplexer, see `Documentation/admin-guide/devices.txt`.
    const MULTIPLEXER: (u32, u32) = (5, 2);
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())?;
    // The container controls the path: it must not make us talk to another device.
    let device = rustix::fs::fstat(&master)?.st_rdev;
    if (rustix::fs::major(device), rustix::fs::minor(device)) != MULTIPLEXER {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "/dev/pts/ptmx is no terminal multiplexer"));
    }
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC,
    )?;
    Ok((master, slave))
}

/// Becomes the wanted program in the container that was joined; to be called in the child of the process that joined.
/// Returns only when that fails.
pub(crate) fn become_member(
    spec: &Spec,
    request: &ExecRequest,
    doors: &Doors,
    confinement: &Confinement,
    terminal: Option<OwnedFd>,
) -> CannotRun {
    let entered = doors.enter().map_err(|error| ours("cannot join the control group", &error));
    match entered.and_then(|()| prepare(spec, request, confinement, terminal)) {
        Ok(()) => become_program(&request.args),
        Err(refusal) => refusal,
    }
}

/// Writes a file of this process in a `/proc` that no process of the container can have put something else over
/// (CVE-2025-52881).
fn write_own(file: &str, text: &str) -> io::Result<()> {
    let proc = ProcfsHandle::new().map_err(io::Error::other)?;
    let mut file = proc.open(ProcfsBase::ProcSelf, file, OpenFlags::O_WRONLY).map_err(io::Error::other)?;
    file.write_all(text.as_bytes())
}

fn prepare(
    spec: &Spec,
    request: &ExecRequest,
    confinement: &Confinement,
    terminal: Option<OwnedFd>,
) -> Result<(), CannotRun> {
    let fail = |what: &'static str| move |error: io::Error| ours(what, &error);
    let Some(process) = spec.process() else { return Err(ours("malformed specification", &"no process")) };
    let kernel = SyscallType::Linux.create_syscall();

    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    rustix::process::setsid().map_err(|error| ours("cannot begin a session", &error))?;
    if let Some(terminal) = terminal {
        syscall::take_terminal(terminal.as_fd()).map_err(fail("cannot take the terminal"))?;
        let streams = [
            rustix::stdio::dup2_stdin(&terminal),
            rustix::stdio::dup2_stdout(&terminal),
            rustix::stdio::dup2_stderr(&terminal),
        ];
        streams
            .into_iter()
            .collect::<Result<(), _>>()
            .map_err(|error| ours("cannot use the terminal", &error))?;
    }
    let directory = request.cwd.as_deref().unwrap_or_else(|| process.cwd().as_path());
    rustix::process::chdir(directory).map_err(|error| CannotRun {
        code: CANNOT_RUN,
        message: format!("cannot enter the directory `{}`: {error}", directory.display()),
    })?;

    // A descriptor's link below /proc would lead out of the container (CVE-2024-21626): the kernel then has no path for
    // the directory below our root.
    let inside = rustix::process::getcwd(Vec::new()).is_ok_and(|path| path.as_bytes().starts_with(b"/"));
    if !inside {
        return Err(CannotRun {
            code: CANNOT_RUN,
            message: format!("the directory `{}` is not inside the container", directory.display()),
        });
    }

    for limit in process.rlimits().iter().flatten() {
        kernel.set_rlimit(limit).map_err(|error| ours("cannot set a resource limit", &error))?;
    }
    if let Some(score) = process.oom_score_adj() {
        write_own("oom_score_adj", &score.to_string()).map_err(fail("cannot set oom_score_adj"))?;
    }
    let no_new_privileges = process.no_new_privileges() == Some(true) && !request.privileged;
    if no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(|error| ours("cannot give up privileges", &error))?;
    }
    if let Some(profile) = process.apparmor_profile().as_ref().filter(|_| !request.privileged) {
        let wanted = format!("exec {profile}");
        write_own("attr/apparmor/exec", &wanted)
            .or_else(|_| write_own("attr/exec", &wanted))
            .map_err(fail("cannot apply the AppArmor profile"))?;
    }

    let own = process.user();
    let (uid, gid, groups) = match &request.user {
        Some(user) => (user.uid, user.gid, user.groups.clone()),
        None => (own.uid(), own.gid(), own.additional_gids().clone().unwrap_or_default()),
    };
    syscall::close_from_on_exec(3);
    syscall::keep_capabilities(true).map_err(fail("cannot keep capabilities"))?;
    syscall::become_user(uid, gid, &groups).map_err(fail("cannot become the user"))?;
    capabilities::reset_effective(kernel.as_ref())
        .map_err(|error| ours("cannot raise capabilities", &error))?;

    if !request.privileged {
        confinement.put_on()?;
    }
    syscall::keep_capabilities(false).map_err(fail("cannot drop capabilities"))?;
    syscall::set_environment(&environment(process.env().as_deref().unwrap_or_default(), request));
    Ok(())
}

/// Returns the container's environment with the request's over it.
fn environment(own: &[String], request: &ExecRequest) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = own
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let mut set = |key: &str, value: &str| match list.iter_mut().find(|(known, _)| known == key) {
        Some((_, old)) => value.clone_into(old),
        None => list.push((key.to_owned(), value.to_owned())),
    };
    if let Some(user) = &request.user {
        set("HOME", &user.home);
    }
    for (key, value) in &request.env {
        set(key, value);
    }
    if request.terminal && !list.iter().any(|(key, _)| key == "TERM") {
        list.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    list
}

/// Ends a process and all its descendants, also those that left its session.
pub(crate) fn kill_tree(root: i32) {
    // Twice is enough unless the tree grows as fast as it is killed; then the next rounds end the rest.
    for _ in 0..16 {
        let tree = descendants(root);
        let mut any = false;
        for pid in tree {
            any |= syscall::kill(pid, libc::SIGKILL).is_ok();
        }
        if !any {
            break;
        }
        if descendants(root).is_empty() {
            break;
        }
    }
    let _ = syscall::kill(root, libc::SIGKILL);
}

/// Returns the living descendants of `root`, and members of the sessions of its children.
fn descendants(root: i32) -> Vec<i32> {
    let processes = processes();
    let mut found = vec![root];
    let mut sessions = Vec::new();
    loop {
        let before = found.len();
        for process in &processes {
            let related = found.contains(&process.parent) || sessions.contains(&process.session);
            if related && !found.contains(&process.pid) {
                found.push(process.pid);
                // A child that leads a session brings orphans that stayed in it.
                if process.session == process.pid {
                    sessions.push(process.session);
                }
            }
        }
        if found.len() == before {
            break;
        }
    }
    found.remove(0);
    found
}

struct ProcessEntry {
    pid: i32,
    parent: i32,
    session: i32,
}

/// Returns all processes but zombies.
fn processes() -> Vec<ProcessEntry> {
    let Ok(directory) = rustix::fs::open(
        c"/proc" as &CStr,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) else {
        return Vec::new();
    };
    let Ok(entries) = rustix::fs::Dir::read_from(&directory) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
        .filter_map(|pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            let session = fields.nth(1)?.parse().ok()?;
            (state != "Z").then_some(ProcessEntry { pid, parent, session })
        })
        .collect()
}

//! Safe forms of the system calls that neither the standard library nor rustix offers safely.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub pid: i32,
    /// Exit code; 128 + signal number when a signal ended it.
    pub code: i32,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks. The child runs `child` and ends with the code that it returns, without unwinding into the caller's code.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the shim is single-threaded, so no lock can be held by another thread at the fork; the child leaves by
    // `_exit` and never returns into the caller's frames.
    match check(unsafe { libc::fork() })? {
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(125);
            exit_now(code)
        }
        pid => Ok(pid),
    }
}

/// Ends the process without running exit handlers or flushing anything inherited.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from 3 on that is not among `kept`: for a fresh copy of the process that has no use for them.
pub(crate) fn close_others(mut kept: Vec<RawFd>) {
    kept.sort_unstable();
    let mut first: libc::c_uint = 3;
    for fd in kept.into_iter().filter_map(|fd| libc::c_uint::try_from(fd).ok()).filter(|fd| *fd >= 3) {
        if fd > first {
            // SAFETY: the copy uses none of these descriptors and leaves by `_exit`, which drops nothing.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = fd + 1;
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Waits for `pid`, or for any child when it is -1; with `block` unset returns `None` when none has ended.
pub(crate) fn wait(pid: i32, block: bool) -> io::Result<Option<Ended>> {
    loop {
        let mut status = 0;
        let flags = if block { 0 } else { libc::WNOHANG };
        // SAFETY: `status` outlives the call.
        match check(unsafe { libc::waitpid(pid, &raw mut status, flags) }) {
            Ok(0) => return Ok(None),
            Ok(pid) if libc::WIFEXITED(status) => {
                return Ok(Some(Ended { pid, code: libc::WEXITSTATUS(status) }));
            }
            Ok(pid) if libc::WIFSIGNALED(status) => {
                return Ok(Some(Ended { pid, code: 128 + libc::WTERMSIG(status) }));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends a signal by number.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes plain numbers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Blocks `signals` and returns a descriptor from which they are read.
pub(crate) fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: an all-zero sigset_t is valid storage, made a set by sigemptyset; the descriptor returned is new and
    // owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
        let fd = check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Reads the number of the next signal; `None` when there is none.
pub(crate) fn read_signal(fd: BorrowedFd<'_>) -> Option<i32> {
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: signalfd_siginfo is plain data for which all bytes are valid, and `size` is its size.
    unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        let count = libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size);
        (usize::try_from(count) == Ok(size)).then(|| info.ssi_signo.cast_signed())
    }
}

/// Gives a program that is about to be executed the signal state of a fresh process: nothing blocked, nothing
/// ignored. Rust ignores SIGPIPE and a shim blocks what it reads through a descriptor; both would be inherited.
pub(crate) fn reset_signals() {
    // SAFETY: sigaction and sigprocmask get valid pointers to initialised data; setting the default disposition
    // cannot run code.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=64 {
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Replaces the process by `program`, with the environment as it is. Returns only on failure.
pub(crate) fn execute(program: &CString, arguments: &[CString]) -> io::Error {
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|text| text.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: the strings and the null-terminated array of pointers to them outlive the call.
    unsafe { libc::execv(program.as_ptr(), pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Returns whether this process may execute the file, by its effective ids.
pub(crate) fn may_execute(path: &CString) -> io::Result<()> {
    // SAFETY: `path` is a valid C string.
    check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) }).map(drop)
}

/// Replaces the process's environment.
pub(crate) fn set_environment(entries: &[(String, String)]) {
    for (key, _) in std::env::vars_os() {
        // SAFETY: the shim is single-threaded: nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(key) };
    }
    for (key, value) in entries {
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            continue;
        }
        // SAFETY: as above.
        unsafe { std::env::set_var(key, value) };
    }
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: RawFd) {
    // SAFETY: only called by processes that use none of these descriptors any more: an init that keeps 0 to 2.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Marks every descriptor from `first` on to be closed at the next execution.
pub(crate) fn close_from_on_exec(first: RawFd) {
    // SAFETY: setting a flag of descriptors invalidates none.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Joins the namespace that `fd` refers to.
pub(crate) fn join_namespace(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `fd` is open; the shim is single-threaded, as joining a mount namespace needs.
    check(unsafe { libc::setns(fd.as_raw_fd(), 0) }).map(drop)
}

/// Leaves the caller's mount and, if `network` is set, network namespace for new ones.
pub(crate) fn unshare(network: bool) -> io::Result<()> {
    let flags = libc::CLONE_NEWNS | if network { libc::CLONE_NEWNET } else { 0 };
    // SAFETY: unshare takes plain flags; CLONE_FILES is not among them.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: ifreq is plain data; the name is shorter than its field and zero-terminated; the request reads and
    // writes only the structure.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
            *place = byte.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request)).map(drop)
    }
}

/// Makes the terminal at standard input the controlling terminal of this session.
pub(crate) fn take_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes a plain number.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Sets the size of a terminal.
pub(crate) fn resize_terminal(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Gives freed memory back to the kernel.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Sets user, group and supplementary groups, for good.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: `groups` outlives the call; the others take plain numbers.
    unsafe {
        match check(libc::setgroups(groups.len(), groups.as_ptr())) {
            // A normal user without subordinate ids may not say it, and has no other group to give anyway.
            Err(_) if groups.iter().all(|group| *group == gid) && groups_are_denied() => {}
            result => drop(result?),
        }
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    Ok(())
}

/// Returns whether this user namespace forbids setting groups (`user_namespaces(7)`).
fn groups_are_denied() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
}

/// Asks the kernel to keep or drop capabilities when the user changes from root.
pub(crate) fn keep_capabilities(keep: bool) -> io::Result<()> {
    // SAFETY: prctl with plain numbers.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep), 0, 0, 0) }).map(drop)
}

/// Makes every mount of the detached tree that `fd` refers to read-only.
pub(crate) fn make_tree_read_only(fd: BorrowedFd<'_>) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the empty path is a C string and `attributes` outlives the call, whose last argument is its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives every mount of the detached tree that `fd` refers to, or its top alone, the owners of a user namespace.
pub(crate) fn map_owners(fd: BorrowedFd<'_>, namespace: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).unwrap_or(u64::MAX),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the empty path is a C string and `attributes` outlives the call, whose last argument is its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Leaves the caller's user namespace for a new one without any ids.
pub(crate) fn unshare_users() -> io::Result<()> {
    // SAFETY: unshare takes plain flags; CLONE_FILES is not among them.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
}

/// Puts this process under a system call filter.
pub(crate) fn load_filter(instructions: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(instructions.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the system call filter is too long"))?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions, all of which outlive the call, and writes to none.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

//! Bind mounts that show other owners than the ones stored (`mount_setattr(2)`, MOUNT_ATTR_IDMAP).
//!
//! The kernel takes the ranges from a user namespace. One is made in a process that lives only for that; it is never
//! entered by anybody.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::config::IdMap;
use crate::syscall;

/// Gives the detached tree of mounts that `tree` refers to other owners.
pub(crate) fn apply(tree: BorrowedFd<'_>, map: &IdMap, recursive: bool) -> io::Result<()> {
    let namespace = namespace(map)?;
    syscall::map_owners(tree, namespace.as_fd(), recursive).map_err(|error| {
        let kind = rustix::fs::fstatfs(tree)
            .map_or("unknown", |it| file_system(u64::try_from(it.f_type).unwrap_or(0)));
        let reason = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSYS) => "this kernel cannot show other owners; it needs Linux 5.12".to_owned(),
            Some(Errno::INVAL | Errno::OPNOTSUPP) => format!(
                "its file system ({kind}), or one mounted below it, cannot show other owners on this kernel; \
                 `bind-recursive=disabled` leaves out what is mounted below"
            ),
            Some(Errno::PERM) => {
                format!("showing other owners on this file system ({kind}) needs the machine's root")
            }
            _ => return error,
        };
        io::Error::new(error.kind(), reason)
    })
}

/// Returns the name of a file system, `linux/magic.h`.
fn file_system(magic: u64) -> &'static str {
    match magic & 0xffff_ffff {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0x2fc1_2fc1 => "zfs",
        0x0102_1997 => "9p",
        0x9fa0 => "proc",
        0x6265_6572 => "sysfs",
        _ => "of another kind",
    }
}

/// Makes a user namespace with these ranges.
fn namespace(map: &IdMap) -> io::Result<File> {
    let (mut ready, writer) = io::pipe()?;
    let child = syscall::fork(|| {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        if let Err(error) = syscall::unshare_users() {
            return error.raw_os_error().unwrap_or(1);
        }
        let mut writer = writer;
        let _ = writer.write_all(b"x");
        loop {
            let _ = rustix::event::poll(&mut [], None);
        }
    })?;
    let mut byte = [0];
    let made = ready.read_exact(&mut byte).map_err(|_| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "user namespaces, which owners are mapped by, are not to be had",
        )
    });
    let opened = made.and_then(|()| {
        for (file, ranges) in [("uid_map", &map.uids), ("gid_map", &map.gids)] {
            let lines: Vec<String> =
                ranges.iter().map(|(stored, shown, count)| format!("{stored} {shown} {count}")).collect();
            let text = lines.join("\n") + "\n";
            // The kernel wants all of it in one write.
            fs::OpenOptions::new()
                .write(true)
                .open(format!("/proc/{child}/{file}"))?
                .write_all(text.as_bytes())?;
        }
        File::open(format!("/proc/{child}/ns/user"))
    });
    let _ = syscall::kill(child, libc::SIGKILL);
    let _ = syscall::wait(child, true);
    opened
}

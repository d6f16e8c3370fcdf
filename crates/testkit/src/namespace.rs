//! Namespaces that end with the test: the kernel takes them away with their last descriptor or thread.
#![allow(unsafe_code)] // `unshare` has no safe form in rustix.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace with nothing but a `lo` that is down. It ends with this value (and the sockets and
/// processes in it).
#[derive(Debug)]
pub struct NetworkNamespace {
    file: File,
}

impl NetworkNamespace {
    /// Makes an empty network namespace; the calling thread stays where it is.
    pub fn new() -> io::Result<Self> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    unshare(UnshareFlags::NEWNET)?;
                    Ok(Self { file: File::open("/proc/thread-self/ns/net")? })
                })
                .join()
                .expect("making a namespace does not panic")
        })
    }

    /// Runs `work` on a thread of its own inside the namespace, and returns what it returns. A panic goes through.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope.spawn(|| self.enter().map(|()| work())).join().map_or_else(
                |panic| std::panic::resume_unwind(panic),
                |result| result.expect("a namespace whose descriptor is open can be entered"),
            )
        })
    }

    /// Starts a thread that lives inside the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let file = self.file.try_clone().expect("a descriptor can be duplicated");
        thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("a namespace whose descriptor is open can be entered");
            work()
        })
    }

    /// Moves the calling thread into the namespace, for good. A process forked from that thread starts there.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `work` on a thread with a mount namespace of its own, from which no mount travels to the host's.
pub fn in_private_mounts<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(UnshareFlags::NEWNS)?;
                mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
                Ok(work())
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the flag that makes `unshare` unsafe, `FILES`, is never given: descriptors stay shared.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privileged;

    fn links() -> usize {
        // `/proc/net` follows the process; a thread's own view is this one.
        std::fs::read_to_string("/proc/thread-self/net/dev").unwrap().lines().count() - 2
    }

    #[test]
    fn a_fresh_network_has_only_its_loopback() {
        if !privileged() {
            return;
        }
        let outside = links();
        let namespace = NetworkNamespace::new().unwrap();
        // Kernels may add default tunnel devices to each namespace; a container's `eth0` is never among them.
        let inside = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        assert!(inside.contains(" lo:"), "{inside}");
        assert!(!inside.contains("eth0:"), "{inside}");
        assert_eq!(links(), outside);
    }

    #[test]
    fn private_mounts_do_not_travel() {
        if !privileged() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        in_private_mounts(|| {
            rustix::mount::mount("none", &path, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
            std::fs::write(path.join("inside"), "x").unwrap();
        })
        .unwrap();
        assert!(!dir.path().join("inside").exists());
    }
}

//! The socket at which a step asks an SSH agent: made for the step, gone with it.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags};

use super::agent::{self, Agent};

/// Most clients at a time.
const CLIENTS: usize = 64;

/// Connections that must be cut when the step ends.
#[derive(Default)]
struct Open(Mutex<Vec<(u64, UnixStream)>>);

impl Open {
    fn list(&self) -> MutexGuard<'_, Vec<(u64, UnixStream)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, number: u64, stream: &UnixStream) {
        if let Ok(copy) = stream.try_clone() {
            self.list().push((number, copy));
        }
    }

    fn remove(&self, number: u64) {
        self.list().retain(|(other, _)| *other != number);
    }
}

/// A socket that is served until it is closed.
pub(super) struct AgentSocket {
    listener: UnixListener,
    wake: OwnedFd,
    open: Open,
}

impl AgentSocket {
    /// Listens at `name` in `directory`, for the given owner only.
    pub(super) fn listen(directory: &Path, name: &str, mode: u32, uid: u32, gid: u32) -> io::Result<Self> {
        // The whole path may be longer than an address can hold.
        let held = File::open(directory)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", held.as_raw_fd()))?;
        let path = directory.join(name);
        chown(&path, Some(uid), Some(gid))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        listener.set_nonblocking(true)?;
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { listener, wake, open: Open::default() })
    }

    /// Serves clients in a thread of `scope` until [`AgentSocket::close`].
    pub(super) fn serve<'s>(
        &'s self,
        agent: &'s Agent,
        scope: &'s Scope<'s, '_>,
    ) -> ScopedJoinHandle<'s, ()> {
        scope.spawn(move || {
            let mut number = 0;
            while self.wait() {
                let Ok((client, _)) = self.listener.accept() else { continue };
                if self.open.list().len() >= CLIENTS || client.set_nonblocking(false).is_err() {
                    continue;
                }
                number += 1;
                self.open.add(number, &client);
                let own = number;
                scope.spawn(move || {
                    let mut client = client;
                    // A client that breaks off, or an agent that is gone, is the client's affair.
                    let _ = agent::serve(agent, &mut client, &mut |stream| self.open.add(own, stream));
                    let _ = client.shutdown(Shutdown::Both);
                    self.open.remove(own);
                });
            }
            for (_, stream) in self.open.list().iter() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        })
    }

    /// Ends the service and cuts all connections.
    pub(super) fn close(&self) {
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Waits for a client; `false` when the socket was closed.
    fn wait(&self) -> bool {
        let mut watched = [
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut watched, None) {
            Ok(_) => watched[0].revents().is_empty(),
            Err(error) => error == rustix::io::Errno::INTR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenSSH's own client lists our key and has it sign; what would change the agent is refused.
    #[test]
    fn openssh_asks_our_agent() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        let tool = |name: &str| {
            let mut command = std::process::Command::new(name);
            command.current_dir(directory.path()).env("SSH_AUTH_SOCK", directory.path().join("agent"));
            command
        };
        let made =
            tool("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", "key"]).status();
        if made.is_err() {
            assert!(std::env::var_os("CI").is_none(), "needs ssh-keygen");
            eprintln!("SKIPPED: needs ssh-keygen and ssh-add");
            return;
        }
        let source = format!("default={}", key.display()).parse().unwrap();
        let agents = agent::Agents::read(&[source], &std::collections::BTreeMap::new()).unwrap();
        let agent = agents.get("default").unwrap();
        let socket = AgentSocket::listen(directory.path(), "agent", 0o600, 0, 0).unwrap();
        std::thread::scope(|scope| {
            socket.serve(agent, scope);
            let listed = tool("ssh-add").arg("-L").output().unwrap();
            assert_eq!(listed.stdout, std::fs::read(directory.path().join("key.pub")).unwrap());
            std::fs::write(directory.path().join("text"), "text").unwrap();
            let signed =
                tool("ssh-keygen").args(["-Y", "sign", "-f", "key.pub", "-n", "file", "text"]).output();
            let signed = signed.unwrap();
            assert!(signed.status.success(), "{signed:?}");
            std::fs::write(directory.path().join("allowed"), [b"me ", listed.stdout.as_slice()].concat())
                .unwrap();
            let text = File::open(directory.path().join("text")).unwrap();
            let verified = tool("ssh-keygen")
                .args(["-Y", "verify", "-f", "allowed", "-I", "me", "-n", "file", "-s", "text.sig"])
                .stdin(text)
                .output()
                .unwrap();
            assert!(verified.status.success(), "{verified:?}");
            for change in [&["-D"][..], &["key"]] {
                let refused = tool("ssh-add").args(change).output().unwrap();
                assert!(!refused.status.success(), "{refused:?}");
            }
            // An open connection does not hold up the end.
            let idle = UnixStream::connect(directory.path().join("agent")).unwrap();
            socket.close();
            drop(idle);
        });
    }

    /// The caller's agent is asked through us; what would change it never reaches it.
    #[test]
    fn the_callers_agent_is_asked_and_not_changed() {
        let directory = tempfile::tempdir().unwrap();
        let upstream = directory.path().join("upstream");
        let started = std::process::Command::new("ssh-agent").args(["-D", "-a"]).arg(&upstream).spawn();
        let Ok(mut agent) = started else {
            assert!(std::env::var_os("CI").is_none(), "needs ssh-agent");
            eprintln!("SKIPPED: needs ssh-agent");
            return;
        };
        let tool = |name: &str, socket: &str| {
            let mut command = std::process::Command::new(name);
            command.current_dir(directory.path()).env("SSH_AUTH_SOCK", directory.path().join(socket));
            command
        };
        while UnixStream::connect(&upstream).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let make = ["-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "me", "-f", "key"];
        assert!(tool("ssh-keygen", "upstream").args(make).status().unwrap().success());
        assert!(tool("ssh-add", "upstream").args(["-q", "key"]).status().unwrap().success());
        let environment =
            std::collections::BTreeMap::from([("SSH_AUTH_SOCK".to_owned(), upstream.display().to_string())]);
        let agents = agent::Agents::read(&["default".parse().unwrap()], &environment).unwrap();
        let socket = AgentSocket::listen(directory.path(), "ours", 0o600, 0, 0).unwrap();
        std::thread::scope(|scope| {
            socket.serve(agents.get("default").unwrap(), scope);
            let listed = tool("ssh-add", "ours").arg("-L").output().unwrap();
            assert_eq!(listed.stdout, std::fs::read(directory.path().join("key.pub")).unwrap());
            assert!(!tool("ssh-add", "ours").arg("-D").output().unwrap().status.success());
            let tested = tool("ssh-add", "ours").args(["-T", "key.pub"]).output().unwrap();
            assert!(tested.status.success(), "{tested:?}");
            socket.close();
        });
        let listed = tool("ssh-add", "upstream").arg("-L").output().unwrap();
        assert!(!listed.stdout.is_empty(), "the key is still there");
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused_with_advice() {
        let directory = tempfile::tempdir().unwrap();
        let none = std::collections::BTreeMap::new();
        let read = |text: String| agent::Agents::read(&[text.parse().unwrap()], &none).unwrap_err();
        assert!(read("default".to_owned()).first().message.contains("SSH_AUTH_SOCK is not set"));
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("pem"), "-----BEGIN RSA PRIVATE KEY-----\n").unwrap();
        std::fs::write(path("text"), "text").unwrap();
        for (name, expected) in
            [("pem", "OpenSSH's own format"), ("text", "not a private key"), ("no", "No such")]
        {
            let failure = read(format!("a={}", path(name).display()));
            assert!(failure.first().message.contains(expected), "{failure}");
        }
        let make = ["-q", "-t", "ed25519", "-N", "secret", "-f"];
        let made = std::process::Command::new("ssh-keygen").args(make).arg(path("locked")).status();
        if made.is_ok_and(|status| status.success()) {
            let failure = read(format!("a={}", path("locked").display()));
            assert!(failure.first().message.contains("encrypted"), "{failure}");
            assert!(failure.first().hints[0].0.contains("ssh-add"));
        }
    }
}

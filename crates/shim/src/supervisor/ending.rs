//! What a supervisor records, and all that follows the container's final end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle_fault::Point;
use jiff::Timestamp;

use super::{Phase, Supervisor};
use crate::cgroup::Cgroup;
use crate::clients::{Client, Role};
use crate::config::ShimConfig;
use crate::protocol::Reply;
use crate::state::{Health, ShimState};
use crate::{journal, launch, rootfs, setup, syscall};

impl Supervisor {
    pub(super) fn state(&self) -> ShimState {
        let restarts = self.backoff.restarts;
        let shim = self.identity.clone();
        match &self.phase {
            Phase::Idle | Phase::Created { .. } => ShimState::Created,
            Phase::Running { run, paused: true } => {
                ShimState::Paused { process: run.process.clone(), shim, since: run.since, restarts }
            }
            Phase::Running { run, paused: false } | Phase::Draining { run, .. } => ShimState::Running {
                process: run.process.clone(),
                shim,
                since: run.since,
                health: self.current_health(),
                restarts,
            },
            Phase::Waiting { .. } => {
                ShimState::Restarting { shim, code: self.last_code.unwrap_or(0), due: self.due, restarts }
            }
        }
    }

    pub(super) fn current_health(&self) -> Option<Health> {
        self.health.as_ref().map(|health| health.health().clone())
    }

    pub(super) fn record(&self) {
        // A full disk must not end the container; the state is asked for over the socket as well.
        let _ = self.state().record(&self.config.state);
    }

    /// Tells the journal what happened. Nobody's work fails for want of it.
    pub(super) fn tell(&self, action: &str, more: &[(&str, String)]) {
        let Some(journal) = &self.config.journal else { return };
        let mut attributes = journal.attributes.clone();
        attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let _ = journal::append(
            &journal.path,
            &journal::Entry::now("container", action, &self.config.id, attributes),
        );
    }

    /// Does everything that follows the container's final end.
    pub(super) fn conclude(mut self) {
        let Some(end) = self.end.take() else { return };
        if let Phase::Created { pid } = self.phase {
            let _ = syscall::kill(pid, libc::SIGKILL);
            let _ = syscall::wait(pid, true);
            let _ = Cgroup::new(&self.config.cgroup).remove();
            launch::forget(&self.bundle);
        }
        if !self.mount_points.is_empty() {
            let _ = rootfs::remove(&ShimConfig::rootfs(&self.bundle), &self.mount_points);
        }
        setup::unmount(&self.config, &self.bundle);
        let _ = coracle_fault::hit(Point::ShimUnmounted);
        let discarded = end.started.is_none() && end.error.is_none() && self.last_code.is_none();
        if !discarded || self.by_user {
            let state = ShimState::Exited {
                code: end.code,
                at: Timestamp::now(),
                started: end.started,
                out_of_memory: end.out_of_memory,
                by_user: self.by_user,
                error: end.error.clone(),
                restarts: self.backoff.restarts,
                health: self.current_health(),
            };
            let _ = state.record(&self.config.state);
        }
        if let Some(log) = &mut self.log {
            log.end();
        }
        let _ = coracle_fault::hit(Point::ShimConcluded);
        let _ = std::fs::remove_file(&self.config.socket);
        // Whoever connected in the meantime is told as well.
        while let Some(client) = Client::accept(&self.listener) {
            self.clients.push(client);
        }
        let mut reaped = self.config.reap.is_empty() || discarded;
        for client in &mut self.clients {
            match client.role {
                Role::Waiting { reaping } => {
                    client.reply(&Reply::Exited { code: end.code, error: end.error.clone() });
                    reaped |= reaping && !client.is_gone();
                }
                Role::Attached { .. } => {
                    client.reply(&Reply::Exited { code: end.code, error: end.error.clone() });
                }
                Role::Stopping => client.reply(&Reply::Done),
                Role::Requests => {}
            }
        }
        for client in &mut self.clients {
            client.finish();
        }
        let _ = coracle_fault::hit(Point::ShimTold);
        if !reaped {
            let _ = self.start_cleaner();
        }
    }

    /// Starts the program that cleans up, in the host's namespaces and nobody's child.
    pub(super) fn start_cleaner(&self) -> io::Result<()> {
        syscall::fork(|| {
            let joined = syscall::join_namespace(self.host.network.as_fd())
                .and_then(|()| syscall::join_namespace(self.host.mount.as_fd()));
            if joined.is_err() {
                return 1;
            }
            let _ = rustix::process::setsid();
            syscall::reset_signals();
            // Returns only on failure: the installed program first, our own, which may be older, else.
            for program in
                self.config.program.iter().map(PathBuf::as_path).chain([Path::new("/proc/self/exe")])
            {
                let _ = Command::new(program).args(&self.config.reap).exec();
            }
            1
        })
        .map(drop)
    }
}

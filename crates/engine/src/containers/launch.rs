//! Starting a container: everything looked up and prepared, a shim spawned, the network attached, the process let go.

use std::os::fd::AsFd;
use std::path::Path;

use coracle_container::runtime_spec::EtcFiles;
use coracle_container::{ContainerId, ContainerRecord, ContainerSpec, NetworkMode};
use coracle_fault::Point;
use coracle_report::{Diagnostic, Event};
use coracle_runtime::{
    Overlay, Prepared, ResolvedUser, RuntimeError, Spawned, Stdin, UserError, resolve_user,
};
use coracle_snapshot::rootfs::FileKind;
use coracle_snapshot::{OverlaySpec, RootFs, SnapshotId};
use coracle_store::FileLock;

use super::Containers;
use super::partners::NetworkOwner;
use super::request::DEFAULT_NETWORK;
use crate::etc::{self, HostResolver};
use crate::failure::pass;
use crate::networks::Attachments;
use crate::{During, Failure, Fault, Result, process, stored};

/// The largest `/etc/passwd` or `/etc/group` that is read.
const USER_DATABASE: u64 = 4 << 20;

impl Containers<'_> {
    /// Says that a container will be started as soon as it is created, so that what takes the kernel its time begins now.
    pub fn expect_start(&self) {
        coracle_runtime::expect_moves();
    }

    /// Starts a container that does not run; one that runs is left alone.
    pub fn start(&self, id: &ContainerId) -> Result<()> {
        let Some(record) = self.launch(id, Stdin::Open)? else { return Ok(()) };
        self.let_go(&record)
    }

    /// Prepares a container and makes its first process, which waits. `None`: it runs already.
    pub(super) fn launch(&self, id: &ContainerId, open_stdin: Stdin) -> Result<Option<ContainerRecord>> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        if view.state.has_shim() {
            return Ok(None);
        }
        coracle_runtime::expect_moves();
        let record = view.record;
        let stdin = if record.spec.open_stdin { open_stdin } else { Stdin::Closed };
        let owner = self.network_owner(&record.spec)?;
        // Before anything is mounted for it: a volume that only it uses must not be taken away meanwhile.
        self.own(id)?;
        pass(Point::StartOwned)?;
        // The shim of an earlier run may have started a clean-up that is not done yet: it must not take away what is made
        // here. One that comes later finds the new shim.
        let reaping = FileLock::exclusive(&self.engine.layout.container(id.as_str()).join("reap.lock"))
            .during("locking the container")?;
        let prepared = match self.prepare(&record, &owner, stdin) {
            Ok(prepared) => prepared,
            Err(failure) => {
                let _ = self.engine.volumes().unmount_unused(&record);
                self.disown(id);
                return Err(failure);
            }
        };
        stored::write_fast(&self.engine.layout.running_container_record(id.as_str()), &record)
            .during("copying the container's record")?;
        pass(Point::StartPrepared)?;
        let mut known = record.clone();
        if let Some(other) = &owner.owner {
            // Who shares a network shares the name, as Docker has it.
            let theirs = &other.record;
            let hostname = theirs.spec.hostname.clone().unwrap_or_else(|| theirs.id.short().to_owned());
            known.spec.hostname = Some(hostname);
            known.spec.domainname.clone_from(&theirs.spec.domainname);
        }
        let spawned = self
            .engine
            .runtime
            .spawn_shim(&known, &prepared)
            .map_err(|error| self.runtime_failure(&record.spec, &error))?;
        for note in &spawned.notes {
            let diagnostic =
                Diagnostic::warning("not-honoured", format!("container `{}`: {note}", record.spec.name));
            self.engine.reporter.event(Event::Notice(diagnostic));
        }
        let connected = pass(Point::StartSpawned)
            .and_then(|()| self.connect(&record, &spawned))
            .and_then(|()| {
                self.engine.runtime.create(id).map_err(|error| self.runtime_failure(&record.spec, &error))
            })
            .and_then(|()| pass(Point::StartCreated));
        drop(reaping);
        if let Err(failure) = connected {
            // The first failure is what the user must see; what cannot be undone goes with the shim.
            let _ = self.engine.runtime.discard(id);
            let _ = self.engine.runtime.remove_cgroup(id);
            let _ = self.release(&record);
            return Err(failure);
        }
        Ok(Some(record))
    }

    /// Lets the first process of a launched container go.
    pub(super) fn let_go(&self, record: &ContainerRecord) -> Result<()> {
        let started = self.engine.runtime.start(&record.id).map_err(|error| {
            let _ = self.engine.runtime.discard(&record.id);
            let _ = self.engine.runtime.remove_cgroup(&record.id);
            let _ = self.release(record);
            self.runtime_failure(&record.spec, &error)
        });
        let passed = started.and_then(|()| pass(Point::StartRunning));
        self.disown(&record.id);
        passed?;
        if super::is_replica(&record.spec) {
            // One without a health check gets traffic from now on. The keeper sees the same, if a little later.
            self.engine.networks().settle()?;
        }
        Ok(())
    }

    /// Attaches the network, writes the files of `/etc`, and has names and ports served.
    fn connect(&self, record: &ContainerRecord, spawned: &Spawned) -> Result<()> {
        let spec = &record.spec;
        if matches!(spec.network_mode, NetworkMode::Container(_)) {
            return Ok(());
        }
        let holder = process::identify(spawned.pid).ok_or_else(|| {
            Failure::ours("looking for the shim", &std::io::Error::from(std::io::ErrorKind::NotFound))
        })?;
        let namespace =
            std::fs::File::open(spawned.network_namespace()).during("opening the network namespace")?;
        let attachments = self.engine.networks().attach(&record.id, spec, holder, namespace.as_fd())?;
        pass(Point::StartAttached)?;
        self.write_etc(record, &attachments)?;
        pass(Point::StartWritten)?;
        if spec.network_mode == NetworkMode::Bridge {
            self.engine.keepers().refresh_for(spec)?;
        }
        pass(Point::StartServed)
    }

    /// Takes away what a container has beyond its shim: addresses, names, ports.
    pub(super) fn release(&self, record: &ContainerRecord) -> Result<()> {
        let released = self.engine.networks().release(&record.id);
        let unmounted = self.engine.volumes().unmount_unused(record);
        let refreshed = match record.spec.network_mode {
            NetworkMode::Bridge => self.engine.keepers().refresh_for(&record.spec),
            NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => Ok(()),
        };
        released.and(unmounted).and(refreshed)
    }

    fn write_etc(&self, record: &ContainerRecord, attachments: &Attachments) -> Result<()> {
        let spec = &record.spec;
        let directory = self.engine.layout.container_etc(record.id.as_str());
        let hostname = spec.hostname.as_deref().unwrap_or_else(|| record.id.short());
        let server = attachments.endpoints.iter().find(|(endpoint, _)| endpoint.network != DEFAULT_NETWORK);
        let resolver = HostResolver::read();
        let mut extra = self.link_lines(spec)?;
        extra.extend(spec.extra_hosts.iter().cloned());
        let files = [
            ("hosts", etc::hosts(hostname, spec.domainname.as_deref(), attachments, &extra)),
            ("hostname", format!("{hostname}\n")),
            ("resolv.conf", resolver.resolv_conf(spec, server.map(|(_, network)| network.gateway))),
        ];
        for (name, text) in files {
            // Written in place: a running container has the very file mounted.
            std::fs::write(directory.join(name), text)
                .during(format_args!("writing a container's /etc/{name}"))?;
        }
        Ok(())
    }

    /// Looks up and makes all that a container needs.
    fn prepare(&self, record: &ContainerRecord, owner: &NetworkOwner, stdin: Stdin) -> Result<Prepared> {
        let spec = &record.spec;
        let snapshot: SnapshotId =
            record.snapshot.parse().during(format_args!("reading the record of container {}", spec.name))?;
        let overlay =
            self.engine.snapshots.held(&snapshot).during(format_args!("mounting container {}", spec.name))?;
        // Placed before the shim binds them; filled once the addresses are known.
        let directory = self.engine.layout.container_etc(record.id.as_str());
        std::fs::create_dir_all(&directory).during("making a container's directory")?;
        for name in ["hosts", "hostname", "resolv.conf"] {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(directory.join(name))
                .during("making a container's /etc files")?;
        }
        let root =
            RootFs::new(overlay.mount_detached(true).during(format_args!("looking into {}", spec.image))?);
        let user = self.user(spec, &root)?;
        let mounts = self.mounts(record, &root)?;
        let etc = self.engine.layout.container_etc(owner.files_of(&record.id).as_str());
        let path = |name: &str| Some(etc.join(name));
        let mut partners = self.partners(spec)?;
        partners.extend(owner.joined());
        Ok(Prepared {
            overlay: overlay_of(overlay),
            user,
            views: mounts.views,
            sources: mounts.sources,
            secret_environment: Vec::new(),
            mounts: mounts.resolved,
            etc: EtcFiles {
                hosts: path("hosts"),
                hostname: path("hostname"),
                resolv_conf: path("resolv.conf"),
            },
            network: owner.namespace,
            partners,
            stdin,
            reap: self.reap_arguments(&record.id),
            bound_to_client: false,
            host_name_variable: true,
            remove_mount_points: false,
        })
    }

    /// Returns the arguments by which a shim calls us back.
    fn reap_arguments(&self, id: &ContainerId) -> Vec<String> {
        let text = |path: &Path| {
            std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
        };
        let layout = &self.engine.layout;
        vec![
            "--data-root".to_owned(),
            text(layout.data()),
            "--run-root".to_owned(),
            text(layout.run()),
            "reap".to_owned(),
            id.to_string(),
        ]
    }

    fn user(&self, spec: &ContainerSpec, root: &RootFs) -> Result<ResolvedUser> {
        look_up_user(root, &spec.user, &spec.group_add).map_err(|error| {
            Failure::user(Diagnostic::error("no-such-user", format!("container `{}`: {error}", spec.name)))
        })
    }

    /// Turns a shim's refusal into what the user is told; the exit code is Docker's.
    pub(super) fn runtime_failure(&self, spec: &ContainerSpec, error: &RuntimeError) -> Failure {
        if let RuntimeError::Spec(error) = error {
            let message = format!("container `{}`: {error}", spec.name);
            return Failure::user(Diagnostic::error("bad-value", message));
        }
        let RuntimeError::Shim { message, code } = error else {
            return Failure::ours(format_args!("starting container {}", spec.name), error);
        };
        let command = spec.entrypoint.iter().chain(&spec.command).next().cloned().unwrap_or_default();
        let mut diagnostic =
            Diagnostic::error("cannot-start", format!("container `{}` cannot start: {message}", spec.name));
        diagnostic = match code {
            127 => diagnostic
                .with_hint(format!("`{command}` is not in the image `{}`; check the command", spec.image)),
            126 => diagnostic
                .with_hint(format!("`{command}` cannot be run: is it executable, and for this machine?")),
            _ => diagnostic,
        };
        let code = u8::try_from(*code).unwrap_or(125);
        Failure { fault: Fault::Container(code), diagnostics: vec![diagnostic] }
    }
}

/// Looks a user up in the files of a root file system.
pub(crate) fn look_up_user(
    root: &RootFs,
    user: &str,
    extra: &[String],
) -> std::result::Result<ResolvedUser, UserError> {
    // A missing file is an empty one, and so is one that is no file or too large; numbers need none.
    let mut wrong = Vec::new();
    let mut read = |path: &str| {
        let bytes = root.read(Path::new(path), USER_DATABASE).unwrap_or_else(|error| {
            match root.stat(Path::new(path)) {
                _ if error.is_not_found() => {}
                Ok(Some(there)) if there.kind == FileKind::File && there.size > USER_DATABASE => {
                    wrong.push(format!("{path} is larger than {} MiB, and is not read", USER_DATABASE >> 20));
                }
                _ => wrong.push(format!("{path} is no file that can be read")),
            }
            Vec::new()
        });
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (users, groups) = (read("/etc/passwd"), read("/etc/group"));
    resolve_user(user, extra, &users, &groups).map_err(|error| {
        if wrong.is_empty() {
            return error;
        }
        UserError::Unusable { error: Box::new(error), why: wrong.join("; ") }
    })
}

/// Returns a mount in the words of the shim.
pub(crate) fn overlay_of(spec: OverlaySpec) -> Overlay {
    let options = if spec.volatile { vec!["volatile".to_owned()] } else { Vec::new() };
    Overlay { lower: spec.lower, upper: Some(spec.upper), work: Some(spec.work), options }
}

pub(super) fn gone(id: &ContainerId) -> Failure {
    Failure::user(Diagnostic::error("no-such-container", format!("no such container: {}", id.short())))
}

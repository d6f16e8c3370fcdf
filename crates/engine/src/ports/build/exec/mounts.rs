//! What a step has mounted: every `--mount` turned into a path that its shim can bind.

use std::path::{Path, PathBuf};

use coracle_build::{ExecMount, ExecMountKind, ExecRequest};
use coracle_container::Recursion;
use coracle_container::runtime_spec::{ResolvedMount, ResolvedSource};
use coracle_container::{ContainerId, SecretFile};
use coracle_dockerfile::MountOwner;
use coracle_runtime::SecretVariable;
use coracle_store::FileLock;

use super::super::EngineHost;
use super::agent::{self, Agent};
use super::binds::Views;
use super::socket::AgentSocket;
use super::{CA_PLACE, MountsOf};
use crate::{During, Result};

/// Mode of a secret's file unless the mount says otherwise.
const SECRET_MODE: u32 = 0o400;
/// Mode of an agent's socket unless the mount says otherwise.
const SOCKET_MODE: u32 = 0o600;

/// What a step has mounted, and what must live as long as it runs.
#[derive(Default)]
pub(super) struct Mounts<'a> {
    pub(super) resolved: Vec<ResolvedMount>,
    pub(super) views: Views,
    pub(super) secrets: Vec<SecretFile>,
    pub(super) secret_environment: Vec<SecretVariable>,
    pub(super) sockets: Vec<(AgentSocket, &'a Agent)>,
    /// Where the first agent's socket is.
    pub(super) agent: Option<String>,
    pub(super) locks: Vec<FileLock>,
}

impl EngineHost<'_> {
    pub(super) fn mounts(
        &self,
        request: &ExecRequest<'_>,
        id: &ContainerId,
        directory: &Path,
    ) -> Result<Mounts<'_>> {
        let mut mounts = Mounts::default();
        // Asked for before anything is waited for: a secret that is missing fails the step at once.
        self.secrets(request, &mut mounts)?;
        if let Some(bundle) = &self.host_ca {
            mounts.bind(bundle.clone(), CA_PLACE, true);
        }
        mounts.locks = self.lock_caches(request)?;
        for (number, mount) in request.mounts.iter().enumerate() {
            self.mount(mount, MountsOf { request, id, directory, number }, &mut mounts)?;
        }
        Ok(mounts)
    }

    fn secrets(&self, request: &ExecRequest<'_>, mounts: &mut Mounts<'_>) -> Result<()> {
        for mount in &request.mounts {
            let ExecMountKind::Secret { id, owner, required } = &mount.kind else { continue };
            match self.secrets.path(id) {
                Some(source) => {
                    let MountOwner { uid, gid, mode } = *owner;
                    mounts.secrets.push(SecretFile {
                        source,
                        target: mount.target.clone(),
                        uid: uid.unwrap_or(0),
                        gid: gid.unwrap_or(0),
                        mode: mode.unwrap_or(SECRET_MODE),
                    });
                }
                None if *required => return Err(self.secrets.missing(id)),
                None => {}
            }
        }
        for variable in &request.secret_env {
            match self.secrets.path(&variable.id) {
                Some(source) => {
                    mounts.secret_environment.push(SecretVariable { name: variable.name.clone(), source });
                }
                None if variable.required => return Err(self.secrets.missing(&variable.id)),
                None => {}
            }
        }
        Ok(())
    }

    fn mount<'a>(&'a self, mount: &ExecMount, of: MountsOf<'_, '_>, mounts: &mut Mounts<'a>) -> Result<()> {
        let MountsOf { request, id, directory, number } = of;
        match &mount.kind {
            ExecMountKind::Secret { .. } => {}
            ExecMountKind::Cache { read_only, .. } => {
                let cache = self.cache_of(&mount.kind)?.expect("it is one");
                let path = self.cache(&cache, request, &mut mounts.locks)?;
                mounts.bind(path, &mount.target, *read_only);
            }
            ExecMountKind::Tmpfs { size } => mounts.resolved.push(ResolvedMount {
                // A build step may run what it puts there.
                source: ResolvedSource::Tmpfs { size: *size, mode: None, options: vec!["exec".to_owned()] },
                target: mount.target.clone(),
                read_only: false,
                recursion: Recursion::default(),
            }),
            ExecMountKind::Script { content } => {
                let path = directory.join(format!("script-{number}"));
                std::fs::write(&path, content).during("writing a step's script")?;
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(&path, mode).during("writing a step's script")?;
                mounts.bind(path, &mount.target, true);
            }
            ExecMountKind::Bind { place, path, writable } => {
                let view = self.bind(place, path, *writable, request.cancel, &mut mounts.views)?;
                let source = if let Some(view) = view {
                    self.engine.runtime.paths().view(id, view.number).join(view.path)
                } else {
                    let empty = directory.join(format!("empty-{number}"));
                    std::fs::create_dir(&empty).during("making a bind mount")?;
                    empty
                };
                mounts.bind(source, &mount.target, !writable);
            }
            ExecMountKind::Ssh { id, owner, required } => {
                let Some(agent) = self.agents.get(id) else {
                    return if *required { Err(agent::missing(id)) } else { Ok(()) };
                };
                let name = format!("agent-{number}");
                let MountOwner { uid, gid, mode } = *owner;
                let (mode, uid, gid) = (mode.unwrap_or(SOCKET_MODE), uid.unwrap_or(0), gid.unwrap_or(0));
                let socket = AgentSocket::listen(directory, &name, mode, uid, gid);
                mounts.sockets.push((socket.during("listening as an SSH agent")?, agent));
                mounts.agent.get_or_insert_with(|| mount.target.clone());
                mounts.bind(directory.join(name), &mount.target, false);
            }
        }
        Ok(())
    }
}

/// What every step has mounted besides: file systems of the kernel and files of `/etc`.
const USUAL: [&str; 6] = ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

impl Mounts<'_> {
    /// Returns everything that is mounted somewhere.
    pub(super) fn targets(&self) -> impl Iterator<Item = &str> {
        let own = self.resolved.iter().map(|mount| mount.target.as_str());
        own.chain(self.secrets.iter().map(|secret| secret.target.as_str())).chain(USUAL)
    }

    fn bind(&mut self, source: PathBuf, target: &str, read_only: bool) {
        let source = ResolvedSource::Path(source);
        let recursion = Recursion::default();
        self.resolved.push(ResolvedMount { source, target: target.to_owned(), read_only, recursion });
    }
}

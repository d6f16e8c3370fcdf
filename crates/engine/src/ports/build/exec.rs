//! Running a command on top of a snapshot: `RUN`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_build::{ExecMountKind, ExecOutcome, ExecRequest, OutputSink, SourcePlace};
use coracle_container::runtime_spec::{EtcFiles, NetworkNamespace, ResolvedMount, ResolvedSource};
use coracle_container::{
    ContainerId, ContainerSpec, LogOptions, NetworkAttachment, NetworkMode, Resources, RestartPolicy,
};
use coracle_dockerfile::Sharing;
use coracle_oci::{Digest, ImageId};
use coracle_report::{Diagnostic, Event, Stream};
use coracle_runtime::{Prepared, RuntimeError, Stdin, Step, StepOutcome};
use coracle_snapshot::RootFs;
use coracle_store::FileLock;
use indexmap::IndexMap;

use super::{EngineHost, parse, parse_parent};
use crate::containers::request::{DEFAULT_NETWORK, STANDALONE};
use crate::containers::{look_up_user, overlay_of};
use crate::etc::{self, HostResolver};
use crate::networks::Attachments;
use crate::{During, Failure, Result, process};

/// Where steps find the host's certificate authorities: on the tmpfs of `/dev`, so that no layer gets a trace.
const CA_PLACE: &str = "/dev/coracle-host-ca.crt";
/// The variables that programs look at for it.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
];
/// Longest line that is passed on, bytes.
const LONGEST_LINE: usize = 64 << 10;
/// How often a step that waits looks again.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a step has mounted, and what must live as long as it runs.
#[derive(Default)]
struct Mounts {
    resolved: Vec<ResolvedMount>,
    locks: Vec<FileLock>,
}

impl EngineHost<'_> {
    pub(super) fn run(&self, request: &ExecRequest<'_>, output: OutputSink<'_>) -> Result<ExecOutcome> {
        let parent = parse_parent(request.parent.as_ref())?;
        let active = self.engine.snapshots.prepare(parent.as_ref()).during("preparing a step")?;
        // Mounted once only: a volatile upper layer cannot be mounted again.
        let overlay = active.mount_spec().volatile();
        let below = match &parent {
            Some(parent) => self.engine.snapshots.view(parent),
            None => active.mount_spec().mount_detached(true),
        };
        let root = RootFs::new(below.during("looking into a step's file system")?);
        let user = look_up_user(&root, &request.user, &[]).map_err(|error| {
            Failure::user(Diagnostic::error("no-such-user", format!("USER {}: {error}", request.user)))
        })?;
        drop(root);
        let id = ContainerId::from_random(process::random().during("drawing a step's id")?);
        // Below the run directory: whoever clears up after a killed build clears this, too.
        self.engine.containers().own(&id)?;
        let run = self.engine.layout.run_container(id.as_str());
        let directory =
            tempfile::Builder::new().prefix("step-").tempdir_in(&run).during("making a step's directory")?;
        let spec = self.spec(request, &id);
        let mounts = self.mounts(request, directory.path())?;
        for name in ["hosts", "hostname", "resolv.conf"] {
            std::fs::write(directory.path().join(name), "").during("making a step's /etc files")?;
        }
        let path = |name: &str| Some(directory.path().join(name));
        let prepared = Prepared {
            overlay: overlay_of(overlay),
            user,
            mounts: mounts.resolved,
            etc: EtcFiles {
                hosts: path("hosts"),
                hostname: path("hostname"),
                resolv_conf: path("resolv.conf"),
            },
            network: match spec.network_mode {
                NetworkMode::Bridge | NetworkMode::None => NetworkNamespace::Own,
                NetworkMode::Host => NetworkNamespace::Host,
            },
            stdin: Stdin::Closed,
            reap: Vec::new(),
            remove_mount_points: true,
        };
        let step = Step { id: id.clone(), container: spec.clone(), prepared };
        let failure = Mutex::new(None);
        let mut on_ready = |spawned: &coracle_runtime::Spawned| {
            self.connect(&id, &spec, spawned, directory.path()).map_err(|reason| {
                *failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(reason);
                RuntimeError::NotRunning
            })
        };
        let mut lines = Lines::new(output);
        let outcome = self.engine.runtime.run_step(
            &step,
            &mut on_ready,
            &mut |stream, bytes| lines.take(stream, bytes),
            request.cancel,
        );
        lines.finish();
        let released = self.engine.networks().release(&id);
        drop(mounts.locks);
        if let Some(reason) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(reason);
        }
        let outcome = match outcome {
            Ok(outcome) => outcome,
            // Docker: a program that is not there or cannot be run is a failed step.
            Err(RuntimeError::Shim { message, code }) if code == 126 || code == 127 => {
                output(Stream::Stderr, &message);
                return Ok(ExecOutcome::Failed(code));
            }
            Err(error) => return Err(Failure::ours("running a step", &error)),
        };
        released?;
        match outcome {
            StepOutcome::Cancelled => Ok(ExecOutcome::Cancelled),
            StepOutcome::Ended(ended) if ended.code != 0 => {
                if let Some(error) = ended.error {
                    output(Stream::Stderr, &error);
                }
                Ok(ExecOutcome::Failed(ended.code))
            }
            StepOutcome::Ended(_) => self.commit(active).map(ExecOutcome::Succeeded),
        }
    }

    fn connect(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        spawned: &coracle_runtime::Spawned,
        directory: &Path,
    ) -> Result<()> {
        let holder = process::identify(spawned.pid).ok_or_else(|| {
            Failure::ours("looking for the shim", &std::io::Error::from(std::io::ErrorKind::NotFound))
        })?;
        let namespace =
            std::fs::File::open(spawned.network_namespace()).during("opening the network namespace")?;
        let attachments: Attachments = self.engine.networks().attach(id, spec, holder, namespace.as_fd())?;
        let files = [
            ("hosts", etc::hosts("buildkitsandbox", &attachments, &[])),
            ("hostname", "buildkitsandbox\n".to_owned()),
            ("resolv.conf", HostResolver::read().resolv_conf(spec, None)),
        ];
        for (name, text) in files {
            std::fs::write(directory.join(name), text).during("writing a step's /etc files")?;
        }
        Ok(())
    }

    fn spec(&self, request: &ExecRequest<'_>, id: &ContainerId) -> ContainerSpec {
        let mut environment: IndexMap<String, String> = IndexMap::new();
        for line in &request.env {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            environment.insert(name.to_owned(), value.to_owned());
        }
        if self.host_ca.is_some() {
            for name in CA_VARIABLES {
                environment.entry(name.to_owned()).or_insert_with(|| CA_PLACE.to_owned());
            }
        }
        let network_mode = match request.network {
            coracle_dockerfile::NetworkMode::Default => NetworkMode::Bridge,
            coracle_dockerfile::NetworkMode::None => NetworkMode::None,
            coracle_dockerfile::NetworkMode::Host => NetworkMode::Host,
        };
        let networks = if network_mode == NetworkMode::Bridge {
            vec![NetworkAttachment {
                network: DEFAULT_NETWORK.to_owned(),
                aliases: Vec::new(),
                ipv4_address: None,
            }]
        } else {
            Vec::new()
        };
        ContainerSpec {
            name: format!("build-{}", id.short()),
            image: "build".to_owned(),
            image_id: ImageId::new(Digest::of("build")),
            entrypoint: Vec::new(),
            command: request.args.clone(),
            environment,
            working_directory: request.cwd.clone(),
            user: request.user.clone(),
            group_add: Vec::new(),
            hostname: Some("buildkitsandbox".to_owned()),
            labels: std::collections::BTreeMap::new(),
            tty: false,
            open_stdin: false,
            init: false,
            auto_remove: false,
            read_only: false,
            privileged: false,
            no_new_privileges: false,
            seccomp_unconfined: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            mounts: Vec::new(),
            secrets: Vec::new(),
            network_mode,
            networks,
            ports: Vec::new(),
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            resources: Resources::default(),
            ulimits: Vec::new(),
            sysctls: std::collections::BTreeMap::new(),
            devices: Vec::new(),
            shm_size: None,
            restart: RestartPolicy::No,
            healthcheck: None,
            stop_signal: "SIGKILL".to_owned(),
            stop_grace_seconds: 0,
            log: LogOptions { disabled: true, ..LogOptions::default() },
            scope: STANDALONE.to_owned(),
        }
    }

    fn mounts(&self, request: &ExecRequest<'_>, directory: &Path) -> Result<Mounts> {
        let mut mounts = Mounts::default();
        if let Some(bundle) = &self.host_ca {
            let source = ResolvedSource::Path(bundle.clone());
            mounts.resolved.push(ResolvedMount { source, target: CA_PLACE.to_owned(), read_only: true });
        }
        mounts.locks = self.lock_caches(request)?;
        for (number, mount) in request.mounts.iter().enumerate() {
            let (source, read_only) = match &mount.kind {
                ExecMountKind::Cache { id, sharing, seed: _, read_only, owner } => {
                    (ResolvedSource::Path(self.cache(id, *sharing, owner, &mut mounts.locks)?), *read_only)
                }
                ExecMountKind::Tmpfs { size } => (ResolvedSource::Tmpfs { size: *size, mode: None }, false),
                ExecMountKind::Script { content } => {
                    let path = directory.join(format!("script-{number}"));
                    std::fs::write(&path, content).during("writing a step's script")?;
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                    std::fs::set_permissions(&path, mode).during("writing a step's script")?;
                    (ResolvedSource::Path(path), true)
                }
                ExecMountKind::Bind { place, path, writable } => {
                    (ResolvedSource::Path(self.bind(place, path, directory, number)?), !writable)
                }
                ExecMountKind::Secret { id, required, .. } => {
                    if *required {
                        let message =
                            format!("secret `{id}` was not given, and secrets cannot be given to builds yet");
                        return Err(Failure::user(Diagnostic::error("missing-secret", message)));
                    }
                    continue;
                }
            };
            mounts.resolved.push(ResolvedMount { source, target: mount.target.clone(), read_only });
        }
        if let Some(variable) = request.secret_env.iter().find(|variable| variable.required) {
            let message =
                format!("secret `{}` was not given, and secrets cannot be given to builds yet", variable.id);
            return Err(Failure::user(Diagnostic::error("missing-secret", message)));
        }
        Ok(mounts)
    }

    /// Waits for the cache mounts that only one step may use at a time. Each is locked once and all in one order, so
    /// that steps which share several never wait for each other, or one for itself.
    fn lock_caches(&self, request: &ExecRequest<'_>) -> Result<Vec<FileLock>> {
        let wanted: BTreeSet<PathBuf> = request
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                ExecMountKind::Cache { id, sharing: Sharing::Locked, .. } => {
                    Some(lock_place(&self.engine.layout.cache_mount(id)))
                }
                _ => None,
            })
            .collect();
        wanted.iter().map(|path| self.wait_for(path, request)).collect()
    }

    fn wait_for(&self, path: &Path, request: &ExecRequest<'_>) -> Result<FileLock> {
        let mut told = false;
        loop {
            if let Some(lock) = FileLock::try_exclusive(path).during("locking a cache mount")? {
                return Ok(lock);
            }
            if request.cancel.load(Ordering::Relaxed) {
                return Err(Failure::user(Diagnostic::error("cancelled", "the build was cancelled")));
            }
            if !told {
                let state = "waiting for cache mount".to_owned();
                self.engine.reporter.event(Event::State { task: request.task, state });
                told = true;
            }
            std::thread::sleep(PATIENCE);
        }
    }

    /// Returns the directory of a cache mount, made when it is missing; a private one that nobody else uses is locked.
    fn cache(
        &self,
        id: &str,
        sharing: Sharing,
        owner: &coracle_dockerfile::MountOwner,
        locks: &mut Vec<FileLock>,
    ) -> Result<PathBuf> {
        let path = self.engine.layout.cache_mount(id);
        let during = || format!("making the cache mount {id}");
        let path = match sharing {
            Sharing::Shared | Sharing::Locked => path,
            Sharing::Private => {
                // The first one that nobody uses now.
                let mut number = 0;
                loop {
                    let candidate = self.engine.layout.cache_mount(&format!("{id}#{number}"));
                    if let Some(lock) = FileLock::try_exclusive(&lock_place(&candidate)).during(during())? {
                        locks.push(lock);
                        break candidate;
                    }
                    number += 1;
                }
            }
        };
        if !path.exists() {
            std::fs::create_dir_all(&path).during(during())?;
            let root = RootFs::open_directory(&path).during(during())?;
            let (uid, gid) = (owner.uid.unwrap_or(0), owner.gid.unwrap_or(0));
            root.set_attributes(Path::new("/"), owner.mode.unwrap_or(0o755), uid, gid).during(during())?;
        }
        Ok(path)
    }

    /// Returns a host path that shows what a bind mount wants: a throw-away copy, so that a step can neither change its
    /// source nor see what `.dockerignore` hides.
    fn bind(&self, place: &SourcePlace, path: &str, directory: &Path, number: usize) -> Result<PathBuf> {
        let copy = directory.join(format!("bind-{number}"));
        std::fs::create_dir(&copy).during("making a bind mount")?;
        let to = RootFs::open_directory(&copy).during("making a bind mount")?;
        let options = coracle_snapshot::rootfs::CopyOptions { keep_mtime: true, ..Default::default() };
        let source = Path::new("/").join(path);
        match place {
            SourcePlace::Context => {
                let filter = |path: &Path, is_directory: bool| {
                    self.context.visit(&Path::new(path_or_root(&source)).join(path), is_directory)
                };
                let options = coracle_snapshot::rootfs::CopyOptions { filter: Some(&filter), ..options };
                to.copy_tree_in(&self.context.root, &source, Path::new("/content"), &options)
            }
            SourcePlace::Snapshot(snapshot) => {
                let id = parse(snapshot)?;
                let view = self.engine.snapshots.view(&id).during("looking into a stage")?;
                to.copy_tree_in(&RootFs::new(view), &source, Path::new("/content"), &options)
            }
            SourcePlace::Empty => return Ok(copy),
        }
        .during(format_args!("making a bind mount of {path}"))?;
        Ok(copy.join("content"))
    }
}

/// Returns the lock of a cache mount. No id has this name: in encoded names two digits follow each `%`.
fn lock_place(directory: &Path) -> PathBuf {
    let mut name = OsString::from("%lock-");
    name.push(directory.file_name().unwrap_or_default());
    directory.with_file_name(name)
}

fn path_or_root(source: &Path) -> &Path {
    source.strip_prefix("/").unwrap_or(source)
}

/// Cuts output into lines.
struct Lines<'a> {
    output: OutputSink<'a>,
    pending: [Vec<u8>; 2],
}

impl<'a> Lines<'a> {
    fn new(output: OutputSink<'a>) -> Self {
        Self { output, pending: [Vec::new(), Vec::new()] }
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let pending = &mut self.pending[usize::from(stream == Stream::Stderr)];
        for byte in bytes {
            if *byte == b'\n' || pending.len() >= LONGEST_LINE {
                (self.output)(stream, String::from_utf8_lossy(pending).trim_end_matches('\r'));
                pending.clear();
            }
            if *byte != b'\n' {
                pending.push(*byte);
            }
        }
    }

    fn finish(&mut self) {
        for (stream, pending) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.pending) {
            if !pending.is_empty() {
                (self.output)(stream, &String::from_utf8_lossy(pending));
                pending.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use coracle_store::Layout;

    use super::*;

    #[test]
    fn every_cache_mount_has_a_lock_of_its_own() {
        let layout = Layout::new("/data", "/run");
        let ids = [
            "/root/.cache/pip",
            "/root/.npm",
            "a",
            "a.b",
            "a.lock",
            "%lock-a",
            "\u{1}lock-a",
            &"x".repeat(300),
        ];
        let directories: BTreeSet<PathBuf> = ids.iter().map(|id| layout.cache_mount(id)).collect();
        let locks: BTreeSet<PathBuf> = directories.iter().map(|path| lock_place(path)).collect();
        assert_eq!(locks.len(), ids.len());
        assert!(directories.is_disjoint(&locks));
    }

    #[test]
    fn output_is_cut_into_bounded_lines() {
        let seen = Mutex::new(Vec::new());
        let output = |stream: Stream, line: &str| seen.lock().unwrap().push((stream, line.to_owned()));
        let mut lines = Lines::new(&output);
        lines.take(Stream::Stdout, b"one\r\ntw");
        lines.take(Stream::Stderr, b"err");
        lines.take(Stream::Stdout, b"o\n\n");
        lines.take(Stream::Stdout, &vec![b'x'; LONGEST_LINE + 1]);
        lines.finish();
        let seen = seen.into_inner().unwrap();
        let short: Vec<_> =
            seen.iter().map(|(stream, line)| (*stream, line.len(), line.chars().next())).collect();
        assert_eq!(
            short,
            [
                (Stream::Stdout, 3, Some('o')),
                (Stream::Stdout, 3, Some('t')),
                (Stream::Stdout, 0, None),
                (Stream::Stdout, LONGEST_LINE, Some('x')),
                (Stream::Stdout, 1, Some('x')),
                (Stream::Stderr, 3, Some('e')),
            ]
        );
    }
}

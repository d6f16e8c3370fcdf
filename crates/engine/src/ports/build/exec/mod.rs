//! Running a command on top of a snapshot: `RUN`.
//!
//! Owns what a step is given beside its file system, and that nothing of it stays: mounts, secrets and sockets end
//! with the step's shim, mount points are taken out again.

mod agent;
mod binds;
mod caches;
mod explain;
mod mounts;
mod output;
mod program;
mod secrets;
mod socket;
mod spec;
mod traces;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use coracle_build::{ExecMountKind, ExecOutcome, ExecRequest, OutputSink};
use coracle_container::runtime_spec::{EtcFiles, NetworkNamespace};
use coracle_container::{ContainerId, ContainerSpec, NetworkMode};
use coracle_fault::Point;
use coracle_report::{Diagnostic, Stream};
use coracle_runtime::{Overlay, Prepared, RuntimeError, Spawned, Stdin, Step, StepOutcome, UserError};
use coracle_snapshot::{ActiveSnapshot, RootFs};

use self::output::Lines;
use self::socket::AgentSocket;
use super::{EngineHost, parse_parent};
use crate::containers::{look_up_user, overlay_of};
use crate::etc::{self, HostResolver};
use crate::failure::pass;
use crate::networks::Attachments;
use crate::{During, Failure, Result, process};

pub use agent::Agents;
pub(crate) use caches::beside;
pub use secrets::Secrets;

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
/// The name of the host that steps see, as in BuildKit.
const HOST_NAME: &str = "buildkitsandbox";
/// A layer must hold its files whole, at their own paths, or it could not become an archive or another's base.
const LAYER_OPTIONS: [&str; 3] = ["redirect_dir=nofollow", "metacopy=off", "index=off"];

/// Where a mount belongs.
#[derive(Clone, Copy)]
struct MountsOf<'a, 'r> {
    request: &'a ExecRequest<'r>,
    id: &'a ContainerId,
    directory: &'a Path,
    number: usize,
}

/// Ends the service of agents, however the step ends.
struct Closing<'a>(Vec<&'a AgentSocket>);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|socket| socket.close());
    }
}

impl EngineHost<'_> {
    pub(super) fn run(&self, request: &ExecRequest<'_>, output: OutputSink<'_>) -> Result<ExecOutcome> {
        let parent = parse_parent(request.parent.as_ref())?;
        let active = self.engine.snapshots.prepare(parent.as_ref()).during("preparing a step")?;
        let below = match &parent {
            Some(parent) => self.engine.snapshots.view(parent),
            None => active.mount_spec().mount_detached(true),
        };
        let root = RootFs::new(below.during("looking into a step's file system")?);
        let user =
            look_up_user(&root, &request.user, &[]).map_err(|error| no_such_user(&root, request, &error))?;
        if let Some(why) = explain::foreign(&root, request) {
            let error = Diagnostic::error("foreign-platform", why);
            return Err(Failure::user(
                error
                    .with_hint("register an emulator: `apt-get install qemu-user-static binfmt-support`")
                    .with_hint(
                        "or compile on this platform for the other: begin the stage with `FROM --platform=$BUILDPLATFORM` and COPY --from it",
                    ),
            ));
        }
        drop(root);
        coracle_runtime::expect_moves();
        let id = ContainerId::from_random(process::random().during("drawing a step's id")?);
        // Below the run directory: whoever clears up after a killed build clears this, too.
        self.engine.containers().own(&id)?;
        let run = self.engine.layout.run_container(id.as_str());
        let directory =
            tempfile::Builder::new().prefix("step-").tempdir_in(&run).during("making a step's directory")?;
        let mut mounts = self.mounts(request, &id, directory.path())?;
        let spec = self.spec(request, &id, &mounts);
        for name in ["hosts", "hostname", "resolv.conf"] {
            std::fs::write(directory.path().join(name), "").during("making a step's /etc files")?;
        }
        let path = |name: &str| Some(directory.path().join(name));
        // Mounted once only: a volatile upper layer cannot be mounted again.
        let mut overlay = overlay_of(active.mount_spec().volatile());
        layered(&mut overlay, directory.path())?;
        for view in &mut mounts.views.overlays {
            layered(view, directory.path())?;
        }
        pass(Point::BuildStepPrepared)?;
        let prepared = Prepared {
            overlay,
            user,
            views: mounts.views.overlays.clone(),
            sources: Vec::new(),
            secret_environment: mounts.secret_environment.clone(),
            mounts: mounts.resolved.clone(),
            etc: EtcFiles {
                hosts: path("hosts"),
                hostname: path("hostname"),
                resolv_conf: path("resolv.conf"),
            },
            network: match spec.network_mode {
                NetworkMode::Bridge | NetworkMode::None | NetworkMode::Container(_) => NetworkNamespace::Own,
                NetworkMode::Host => NetworkNamespace::Host,
            },
            partners: Vec::new(),
            stdin: Stdin::Closed,
            reap: Vec::new(),
            bound_to_client: false,
            host_name_variable: false,
            remove_mount_points: true,
        };
        let step = Step { id: id.clone(), container: spec.clone(), prepared };
        let failure = Mutex::new(None);
        let mut on_ready = |spawned: &Spawned| {
            let passed = pass(Point::BuildStepSpawned);
            passed.and_then(|()| self.connect(&id, &spec, spawned, directory.path())).map_err(|reason| {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                RuntimeError::NotRunning
            })
        };
        let mut lines = Lines::new(output, self.secrets.lines(secret_ids(request)));
        let outcome = std::thread::scope(|scope| {
            let _closing = Closing(mounts.sockets.iter().map(|(socket, _)| socket).collect());
            for (socket, agent) in &mounts.sockets {
                socket.serve(agent, scope);
            }
            let mut sink = |stream: Stream, bytes: &[u8]| lines.take(stream, bytes);
            self.engine.runtime.run_step(&step, &mut on_ready, &mut sink, request.cancel)
        });
        lines.finish();
        let last = lines.last();
        let released = self.engine.networks().release(&id);
        let targets: Vec<String> = mounts.targets().map(str::to_owned).collect();
        drop(mounts);
        if let Some(reason) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(reason);
        }
        let outcome = match outcome {
            Ok(outcome) => outcome,
            // Docker: a program that is not there or cannot be run is a failed step.
            Err(RuntimeError::Shim { message, code }) if code == 126 || code == 127 => {
                output(Stream::Stderr, &message);
                return Ok(explained(&active, request, code, &[message]));
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
                Ok(explained(&active, request, ended.code, &last))
            }
            StepOutcome::OutOfMemory(ended) => {
                let hint = match request.sandbox.memory {
                    Some(memory) => format!(
                        "the kernel killed a process of this step: it may use {} MiB; raise `--memory`",
                        memory >> 20
                    ),
                    None => "the kernel killed a process of this step because the host is out of memory"
                        .to_owned(),
                };
                Ok(ExecOutcome::Explained(ended.code, vec![hint]))
            }
            StepOutcome::Ended(_) => {
                pass(Point::BuildStepRan)?;
                let layer =
                    RootFs::open_directory(&active.layer_path()).during("looking into a step's layer")?;
                let below = parent.as_ref().map(|parent| self.engine.snapshots.view(parent)).transpose();
                let below = below.during("looking below a step's layer")?.map(RootFs::new);
                let unchanged = traces::remove(&layer, below.as_ref(), targets.iter().map(String::as_str));
                drop((layer, below));
                match &request.parent {
                    Some(parent) if unchanged => Ok(ExecOutcome::Succeeded(parent.clone())),
                    _ => self.commit(active).map(ExecOutcome::Succeeded),
                }
            }
        }
    }

    fn connect(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        spawned: &Spawned,
        directory: &Path,
    ) -> Result<()> {
        let holder = process::identify(spawned.pid).ok_or_else(|| {
            Failure::ours("looking for the shim", &std::io::Error::from(std::io::ErrorKind::NotFound))
        })?;
        let namespace =
            std::fs::File::open(spawned.network_namespace()).during("opening the network namespace")?;
        let attachments: Attachments = self.engine.networks().attach(id, spec, holder, namespace.as_fd())?;
        let files = [
            ("hosts", etc::hosts(HOST_NAME, None, &attachments, &spec.extra_hosts)),
            ("hostname", format!("{HOST_NAME}\n")),
            ("resolv.conf", HostResolver::read().resolv_conf(spec, None)),
        ];
        for (name, text) in files {
            std::fs::write(directory.join(name), text).during("writing a step's /etc files")?;
        }
        Ok(())
    }
}

/// Returns the failure of a step, with what its files say about it.
fn explained(active: &ActiveSnapshot, request: &ExecRequest<'_>, code: i32, lines: &[String]) -> ExecOutcome {
    // Only for advice: a failure to look has none.
    let hints = active.view().map(|view| explain::explain(&RootFs::new(view), request, code, lines));
    match hints {
        Ok(hints) if !hints.is_empty() => ExecOutcome::Explained(code, hints),
        _ => ExecOutcome::Failed(code),
    }
}

/// Returns the failure of a step whose user is not in the image.
fn no_such_user(root: &RootFs, request: &ExecRequest<'_>, error: &UserError) -> Failure {
    let diagnostic = Diagnostic::error("no-such-user", format!("USER {}: {error}", request.user));
    let text = root.read(Path::new("/etc/passwd"), 1 << 20).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let known: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
    let wanted = request.user.split(':').next().unwrap_or_default();
    let diagnostic = match coracle_dockerfile::nearest(wanted, known.iter().copied()) {
        Some(near) if near != wanted => diagnostic.with_hint(format!("did you mean `{near}`?")),
        _ if known.is_empty() => diagnostic.with_note("the image has no /etc/passwd"),
        _ => diagnostic,
    };
    Failure::user(diagnostic.with_hint(format!(
        "make it before `USER`: `RUN useradd --system {wanted}` (Debian), `RUN adduser -S {wanted}` (Alpine); or use a number, which needs no entry"
    )))
}

/// Completes an overlay: the kernel wants a layer below, and options that keep files whole in the one that is written.
fn layered(overlay: &mut Overlay, directory: &Path) -> Result<()> {
    if overlay.lower.is_empty() {
        let empty = directory.join("lower");
        std::fs::create_dir_all(&empty).during("making an empty layer")?;
        overlay.lower.push(empty);
    }
    if overlay.upper.is_some() {
        overlay.options.extend(LAYER_OPTIONS.map(str::to_owned));
    }
    Ok(())
}

/// Returns the ids of the secrets that a step sees.
fn secret_ids<'a>(request: &'a ExecRequest<'_>) -> impl Iterator<Item = &'a str> {
    let files = request.mounts.iter().filter_map(|mount| match &mount.kind {
        ExecMountKind::Secret { id, .. } => Some(id.as_str()),
        _ => None,
    });
    files.chain(request.secret_env.iter().map(|variable| variable.id.as_str()))
}

//! The bundle that a shim is given, made from a container's record and what was prepared for it.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use coracle_container::runtime_spec::{
    Controls, DeviceNode, EtcFiles, Facts, NetworkNamespace, OomScore, ResolvedMount, RuntimeSpecError,
    oci_runtime_spec, secret_place,
};
use coracle_container::{ContainerId, ContainerSpec, Healthcheck, PidMode, RestartPolicy};
use coracle_oci::HealthCommand;
use coracle_shim::cgroup;
use coracle_shim::config::{
    CONFIG_FILE, HealthCheck, Log, Network, NetworkProbe, OnUnhealthy, Overlay, Partner, Restart, SPEC_FILE,
    Secret, SecretVariable, Shared, ShimConfig, Source, Stdin, VERSION, WorkingDirectory,
};
use coracle_shim::journal::Journal;
use coracle_shim::scope;

use oci_spec::runtime::Spec;

use crate::{Paths, ResolvedUser, RuntimeError, cgroups, facts, filters, signal_number};

/// Everything that had to be looked up or made before a container can start.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its root file system.
    pub overlay: Overlay,
    /// Who it runs as, see [`crate::resolve_user`].
    pub user: ResolvedUser,
    /// Further overlays, mounted where [`Paths::view`] says, for mounts to bind from.
    pub views: Vec<Overlay>,
    /// Files of the host, mounted where [`Paths::source`] says, for mounts to bind from.
    pub sources: Vec<Source>,
    /// Variables whose values are read at each start and written nowhere.
    pub secret_environment: Vec<SecretVariable>,
    /// Its mounts, sources being host paths by now, in order.
    pub mounts: Vec<ResolvedMount>,
    /// Files bound over those of its `/etc`.
    pub etc: EtcFiles,
    /// Whose network it uses.
    pub network: NetworkNamespace,
    /// Containers whose namespaces it shares; exactly one for the network when that is joined.
    pub partners: Vec<SharedWith>,
    /// What its standard input is.
    pub stdin: Stdin,
    /// Arguments of this program that clean up after the final exit, e.g. `reap <id>`; empty means nobody is called.
    pub reap: Vec<String>,
    /// Whether it is killed when the client that has its streams goes; [`crate::Runtime::run_step`] sets it.
    pub bound_to_client: bool,
    /// Whether the environment says the host's name, as in Docker's containers and not in its builds.
    pub host_name_variable: bool,
    /// Whether mount points made in the root file system are taken out again, as a build step needs.
    pub remove_mount_points: bool,
}

/// A container whose namespace another one shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedWith {
    /// Which namespace.
    pub shared: Shared,
    /// The container.
    pub id: ContainerId,
    /// Its name, for messages.
    pub name: String,
}

impl Paths {
    /// Returns where the shim of a container mounts [`Prepared::views`]`[number]`, in its own mount namespace.
    pub fn view(&self, id: &ContainerId, number: usize) -> PathBuf {
        ShimConfig::view(&self.bundle(id), number)
    }

    /// Returns where the shim of a container mounts [`Prepared::sources`]`[number]`, in its own mount namespace.
    pub fn source(&self, id: &ContainerId, number: usize) -> PathBuf {
        ShimConfig::source(&self.bundle(id), number)
    }
}

/// Writes the bundle of a container; returns what could not be given in full, in words for the user.
pub(crate) fn write(
    paths: &Paths,
    id: &ContainerId,
    container: &ContainerSpec,
    prepared: &Prepared,
    state: PathBuf,
) -> Result<Vec<String>, RuntimeError> {
    let bundle = paths.bundle(id);
    make_directory(&bundle)?;
    if let Some(directory) = state.parent() {
        make_directory(directory)?;
    }
    if let Some(profile) = container.security.apparmor.as_deref()
        && profile != "unconfined"
        && facts::apparmor_enabled()
        && facts::apparmor_has(profile) == Some(false)
    {
        return Err(RuntimeSpecError::AppArmorProfile(profile.to_owned()).into());
    }
    let available = facts::available_capabilities();
    let devices = devices(container)?;
    let abilities = cgroup::abilities();
    let block_devices = container
        .resources
        .block_io
        .device_limits()
        .filter_map(|limit| Some((limit.path.clone(), facts::block_device(&limit.path)?)))
        .collect();
    let known = Facts {
        id: id.clone(),
        rootfs: ShimConfig::rootfs(&bundle),
        uid: prepared.user.uid,
        gid: prepared.user.gid,
        additional_gids: prepared.user.groups.clone(),
        home: prepared.user.home.clone(),
        network_namespace: prepared.network,
        host_name_variable: prepared.host_name_variable,
        host_name: facts::host_name(),
        apparmor_profile: facts::apparmor_profile("coracle-default"),
        apparmor_enabled: facts::apparmor_enabled(),
        mounts: prepared.mounts.clone(),
        etc: prepared.etc.clone(),
        secrets: (!container.secrets.is_empty()).then(|| ShimConfig::secrets(&bundle)),
        namespaces: ShimConfig::namespaces(&bundle),
        devices,
        block_devices,
        available_capabilities: available,
        hard_limits: facts::hard_limits(available),
        swap_accounting: cgroup::accounts_swap(),
        kernel: facts::kernel(),
        throttles: facts::throttles(Path::new("/sys/devices/system/cpu")),
        controls: Controls {
            swappiness: abilities.swappiness,
            oom_control: abilities.swappiness,
            realtime: abilities.realtime,
            io_weight: abilities.io_weight,
            io_throttle: abilities.io_throttle,
        },
        limits: cgroup::writable(),
        largest_group: facts::largest_group(),
        oom_score: OomScore { current: facts::oom_score(), may_lower: facts::may_raise_limits(available) },
    };
    let mut written = oci_runtime_spec(container, &known)?;
    let place = cgroups::place(container, id, scope::is_managed(), cgroups::run_number());
    if let Some(linux) = written.spec.linux_mut() {
        linux.set_cgroups_path(Some(PathBuf::from(&place.path)));
    }
    let filtered = filters::take(paths, &mut written.spec, &bundle)?;
    let capabilities = take_capabilities(&mut written.spec);
    let spec = serde_json::to_vec(&written.spec)
        .map_err(|source| RuntimeError::Record { path: bundle.join(SPEC_FILE), source })?;
    write_file(&bundle.join(SPEC_FILE), &spec)?;

    let config = ShimConfig {
        version: VERSION,
        program: installed(&paths.program),
        id: id.as_str().to_owned(),
        cgroup: place.path,
        scope: place.scope,
        overlay: prepared.overlay.clone(),
        views: prepared.views.clone(),
        sources: prepared.sources.clone(),
        network: match prepared.network {
            NetworkNamespace::Own => Network::Own,
            NetworkNamespace::Host => Network::Inherited,
            NetworkNamespace::Joined => Network::Joined,
        },
        partners: partners(paths, prepared),
        kill_all: container.isolation.pid != PidMode::Private,
        oom_kill_disable: container.resources.oom_kill_disable,
        network_sysctls: written.network_sysctls,
        secrets: secrets(container),
        secret_environment: prepared.secret_environment.clone(),
        working_directory: working_directory(container, prepared),
        capabilities,
        filtered,
        no_new_privileges: container.no_new_privileges,
        stream_owner: (prepared.user.uid, prepared.user.gid),
        terminal: container.tty,
        stdin: prepared.stdin,
        init: container.init,
        log: (!container.log.disabled).then(|| Log {
            path: paths.log(id),
            max_size: container.log.max_size,
            max_files: container.log.max_files,
            compress: container.log.compress,
            buffer: container.log.non_blocking.then_some(container.log.buffer),
        }),
        restart: restart(container.restart),
        restart_delay: container.restart_pace.delay,
        restart_window: container.restart_pace.window,
        health: container.healthcheck.as_ref().and_then(|check| health(check, container.on_unhealthy)),
        stop_signal: signal_number(&container.stop_signal)?,
        stop_grace: container.stop_grace_seconds.saturating_mul(1000),
        state,
        // Build steps are bound to their client, and no events.
        journal: (!prepared.bound_to_client).then(|| Journal {
            path: paths.journal.clone(),
            attributes: crate::journal::attributes(container),
        }),
        socket: paths.socket(id),
        lock: paths.lock(id),
        reap: prepared.reap.clone(),
        bound_to_client: prepared.bound_to_client,
        remove_mount_points: prepared.remove_mount_points,
    };
    // systemd's own groups are its to remove.
    if config.scope.is_none() {
        cgroups::note_parent(paths, &config.cgroup)?;
    }
    let text = serde_json::to_vec(&config)
        .map_err(|source| RuntimeError::Record { path: bundle.join(CONFIG_FILE), source })?;
    write_file(&bundle.join(CONFIG_FILE), &text)?;
    Ok(written.notes)
}

/// Looks the wanted devices up; a directory gives every node below it.
fn devices(container: &ContainerSpec) -> Result<Vec<DeviceNode>, RuntimeError> {
    if container.privileged {
        return Ok(facts::all_devices());
    }
    let mut devices: Vec<DeviceNode> = Vec::new();
    for device in &container.devices {
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such device");
        let found = facts::devices_at(&device.source);
        if found.is_empty() {
            return Err(RuntimeError::file("give the device", &device.source)(missing()));
        }
        for node in found {
            let below = node.path.strip_prefix(&device.source).unwrap_or(Path::new(""));
            let path =
                if below.as_os_str().is_empty() { device.target.clone() } else { device.target.join(below) };
            devices.retain(|earlier| earlier.path != path);
            devices.push(DeviceNode { path, access: device.access, ..node });
        }
    }
    Ok(devices)
}

fn partners(paths: &Paths, prepared: &Prepared) -> Vec<Partner> {
    let partner = |with: &SharedWith| Partner {
        shared: with.shared,
        name: with.name.clone(),
        state: paths.state(&with.id),
    };
    prepared.partners.iter().map(partner).collect()
}

/// Takes the capabilities out of the specification: the shim drops the others itself, after it loaded the filter.
fn take_capabilities(spec: &mut Spec) -> Vec<String> {
    let Some(mut process) = spec.process().clone() else { return Vec::new() };
    let granted = process.capabilities().as_ref().and_then(|granted| granted.bounding().clone());
    process.set_capabilities(None);
    spec.set_process(Some(process));
    let mut names: Vec<String> = granted
        .iter()
        .flatten()
        .filter_map(|capability| serde_json::to_value(capability).ok()?.as_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

pub(crate) fn make_directory(path: &Path) -> Result<(), RuntimeError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(RuntimeError::file("make the directory", path))
}

/// Writes a file that only its owner may read: environments hold passwords.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<(), RuntimeError> {
    fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(RuntimeError::file("write", path))
}

fn secrets(container: &ContainerSpec) -> Vec<Secret> {
    container
        .secrets
        .iter()
        .enumerate()
        .map(|(index, secret)| Secret {
            source: secret.source.clone(),
            place: secret_place(index, &secret.target),
            uid: secret.uid,
            gid: secret.gid,
            mode: secret.mode,
        })
        .collect()
}

fn working_directory(container: &ContainerSpec, prepared: &Prepared) -> Option<WorkingDirectory> {
    let path = Path::new(&container.working_directory);
    // Below a mount the directory belongs to that; in the root file system it would only be hidden.
    let mounted = prepared.mounts.iter().any(|mount| path.starts_with(&mount.target));
    let read_only = prepared.overlay.upper.is_none();
    (path.is_absolute() && path != Path::new("/") && !mounted && !read_only).then(|| WorkingDirectory {
        path: container.working_directory.clone(),
        uid: prepared.user.uid,
        gid: prepared.user.gid,
    })
}

pub(crate) fn restart(policy: RestartPolicy) -> Restart {
    match policy {
        RestartPolicy::No => Restart::No,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => Restart::Always,
        RestartPolicy::OnFailure { max_retries } => Restart::OnFailure { max_retries },
    }
}

fn health(check: &Healthcheck, on_unhealthy: coracle_oci::OnUnhealthy) -> Option<HealthCheck> {
    let mut network = None;
    let args = match &check.command {
        HealthCommand::None => return None,
        HealthCommand::Exec(args) => args.clone(),
        HealthCommand::Shell(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
        HealthCommand::Http(probe) => {
            network = Some(NetworkProbe::Http {
                addresses: addresses(probe.host, probe.port),
                host: probe.authority(),
                path: probe.path.clone(),
            });
            Vec::new()
        }
        HealthCommand::Tcp(probe) => {
            network = Some(NetworkProbe::Tcp { addresses: addresses(probe.host, probe.port) });
            Vec::new()
        }
    };
    let on_unhealthy = match on_unhealthy {
        coracle_oci::OnUnhealthy::None => OnUnhealthy::None,
        coracle_oci::OnUnhealthy::Kill => OnUnhealthy::Kill,
        coracle_oci::OnUnhealthy::Restart => OnUnhealthy::Restart,
        coracle_oci::OnUnhealthy::Stop => OnUnhealthy::Stop,
    };
    Some(HealthCheck {
        args,
        network,
        on_unhealthy,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    })
}

/// Returns where the program lies that we are a process of; `None` when its file was replaced or removed.
fn installed(program: &Path) -> Option<PathBuf> {
    let path = fs::read_link(program).ok()?;
    let same = fs::metadata(&path).ok()?;
    let ours = fs::metadata(program).ok()?;
    ((same.dev(), same.ino()) == (ours.dev(), ours.ino())).then_some(path)
}

/// Returns where a probe of `host` asks, in order: `localhost` has two addresses.
fn addresses(host: Option<IpAddr>, port: u16) -> Vec<SocketAddr> {
    match host {
        Some(host) => vec![SocketAddr::new(host, port)],
        None => [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)]
            .map(|host| SocketAddr::new(host, port))
            .to_vec(),
    }
}

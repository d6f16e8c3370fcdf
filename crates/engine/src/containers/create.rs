//! Making a container: its name, its snapshot, its record.

use std::io::Write as _;

use coracle_container::{ContainerId, ContainerRecord, ContainerSpec, MountKind, Protocol, PublishedPort};
use coracle_fault::Point;
use coracle_network::ports::HostSockets;
use coracle_report::Diagnostic;
use coracle_snapshot::SnapshotId;
use jiff::Timestamp;

use super::recover::holder;
use super::rename::wrong_name;
use super::request::{self, ContainerRequest};
use super::{Containers, is_name, partners};
use crate::failure::pass;
use crate::images::{Pull, ReadyImage};
use crate::{During, Failure, Result, Volumes, names, process, stored};

impl Containers<'_> {
    /// Makes a container of what a caller asks for; its image is fetched as `pull` says.
    pub fn create(&self, request: ContainerRequest, pull: Pull) -> Result<ContainerId> {
        self.recover()?;
        let images = self.engine.images();
        let image = match &request.platform {
            None => images.ensure(&request.image, pull, None)?,
            Some(platform) => {
                let reference = crate::Images::parse(&request.image)?;
                images.ensure_for(&reference, platform, pull, None)?
            }
        };
        let _adding = self.engine.store.adding().during("holding the image")?;
        let id = ContainerId::from_random(process::random().during("drawing a container's id")?);
        let name = request.name.clone().unwrap_or_else(|| names::made_up(&id));
        let spec = request::fold(request, name, &image.config, image.id)?;
        // Those of a project may be made in any order; here the others must be there.
        self.check_partners(&spec)?;
        self.create_with_id(id, spec, &image)
    }

    /// Refuses ports that somebody holds now, and names who: known before anything is made.
    pub fn check_ports(&self, ports: &[PublishedPort]) -> Result<()> {
        let fixed = ports.iter().filter_map(|port| {
            Some(coracle_network::PublishedPort {
                protocol: match port.protocol {
                    Protocol::Tcp => coracle_network::Protocol::Tcp,
                    Protocol::Udp => coracle_network::Protocol::Udp,
                },
                host_ip: port.host_ip,
                host_port: port.host_port?,
                container_ip: std::net::Ipv4Addr::UNSPECIFIED,
                container_port: port.container_port,
            })
        });
        let fixed: Vec<_> = fixed.collect();
        let sockets = HostSockets::of(self.engine.layout.run());
        coracle_network::ports::check(&fixed, &sockets).map_err(|error| Failure::user(error.diagnostic()))
    }

    /// Makes a container of a complete specification, on the snapshot of its image.
    pub fn create_from(&self, spec: ContainerSpec, image: &ReadyImage) -> Result<ContainerId> {
        let id = ContainerId::from_random(process::random().during("drawing a container's id")?);
        self.create_with_id(id, spec, image)
    }

    fn create_with_id(
        &self,
        id: ContainerId,
        mut spec: ContainerSpec,
        image: &ReadyImage,
    ) -> Result<ContainerId> {
        check(&spec)?;
        partners::check_conflicts(&spec)?;
        // Networks must exist before anything is made; an unknown one changes nothing.
        for attachment in &spec.networks {
            self.engine.networks().find(&attachment.network)?;
        }
        // Said before anything is made, so that the next command finds what a killed one left.
        self.own(&id)?;
        let made = self
            .claim_name(&spec.name, &id)
            .and_then(|()| self.make(&id, &mut spec, image.snapshot.as_ref()));
        match made {
            Ok(()) => {
                self.tell(&id, "create", &[]);
                // One that goes at its end is left to who starts it: killed before, it would stay for ever.
                if !spec.auto_remove {
                    self.settle(&id);
                }
                Ok(id)
            }
            Err(failure) => {
                // The first failure is what the user must see.
                let _ = std::fs::remove_file(self.engine.layout.container_record(id.as_str()));
                let _ = self.sweep(&id);
                Err(failure)
            }
        }
    }

    fn make(&self, id: &ContainerId, spec: &mut ContainerSpec, parent: Option<&SnapshotId>) -> Result<()> {
        pass(Point::CreateNamed)?;
        self.take_volumes(spec)?;
        for mount in &mut spec.mounts {
            if let MountKind::Volume { name, .. } = &mut mount.kind {
                let volumes = self.engine.volumes();
                if name.is_empty() {
                    // Noted first: whoever undoes this knows which volumes nobody has ever seen.
                    let drawn = Volumes::draw_name()?;
                    self.note_volume(id, &drawn)?;
                    *name = volumes.create_anonymous(drawn)?.name;
                } else {
                    volumes.create(Some(name.clone()), std::collections::BTreeMap::new())?;
                }
            }
        }
        pass(Point::CreateVolumes)?;
        let snapshot = self
            .engine
            .snapshots
            .prepare(parent)
            .and_then(|active| active.hold(holder(id)))
            .during("preparing a container's file system")?;
        let record = ContainerRecord {
            id: id.clone(),
            spec: spec.clone(),
            created: Timestamp::now(),
            snapshot: snapshot.id.to_string(),
        };
        let etc = self.engine.layout.container_etc(id.as_str());
        let written = pass(Point::CreateHeld)
            .and_then(|()| std::fs::create_dir_all(etc).during("making a container's directory"))
            .and_then(|()| {
                stored::write(&self.engine.layout.container_record(id.as_str()), &record)
                    .during("recording a container")
            })
            .and_then(|()| pass(Point::CreateRecorded));
        if written.is_err() {
            let _ = self.engine.snapshots.remove(&snapshot.id);
        }
        written
    }

    /// Takes a name for a container; of two commands that want it, one gets it.
    pub(super) fn claim_name(&self, name: &str, id: &ContainerId) -> Result<()> {
        let directory = self.engine.layout.container_names();
        std::fs::create_dir_all(&directory).during("making the directory of names")?;
        let path = self.engine.layout.container_name(name);
        let claim = || {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(id.as_str().as_bytes())
        };
        for _ in 0..2 {
            match claim() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::ours(format_args!("taking the name {name}"), &error)),
            }
            let owner = self.named(name)?;
            if let Some(owner) = &owner
                && let Some(record) = self.record(owner)?
                // Else it was given another name, and the command that did so was killed.
                && record.spec.name == name
            {
                let message = format!("the name `{name}` is taken by container {}", record.id.short());
                return Err(Failure::user(
                    Diagnostic::error("name-taken", message)
                        .with_hint(format!("remove it (coracle rm -f {name}), or use another name")),
                ));
            }
            if !self.is_abandoned(&path) {
                let message = format!("another command is making a container `{name}` right now");
                return Err(Failure::user(Diagnostic::error("name-taken", message)));
            }
            // A command was killed between taking the name and writing the record.
            let _ = std::fs::remove_file(&path);
        }
        let message = format!("the name `{name}` is being taken by another command");
        Err(Failure::user(Diagnostic::error("name-taken", message)))
    }

    /// Returns whether a name without a record is old enough that nobody is still writing the record.
    pub(crate) fn is_abandoned(&self, path: &std::path::Path) -> bool {
        let age = std::fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        age.is_some_and(|age| age.as_secs() >= 5)
    }
}

/// Refuses limits that the kernel would, with words for it.
pub(super) fn limits(resources: &coracle_container::Resources) -> Result<()> {
    let user = |code: &str, message: String| Err(Failure::user(Diagnostic::error(code, message)));
    const LEAST_MEMORY: u64 = 6 * 1024 * 1024;
    if let Some(memory) = resources.memory.filter(|memory| *memory < LEAST_MEMORY) {
        return user(
            "memory-limit",
            format!("a memory limit of {memory} bytes is below the least that works, 6 MiB"),
        );
    }
    if let (Some(memory), Some(swap)) = (resources.memory, resources.memory_swap)
        && u64::try_from(swap).is_ok_and(|swap| swap < memory)
    {
        return user(
            "memory-limit",
            format!("memory and swap together, {swap} bytes, are less than the memory alone, {memory}"),
        );
    }
    if let (Some(memory), Some(soft)) = (resources.memory, resources.memory_reservation)
        && soft > memory
    {
        return user(
            "memory-limit",
            format!("the soft limit of {soft} bytes is above the hard one, {memory}"),
        );
    }
    if resources.millicpus.is_some() && (resources.cpu_period.is_some() || resources.cpu_quota.is_some()) {
        return user("cpu-limit", "a number of processors excludes a quota and a period".to_owned());
    }
    if let Some(period) = resources.cpu_period.filter(|period| !(1_000..=1_000_000).contains(period)) {
        return user("cpu-limit", format!("a cpu period of {period} µs does not lie between 1 ms and 1 s"));
    }
    if let Some(quota) = resources.cpu_quota.filter(|quota| (0..1_000).contains(quota)) {
        return user("cpu-limit", format!("a cpu quota of {quota} µs is below the least that works, 1 ms"));
    }
    if let Some(swappiness) = resources.memory_swappiness.filter(|swappiness| *swappiness > 100) {
        return user("memory-limit", format!("a swappiness of {swappiness} does not lie between 0 and 100"));
    }
    let weights = resources.block_io.weight_device.iter().map(|limit| limit.rate);
    let weights = resources.block_io.weight.map(u64::from).into_iter().chain(weights);
    if let Some(weight) = weights.into_iter().find(|weight| *weight != 0 && !(10..=1000).contains(weight)) {
        return user("blkio-weight", format!("a weight of {weight} does not lie between 10 and 1000"));
    }
    Ok(())
}

/// Refuses specifications that could not be started.
fn check(spec: &ContainerSpec) -> Result<()> {
    let user = |code: &str, message: String| Err(Failure::user(Diagnostic::error(code, message)));
    if !is_name(&spec.name) {
        return Err(Failure::user(wrong_name(&spec.name)));
    }
    if let Some(parent) = &spec.cgroup_parent
        && (parent.split('/').any(|part| matches!(part, "." | "..")) || parent.contains(['\0', '\n']))
    {
        return user("cgroup-parent", format!("`{parent}` is no path of a control group"));
    }
    if let Some(score) = spec.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return user("oom-score", format!("oom_score_adj {score} does not lie between -1000 and 1000"));
    }
    if let Some(text) = &spec.security.seccomp_profile
        && let Err(error) = coracle_container::runtime_spec::check_seccomp_profile(text)
    {
        return user("seccomp-profile", format!("the seccomp profile cannot be used: {error}"));
    }
    if let Err(error) = coracle_container::runtime_spec::check_spec(spec) {
        use coracle_container::runtime_spec::RuntimeSpecError::{Capability, Sysctl, Ulimit};
        let code = match &error {
            Capability(_) => "bad-capability",
            Ulimit(_) => "bad-ulimit",
            Sysctl { .. } => "bad-sysctl",
            _ => "bad-value",
        };
        return user(code, error.to_string());
    }
    if let Err(error) = coracle_runtime::signal_number(&spec.stop_signal) {
        return user("no-such-signal", error.to_string());
    }
    limits(&spec.resources)?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    if let Some(millicpus) = spec.resources.millicpus.filter(|limit| *limit > processors * 1_000) {
        let asked = millicpus as f64 / 1_000.0;
        return user(
            "cpu-limit",
            format!("{asked} processors are more than the {processors} that this machine has"),
        );
    }
    for mount in &spec.mounts {
        if !mount.target.starts_with('/') || mount.target == "/" {
            return user(
                "mount-target",
                format!("`{}` is no path that something can be mounted at", mount.target),
            );
        }
        if let MountKind::Bind { source, create_host_path: false, .. } = &mount.kind
            && !source.exists()
        {
            return user(
                "mount-source",
                format!("{} does not exist, so it cannot be mounted", source.display()),
            );
        }
    }
    Ok(())
}

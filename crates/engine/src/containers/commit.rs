//! An image of what a container made of its own, `docker commit`.

use coracle_container::{ContainerId, ContainerRecord, ContainerState};
use coracle_oci::{
    DiffId, Empty, HealthCommand, HealthcheckConfig, History, ImageConfig, ImageId, Reference, RunConfig,
};
use coracle_snapshot::{Snapshot, SnapshotId};
use jiff::Timestamp;

use super::Containers;
use super::changes::mount_places;
use super::launch::gone;
use crate::{During, Failure, Result};

/// What an image of a container is to be.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// Its name; `None` is none.
    pub reference: Option<Reference>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub message: Option<String>,
    /// Instructions that change its configuration, e.g. `CMD ["serve"]`.
    pub changes: Vec<String>,
    /// Let the container run on meanwhile: what it writes then may be in the image by half.
    pub running: bool,
}

impl Containers<'_> {
    /// Makes an image of a container: its image's layers, one of what it changed, and how it runs.
    pub fn commit(&self, id: &ContainerId, request: &CommitRequest) -> Result<ImageId> {
        let view = self.view(id)?.ok_or_else(|| gone(id))?;
        let record = view.record;
        let _adding = self.engine.store.adding().during("holding the image")?;
        let (mut config, below) = self.base_of(&record)?;
        config.config = run_config(&record, config.config);
        for text in &request.changes {
            coracle_build::change(&mut config, text).map_err(Failure::user)?;
        }
        let pauses = !request.running && matches!(view.state, ContainerState::Running { .. });
        if pauses {
            self.pause(id)?;
        }
        let layer = self.layer_of(&record);
        if pauses {
            // The failure to make the layer is what matters more.
            let resumed = self.unpause(id);
            if layer.is_ok() {
                resumed?;
            }
        }
        let layer = layer?;
        let now = Timestamp::now().to_string();
        let command: Vec<&str> =
            record.spec.entrypoint.iter().chain(&record.spec.command).map(String::as_str).collect();
        config.created = Some(now.clone());
        config.author.clone_from(&request.author);
        config.history.push(History {
            created: Some(now),
            created_by: Some(command.join(" ")),
            author: request.author.clone(),
            comment: request.message.clone(),
            empty_layer: false,
        });
        let layers: Vec<(DiffId, u64)> = below
            .iter()
            .chain([&layer])
            .filter_map(|snapshot| Some((snapshot.diff_id?, snapshot.size.unwrap_or(0))))
            .collect();
        config.rootfs.diff_ids = layers.iter().map(|(id, _)| *id).collect();
        let image = self.engine.images().keep(&config, &layers, request.reference.as_ref())?;
        self.tell(id, "commit", &[("imageID", image.id.to_string())]);
        Ok(image.id)
    }

    /// Returns the configuration of a container's image, or an empty one when that is gone, and its layers.
    fn base_of(&self, record: &ContainerRecord) -> Result<(ImageConfig, Vec<Snapshot>)> {
        let snapshots = &self.engine.snapshots;
        let image = self.engine.store.image_by_id(&record.spec.image_id).during("looking for the image")?;
        let config = image.map_or_else(ImageConfig::scratch, |image| image.config);
        let held: SnapshotId = record.snapshot.parse().during("reading the container's record")?;
        let parent = snapshots.get(&held).during("reading the container's file system")?.parent;
        let below = parent.map(|parent| snapshots.stack(&parent)).transpose();
        Ok((config, below.during("reading the image's layers")?.unwrap_or_default()))
    }

    /// Makes a layer of what a container changed.
    fn layer_of(&self, record: &ContainerRecord) -> Result<Snapshot> {
        let snapshots = &self.engine.snapshots;
        let held: SnapshotId = record.snapshot.parse().during("reading the container's record")?;
        let parent = snapshots.get(&held).during("reading the container's file system")?.parent;
        let (reader, writer) = std::io::pipe().during("making a pipe")?;
        let what = format!("making a layer of container {}", record.spec.name);
        let unpacked = std::thread::scope(|scope| {
            let packing = scope.spawn(|| snapshots.layer_tar(&held, writer, None));
            let unpacked = snapshots.unpack(reader, None);
            let packed = packing.join().expect("a packer does not panic");
            // When unpacking fails the packer meets a closed pipe: the cause is told.
            let unpacked = unpacked.during(&what)?;
            packed.during(&what)?;
            Ok::<_, Failure>(unpacked)
        })?;
        unpacked.attach_as_ours_on(parent.as_ref(), &mount_places(&record.spec)).during(&what)
    }
}

/// Returns how a container runs, in the words of an image; what the container does not know stays as in its image.
fn run_config(record: &ContainerRecord, image: RunConfig) -> RunConfig {
    let spec = &record.spec;
    let list = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let mut exposed = image.exposed_ports.clone();
    exposed.extend(spec.exposed.iter().map(|port| (port.clone(), Empty {})));
    RunConfig {
        user: spec.user.clone(),
        exposed_ports: exposed,
        env: spec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        entrypoint: list(&spec.entrypoint),
        cmd: list(&spec.command),
        working_dir: spec.working_directory.clone(),
        labels: spec.labels.clone(),
        stop_signal: Some(spec.stop_signal.clone())
            .filter(|signal| signal != "SIGTERM")
            .or(image.stop_signal),
        healthcheck: spec.healthcheck.as_ref().map_or(image.healthcheck, |check| {
            const NANOS_PER_MILLI: u64 = 1_000_000;
            Some(HealthcheckConfig {
                test: match &check.command {
                    HealthCommand::None => vec!["NONE".to_owned()],
                    HealthCommand::Exec(words) => [&["CMD".to_owned()], words.as_slice()].concat(),
                    HealthCommand::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                    // Other engines refuse an image with a probe that they do not know.
                    HealthCommand::Http(_) | HealthCommand::Tcp(_) => Vec::new(),
                },
                interval: check.interval.saturating_mul(NANOS_PER_MILLI),
                timeout: check.timeout.saturating_mul(NANOS_PER_MILLI),
                start_period: check.start_period.saturating_mul(NANOS_PER_MILLI),
                start_interval: check.start_interval.saturating_mul(NANOS_PER_MILLI),
                retries: u64::from(check.retries),
            })
        }),
        ..image
    }
}

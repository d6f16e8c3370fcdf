//! The engine: where its state lies, and a door to each of its services.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use coracle_registry::{Client, CredentialStore};
use coracle_report::{Event, Reporter, Severity};
use coracle_runtime::Runtime;
use coracle_snapshot::{SnapshotId, Snapshots};
use coracle_store::{FileLock, Layout, Store};

use crate::{
    Bases, Builds, Containers, Doctor, During, Events, Failure, Images, Keepers, Networks, Projects, Result,
    Volumes,
};

/// How an engine is opened.
pub struct Options {
    /// Where images, containers and volumes lie; `None` is `/var/lib/coracle`.
    pub data_root: Option<PathBuf>,
    /// Where sockets and locks lie; `None` is `/run/coracle`.
    pub run_root: Option<PathBuf>,
    /// Who is told about progress.
    pub reporter: Arc<dyn Reporter>,
    /// The caller's variables.
    pub environment: BTreeMap<String, String>,
}

/// Everything Coracle can do, over state on disk. Cheap to open; many may be open at once, in many processes.
pub struct Engine {
    pub(crate) layout: Layout,
    pub(crate) store: Store,
    pub(crate) snapshots: Snapshots,
    pub(crate) runtime: Runtime,
    pub(crate) reporter: Arc<dyn Reporter>,
    pub(crate) environment: BTreeMap<String, String>,
    registry: OnceLock<Client>,
    /// What was told of damage: each thing once a command.
    told: Mutex<BTreeSet<String>>,
}

impl Engine {
    /// Where images, containers and volumes lie unless another place is named.
    pub const DATA_ROOT: &str = "/var/lib/coracle";

    /// Opens the engine and makes its directories when they are missing.
    pub fn open(options: Options) -> Result<Self> {
        let data_root = options.data_root.unwrap_or_else(|| PathBuf::from(Self::DATA_ROOT));
        let run_root = options.run_root.unwrap_or_else(|| PathBuf::from("/run/coracle"));
        let layout = Layout::new(data_root, run_root);
        if !layout.data().exists() {
            // Volumes hold what containers wrote: other users of the host may not look around in them.
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(layout.data())
                .during(format_args!("making {}", layout.data().display()))?;
        }
        let store = Store::open(layout.clone())
            .during(format_args!("opening the store in {}", layout.data().display()))?;
        let snapshots = Snapshots::open(&layout.snapshots()).during("opening the snapshots")?;
        let runtime = Runtime::new(coracle_runtime::Paths {
            data: layout.containers(),
            run: layout.run_containers(),
            journal: layout.journal(),
            program: PathBuf::from("/proc/self/exe"),
        });
        let (reporter, environment) = (options.reporter, options.environment);
        Ok(Self {
            layout,
            store,
            snapshots,
            runtime,
            reporter,
            environment,
            registry: OnceLock::new(),
            told: Mutex::default(),
        })
    }

    /// Tells the user of something damaged that hinders nothing else, once.
    pub(crate) fn tell_damage(&self, failure: &Failure) {
        let mut notice = failure.first().clone();
        notice.severity = Severity::Warning;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(notice.message.clone()) {
            self.reporter.event(Event::Notice(notice));
        }
    }

    /// Returns the client of registries, with the credentials of `~/.docker/config.json` and what is configured of registries.
    pub(crate) fn registry(&self) -> &Client {
        self.registry.get_or_init(|| {
            let credentials = CredentialStore::from_docker_config(&self.docker_config()).unwrap_or_default();
            let hosts = crate::registries::hosts(&self.environment);
            Client::new(
                credentials,
                coracle_registry::Options { hosts, ..coracle_registry::Options::default() },
            )
        })
    }

    /// Returns the bytes of `~/.docker/config.json`. A file that cannot be read is as none: public images need no
    /// credentials.
    pub(crate) fn docker_config(&self) -> Vec<u8> {
        let home = self.environment.get("HOME").map_or("/root", String::as_str);
        let directory =
            self.environment.get("DOCKER_CONFIG").cloned().unwrap_or_else(|| format!("{home}/.docker"));
        std::fs::read(PathBuf::from(directory).join("config.json")).unwrap_or_default()
    }

    /// Returns the images.
    pub fn images(&self) -> Images<'_> {
        Images { engine: self }
    }

    /// Returns the base images that can be baked.
    pub fn bases(&self) -> Bases<'_> {
        Bases { engine: self }
    }

    /// Returns the builder.
    pub fn builds(&self) -> Builds<'_> {
        Builds { engine: self }
    }

    /// Returns the containers.
    pub fn containers(&self) -> Containers<'_> {
        Containers { engine: self }
    }

    /// Returns the volumes.
    pub fn volumes(&self) -> Volumes<'_> {
        Volumes { engine: self }
    }

    /// Returns the networks.
    pub fn networks(&self) -> Networks<'_> {
        Networks { engine: self }
    }

    /// Returns who finds and mends what is damaged.
    pub fn doctor(&self) -> Doctor<'_> {
        Doctor { engine: self }
    }

    /// Returns what happened.
    pub fn events(&self) -> Events<'_> {
        Events { engine: self }
    }

    /// Returns the keepers.
    pub fn keepers(&self) -> Keepers<'_> {
        Keepers { engine: self }
    }

    /// Returns what happens when the machine comes up and goes down.
    pub fn boot(&self) -> crate::Boot<'_> {
        crate::Boot { engine: self }
    }

    /// Returns the projects.
    pub fn projects(&self) -> Projects<'_> {
        Projects { engine: self }
    }

    /// Removes what killed commands left behind. Run it before work that takes long anyway.
    pub(crate) fn reclaim(&self) -> Result<()> {
        self.containers().recover()?;
        crate::contexts::reclaim(&self.layout)?;
        crate::cache::collect::reclaim(&self.layout)?;
        self.snapshots.reclaim().during("removing what killed commands left behind")?;
        Ok(())
    }

    /// Removes snapshots that no image, no container and no cache record needs.
    pub(crate) fn collect_snapshots(&self) -> Result<()> {
        // Whoever adds images or builds holds the lock with others; then the next removal collects.
        let Some(_alone) = FileLock::try_exclusive(&self.layout.collector_lock())
            .during("locking the store for collection")?
        else {
            return Ok(());
        };
        let survey = self.store.survey().during("listing images")?;
        if survey.damage.iter().any(|damage| !matches!(damage, coracle_store::StoreError::Missing(_))) {
            // What a damaged image needs cannot be told: nothing is thrown away until that is mended.
            return Ok(());
        }
        let mut needed = self.images().needed_snapshots()?;
        needed.extend(self.builds().cached_snapshots()?);
        let all = self.snapshots.list().during("listing snapshots")?;
        // Newest first: a child goes before its parent.
        let parents: BTreeMap<SnapshotId, Option<SnapshotId>> =
            all.iter().map(|snapshot| (snapshot.id.clone(), snapshot.parent.clone())).collect();
        let shared: BTreeMap<SnapshotId, SnapshotId> = all
            .iter()
            .filter_map(|snapshot| Some((snapshot.id.clone(), snapshot.layer_of.clone()?)))
            .collect();
        let mut keep: BTreeSet<SnapshotId> = BTreeSet::new();
        let held = all.iter().filter(|snapshot| !snapshot.is_committed()).map(|snapshot| snapshot.id.clone());
        for id in needed.into_iter().chain(held) {
            let mut next = Some(id);
            while let Some(id) = next.filter(|id| !keep.contains(id)) {
                next = parents.get(&id).cloned().flatten();
                // A layer's maker is based on nothing.
                keep.extend(shared.get(&id).cloned());
                keep.insert(id);
            }
        }
        for snapshot in all.iter().rev().filter(|snapshot| !keep.contains(&snapshot.id)) {
            match self.snapshots.remove(&snapshot.id) {
                // A build that runs now has begun to use it.
                Err(coracle_snapshot::SnapshotError::InUse { .. }) => {}
                result => result.during(format_args!("removing snapshot {}", snapshot.id))?,
            }
        }
        Ok(())
    }
}

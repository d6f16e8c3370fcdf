//! The collector over data roots of its own, with times that are set by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use coracle_build::{CacheKey, SnapshotRef};
use coracle_oci::{DiffId, Digest, ImageConfig, ImageId};
use coracle_report::Quiet;
use coracle_snapshot::SnapshotId;
use coracle_store::prune::Kind;

use super::automatic::{Bounds, Disk, Measurement, is_due};
use super::*;
use crate::{Engine, Options, stored};

const DAY: u64 = 86_400;

struct World {
    directory: tempfile::TempDir,
    engine: Engine,
}

impl World {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root");
            eprintln!("SKIPPED: needs root to make snapshots");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options {
            data_root: Some(directory.path().join("data")),
            run_root: Some(directory.path().join("run")),
            reporter: Arc::new(Quiet),
            environment: BTreeMap::new(),
        });
        Some(Self { directory, engine: engine.unwrap() })
    }

    /// Makes what a step makes: a layer of some bytes, and a record that was used so many seconds ago.
    fn step(&self, name: &str, parent: Option<&SnapshotId>, bytes: usize, unused: u64) -> SnapshotId {
        let snapshots = &self.engine.snapshots;
        let active = snapshots.prepare(parent).unwrap();
        std::fs::write(active.layer_path().join(name), vec![7; bytes]).unwrap();
        let id = active.commit().unwrap().id;
        snapshots.set_diff_id(&id, diff_id(name), bytes as u64).unwrap();
        self.record(name, Some(&id), parent, unused);
        id
    }

    fn record(&self, name: &str, id: Option<&SnapshotId>, parent: Option<&SnapshotId>, unused: u64) {
        let key: CacheKey = Digest::of(name).to_string().parse().unwrap();
        let of = |id: &SnapshotId| SnapshotRef::new(id.to_string());
        let step = format!("RUN {name}");
        let record = coracle_build::CacheRecord { snapshot: id.map(of), parent: parent.map(of), key, step };
        let path = self.engine.layout.cache_record(&key.digest());
        stored::write_fast(&path, &record).unwrap();
        age(&path, unused);
    }

    fn mount(&self, id: &str, bytes: usize, unused: u64) -> PathBuf {
        let path = self.engine.layout.cache_mount(id);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("file"), vec![7; bytes]).unwrap();
        std::fs::write(beside("%used-", &path), "").unwrap();
        age(&beside("%used-", &path), unused);
        path
    }

    /// Makes an image of steps' layers.
    fn image(&self, names: &[&str]) -> ImageId {
        let mut config: ImageConfig = serde_json::from_str(
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        config.rootfs.diff_ids = names.iter().map(|name| diff_id(name)).collect();
        let layers: Vec<(DiffId, u64)> = names.iter().map(|name| (diff_id(name), 1)).collect();
        self.engine.images().keep(&config, &layers, None).unwrap().id
    }

    fn usage(&self) -> Vec<Entry> {
        self.engine.builds().cache_usage(&PruneFilter::default()).unwrap()
    }

    fn prune(&self, request: &PruneRequest) -> Pruned {
        self.engine.builds().prune_cache(request).unwrap().expect("nobody builds")
    }

    fn snapshots(&self) -> BTreeSet<SnapshotId> {
        self.engine.snapshots.list().unwrap().into_iter().map(|snapshot| snapshot.id).collect()
    }

    fn leftovers(&self) -> Vec<String> {
        let names = |directory: PathBuf| {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        let mounts = names(self.engine.layout.cache_mounts()).filter(|name| name.contains("gone"));
        names(self.engine.layout.snapshots().join(".gone")).chain(mounts).collect()
    }
}

fn diff_id(name: &str) -> DiffId {
    Digest::of(name).to_string().parse().unwrap()
}

fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn all() -> PruneRequest {
    PruneRequest { all: true, ..PruneRequest::default() }
}

#[test]
fn a_prune_leaves_what_is_young_and_all_leaves_what_is_needed() {
    let Some(world) = World::new() else { return };
    let base = world.step("base", None, 5_000, 3 * DAY);
    let old = world.step("old", Some(&base), 50_000, 2 * DAY);
    let new = world.step("new", Some(&base), 50_000, 60);
    let made = world.step("made", None, 5_000, 5 * DAY);
    let held = world.step("held", None, 5_000, 5 * DAY);
    world.image(&["made"]);
    let container = world.engine.snapshots.prepare(Some(&held)).unwrap().hold("container c").unwrap().id;
    world.record("changed nothing", Some(&old), Some(&old), 2 * DAY);
    world.record("nothing", None, None, 2 * DAY);
    world.record("lost", Some(&"zzz".parse().unwrap()), None, 2 * DAY);
    std::fs::write(world.engine.layout.cache_record(&Digest::of("damaged")), "{").unwrap();
    let used = world.mount("used", 9_000, 60);
    let unused = world.mount("unused", 9_000, 3 * DAY);
    std::fs::create_dir_all(world.engine.layout.downloads()).unwrap();

    let usage = world.usage();
    let find = |wanted: &str| usage.iter().find(|entry| entry.description == wanted).unwrap();
    assert_eq!(usage.len(), 10, "{usage:#?}");
    assert!(find("RUN made").shared && find("RUN held").shared && !find("RUN base").shared);
    assert!(find("RUN old").size >= 50_000 && find("RUN nothing").size == 0);
    assert_eq!(find("cache mount used").kind, Kind::CacheMount);

    let dry = world.prune(&PruneRequest { dry_run: true, ..PruneRequest::default() });
    assert_eq!(world.usage(), usage);
    let pruned = world.prune(&PruneRequest::default());
    assert_eq!(dry.entries, pruned.entries);
    assert!(pruned.bytes >= 59_000 && pruned.young >= 64_000, "{pruned:?}");
    // `base` is as young as `new`, which rests on it.
    let kept: BTreeSet<SnapshotId> = [&base, &new, &made, &held, &container].into_iter().cloned().collect();
    assert_eq!(world.snapshots(), kept, "{old}");
    assert!(used.exists() && !unused.exists() && !beside("%used-", &unused).exists());
    assert!(world.leftovers().is_empty());

    world.prune(&all());
    assert_eq!(world.usage(), []);
    assert_eq!(world.snapshots(), [made, held, container].into_iter().collect());
    assert_eq!(std::fs::read_dir(world.engine.layout.cache_mounts()).unwrap().count(), 0);
    assert_eq!(records::list(&world.engine.layout.cache()).unwrap().len(), 0);
}

#[test]
fn filters_and_bounds_choose() {
    let Some(world) = World::new() else { return };
    world.step("one", None, 100_000, 3 * DAY);
    world.step("two", None, 100_000, 2 * DAY);
    world.mount("m", 100_000, 4 * DAY);
    let filter = PruneFilter::parse(["type=exec.cachemount"]).unwrap();
    let gone = world.prune(&PruneRequest { filter, ..PruneRequest::default() });
    assert_eq!(gone.entries.len(), 1);
    let gone = world.prune(&PruneRequest { max_used: Some(150_000), ..PruneRequest::default() });
    assert_eq!(gone.entries.iter().map(|entry| entry.description.as_str()).collect::<Vec<_>>(), ["RUN one"]);
    let filter = PruneFilter::parse(["until=72h"]).unwrap();
    assert!(world.prune(&PruneRequest { filter, all: true, ..PruneRequest::default() }).entries.is_empty());
    assert_eq!(world.usage().len(), 1);
}

#[test]
fn nothing_goes_while_a_build_runs() {
    let Some(world) = World::new() else { return };
    world.step("one", None, 100_000, 3 * DAY);
    let adding = world.engine.store.adding().unwrap();
    assert!(world.engine.builds().prune_cache(&all()).unwrap().is_none());
    world.engine.builds().tidy_to(Bounds { max_used: 0, min_free: 0 }).unwrap();
    assert_eq!(world.usage().len(), 1);
    assert!(!world.engine.layout.cache_usage().exists());
    drop(adding);
    world.engine.builds().tidy_to(Bounds { max_used: 0, min_free: 0 }).unwrap();
    assert_eq!(world.usage(), []);
}

#[test]
fn a_killed_prune_is_finished_by_the_next_command() {
    let Some(world) = World::new() else { return };
    let base = world.step("base", None, 5_000, 3 * DAY);
    world.step("old", Some(&base), 5_000, 2 * DAY);
    world.mount("m", 100_000, 4 * DAY);
    // Killed when all is out of sight and nothing erased.
    let removed = world.engine.builds().remove(&all().policy(), &mut Measured::default()).unwrap();
    drop(removed.unwrap());
    assert_eq!(world.leftovers().len(), 3);
    assert_eq!(world.usage(), []);
    world.engine.reclaim().unwrap();
    assert!(world.leftovers().is_empty());
    // Killed between the records and the snapshots: what nobody knows goes with the next.
    let lost = world.step("lost", None, 5_000, 0);
    std::fs::remove_file(world.engine.layout.cache_record(&Digest::of("lost"))).unwrap();
    assert_eq!(world.usage()[0].id, lost.to_string());
    world.prune(&all());
    assert!(world.snapshots().is_empty() && world.directory.path().exists());
}

#[test]
fn the_automatic_collection_measures_seldom_and_keeps_the_day() {
    let Some(world) = World::new() else { return };
    world.step("old", None, 200_000, 2 * DAY);
    world.step("new", None, 200_000, 60);
    let builds = world.engine.builds();
    builds.tidy_to(Bounds { max_used: 1 << 30, min_free: 0 }).unwrap();
    assert_eq!(world.usage().len(), 2);
    let path = world.engine.layout.cache_usage();
    let measured: Measurement = stored::read(&path).unwrap().unwrap();
    assert!(measured.fits && measured.bytes >= 400_000);
    builds.tidy_to(Bounds { max_used: 300_000, min_free: 0 }).unwrap();
    let left: Vec<String> = world.usage().into_iter().map(|entry| entry.description).collect();
    assert_eq!(left, ["RUN new"]);
    // Out of reach: the day's work stays, and nobody tries again at once.
    builds.tidy_to(Bounds { max_used: 10, min_free: 0 }).unwrap();
    assert_eq!(world.usage().len(), 1);
    let measured: Measurement = stored::read(&path).unwrap().unwrap();
    assert!(!measured.fits);

    let (gib, now) = (1_u64 << 30, measured.at);
    let disk = Disk { total: 1000 * gib, used: 500 * gib, free: 500 * gib };
    let bounds = Bounds::of(disk);
    assert_eq!(bounds, Bounds { max_used: 20 * gib, min_free: 4 * gib });
    let small = Bounds::of(Disk { total: 40 * gib, ..disk });
    assert_eq!(small, Bounds { max_used: 4 * gib, min_free: 2 * gib });
    let last = Measurement { at: now, bytes: 15 * gib, disk_used: 500 * gib, fits: true };
    let later = |hours| now + jiff::SignedDuration::from_hours(hours);
    assert!(is_due(None, disk, bounds, now));
    assert!(!is_due(Some(&last), disk, bounds, later(1)));
    assert!(is_due(Some(&last), Disk { used: 506 * gib, ..disk }, bounds, later(1)));
    assert!(is_due(Some(&last), Disk { free: 3 * gib, ..disk }, bounds, later(1)));
    assert!(is_due(Some(&last), disk, bounds, later(24)));
    assert!(is_due(Some(&last), disk, bounds, later(-1)));
    let full = Measurement { bytes: 30 * gib, fits: false, ..last };
    assert!(!is_due(Some(&full), disk, bounds, now));
    assert!(is_due(Some(&full), disk, bounds, later(1)));
}

//! What is in the build cache: results of steps, cache mounts and downloads, each with its size and last use.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use coracle_build::CacheRecord;
use coracle_oci::Digest;
use coracle_snapshot::{Snapshot, SnapshotId, State};
use coracle_store::prune::{Entry, Kind};
use coracle_store::{FileLock, Layout, layout, records};
use jiff::Timestamp;

use crate::contexts::kept_downloads;
use crate::ports::build::{beside, parse};
use crate::{During, Engine, Result, stored};

/// Beginnings of names beside cache mounts that are none; see `ports::build::exec::caches`.
pub(super) const BESIDE: [&str; 5] = ["%lock-", "%make-", "%new-", "%used-", "%gone-"];

/// An entry, and what it is on disk.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub entry: Entry,
    pub place: Place,
}

/// What an entry is on disk.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A snapshot, and the records that name it. Only records where the image has the snapshot, too.
    Step { snapshot: Option<SnapshotId>, records: Vec<PathBuf> },
    /// A cache mount's directory.
    Mount(PathBuf),
    /// A download's files, in the order in which they go.
    Download(Vec<PathBuf>),
}

/// Sizes that were measured before, so that nothing is measured while others wait.
#[derive(Debug, Default)]
pub(super) struct Measured(BTreeMap<PathBuf, u64>);

/// Who needs which snapshots.
struct Needs {
    /// By images and containers.
    shared: BTreeSet<SnapshotId>,
    /// By what runs now.
    in_use: BTreeSet<SnapshotId>,
}

/// Lists everything. Builds may run meanwhile: what vanishes is left out.
pub(super) fn take(engine: &Engine, measured: &mut Measured) -> Result<Vec<Item>> {
    let mut items = steps(engine)?;
    items.extend(mounts(&engine.layout, measured));
    let lock = engine.layout.downloads().join("lock");
    let busy = !FileLock::is_free(&lock).during("looking for running builds")?;
    items.extend(kept_downloads(&engine.layout).into_iter().map(|download| Item {
        entry: Entry {
            id: download.id.chars().take(12).collect(),
            kind: Kind::Download,
            size: download.size,
            created: time(download.used),
            last_used: time(download.used),
            in_use: busy,
            shared: false,
            parents: Vec::new(),
            description: if download.url.is_empty() { "a download".to_owned() } else { download.url },
        },
        place: Place::Download(download.files),
    }));
    Ok(items)
}

fn steps(engine: &Engine) -> Result<Vec<Item>> {
    // Records first: what is recorded later is not taken for something that nobody knows.
    let named = recorded(&engine.layout)?;
    let all = engine.snapshots.list().during("listing snapshots")?;
    let needs = Needs::find(engine, &all)?;
    let mut items = Vec::new();
    let mut known = BTreeSet::new();
    for snapshot in all.iter().filter(|snapshot| snapshot.is_committed()) {
        let id = &snapshot.id;
        known.insert(id.clone());
        let records = named.get(&Some(id.clone()));
        let shared = needs.shared.contains(id);
        if records.is_none() && shared {
            continue;
        }
        // Gone since it was listed.
        let Ok(size) = engine.snapshots.usage(id) else { continue };
        let records = records.cloned().unwrap_or_default();
        let below = snapshot.parent.iter().chain(&snapshot.layer_of);
        let entry = Entry {
            id: id.to_string(),
            kind: Kind::Regular,
            size,
            created: snapshot.created,
            last_used: records.iter().map(|record| record.used).max().unwrap_or(snapshot.created),
            in_use: needs.in_use.contains(id),
            shared,
            parents: below.map(ToString::to_string).collect(),
            description: describe(&records),
        };
        let place = Place::Step { snapshot: Some(id.clone()), records: paths(&records) };
        items.push(Item { entry, place });
    }
    // Records of nothing (a step upon nothing that made nothing), and of what is not there any more.
    for (snapshot, records) in &named {
        if snapshot.as_ref().is_some_and(|id| known.contains(id)) {
            continue;
        }
        for record in records {
            let entry = Entry {
                id: record.key.hex().chars().take(16).collect(),
                kind: Kind::Regular,
                size: 0,
                created: record.used,
                last_used: record.used,
                in_use: false,
                shared: false,
                parents: Vec::new(),
                description: describe(std::slice::from_ref(record)),
            };
            let place = Place::Step { snapshot: None, records: vec![record.path.clone()] };
            items.push(Item { entry, place });
        }
    }
    Ok(items)
}

#[derive(Clone, Debug)]
struct Recorded {
    key: Digest,
    path: PathBuf,
    used: Timestamp,
    step: String,
    /// Whether the step made the snapshot; else it changed nothing, and its result is what it began with.
    made: bool,
}

/// Returns the records by the snapshots that they name. One that cannot be read names none.
fn recorded(layout: &Layout) -> Result<BTreeMap<Option<SnapshotId>, Vec<Recorded>>> {
    let mut named: BTreeMap<Option<SnapshotId>, Vec<Recorded>> = BTreeMap::new();
    for path in records::list(&layout.cache()).during("listing the build cache")? {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let Ok(key) = format!("sha256:{name}").parse::<Digest>() else { continue };
        let Ok(used) = path.metadata().and_then(|metadata| metadata.modified()) else { continue };
        let record: Option<CacheRecord> = stored::read(&path).ok().flatten();
        let snapshot =
            record.as_ref().and_then(|record| record.snapshot.as_ref()).and_then(|id| parse(id).ok());
        let made = record.as_ref().is_some_and(|record| record.snapshot != record.parent);
        let step = record.map(|record| record.step).unwrap_or_default();
        named.entry(snapshot).or_default().push(Recorded { key, path, used: time(used), step, made });
    }
    Ok(named)
}

fn describe(records: &[Recorded]) -> String {
    // Several Dockerfiles may have the step; the one that was built last is what people know.
    let named = records.iter().filter(|record| !record.step.is_empty());
    let last = named.max_by_key(|record| (record.made, record.used));
    last.map_or_else(|| "a layer".to_owned(), |record| record.step.clone())
}

fn paths(records: &[Recorded]) -> Vec<PathBuf> {
    records.iter().map(|record| record.path.clone()).collect()
}

impl Needs {
    fn find(engine: &Engine, all: &[Snapshot]) -> Result<Self> {
        let below: BTreeMap<&SnapshotId, Vec<&SnapshotId>> = all
            .iter()
            .map(|snapshot| (&snapshot.id, snapshot.parent.iter().chain(&snapshot.layer_of).collect()))
            .collect();
        let close = |tops: BTreeSet<SnapshotId>| {
            let mut found = BTreeSet::new();
            let mut todo: Vec<SnapshotId> = tops.into_iter().collect();
            while let Some(id) = todo.pop() {
                let next = below.get(&id).into_iter().flatten().map(|id| (*id).clone());
                todo.extend(next.filter(|next| !found.contains(next)));
                found.insert(id);
            }
            found
        };
        let of_state = |wanted: &dyn Fn(&State) -> bool| {
            let found = all.iter().filter(|snapshot| wanted(&snapshot.state));
            found.map(|snapshot| snapshot.id.clone()).collect::<BTreeSet<SnapshotId>>()
        };
        let mut shared = engine.images().needed_snapshots()?;
        shared.extend(of_state(&|state| matches!(state, State::Held { .. })));
        let mut in_use = of_state(&|state| *state == State::Active);
        let leased = engine.store.leased().during("looking for work under way")?;
        in_use.extend(leased.iter().flat_map(|lease| &lease.snapshots).filter_map(|id| id.parse().ok()));
        Ok(Self { shared: close(shared), in_use: close(in_use) })
    }
}

fn mounts(layout: &Layout, measured: &mut Measured) -> Vec<Item> {
    let entries = std::fs::read_dir(layout.cache_mounts()).into_iter().flatten().flatten();
    let mut items = Vec::new();
    for entry in entries {
        let name = entry.file_name();
        let is_other = BESIDE.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()));
        let Ok(metadata) = entry.metadata() else { continue };
        if is_other || !metadata.is_dir() {
            continue;
        }
        let path = entry.path();
        let Some(size) = measured.of(&path) else { continue };
        let made =
            time(metadata.created().or_else(|_| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH));
        let shown = name.to_str().and_then(layout::decode);
        let shown = shown.unwrap_or_else(|| name.to_string_lossy().into_owned());
        let entry = Entry {
            id: Digest::of(name.as_encoded_bytes()).hex().chars().take(12).collect(),
            kind: Kind::CacheMount,
            size,
            created: made,
            last_used: last_used(&path).map_or(made, time),
            in_use: !FileLock::is_free(&beside("%lock-", &path)).unwrap_or(false),
            shared: false,
            parents: Vec::new(),
            description: format!("cache mount {shown}"),
        };
        items.push(Item { entry, place: Place::Mount(path) });
    }
    items.sort_by(|a, b| a.entry.description.cmp(&b.entry.description));
    items
}

/// Returns when a step used a cache mount last.
fn last_used(mount: &Path) -> Option<SystemTime> {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    // The lock tells of mounts from before uses were noted.
    modified(&beside("%used-", mount)).or_else(|| modified(&beside("%lock-", mount)).max(modified(mount)))
}

impl Measured {
    fn of(&mut self, directory: &Path) -> Option<u64> {
        if let Some(size) = self.0.get(directory) {
            return Some(*size);
        }
        let size = coracle_snapshot::disk_usage(directory).ok()?;
        self.0.insert(directory.to_owned(), size);
        Some(size)
    }
}

fn time(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

//! Garbage collection of the build cache: what it holds, and what goes when a user or the disk asks for it.
//!
//! Nothing goes while a build runs: builds hold the collector's lock with others. Records go first, then the snapshots
//! are taken out of sight, and their files are removed when others may go on; so a command that is killed in between
//! leaves nothing that a later one takes for whole.

mod automatic;
mod inventory;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use coracle_snapshot::Detached;
use coracle_store::prune::{self, Entry, KEEP_WITHIN, PruneFilter, PrunePlan, PrunePolicy};
use coracle_store::{FileLock, Layout, records};
use jiff::Timestamp;

use self::inventory::{Item, Measured, Place};
use crate::builds::Builds;
use crate::ports::build::beside;
use crate::{During, Result};

/// What a user wants to go.
#[derive(Clone, Debug, Default)]
pub struct PruneRequest {
    /// Also what was used within the last day, and records of what images have, too.
    pub all: bool,
    /// Only what it accepts. Its `until` stands in place of the last day.
    pub filter: PruneFilter,
    /// Bytes above which things go; without any bound all goes that may.
    pub max_used: Option<u64>,
    /// Bytes that shall be free on the disk.
    pub min_free: Option<u64>,
    /// Bytes that stay in any case.
    pub reserved: Option<u64>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// In the order in which it went.
    pub entries: Vec<Entry>,
    /// Bytes that were freed.
    pub bytes: u64,
    /// Bytes that stayed because they were used of late.
    pub young: u64,
}

impl PruneRequest {
    fn policy(&self) -> PrunePolicy {
        let keep_within = if self.all { Duration::ZERO } else { KEEP_WITHIN };
        PrunePolicy {
            keep_within: self.filter.until().unwrap_or(keep_within),
            shared: self.all,
            filter: self.filter.clone(),
            max_used: self.max_used,
            min_free: self.min_free,
            reserved: self.reserved,
        }
    }
}

impl Builds<'_> {
    /// Returns what the build cache holds, what was used last first. Waits for nobody.
    pub fn cache_usage(&self, filter: &PruneFilter) -> Result<Vec<Entry>> {
        let items = inventory::take(self.engine, &mut Measured::default())?;
        let now = Timestamp::now();
        let old = |entry: &Entry| {
            filter.until().is_none_or(|until| now.duration_since(entry.last_used).unsigned_abs() >= until)
        };
        let entries = items.into_iter().map(|item| item.entry);
        let mut entries: Vec<Entry> = entries.filter(|entry| filter.accepts(entry) && old(entry)).collect();
        entries.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.id.cmp(&b.id)));
        Ok(entries)
    }

    /// Removes from the build cache; `None` when a build runs now: ask again.
    pub fn prune_cache(&self, request: &PruneRequest) -> Result<Option<Pruned>> {
        // Measured while others may work.
        let mut measured = Measured::default();
        let items = inventory::take(self.engine, &mut measured)?;
        if request.dry_run {
            let plan = self.decide(&items, &request.policy())?;
            return Ok(Some(pruned(&items, &plan)));
        }
        self.engine.reclaim()?;
        let Some((pruned, doomed)) = self.remove(&request.policy(), &mut measured)? else { return Ok(None) };
        doomed.erase()?;
        Ok(Some(pruned))
    }

    fn decide(&self, items: &[Item], policy: &PrunePolicy) -> Result<PrunePlan> {
        let entries: Vec<Entry> = items.iter().map(|item| item.entry.clone()).collect();
        let disk = automatic::Disk::of(&self.engine.layout)?;
        Ok(prune::plan(&entries, policy, disk.free, Timestamp::now()))
    }

    /// Takes out of sight what a policy lets go; `None` when somebody adds now.
    fn remove(&self, policy: &PrunePolicy, measured: &mut Measured) -> Result<Option<(Pruned, Doomed)>> {
        let layout = &self.engine.layout;
        let during = "locking the store for collection";
        let Some(_alone) = FileLock::try_exclusive(&layout.collector_lock()).during(during)? else {
            return Ok(None);
        };
        // Downloads begin before a build holds the collector off.
        let downloads = FileLock::try_exclusive(&layout.downloads().join("lock")).during(during)?;
        let mut items = inventory::take(self.engine, measured)?;
        if downloads.is_some() {
            let ours = items.iter_mut().filter(|item| matches!(item.place, Place::Download(_)));
            ours.for_each(|item| item.entry.in_use = false);
        }
        let plan = self.decide(&items, policy)?;
        let mut doomed = Doomed::default();
        let mut snapshots = Vec::new();
        for item in plan.remove.iter().map(|place| &items[*place]) {
            match &item.place {
                Place::Step { snapshot, records } => {
                    for record in records {
                        records::remove(record).during("forgetting a step")?;
                    }
                    snapshots.extend(snapshot.clone().filter(|_| !item.entry.shared));
                }
                Place::Mount(path) => doomed.directories.extend(hide(path)?),
                Place::Download(files) => {
                    for file in files {
                        records::remove(file).during("removing a download")?;
                    }
                }
            }
        }
        doomed.snapshots = self.engine.snapshots.detach_all(&snapshots).during("removing snapshots")?;
        Ok(Some((pruned(&items, &plan), doomed)))
    }
}

fn pruned(items: &[Item], plan: &PrunePlan) -> Pruned {
    let entries = plan.remove.iter().map(|place| items[*place].entry.clone()).collect();
    Pruned { entries, bytes: plan.bytes, young: plan.young }
}

/// What is out of sight and still takes space.
#[derive(Debug, Default)]
struct Doomed {
    snapshots: Detached,
    directories: Vec<PathBuf>,
}

impl Doomed {
    fn erase(self) -> Result<()> {
        self.snapshots.erase().during("removing snapshots")?;
        for directory in &self.directories {
            coracle_snapshot::erase_directory(directory).during("removing a cache mount")?;
        }
        Ok(())
    }
}

/// Takes a cache mount out of sight, with what lies beside it; no step uses it. Returns where it is now.
fn hide(mount: &std::path::Path) -> Result<Option<PathBuf>> {
    let during = "removing a cache mount";
    let gone = beside(&format!("%gone-{}-", std::process::id()), mount);
    match std::fs::rename(mount, &gone) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        result => result.during(during)?,
    }
    for start in ["%lock-", "%make-", "%used-"] {
        records::remove(&beside(start, mount)).during(during)?;
    }
    Ok(Some(gone))
}

/// Removes what a killed command had taken out of sight. Snapshots see to theirs.
pub(crate) fn reclaim(layout: &Layout) -> Result<()> {
    let entries = std::fs::read_dir(layout.cache_mounts()).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"%gone-")) {
        coracle_snapshot::erase_directory(&entry.path())
            .during("removing what a killed command left behind")?;
    }
    Ok(())
}

//! Collection without being asked: after a build that did something, when the cache has outgrown its bound.
//!
//! A build does not measure the cache. It looks at how much fuller the disk has become since somebody did; only when
//! that could be too much, or was a day ago, it measures.

use coracle_report::{Diagnostic, Event};
use coracle_store::Layout;
use coracle_store::prune::{KEEP_WITHIN, PrunePolicy, own_bytes};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::inventory::{self, Measured};
use crate::builds::Builds;
use crate::{During, Result, stored};

/// Most bytes of the cache where the disk is large.
const MOST: u64 = 20 << 30;
/// Most that is kept free where the disk is large.
const FREE: u64 = 4 << 30;
/// How long a measurement serves.
const SERVES: SignedDuration = SignedDuration::from_hours(24);
/// How long nobody tries again after everything that was left had been used of late.
const PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// The disk that holds the data root, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub total: u64,
    pub used: u64,
    /// What is left for us.
    pub free: u64,
}

impl Disk {
    pub(super) fn of(layout: &Layout) -> Result<Self> {
        let found = rustix::fs::statvfs(layout.data()).during("looking for free space")?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let used = bytes(found.f_blocks.saturating_sub(found.f_bfree));
        Ok(Self { total: bytes(found.f_blocks), used, free: bytes(found.f_bavail) })
    }
}

/// What bounds the cache when nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes of the cache.
    pub max_used: u64,
    /// Bytes that are free on the disk.
    pub min_free: u64,
}

impl Bounds {
    /// A tenth of the disk, at most 20 GiB; and a twentieth of it free, at most 4 GiB.
    pub(super) fn of(disk: Disk) -> Self {
        Self { max_used: MOST.min(disk.total / 10), min_free: FREE.min(disk.total / 20) }
    }
}

/// What was last measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Measurement {
    /// When.
    pub at: Timestamp,
    /// Bytes of the cache, after what went.
    pub bytes: u64,
    /// Bytes that were used on the disk.
    pub disk_used: u64,
    /// Whether it was within its bounds.
    pub fits: bool,
}

/// Returns whether the cache must be measured: it could have outgrown its bounds.
pub(super) fn is_due(last: Option<&Measurement>, disk: Disk, bounds: Bounds, now: Timestamp) -> bool {
    let Some(last) = last else { return true };
    let age = now.duration_since(last.at);
    if age.is_negative() || age >= SERVES {
        return true;
    }
    if !last.fits && age < PAUSE {
        return false;
    }
    let at_most = last.bytes.saturating_add(disk.used.saturating_sub(last.disk_used));
    at_most > bounds.max_used || disk.free < bounds.min_free
}

impl Builds<'_> {
    /// Removes what no build used for a day when the cache has outgrown its bounds. Does nothing while another build
    /// runs. A failure is told and fails no build.
    pub(crate) fn tidy(&self) {
        let bounds = Disk::of(&self.engine.layout).map(Bounds::of);
        if let Err(failure) = bounds.and_then(|bounds| self.tidy_to(bounds)) {
            let message = format!("the build cache could not be collected: {}", failure.first().message);
            let warning = Diagnostic::warning("cache-collection", message);
            self.engine.reporter.event(Event::Notice(warning.with_hint("coracle builder prune")));
        }
    }

    pub(super) fn tidy_to(&self, bounds: Bounds) -> Result<()> {
        let layout = &self.engine.layout;
        let path = layout.cache_usage();
        let last: Option<Measurement> = stored::read(&path).ok().flatten();
        let disk = Disk::of(layout)?;
        if !is_due(last.as_ref(), disk, bounds, Timestamp::now()) {
            return Ok(());
        }
        let mut measured = Measured::default();
        let before = total(&inventory::take(self.engine, &mut measured)?);
        let mut bytes = before;
        if before > bounds.max_used || disk.free < bounds.min_free {
            let policy = PrunePolicy {
                keep_within: KEEP_WITHIN,
                max_used: Some(bounds.max_used),
                min_free: Some(bounds.min_free),
                ..PrunePolicy::default()
            };
            // Another build runs: it looks when it ends.
            let Some((pruned, doomed)) = self.remove(&policy, &mut measured)? else { return Ok(()) };
            bytes = before.saturating_sub(pruned.bytes);
            doomed.erase()?;
        }
        let disk = Disk::of(layout)?;
        let fits = bytes <= bounds.max_used && disk.free >= bounds.min_free;
        let measurement = Measurement { at: Timestamp::now(), bytes, disk_used: disk.used, fits };
        stored::write_fast(&path, &measurement).during("noting the size of the build cache")
    }
}

fn total(items: &[inventory::Item]) -> u64 {
    let entries: Vec<_> = items.iter().map(|item| item.entry.clone()).collect();
    own_bytes(&entries)
}

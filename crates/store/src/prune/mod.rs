//! Which results of builds go: a decision over what is known of them. Touches nothing and asks no clock.

mod filter;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use filter::{FilterError, PruneFilter};

/// What a build used stays this long, unless somebody asks otherwise.
pub const KEEP_WITHIN: Duration = Duration::from_hours(24);

/// What an entry of the build cache is, under BuildKit's names where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The result of a step.
    Regular,
    /// A directory of `RUN --mount=type=cache`.
    CacheMount,
    /// A file that `ADD` took by HTTP.
    Download,
}

impl Kind {
    /// Returns the name, e.g. `exec.cachemount`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::CacheMount => "exec.cachemount",
            Self::Download => "source.http",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing in the build cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; no two are equal.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes on disk of its own, without those of its parents.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When a build used it last.
    pub last_used: Timestamp,
    /// A build or a lease holds it now: it never goes.
    pub in_use: bool,
    /// An image or a container has it, too: its bytes are theirs, and only its record can go.
    pub shared: bool,
    /// Ids of what it rests on. It goes before them.
    pub parents: Vec<String>,
    /// What made it, for people.
    pub description: String,
}

impl Entry {
    /// Returns whether it changes when it is used.
    pub fn is_mutable(&self) -> bool {
        self.kind == Kind::CacheMount
    }

    /// Returns whether its bytes can be had back.
    pub fn is_reclaimable(&self) -> bool {
        !self.in_use && !self.shared
    }
}

/// What may go, and how much must stay.
#[derive(Clone, Debug, Default)]
pub struct PrunePolicy {
    /// What was used within this time stays, with all that it rests on.
    pub keep_within: Duration,
    /// Records of what images have, too, may go.
    pub shared: bool,
    /// Only what it accepts may go.
    pub filter: PruneFilter,
    /// Bytes above which things go. Without this, `min_free` and `reserved` everything goes that may.
    pub max_used: Option<u64>,
    /// Bytes that shall be free on the disk.
    pub min_free: Option<u64>,
    /// Bytes that stay in any case.
    pub reserved: Option<u64>,
}

impl PrunePolicy {
    /// Returns the bytes that the cache may keep when it has `total` and the disk `free`; `None` is nothing at all.
    ///
    /// As in BuildKit: `max_used`, less where the disk is short, but never below `reserved`.
    pub fn bound(&self, total: u64, free: u64) -> Option<u64> {
        if self.max_used.is_none() && self.min_free.is_none() && self.reserved.is_none() {
            return None;
        }
        // A wish for free space alone is no wish to empty the cache.
        let whole = if self.min_free.is_some() { u64::MAX } else { 0 };
        let mut keep = self.max_used.unwrap_or(whole);
        let lacking = self.min_free.unwrap_or(0).saturating_sub(free);
        if lacking > 0 {
            keep = keep.min(total.saturating_sub(lacking));
        }
        Some(keep.max(self.reserved.unwrap_or(0)))
    }
}

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Places in the list of entries, in the order of removal: each before what it rests on.
    pub remove: Vec<usize>,
    /// Bytes that this frees.
    pub bytes: u64,
    /// Bytes of the cache that stay.
    pub left: u64,
    /// Bytes that stay only because they were used of late.
    pub young: u64,
}

/// Returns the bytes that are the cache's alone.
pub fn own_bytes(entries: &[Entry]) -> u64 {
    entries.iter().filter(|entry| !entry.shared).map(|entry| entry.size).sum()
}

/// Decides what goes: what was used longest ago first, and children before parents.
///
/// An entry was used when something that rests on it was. `free` is what the disk has left, in bytes.
pub fn plan(entries: &[Entry], policy: &PrunePolicy, free: u64, now: Timestamp) -> PrunePlan {
    let places: BTreeMap<&str, usize> =
        entries.iter().enumerate().map(|(place, entry)| (entry.id.as_str(), place)).collect();
    let parents: Vec<Vec<usize>> = entries
        .iter()
        .map(|entry| {
            let mut found: Vec<usize> =
                entry.parents.iter().filter_map(|parent| places.get(parent.as_str()).copied()).collect();
            found.sort_unstable();
            found.dedup();
            found
        })
        .collect();
    let mut children = vec![0_usize; entries.len()];
    parents.iter().flatten().for_each(|parent| children[*parent] += 1);

    // From the leaves down. What damage has made a circle of never becomes a leaf, and stays.
    let mut used: Vec<Timestamp> = entries.iter().map(|entry| entry.last_used).collect();
    let mut waiting = children.clone();
    let mut order: Vec<usize> = (0..entries.len()).filter(|place| waiting[*place] == 0).collect();
    let mut next = 0;
    while let Some(place) = order.get(next).copied() {
        next += 1;
        for parent in &parents[place] {
            used[*parent] = used[*parent].max(used[place]);
            waiting[*parent] -= 1;
            if waiting[*parent] == 0 {
                order.push(*parent);
            }
        }
    }
    // Stable: among equals children stay before parents, and no parent was used before its child.
    order.sort_by_key(|place| used[*place]);

    let total = own_bytes(entries);
    let bound = policy.bound(total, free);
    let mut plan = PrunePlan { left: total, ..PrunePlan::default() };
    for place in order {
        if bound.is_some_and(|bound| plan.left <= bound) {
            break;
        }
        let entry = &entries[place];
        let stays = entry.in_use || (entry.shared && !policy.shared) || !policy.filter.accepts(entry);
        if stays {
            continue;
        }
        let size = if entry.shared { 0 } else { entry.size };
        if is_young(used[place], policy.keep_within, now) {
            plan.young += size;
            continue;
        }
        if children[place] > 0 {
            continue;
        }
        parents[place].iter().for_each(|parent| children[*parent] -= 1);
        plan.remove.push(place);
        plan.bytes += size;
        plan.left -= size;
    }
    plan
}

fn is_young(used: Timestamp, keep_within: Duration, now: Timestamp) -> bool {
    let within = SignedDuration::try_from(keep_within).unwrap_or(SignedDuration::MAX);
    // A time that has not come yet is a clock that was set back: it is young.
    !within.is_zero() && now.duration_since(used) < within
}

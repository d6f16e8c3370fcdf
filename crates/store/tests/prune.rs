//! The policy of the build cache over made-up histories of builds, with a clock of its own.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use coracle_store::prune::{Entry, KEEP_WITHIN, Kind, PruneFilter, PrunePlan, PrunePolicy, own_bytes, plan};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn entry(id: &str, size: u64, used: i64, parents: &[&str]) -> Entry {
    Entry {
        id: id.to_owned(),
        kind: Kind::Regular,
        size,
        created: at(0),
        last_used: at(used),
        in_use: false,
        shared: false,
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
        description: String::new(),
    }
}

fn automatic(max_used: u64) -> PrunePolicy {
    PrunePolicy { keep_within: KEEP_WITHIN, max_used: Some(max_used), ..PrunePolicy::default() }
}

fn ids(entries: &[Entry], plan: &PrunePlan) -> Vec<String> {
    plan.remove.iter().map(|place| entries[*place].id.clone()).collect()
}

#[test]
fn what_was_used_longest_ago_goes_first_and_children_before_parents() {
    // `a` itself was not used for long, but `c`, which rests on it, was.
    let entries = [
        entry("a", 10, 0, &[]),
        entry("b", 10, 5 * DAY, &["a"]),
        entry("c", 10, 6 * DAY, &["a"]),
        entry("d", 10, 4 * DAY, &[]),
        entry("e", 10, 9 * DAY, &[]),
    ];
    let go = |policy: &PrunePolicy| ids(&entries, &plan(&entries, policy, u64::MAX, at(9 * DAY + 100)));
    assert_eq!(go(&automatic(50)), Vec::<String>::new());
    assert_eq!(go(&automatic(49)), ["d"]);
    assert_eq!(go(&automatic(25)), ["d", "b", "c"]);
    // `e` was used within the day.
    assert_eq!(go(&automatic(0)), ["d", "b", "c", "a"]);
    let policy = PrunePolicy::default();
    assert_eq!(go(&policy), ["d", "b", "c", "a", "e"]);
    let filter = PruneFilter::parse(["id=a"]).unwrap();
    assert_eq!(go(&PrunePolicy { filter, ..PrunePolicy::default() }), Vec::<String>::new());
}

#[test]
fn bounds_are_those_of_buildkit() {
    let policy =
        |max_used, min_free, reserved| PrunePolicy { max_used, min_free, reserved, ..PrunePolicy::default() };
    for (policy, free, bound) in [
        (policy(None, None, None), 0, None),
        (policy(Some(70), None, None), 0, Some(70)),
        (policy(None, Some(30), None), 50, Some(u64::MAX)),
        (policy(None, Some(30), None), 10, Some(80)),
        (policy(Some(70), Some(30), None), 10, Some(70)),
        (policy(Some(90), Some(30), None), 10, Some(80)),
        (policy(None, Some(300), Some(40)), 10, Some(40)),
        (policy(None, None, Some(40)), 10, Some(40)),
        (policy(Some(10), None, Some(40)), 10, Some(40)),
    ] {
        assert_eq!(policy.bound(100, free), bound, "{policy:?}");
    }
}

#[test]
fn circles_and_strangers_do_no_harm() {
    let entries = [
        entry("a", 1, 0, &["b"]),
        entry("b", 1, 0, &["a"]),
        entry("c", 1, 0, &["c"]),
        entry("d", 1, 0, &["x"]),
    ];
    let gone = plan(&entries, &PrunePolicy::default(), 0, at(DAY));
    assert_eq!(ids(&entries, &gone), ["d"]);
    let future = [entry("a", 1, 5 * DAY, &[])];
    assert!(plan(&future, &automatic(0), 0, at(0)).remove.is_empty());
}

/// The store as the test sees it: what is there, and what images hold.
#[derive(Default)]
struct World {
    entries: BTreeMap<String, Entry>,
    images: BTreeSet<String>,
    clock: i64,
}

/// What happens in a history.
#[derive(Clone, Debug)]
enum Act {
    /// A build of a chain of steps: (project, how many steps are those of before, how many there are).
    Build { project: u8, variant: u8, steps: usize, size: u64, image: bool },
    /// An image goes.
    Forget(usize),
    /// Time goes by, in minutes.
    Wait(u32),
    /// The automatic collection with this bound.
    Collect(u64),
    /// A user prunes all.
    PruneAll,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let build = (0..3_u8, 0..4_u8, 1..6_usize, 0..50_u64, any::<bool>()).prop_map(
        |(project, variant, steps, size, image)| Act::Build { project, variant, steps, size, image },
    );
    let act = prop_oneof![
        4 => build,
        1 => (0..8_usize).prop_map(Act::Forget),
        4 => (0..2_000_u32).prop_map(Act::Wait),
        3 => (0..600_u64).prop_map(Act::Collect),
        1 => Just(Act::PruneAll),
    ];
    prop::collection::vec(act, 1..60)
}

impl World {
    fn build(&mut self, project: u8, variant: u8, steps: usize, size: u64, image: bool) {
        let mut parent: Option<String> = None;
        for step in 0..steps {
            // The first half of the steps is equal in all variants.
            let variant = if step < 2 { 0 } else { variant };
            let id = format!("{project}.{}.{variant}.{step}", parent.as_deref().map_or(0, str::len));
            let now = self.clock;
            let new = || entry(&id, size, now, &parent.iter().map(String::as_str).collect::<Vec<_>>());
            self.entries.entry(id.clone()).or_insert_with(new).last_used = at(now);
            parent = Some(id);
        }
        self.images.extend(parent.filter(|_| image));
    }

    fn needed(&self) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        let mut todo: Vec<String> = self.images.iter().cloned().collect();
        while let Some(id) = todo.pop() {
            todo.extend(self.entries[&id].parents.clone());
            needed.insert(id);
        }
        needed
    }

    fn collect(&mut self, policy: &PrunePolicy) -> Result<(), TestCaseError> {
        let needed = self.needed();
        let mut entries: Vec<Entry> = self.entries.values().cloned().collect();
        entries.iter_mut().for_each(|entry| entry.shared = needed.contains(&entry.id));
        let now = at(self.clock);
        let plan = plan(&entries, policy, u64::MAX, now);
        let total = own_bytes(&entries);
        prop_assert_eq!(plan.left, total - plan.bytes);
        let mut forgotten: BTreeSet<&str> = BTreeSet::new();
        for place in &plan.remove {
            let gone = &entries[*place];
            prop_assert!(policy.shared || !gone.shared, "{} is an image's", gone.id);
            let rests_on =
                |child: &&Entry| child.parents.contains(&gone.id) && !forgotten.contains(child.id.as_str());
            let child = self.entries.values().find(rests_on);
            prop_assert!(child.is_none(), "{} went before {child:?}", gone.id);
            forgotten.insert(&gone.id);
            if !gone.shared {
                self.entries.remove(&gone.id);
            }
        }
        let young = |entry: &Entry| now.duration_since(entry.last_used) < SignedDuration::from_secs(DAY);
        if !policy.keep_within.is_zero() {
            for entry in &entries {
                prop_assert!(!young(entry) || self.entries.contains_key(&entry.id), "{} is young", entry.id);
            }
        }
        for id in &needed {
            prop_assert!(self.entries.contains_key(id), "{id} is an image's");
        }
        // Over the bound only what must stay is left: what is young or an image's, and what that rests on.
        let bound = policy.max_used.unwrap_or(0);
        if plan.left > bound {
            let mut must: BTreeSet<String> = needed;
            let kept = entries.iter().filter(|entry| !policy.keep_within.is_zero() && young(entry));
            let mut todo: Vec<String> = kept.map(|entry| entry.id.clone()).collect();
            while let Some(id) = todo.pop() {
                todo.extend(self.entries[&id].parents.clone());
                must.insert(id);
            }
            for id in self.entries.keys() {
                prop_assert!(must.contains(id), "{id} could have gone: {} > {bound}", plan.left);
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn histories(acts in acts()) {
        let mut world = World::default();
        for act in acts {
            match act {
                Act::Build { project, variant, steps, size, image } => {
                    world.build(project, variant, steps, size, image);
                }
                Act::Forget(place) => {
                    if let Some(image) = world.images.iter().nth(place).cloned() {
                        world.images.remove(&image);
                    }
                }
                Act::Wait(minutes) => world.clock += i64::from(minutes) * 60,
                Act::Collect(bound) => world.collect(&automatic(bound))?,
                Act::PruneAll => {
                    world.collect(&PrunePolicy { shared: true, ..PrunePolicy::default() })?;
                    prop_assert_eq!(world.entries.len(), world.needed().len());
                }
            }
        }
        world.clock += 2 * DAY;
        world.images.clear();
        world.collect(&PrunePolicy { keep_within: Duration::from_secs(1), ..automatic(0) })?;
        prop_assert!(own_bytes(&world.entries.into_values().collect::<Vec<_>>()) == 0);
    }
}

//! What builds that run as one share: how many steps work at a time, base images, and each other's results.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use coracle_build::{ResolvedBase, SnapshotRef};
use coracle_oci::{Digest, ImageConfig, Platform, Reference};
use coracle_report::Diagnostic;
use coracle_snapshot::SnapshotId;

use crate::images::{Pull, ReadyImage};
use crate::outputs::Material;
use crate::{Failure, Result};

/// The registry that results of other builds have in references: no real one can have this name (RFC 6761).
const REGISTRY: &str = "target.invalid";

/// What builds that run as one share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Together(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slots: Mutex<Slots>,
    freed: Condvar,
    bases: Mutex<BTreeMap<BaseName, Arc<Mutex<Option<ReadyImage>>>>>,
    results: Mutex<BTreeMap<String, TargetResult>>,
}

/// A base image: its reference, its platform, and whether it is looked up anew.
type BaseName = (Reference, Platform, bool);

#[derive(Debug)]
struct Slots {
    free: usize,
    closed: bool,
}

/// What one build came to, for those that start from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetResult {
    /// The image of each platform, with the snapshot of its files.
    pub images: Vec<(ImageConfig, Option<SnapshotId>)>,
    /// What it was made from.
    pub materials: Vec<Material>,
}

/// The right to work on a step; given back when it is dropped.
pub(crate) struct Slot<'t>(&'t Shared);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        lock(&self.0.slots).free += 1;
        self.0.freed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Together {
    /// Returns what builds share of which `jobs` steps work at a time.
    pub(crate) fn new(jobs: usize) -> Self {
        Self(Arc::new(Shared {
            slots: Mutex::new(Slots { free: jobs.max(1), closed: false }),
            freed: Condvar::new(),
            bases: Mutex::default(),
            results: Mutex::default(),
        }))
    }

    /// Waits until a step may work; an error once all is over. Whoever holds a slot must not wait for another step.
    pub(crate) fn slot(&self) -> std::result::Result<Slot<'_>, Diagnostic> {
        let mut slots = lock(&self.0.slots);
        loop {
            if slots.closed {
                return Err(Diagnostic::error("cancelled", "the build was cancelled"));
            }
            if slots.free > 0 {
                slots.free -= 1;
                return Ok(Slot(&self.0));
            }
            slots = self.0.freed.wait(slots).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets no further step begin.
    pub(crate) fn close(&self) {
        lock(&self.0.slots).closed = true;
        self.0.freed.notify_all();
    }

    /// Returns a base image, which `resolve` finds the first time; a failure is not remembered.
    pub(crate) fn base(
        &self,
        reference: &Reference,
        platform: &Platform,
        pull: Pull,
        resolve: impl FnOnce() -> Result<ReadyImage>,
    ) -> Result<ReadyImage> {
        let name = (reference.clone(), platform.clone(), matches!(pull, Pull::Always));
        let cell = Arc::clone(lock(&self.0.bases).entry(name).or_default());
        let mut known = lock(&cell);
        if let Some(image) = &*known {
            return Ok(image.clone());
        }
        let image = resolve()?;
        *known = Some(image.clone());
        Ok(image)
    }

    /// Remembers what a target came to.
    pub(crate) fn finish(&self, target: &str, result: TargetResult) {
        lock(&self.0.results).insert(target.to_owned(), result);
    }

    /// Returns the reference that stands for a target's result; `None` when it is not built.
    pub(crate) fn reference(&self, target: &str) -> Option<Reference> {
        lock(&self.0.results).contains_key(target).then(|| reference(target))
    }

    /// Returns the result that a reference stands for, and what it was made from; `None` when it is a real image's.
    pub(crate) fn result(
        &self,
        wanted: &Reference,
        platform: &Platform,
    ) -> Option<Result<(ResolvedBase, Vec<Material>)>> {
        if wanted.registry() != REGISTRY {
            return None;
        }
        let results = lock(&self.0.results);
        let (target, result) = results.iter().find(|(target, _)| reference(target) == *wanted)?;
        let own = |config: &ImageConfig| {
            Platform {
                os: config.os.clone(),
                architecture: config.architecture.clone(),
                variant: config.variant.clone(),
            }
            .normalized()
        };
        let platform = platform.clone().normalized();
        let Some((config, snapshot)) = result.images.iter().find(|(config, _)| own(config) == platform)
        else {
            let built: Vec<String> =
                result.images.iter().map(|(config, _)| own(config).to_string()).collect();
            let message = format!("target `{target}` is not built for {platform}");
            let error = Diagnostic::error("bake-platform", message)
                .with_note(format!("it is built for {}", built.join(", ")))
                .with_hint(format!("add {platform} to the `platforms` of `{target}`"));
            return Some(Err(Failure::user(error)));
        };
        let base = ResolvedBase {
            config: config.clone(),
            key: config.id().digest(),
            snapshot: snapshot.as_ref().map(|id| SnapshotRef::new(id.to_string())),
        };
        Some(Ok((base, result.materials.clone())))
    }
}

/// Returns the reference of a target: its name, which may hold capitals and underscores, within a repository's rules.
fn reference(target: &str) -> Reference {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name: String = target.chars().map(|c| if plain(c) || c == '-' { c } else { '-' }).collect();
    let name =
        name.trim_matches('-').split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    let text = if name == target {
        format!("{REGISTRY}/{name}")
    } else {
        format!(
            "{REGISTRY}/{}:{}",
            if name.is_empty() { "target" } else { &name },
            &Digest::of(target).hex()[..12]
        )
    };
    text.parse().expect("letters, digits and single hyphens are a repository")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_reference_of_its_own() {
        let names = ["app", "App", "app_", "a_b", "a-b", "a--b", "-", "_", "ü", "x9"];
        let references: std::collections::BTreeSet<Reference> =
            names.iter().map(|name| reference(name)).collect();
        assert_eq!(references.len(), names.len());
        assert_eq!(reference("app").to_string(), "target.invalid/app:latest");
    }

    #[test]
    fn no_more_steps_than_slots_work_and_none_after_the_end() {
        let together = Together::new(2);
        let (first, second) = (together.slot().unwrap(), together.slot().unwrap());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| together.slot().is_ok());
            drop(first);
            assert!(waiting.join().unwrap());
        });
        let third = together.slot().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| together.slot().is_ok());
            together.close();
            assert!(!waiting.join().unwrap());
        });
        drop((second, third));
        assert!(together.slot().is_err());
    }

    #[test]
    fn results_are_those_of_the_platform() {
        let together = Together::new(1);
        assert!(together.reference("app").is_none());
        let config = ImageConfig::scratch();
        let own = Platform {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        };
        together.finish("app", TargetResult { images: vec![(config, None)], materials: Vec::new() });
        let reference = together.reference("app").unwrap();
        assert!(together.result(&reference, &own).unwrap().is_ok());
        let other = "linux/s390x".parse().unwrap();
        let error = together.result(&reference, &other).unwrap().unwrap_err();
        assert_eq!(error.first().code, "bake-platform");
        assert!(together.result(&"app".parse().unwrap(), &own).is_none());
    }
}

//! Removing what nothing refers to.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use coracle_oci::{ChainId, Digest, ImageId};
use jiff::Timestamp;

use crate::error::{Result, StoreError};
use crate::{CacheRecord, FileLock, Image, Store, records};

/// What may be removed besides blobs that nothing refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which images may go.
    pub images: ImagePolicy,
    /// Results of build steps that were not used for this long may go.
    pub cache_unused_for: Option<Duration>,
    /// At most this many results of build steps stay, those used last.
    pub cache_at_most: Option<usize>,
    /// Blobs younger than this stay: their reference may be about to be written.
    pub grace: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            images: ImagePolicy::Keep,
            cache_unused_for: None,
            cache_at_most: None,
            grace: Duration::from_mins(10),
        }
    }
}

/// Which images may be removed, when no root names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImagePolicy {
    /// None.
    #[default]
    Keep,
    /// Those without a name.
    Nameless,
    /// All.
    Unused,
}

/// What must stay, from outside the store.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// Images of containers and releases.
    pub images: BTreeSet<ImageId>,
    /// Snapshots of containers.
    pub snapshots: BTreeSet<String>,
}

/// What a collection did, and what must stay among the snapshots.
///
/// Holds off everybody who adds until it is dropped: remove snapshots before that.
#[derive(Debug)]
pub struct Collected {
    /// Images that were removed.
    pub images: Vec<Image>,
    /// Results of build steps that were forgotten.
    pub cache: Vec<CacheRecord>,
    /// Blobs that were removed.
    pub blobs: Vec<Digest>,
    /// Bytes of those blobs.
    pub bytes: u64,
    /// Snapshots that are in use, with all that they are based on.
    pub live_snapshots: BTreeSet<String>,
    /// Stacks of layers that images are made of: every snapshot with such a chain id is in use.
    pub live_chains: BTreeSet<ChainId>,
    _alone: FileLock,
}

impl Store {
    /// Holds the collector off while something is added and referred to. Many may hold this at once.
    pub fn adding(&self) -> Result<FileLock> {
        FileLock::shared(&self.layout.collector_lock())
    }

    /// Removes what nothing refers to. Waits until nobody adds.
    pub fn collect(&self, policy: &Policy, roots: &Roots) -> Result<Collected> {
        let alone = FileLock::exclusive(&self.layout.collector_lock())?;
        self.collect_alone(policy, roots, alone)
    }

    /// As [`Store::collect`], but returns `None` when somebody is adding.
    pub fn try_collect(&self, policy: &Policy, roots: &Roots) -> Result<Option<Collected>> {
        let Some(alone) = FileLock::try_exclusive(&self.layout.collector_lock())? else { return Ok(None) };
        self.collect_alone(policy, roots, alone).map(Some)
    }

    fn collect_alone(&self, policy: &Policy, roots: &Roots, alone: FileLock) -> Result<Collected> {
        let leases = self.leased()?;
        let mut live_blobs: BTreeSet<Digest> = leases.iter().flat_map(|lease| lease.blobs.clone()).collect();
        let mut live_snapshots = roots.snapshots.clone();
        live_snapshots.extend(leases.iter().flat_map(|lease| lease.snapshots.clone()));
        let mut live_chains = BTreeSet::new();

        let mut images = Vec::new();
        let mut survey = self.survey()?;
        // What belongs to a damaged image cannot be told: nothing is thrown away until that is mended.
        survey.damage.retain(|damage| !matches!(damage, StoreError::Missing(_)));
        for image in survey.images {
            let goes = match policy.images {
                ImagePolicy::Keep => false,
                ImagePolicy::Nameless => image.references.is_empty(),
                ImagePolicy::Unused => true,
            };
            let leased = live_blobs.contains(&image.manifest_digest);
            if goes && !leased && !roots.images.contains(&image.id) {
                self.remove_image(&image.id, true)?;
                images.push(image);
            }
        }
        // Names first: one may stand for a manifest whose image's record has moved on to another manifest.
        let mut manifests: BTreeSet<Digest> = BTreeSet::new();
        for name in self.references()? {
            live_blobs.insert(name.manifest);
            match self.manifests_of(&name) {
                Ok(named) => manifests.extend(named),
                Err(error) if error.is_damage() => survey.damage.push(error),
                Err(error) => return Err(error),
            }
        }
        for image in self.list_images()? {
            manifests.insert(image.manifest_digest);
            live_blobs.insert(image.id.digest());
            let mut chain = None;
            for layer in &image.config.rootfs.diff_ids {
                let next = ChainId::extend(chain, *layer);
                live_chains.insert(next);
                chain = Some(next);
            }
        }
        for digest in manifests {
            live_blobs.insert(digest);
            let manifest = match self.manifest(&digest) {
                Ok(manifest) => manifest,
                // A name of something that was never completed protects nothing more.
                Err(StoreError::Missing(_)) => continue,
                Err(error) if error.is_damage() => {
                    survey.damage.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            live_blobs.insert(self.parse_digest(&digest, &manifest.config)?);
            for layer in &manifest.layers {
                live_blobs.insert(self.parse_digest(&digest, layer)?);
            }
        }

        let cache = self.collect_cache(policy, &mut live_snapshots)?;
        let (blobs, bytes) =
            if survey.damage.is_empty() { self.collect_blobs(policy, &live_blobs)? } else { (Vec::new(), 0) };
        Ok(Collected { images, cache, blobs, bytes, live_snapshots, live_chains, _alone: alone })
    }

    fn collect_cache(
        &self,
        policy: &Policy,
        live_snapshots: &mut BTreeSet<String>,
    ) -> Result<Vec<CacheRecord>> {
        let mut removed = Vec::new();
        let now = Timestamp::now();
        for (rank, record) in self.cached_all()?.into_iter().enumerate() {
            let unused = now.duration_since(record.last_used).unsigned_abs();
            let old = policy.cache_unused_for.is_some_and(|limit| unused > limit);
            let many = policy.cache_at_most.is_some_and(|limit| rank >= limit);
            if old || many {
                self.remove_cached(&record.key)?;
                removed.push(record);
            } else {
                live_snapshots.insert(record.snapshot);
            }
        }
        // Locks of steps that nobody runs; see `FileLock::remove` for why this is safe.
        for path in records::list(&self.layout.cache_locks())? {
            if let Some(lock) = FileLock::try_exclusive(&path)? {
                lock.remove()?;
            }
        }
        Ok(removed)
    }

    fn collect_blobs(&self, policy: &Policy, live: &BTreeSet<Digest>) -> Result<(Vec<Digest>, u64)> {
        let old = |path: &std::path::Path| {
            let modified = path.metadata().and_then(|metadata| metadata.modified()).ok()?;
            Some(SystemTime::now().duration_since(modified).unwrap_or_default() >= policy.grace)
        };
        let (mut removed, mut bytes) = (Vec::new(), 0);
        for (digest, size) in self.blobs()? {
            let path = self.layout.blob(&digest);
            if !live.contains(&digest) && old(&path) == Some(true) && records::remove(&path)? {
                removed.push(digest);
                bytes += size;
            }
        }
        // Downloads that nobody goes on with. Their lock is the file's own.
        for path in records::list(&self.layout.partial_blobs())? {
            if old(&path) == Some(true) && FileLock::is_free(&path)? {
                let size = path.metadata().map_or(0, |metadata| metadata.len());
                if records::remove(&path)? {
                    bytes += size;
                }
            }
        }
        Ok((removed, bytes))
    }
}

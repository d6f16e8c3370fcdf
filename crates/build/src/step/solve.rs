//! The look-up of a step's result, under a lock when it must be made.

use std::thread;
use std::time::Instant;

use coracle_report::{About, Diagnostic, Task};

use super::parts::Depth;
use super::{Fetched, Hit, Solved, Step};
use crate::graph::Op;
use crate::why::{FilesMemory, Miss, one_line};
use crate::{CacheKey, CachePolicy, CacheRecord, Cause, SnapshotRef};

impl Step<'_> {
    /// Returns the vertex's result, from the cache or by doing the work.
    pub(crate) fn solve(&self, task: Option<&Task<'_>>) -> Result<Solved, Diagnostic> {
        let layer = self.solve_layer(task)?;
        if self.is_independent() { self.stack(layer) } else { Ok(layer) }
    }

    /// Puts a layer that was made on nothing (`COPY --link`) on top of the parent, or finds that it was.
    fn stack(&self, layer: Solved) -> Result<Solved, Diagnostic> {
        let (parent_key, Some(parent)) = self.parent() else { return Ok(layer) };
        let key = CacheKey::of("link", &(parent_key, layer.key));
        let Some(made) = &layer.snapshot else { return Ok(Solved { snapshot: Some(parent), ..layer }) };
        let known = |record: &CacheRecord| record.parent.as_ref() == Some(&parent);
        let find = || match self.policy {
            CachePolicy::Use => self.host.cache_get(&key).filter(known),
            CachePolicy::Ignore => None,
        };
        if let Some(record) = find() {
            return Ok(Solved { snapshot: record.snapshot, key, hit: layer.hit });
        }
        if self.look {
            return Ok(Solved { snapshot: None, key, hit: Hit::Would });
        }
        // Closes the race of two builds that both missed.
        let lock = self.host.lock(&key, self.stop)?;
        if let Some(record) = find() {
            return Ok(Solved { snapshot: record.snapshot, key, hit: layer.hit });
        }
        let stacked = self.host.stack(made, &parent).map_err(|error| self.vertex.place(error))?;
        let step = self.vertex.name.clone();
        let record = CacheRecord { snapshot: Some(stacked), parent: Some(parent), key, step };
        self.host.cache_put(&key, &record)?;
        drop(lock);
        Ok(Solved { snapshot: record.snapshot, key, hit: layer.hit })
    }

    fn solve_layer(&self, task: Option<&Task<'_>>) -> Result<Solved, Diagnostic> {
        if let Op::Base { key, snapshot, .. } = &self.vertex.op {
            let key = CacheKey::of_base(key);
            self.explainer.found(self.index, key);
            return Ok(Solved { snapshot: snapshot.clone(), key, hit: Hit::Cached });
        }
        let task = task.expect("every vertex but a base has a task");
        let downloads = self.downloads(task)?;
        if self.look && self.waits_for_work() {
            return self.would(self.key(Depth::Made, &downloads)?, &downloads);
        }
        // First by what made the other stages' files: no need to read them. A hit says under which key the
        // content was known.
        let quick = if self.takes_from_vertices() { Some(self.key(Depth::Made, &downloads)?) } else { None };
        if let Some(record) = quick.and_then(|key| self.cached(&key)) {
            self.explainer.found(self.index, record.key);
            return Ok(Solved { snapshot: record.snapshot, key: record.key, hit: Hit::Cached });
        }
        let key = self.key(Depth::Content, &downloads)?;
        let found = |record: CacheRecord| -> Result<Solved, Diagnostic> {
            if let Some(quick) = quick {
                self.host.cache_put(&quick, &record)?;
            }
            self.explainer.found(self.index, key);
            Ok(Solved { snapshot: record.snapshot, key, hit: Hit::Cached })
        };
        if let Some(record) = self.cached(&key) {
            return found(record);
        }
        self.check_stop()?;
        if self.look {
            return self.would(key, &downloads);
        }
        // Closes the race of two builds that both missed: the second waits here and then finds the first's result.
        let lock = self.host.lock(&key, self.stop)?;
        if let Some(record) = self.cached(&key) {
            return found(record);
        }
        self.check_stop()?;
        let miss = self.explainer.miss(self.index, key, &downloads, self.asked.as_deref());
        task.about(About::Cause(one_line(&miss.causes)));
        let started = Instant::now();
        let (result, listed) = self.work_and_list(task, &downloads, &miss);
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.explainer.failed(self.index, miss.causes);
                return Err(error);
            }
        };
        self.explainer.made(self.index, key, miss, listed, started.elapsed());
        let step = self.vertex.name.clone();
        let record = CacheRecord { snapshot, parent: self.base().1, key, step };
        self.host.cache_put(&key, &record)?;
        if let Some(quick) = quick {
            self.host.cache_put(&quick, &record)?;
        }
        drop(lock);
        Ok(Solved { snapshot: record.snapshot, key, hit: Hit::Made })
    }

    /// Does the work; meanwhile lists the files of the context that it takes, for those who ask later what changed.
    fn work_and_list(
        &self,
        task: &Task<'_>,
        downloads: &[Fetched],
        miss: &Miss,
    ) -> (Result<Option<SnapshotRef>, Diagnostic>, Option<Vec<FilesMemory>>) {
        if !self.explainer.wants_manifests(self.index, miss) {
            return (self.work(task, downloads), None);
        }
        let (explainer, index) = (self.explainer, self.index);
        thread::scope(|scope| {
            let listed = scope.spawn(move || explainer.manifests(index));
            let result = self.work(task, downloads);
            // What cannot be listed is not explained later.
            (result, listed.join().ok())
        })
    }

    /// Notes that the step would be done.
    fn would(&self, key: CacheKey, downloads: &[Fetched]) -> Result<Solved, Diagnostic> {
        let miss = self.explainer.miss(self.index, key, downloads, self.asked.as_deref());
        let parent = self.vertex.parent.map(|parent| (self.solved)(parent).hit);
        let own =
            miss.causes.iter().any(|cause| !matches!(cause, Cause::Earlier { .. } | Cause::Stage { .. }));
        let maybe = !own && self.waits_for_work() && parent != Some(Hit::Would);
        self.explainer.would(self.index, miss, maybe);
        let hit = if maybe { Hit::Maybe } else { Hit::Would };
        Ok(Solved { snapshot: None, key, hit })
    }

    fn cached(&self, key: &CacheKey) -> Option<CacheRecord> {
        match self.policy {
            CachePolicy::Use => self.host.cache_get(key).filter(|record| record.parent == self.base().1),
            CachePolicy::Ignore => None,
        }
    }
}

//! One vertex: its cache keys, the look-up, and the work when nothing serves.

mod parts;
mod solve;
mod work;

use std::sync::atomic::{AtomicBool, Ordering};

use coracle_report::Diagnostic;

use crate::failure::cancelled;
use crate::graph::{Op, OpSource, Vertex, VertexId, mount_source};
use crate::why::Explainer;
use crate::{BuildHost, CacheKey, CachePolicy, Downloaded, SnapshotRef, SourcePlace};

/// What a vertex came to.
#[derive(Clone, Debug)]
pub(crate) struct Solved {
    pub snapshot: Option<SnapshotRef>,
    /// What dependents build upon.
    pub key: CacheKey,
    pub hit: Hit,
}

/// Where a result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Cached,
    Made,
    /// Of a build that only looks: it would be made.
    Would,
    /// It would be made, unless the files that it takes come out as before.
    Maybe,
}

impl Hit {
    /// Returns whether there is no result.
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Would | Self::Maybe)
    }
}

/// What one step needs besides its vertex.
pub(crate) struct Step<'s> {
    pub host: &'s dyn BuildHost,
    pub policy: CachePolicy,
    /// Set when the build must stop.
    pub stop: &'s AtomicBool,
    pub vertex: &'s Vertex,
    /// The vertex's number in the graph.
    pub index: usize,
    /// Set when nothing is done, only looked at.
    pub look: bool,
    /// The option by which the caller wants the step done though it may be cached.
    pub asked: Option<String>,
    pub explainer: &'s Explainer<'s>,
    /// The result of a dependency.
    pub solved: &'s dyn Fn(VertexId) -> Solved,
}

/// What an item of `ADD` came to that lies elsewhere.
pub(crate) enum Fetched {
    File(Downloaded),
    Commit(String),
}

impl Step<'_> {
    fn check_stop(&self) -> Result<(), Diagnostic> {
        if self.stop.load(Ordering::Relaxed) { Err(cancelled()) } else { Ok(()) }
    }

    fn parent(&self) -> (CacheKey, Option<SnapshotRef>) {
        match self.vertex.parent {
            None => (CacheKey::of_scratch(), None),
            Some(parent) => {
                let solved = (self.solved)(parent);
                (solved.key, solved.snapshot)
            }
        }
    }

    /// Returns what the layer is made on: the parent, or nothing when it is independent of it.
    fn base(&self) -> (CacheKey, Option<SnapshotRef>) {
        if self.is_independent() { (CacheKey::of_scratch(), None) } else { self.parent() }
    }

    fn is_independent(&self) -> bool {
        matches!(&self.vertex.op, Op::Copy(copy) if copy.is_independent())
    }

    fn takes_from_vertices(&self) -> bool {
        let from_vertex = |source: &OpSource| matches!(source, OpSource::Vertex(_));
        match &self.vertex.op {
            Op::Base { .. } | Op::Directory { .. } => false,
            Op::Copy(copy) => from_vertex(&copy.source),
            Op::Exec(exec) => {
                exec.mounts.iter().filter_map(mount_source).any(|(source, _)| from_vertex(source))
            }
        }
    }

    /// Returns whether something that the step needs would have to be made first.
    fn waits_for_work(&self) -> bool {
        self.vertex.dependencies().into_iter().any(|id| (self.solved)(id).hit.is_open())
    }

    fn place(&self, source: OpSource) -> SourcePlace {
        match source {
            OpSource::Context => SourcePlace::Context,
            OpSource::Named(number) => SourcePlace::Named(number),
            OpSource::Empty => SourcePlace::Empty,
            OpSource::Vertex(id) => {
                (self.solved)(id).snapshot.map_or(SourcePlace::Empty, SourcePlace::Snapshot)
            }
        }
    }
}

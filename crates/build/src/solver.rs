//! The solver: runs the vertices of a graph in parallel, each after its dependencies, and stops at the first
//! failure.
//!
//! ```text
//! waiting --all dependencies solved--> ready --a worker takes it--> running --> solved
//!                                                                          \--> failed: the rest is left
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use coracle_report::{About, Diagnostic, Outcome, Reporter, Task, TaskId};

use crate::failure::cancelled;
use crate::graph::{BuildGraph, Op, Vertex, VertexId};
use crate::narrow::narrow;
use crate::step::{Hit, Solved, Step};
use crate::why::{Explainer, split_name};
use crate::{BuildHost, BuildRequest, CachePolicy};

/// How often the caller's wish to cancel is looked at.
const POLL: Duration = Duration::from_millis(50);

struct State {
    /// Dependencies that are not solved yet; `None` once the vertex is taken.
    open: Vec<Option<usize>>,
    solved: Vec<Option<Solved>>,
    running: usize,
    failure: Option<Diagnostic>,
}

struct Solver<'s> {
    graph: &'s BuildGraph,
    request: &'s BuildRequest,
    host: &'s dyn BuildHost,
    reporter: &'s dyn Reporter,
    parent: Option<TaskId>,
    explainer: &'s Explainer<'s>,
    look: bool,
    dependents: Vec<Vec<usize>>,
    state: Mutex<State>,
    changed: Condvar,
    /// Set when all work must stop: a step failed, or the caller cancelled.
    stop: AtomicBool,
}

/// Who a build works with.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'s> {
    pub host: &'s dyn BuildHost,
    pub reporter: &'s dyn Reporter,
    /// The task that steps are a part of.
    pub parent: Option<TaskId>,
    pub cancel: &'s AtomicBool,
    pub explainer: &'s Explainer<'s>,
    /// Set when nothing is done, only looked at.
    pub look: bool,
}

/// Solves all vertices. The result has one entry a vertex.
pub(crate) fn solve(
    graph: &BuildGraph,
    request: &BuildRequest,
    surroundings: Surroundings<'_>,
) -> Result<Vec<Solved>, Diagnostic> {
    let Surroundings { host, reporter, parent, cancel, explainer, look } = surroundings;
    let count = graph.vertices.len();
    let mut dependents = vec![Vec::new(); count];
    let mut open = Vec::with_capacity(count);
    for (index, vertex) in graph.vertices.iter().enumerate() {
        let dependencies = vertex.dependencies();
        open.push(Some(dependencies.len()));
        for dependency in dependencies {
            dependents[dependency.index()].push(index);
        }
    }
    let solver = Solver {
        graph,
        request,
        host,
        reporter,
        parent,
        explainer,
        look,
        dependents,
        state: Mutex::new(State { open, solved: vec![None; count], running: 0, failure: None }),
        changed: Condvar::new(),
        stop: AtomicBool::new(cancel.load(Ordering::Relaxed)),
    };
    thread::scope(|scope| {
        for _ in 0..request.jobs.get().min(count) {
            scope.spawn(|| solver.work());
        }
        solver.watch(cancel);
    });
    let state = solver.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Whatever a step said when it was stopped on the caller's wish: the wish is the cause.
    if cancel.load(Ordering::Relaxed) && state.solved.iter().any(Option::is_none) {
        return Err(cancelled());
    }
    if let Some(failure) = state.failure {
        return Err(failure);
    }
    let solved: Option<Vec<Solved>> = state.solved.into_iter().collect();
    solved.ok_or_else(cancelled)
}

/// Ends the build when a step panics, so that nobody waits for it; the scope then passes the panic on.
struct Running<'s, 'g> {
    solver: &'s Solver<'g>,
}

impl Drop for Running<'_, '_> {
    fn drop(&mut self) {
        self.solver.stop.store(true, Ordering::Relaxed);
        self.solver.state().running -= 1;
        self.solver.changed.notify_all();
    }
}

impl Solver<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the caller's wish to cancel on to the steps until all work is done or left.
    fn watch(&self, cancel: &AtomicBool) {
        let mut state = self.state();
        while !self.is_over(&state) {
            if cancel.load(Ordering::Relaxed) {
                self.stop.store(true, Ordering::Relaxed);
            }
            state = self.changed.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_over(&self, state: &State) -> bool {
        let stopped = self.stop.load(Ordering::Relaxed);
        state.running == 0 && (stopped || state.solved.iter().all(Option::is_some))
    }

    fn work(&self) {
        while let Some(index) = self.take() {
            let vertex = &self.graph.vertices[index];
            let guard = Running { solver: self };
            let result = self.step(index, vertex);
            std::mem::forget(guard);
            let mut state = self.state();
            state.running -= 1;
            match result {
                Ok(solved) => {
                    state.solved[index] = Some(solved);
                    for dependent in &self.dependents[index] {
                        state.open[*dependent] = state.open[*dependent].map(|open| open - 1);
                    }
                }
                Err(failure) => {
                    // A step that was stopped because of another's failure is not the news.
                    let news = failure.code != "cancelled" || !self.stop.load(Ordering::Relaxed);
                    if news && state.failure.is_none() {
                        state.failure = Some(failure);
                    }
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits for a vertex that is ready and takes it; `None` when there will be none.
    fn take(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(index) = state.open.iter().position(|open| *open == Some(0)) {
                state.open[index] = None;
                state.running += 1;
                return Some(index);
            }
            if state.open.iter().all(Option::is_none) {
                return None;
            }
            state = self.changed.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn step(&self, index: usize, vertex: &Vertex) -> Result<Solved, Diagnostic> {
        let solved = |id: VertexId| {
            self.state().solved[id.index()]
                .clone()
                .expect("a vertex is taken when its dependencies are solved")
        };
        let (stage, _) = split_name(&vertex.name);
        let asked = match self.request.cache {
            CachePolicy::Ignore => Some("--no-cache".to_owned()),
            CachePolicy::Use => {
                let named = |name: &&String| name.eq_ignore_ascii_case(stage);
                let found = self.request.no_cache_stages.iter().find(named);
                found.map(|name| format!("--no-cache-filter={name}"))
            }
        };
        let step = Step {
            host: self.host,
            policy: if asked.is_some() { CachePolicy::Ignore } else { CachePolicy::Use },
            stop: &self.stop,
            vertex,
            index,
            look: self.look,
            asked,
            explainer: self.explainer,
            solved: &solved,
        };
        // A base was reported while it was resolved.
        if matches!(vertex.op, Op::Base { .. }) {
            return step.solve(None);
        }
        let task = Task::start(self.reporter, self.parent, vertex.name.as_str());
        if !stage.is_empty() {
            task.about(About::Group(stage.to_owned()));
        }
        let result = step
            .solve(Some(&task))
            .map_err(|error| narrow(error, &self.request.dockerfile.source, &vertex.span));
        if let Ok(solved) = &result {
            task.about(About::Key(solved.key.to_string()));
        }
        task.finish(match &result {
            Ok(Solved { hit: Hit::Cached, .. }) => Outcome::Cached,
            Ok(Solved { hit: Hit::Made, .. }) => Outcome::Done,
            Ok(Solved { hit: Hit::Would | Hit::Maybe, .. }) => {
                Outcome::Skipped("nothing is built".to_owned())
            }
            Err(failure) if failure.code == "cancelled" => Outcome::Skipped("cancelled".to_owned()),
            Err(failure) => Outcome::Failed(failure.message.clone()),
        });
        result
    }
}

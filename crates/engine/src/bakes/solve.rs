//! Targets built together: those that are contexts of others first, the first failure ends all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use coracle_bakefile::Selected;
use coracle_report::{Outcome, Task};

use super::{BakeRequest, Baked, Bakes, options, results};
use crate::{BuildOptions, BuiltImage, During, Failure, Result, SolveOptions, Together};

/// How far the targets are.
#[derive(Default)]
struct Progress {
    waiting: BTreeSet<String>,
    done: BTreeMap<String, BuiltImage>,
    failure: Option<Failure>,
}

impl Bakes<'_> {
    /// Builds the selected targets; returns those that were asked for, by name.
    ///
    /// Equal steps of several targets are done once: the builder's step locks see to that; base images are looked up
    /// once. All targets together do as many steps at once as one build would. The first failure cancels the others;
    /// nothing is built when any target asks for what cannot be done.
    pub fn build(
        &self,
        selected: &Selected,
        request: &BakeRequest,
        cancel: &AtomicBool,
    ) -> Result<Vec<Baked>> {
        let mut plans: BTreeMap<&str, BuildOptions> = BTreeMap::new();
        for (name, target) in &selected.targets {
            plans.insert(name, options::options(target, request).map_err(Failure::user)?);
        }
        results::check_stdout(plans.iter().map(|(name, options)| (*name, options)))?;
        let jobs = SolveOptions::default().jobs().get();
        let together = Together::new(jobs);
        for options in plans.values_mut() {
            options.together = Some(together.clone());
        }
        // Held meanwhile: the results of targets that others start from may have no name.
        let _adding = self.engine.store.adding().during("adding images to the store")?;
        let progress = Mutex::new(Progress {
            waiting: selected.targets.keys().cloned().collect(),
            ..Progress::default()
        });
        let changed = Condvar::new();
        let stop = AtomicBool::new(false);
        let workers = jobs.min(plans.len().max(1));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(selected, &plans, &together, &progress, &changed, &stop));
            }
            // The caller's wish to stop is passed on.
            let mut state = progress.lock().unwrap_or_else(PoisonError::into_inner);
            while state.failure.is_none() && state.done.len() < plans.len() {
                if cancel.load(Ordering::Relaxed) {
                    stop.store(true, Ordering::Relaxed);
                    together.close();
                }
                let waited = changed.wait_timeout(state, Duration::from_millis(50));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        });
        let mut progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = progress.failure {
            return Err(failure);
        }
        let asked = selected.targets.keys().filter(|name| !selected.linked.contains(*name));
        let baked =
            asked.filter_map(|name| Some(Baked { target: name.clone(), image: progress.done.remove(name)? }));
        Ok(baked.collect())
    }

    fn work(
        &self,
        selected: &Selected,
        plans: &BTreeMap<&str, BuildOptions>,
        together: &Together,
        progress: &Mutex<Progress>,
        changed: &Condvar,
        stop: &AtomicBool,
    ) {
        loop {
            let mut state = progress.lock().unwrap_or_else(PoisonError::into_inner);
            let name = loop {
                if state.failure.is_some() || state.waiting.is_empty() {
                    return;
                }
                let ready = |name: &&String| {
                    selected.targets[*name].links().all(|(_, other)| state.done.contains_key(other))
                };
                if let Some(name) = state.waiting.iter().find(ready).cloned() {
                    state.waiting.remove(&name);
                    break name;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let task = Task::start(&*self.engine.reporter, None, name.clone());
            let options = BuildOptions { parent: Some(task.id()), ..plans[name.as_str()].clone() };
            let built = self.engine.builds().build(&options, stop);
            task.finish(match &built {
                Ok(image) if image.cached => Outcome::Cached,
                Ok(_) => Outcome::Done,
                Err(failure) => Outcome::Failed(failure.first().message.clone()),
            });
            let mut state = progress.lock().unwrap_or_else(PoisonError::into_inner);
            match built {
                Ok(mut image) => {
                    together.finish(&name, std::mem::take(&mut image.result));
                    state.done.insert(name, image);
                }
                Err(mut failure) => {
                    stop.store(true, Ordering::Relaxed);
                    together.close();
                    if state.failure.is_none() {
                        if let Some(first) = failure.diagnostics.first_mut() {
                            first.notes.push(format!("while building target `{name}`"));
                        }
                        state.failure = Some(failure);
                    }
                }
            }
            changed.notify_all();
        }
    }
}

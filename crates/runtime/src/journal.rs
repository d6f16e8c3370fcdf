//! What happened, read from the journal and written to it.

use std::collections::BTreeMap;

use coracle_container::ContainerSpec;
use coracle_shim::journal::{Entry, append};
use jiff::Timestamp;

use crate::logs::read_lines;
use crate::{Runtime, RuntimeError};

/// Which events are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Events of this time or later.
    pub since: Option<Timestamp>,
    /// Events before this time.
    pub until: Option<Timestamp>,
    /// Whether to go on with what happens from now on.
    pub follow: bool,
}

impl Runtime {
    /// Tells the journal that something happened. Nobody's work fails for want of it.
    pub fn tell(&self, entry: &Entry) {
        let _ = append(&self.paths.journal, entry);
    }

    /// Gives the events that `query` asks for to `sink`, in order, until it answers `false` or `alive` does.
    pub fn events(
        &self,
        query: &EventQuery,
        alive: &dyn Fn() -> bool,
        sink: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<(), RuntimeError> {
        let path = &self.paths.journal;
        if query.follow
            && let Some(directory) = path.parent()
        {
            // What is not there yet could not be watched.
            std::fs::create_dir_all(directory).map_err(RuntimeError::file("make", directory))?;
        }
        let alive = || alive() && query.until.is_none_or(|until| Timestamp::now() < until);
        read_lines(path, None, None, query.follow, &alive, &mut |line| {
            let Ok(entry) = serde_json::from_slice::<Entry>(line) else { return true };
            let wanted = query.since.is_none_or(|since| entry.time >= since)
                && query.until.is_none_or(|until| entry.time < until);
            !wanted || sink(entry)
        })
        .map_err(RuntimeError::file("read", path))
    }
}

/// Returns what events say of a container: image, name and labels.
pub fn attributes(container: &ContainerSpec) -> BTreeMap<String, String> {
    let own = [("image", &container.image), ("name", &container.name)];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
    container.labels.clone().into_iter().chain(own).collect()
}

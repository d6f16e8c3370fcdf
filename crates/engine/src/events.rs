//! What happened to containers, images, networks and volumes, told as it happens.
//!
//! Shims tell of starts and ends, commands of what they do; both append to one journal, which is followed by reading.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_container::{ContainerId, ContainerRecord};
use coracle_runtime::{Entry, EventQuery, attributes};

use crate::{Containers, During, Engine, Result};

/// The journal of an engine.
#[derive(Clone, Copy)]
pub struct Events<'a> {
    pub(crate) engine: &'a Engine,
}

impl Events<'_> {
    /// Gives events to `sink`, in order, until it answers `false` or the user cancels.
    pub fn read(
        &self,
        query: &EventQuery,
        cancel: &AtomicBool,
        sink: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<()> {
        let alive = || !cancel.load(Ordering::Relaxed);
        self.engine.runtime.events(query, &alive, sink).during("reading what happened")
    }

    /// Tells of a container.
    pub(crate) fn container(&self, record: &ContainerRecord, action: &str, more: &[(&str, String)]) {
        let mut known = attributes(&record.spec);
        known.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.engine.runtime.tell(&Entry::now("container", action, record.id.as_str(), known));
    }

    /// Tells of something that has a name: an image, a network, a volume.
    pub(crate) fn named(&self, kind: &str, action: &str, name: &str, more: &[(&str, String)]) {
        let own = [("name".to_owned(), name.to_owned())];
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let known: BTreeMap<String, String> = own.into_iter().chain(more).collect();
        self.engine.runtime.tell(&Entry::now(kind, action, name, known));
    }
}

impl Containers<'_> {
    /// Tells of a container by its id; one without a record is not spoken of.
    pub(super) fn tell(&self, id: &ContainerId, action: &str, more: &[(&str, String)]) {
        if let Ok(Some(record)) = self.record(id) {
            self.engine.events().container(&record, action, more);
        }
    }
}

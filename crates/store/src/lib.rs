//! Blobs, references, images, build-cache records and leases; draws the disk layout (see [`layout`]).
//!
//! Owns what is on disk outside snapshots. Refuses to know how images are built, pulled or run. Many processes use
//! one store at once: files are written under another name, synced and renamed; whoever adds several things that
//! belong together holds [`Store::adding`] meanwhile.

mod blobs;
mod cache;
mod collect;
mod error;
mod images;
mod index;
pub mod layout;
mod leases;
mod lock;
pub mod prune;
pub mod records;
mod references;

pub use blobs::{FinishedBlob, PartialBlob};
pub use cache::CacheRecord;
pub use collect::{Collected, ImagePolicy, Policy, Roots};
pub use error::StoreError;
pub use images::{Image, MAX_DOCUMENT, Survey};
pub use layout::Layout;
pub use leases::{Lease, Leased};
pub use lock::FileLock;
pub use records::Record;
pub use references::NamedManifest;

use error::Result;

/// The store below one data root. Cheap to make and to clone.
#[derive(Clone, Debug)]
pub struct Store {
    layout: Layout,
}

impl Store {
    /// Opens the store, and makes its directories when they are missing.
    pub fn open(layout: Layout) -> Result<Self> {
        let store = Self { layout };
        let layout = &store.layout;
        let directories = [
            layout.blobs(),
            layout.partial_blobs(),
            layout.images(),
            layout.references(),
            layout.cache(),
            layout.leases(),
        ];
        for directory in directories {
            std::fs::create_dir_all(&directory).map_err(|error| StoreError::io("make", &directory, error))?;
        }
        Ok(store)
    }

    /// Returns where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

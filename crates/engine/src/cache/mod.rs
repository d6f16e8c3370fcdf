//! What leaves the machine and comes back: layers as compressed archives, images in registries, the build cache.

pub(crate) mod collect;
mod document;
mod export;
mod import;
mod layers;
mod place;
mod push;

pub use collect::{PruneRequest, Pruned};
pub(crate) use export::Exported;
pub(crate) use import::{Imports, is_broken, lazy, warn_of};
pub use layers::LayerCompression;
pub(crate) use layers::remember_pulled;
pub use place::{CacheFrom, CacheMode, CachePlace, CacheTo};
pub(crate) use push::{Beside, BesideImage};
pub use push::{PushOptions, PushReport};

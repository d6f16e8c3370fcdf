//! What leaves the machine and comes back: layers as compressed archives, images in registries, the build cache.

mod layers;
mod push;

pub use layers::LayerCompression;
pub(crate) use layers::remember_pulled;
pub use push::{PushOptions, PushReport};

//! The vocabulary of images: digests, references, descriptors, platforms, manifests and image configurations.
//!
//! Strings with a rule are newtypes whose only door is [`std::str::FromStr`]. Different kinds of digest are
//! different types, so that a compressed layer's digest cannot stand where a `DiffId` is meant.

mod digest;
mod id_map;
mod image;
mod index;
mod platform;
mod probe;
mod reference;

pub use digest::{ChainId, DiffId, Digest, DigestError, ImageId, Sha256Writer};
pub use id_map::{IdMap, IdRange};
pub use image::{
    Architecture, Empty, HealthCommand, HealthcheckConfig, History, ImageConfig, ImageManifest, MediaType,
    Platform, RootFs, RunConfig,
};
pub use index::{ImageIndex, IndexEntry};
pub use oci_spec::image::Descriptor;
pub use probe::{HttpProbe, OnUnhealthy, ProbeError, TcpProbe};
pub use reference::{Reference, ReferenceError};

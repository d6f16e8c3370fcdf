//! What is installed in a tree of files: packages of Debian, Alpine, Python, Node, Rust and Go, and the documents that
//! list them (SPDX 2.3, CycloneDX 1.6).
//!
//! Pure over [`FileTree`]: no file system, no clock. Trees are strangers' work: everything that is read is bounded, and
//! what cannot be read is left out with a note, for a list that is nearly whole beats none. Equal trees give equal
//! documents.

mod binaries;
mod cyclonedx;
mod distribution;
mod inventory;
mod languages;
mod licences;
mod package;
mod spdx;
mod tree;

pub use cyclonedx::cyclonedx;
pub use distribution::Distribution;
pub use inventory::{Inventory, inventory};
pub use package::{Ecosystem, Package};
pub use spdx::spdx;
pub use tree::{FileEntry, FileTree, Positioned};

/// What a document is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name, such as the image's.
    pub name: String,
    /// Its version, such as the image's digest.
    pub version: String,
    /// When the document was made, RFC 3339. Give the image's time, not the clock's, for equal documents.
    pub created: String,
}

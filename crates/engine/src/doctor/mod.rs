//! Finding what is damaged or was left behind, and mending it.
//!
//! Owns [`Doctor`]: [`Doctor::examine`] looks and changes nothing, [`Doctor::mend`] does what an [`Ailment`] says is to be
//! done. What cannot be read is put aside into `quarantine/<time>/`, under the path that it had, never thrown away; and
//! what a container wrote, its own files and its volumes, is never removed. What can be made again, images and results of
//! build steps, is named with the command that does so.

mod blobs;
mod containers;
mod leftovers;
mod records;
mod repair;

use coracle_container::ContainerId;
use coracle_oci::{Digest, ImageId};
use coracle_report::Diagnostic;
use coracle_snapshot::SnapshotId;

use crate::{Engine, Result};

/// The doctor of an engine.
#[derive(Clone, Copy)]
pub struct Doctor<'a> {
    pub(crate) engine: &'a Engine,
}

/// Something that is not as it should be.
#[derive(Clone, Debug)]
pub struct Ailment {
    /// What is wrong with which file, why, and what the user can do beside having it mended.
    pub diagnostic: Diagnostic,
    /// What mends it.
    pub remedy: Remedy,
}

/// What mends an ailment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A file of the data root is put aside.
    Quarantine(std::path::PathBuf),
    /// A container is put aside with all its files, and its name is free.
    QuarantineContainer(ContainerId),
    /// The record of a container that runs is written again from its copy.
    RestoreContainer(ContainerId),
    /// A volume's record is put aside and a new one written; what the volume holds is not touched.
    RestoreVolume(String),
    /// A snapshot whose record is damaged gets a new one: it is a container's, on top of this image.
    RestoreSnapshot(SnapshotId, ContainerId, ImageId),
    /// An image that lacks a document loses its record and names.
    ForgetImage(ImageId),
    /// A name of something that is not there is removed.
    RemoveFile(std::path::PathBuf),
    /// A result of a build step without its files is forgotten.
    ForgetStep(Digest),
    /// What is left of a container that was being made or removed goes.
    Sweep(ContainerId),
    /// A container that has ended gives back what it had.
    Release(ContainerId),
    /// A link of the host goes.
    RemoveLink(String),
    /// An empty control group goes.
    RemoveGroup(std::path::PathBuf),
    /// The keeper of a scope serves what is so, or ends.
    RefreshKeeper(String),
    /// The packet filter's rules are written again.
    RefreshRules,
}

/// What became of an ailment.
#[derive(Debug)]
pub struct Mended {
    /// What was done, in words.
    pub action: String,
    /// Whether it worked.
    pub result: Result<()>,
}

impl Doctor<'_> {
    /// Looks at everything below both roots, and at what the kernel holds for it. Changes nothing.
    pub fn examine(&self) -> Result<Vec<Ailment>> {
        let mut found = Vec::new();
        self.blobs(&mut found)?;
        self.images(&mut found)?;
        self.snapshots(&mut found)?;
        self.steps(&mut found)?;
        self.containers(&mut found)?;
        self.volumes(&mut found)?;
        self.networks(&mut found)?;
        self.leftovers(&mut found)?;
        Ok(found)
    }
}

impl Remedy {
    /// Returns what is done, as a clause that `would` or `did` can begin.
    pub fn action(&self) -> String {
        match self {
            Self::Quarantine(path) => format!("put {} aside", path.display()),
            Self::QuarantineContainer(id) => {
                format!("put container {} aside with its files, and free its name", id.short())
            }
            Self::RestoreContainer(id) => {
                format!("write the record of container {} again from its copy", id.short())
            }
            Self::RestoreVolume(name) => {
                format!("write a new record for volume {name}; its files are not touched")
            }
            Self::RestoreSnapshot(id, container, _) => {
                format!("write the record of snapshot {id} of container {} again", container.short())
            }
            Self::ForgetImage(id) => format!("forget image {}", id.digest().short()),
            Self::RemoveFile(path) => format!("remove {}", path.display()),
            Self::ForgetStep(key) => format!("forget the result of the build step {}", key.short()),
            Self::Sweep(id) => format!("remove what is left of container {}", id.short()),
            Self::Release(id) => format!("free what the ended container {} had", id.short()),
            Self::RemoveLink(name) => format!("remove the link {name}"),
            Self::RemoveGroup(path) => format!("remove the empty control group {}", path.display()),
            Self::RefreshKeeper(scope) => {
                format!("have the names and ports of {scope} served as they are now")
            }
            Self::RefreshRules => "write the packet filter's rules again".to_owned(),
        }
    }
}

/// Returns an ailment of the code `code`.
fn ailment(code: &'static str, message: String, remedy: Remedy) -> Ailment {
    Ailment { diagnostic: Diagnostic::warning(code, message), remedy }
}

//! A whole project under check: Dockerfiles, merged compose files, environment, files beside them, images, host.
//!
//! ```text
//!   Loaded + Files + Images + HostFacts --> Subject --rules--> findings --allow, deny--> ProjectReport
//! ```

mod allow;
mod build;
mod files;
mod findings;
mod host;
mod images;
mod run;
mod selection;
mod subject;

pub(crate) use build::place_in;
pub use build::{Build, Faulty, gather};
pub use files::{FileKind, Files};
pub use findings::Findings;
pub use host::{Cgroups, Disk, HostFacts, Listener, Occupant, Route};
pub use images::{Images, NoImages, Ownership};
pub use run::{Check, ProjectReport, Run, check_project};
pub use selection::{Selection, UnknownRule};
pub use subject::Subject;

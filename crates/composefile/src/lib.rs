//! Compose YAML to a merged, interpolated project whose every value knows its file and line.
//!
//! Owns the Compose file format: YAML with anchors and merge keys, interpolation, `.env` files, merging of several
//! files, and the typed [`Project`]. Refuses to touch files (a [`Loader`] does), to read the process environment
//! and to know how services are run.
//!
//! ```text
//!   text --tree--> nodes --canonical--> one tree in long forms --decode--> Project
//!                                                             --render--> text, as `compose config` prints it
//! ```

mod canonical;
mod config;
mod decode;
mod discover;
mod dotenv;
mod fields;
mod interpolate;
mod kind;
mod load;
mod loader;
mod locate;
mod model;
mod node;
mod ports;
mod render;
mod scalar;
mod service_files;
mod settled;
mod source;
mod tree;
mod variables;

pub use config::{Config, ConfigOptions};
pub use discover::{Discovered, discover};
pub use dotenv::{EnvFileError, parse as parse_env_file};
pub use load::{LoadRequest, Loaded, combine_environment, load, normalise_project_name};
pub use loader::Loader;
pub use locate::{CommandLine, locate};
pub use model::{
    Build, Dependency, DependencyCondition, FileContent, FileGrant, FileObject, Healthcheck, HostPorts,
    Logging, Mount, MountSource, Network, NetworkAttachment, NetworkMode, Port, Project, Protocol,
    PullPolicy, Resources, RestartPolicy, Service, Ulimit, Volume,
};
pub use render::Format;
pub use variables::Variable;

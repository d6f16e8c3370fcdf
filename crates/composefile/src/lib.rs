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
mod difference;
mod discover;
mod dotenv;
mod fields;
mod flow;
mod identity;
mod interpolate;
mod kind;
mod leaves;
mod load;
mod loader;
mod locate;
mod masks;
mod model;
mod node;
mod ports;
mod provenance;
mod references;
mod render;
mod scalar;
mod service_files;
mod service_variables;
mod settings;
mod settled;
mod source;
mod trace;
mod tree;
mod value_path;
mod variables;
mod view;
mod written;

pub use config::{Config, ConfigOptions};
pub use difference::{Difference, Side, difference};
pub use discover::{Discovered, discover, is_production_name};
pub use dotenv::{EnvFileError, parse as parse_env_file};
pub use leaves::{Leaf, leaves, short_form};
pub use load::{
    LoadRequest, Loaded, Refused, combine_environment, combine_environment_with_origins, load,
    load_with_provenance, normalise_project_name,
};
pub use loader::Loader;
pub use locate::{CommandLine, locate};
pub use masks::{Masks, is_secret_name};
pub use model::{
    BlockIo, Build, BuildSecret, CgroupMode, Dependency, DependencyCondition, Deploy, DeployMode, Device,
    DeviceLimit, DeviceRule, FileContent, FileGrant, FileObject, Healthcheck, Hook, HostPorts, IpcMode,
    Ipv6Pool, Isolation, Link, Logging, MacAddress, ModelUse, Mount, MountSource, Network, NetworkAttachment,
    NetworkDriver, NetworkMode, PidMode, Placement, Port, Project, Propagation, Protocol, Provider,
    PullPolicy, Recursive, Resources, RestartPolicy, Rollout, SeccompProfile, Security, Service, Ulimit,
    UtsMode, Volume, VolumesFrom, VolumesSource, Watch, WatchAction,
};
pub use provenance::{Beaten, Outcome, Provenance, Reason, Removal, VariableUse, Way};
pub use references::{Operator, Reference};
pub use render::Format;
pub use scalar::words as command_words;
pub use value_path::{NoSuchValue, Step, ValuePath, ValuePathError};
pub use variables::Variable;
pub use view::{ScalarStyle, Tag, ValueKind, View};
pub use written::{
    EnvFile, EnvFileRole, EnvVariable, Layer, LayerRole, VariableOrigin, VariableSources, Written,
};

//! The composition root: one service per noun, and the adapters of the ports.
//!
//! Owns how the rooms below work together. Refuses to print and to read the process environment: the caller gives
//! both a reporter and the variables.

mod bakes;
mod bases;
mod boot;
mod builds;
mod cache;
mod checks;
mod containers;
mod contexts;
mod doctor;
mod engine;
mod etc;
mod events;
mod failure;
mod images;
mod imports;
mod keepers;
pub mod machine;
mod names;
mod near;
mod networks;
mod outputs;
mod platforms;
mod ports;
mod process;
mod projects;
mod registries;
mod signals;
mod stored;
mod terminal;
mod volumes;

pub use bakes::{BakeRequest, Baked, Bakes};
pub use bases::{Bases, BuiltBase, RecipeView};
pub use boot::{Boot, BootReport};
pub use builds::{
    AgentSource, BuildOptions, Builds, BuiltImage, Explained, HostCa, RunOptions, SecretPlace, SecretSource,
    SolveOptions, StageGraph, StageNode, StageOrigin, StageStep, Together, allow,
};
pub use cache::{CacheFrom, CacheMode, CachePlace, CacheTo, LayerCompression, PushOptions, PushReport};
pub use cache::{PruneRequest, Pruned};
pub use checks::{
    CheckOptions, Checked, CheckedFile, CheckedProject, Checks, DiskFiles, FixedFile, Look, Remarks,
    StoredImages, check_file, fix,
};
pub use containers::{
    AttachStreams, Attached, CommitRequest, ContainerRequest, ContainerView, Containers, CopyRequest,
    ExecRequest, HealthRequest, KeptLog, LogLine, LogRequest, LogStream, ProcessTable, Sample, Sizes, Stats,
    UpdateRequest,
};
pub use contexts::{ContextSource, NamedSource};
pub use coracle_bakefile::{
    Attribute as BakeAttribute, Definition as BakeDefinition, Selected as BakeSelection,
    Target as BakeTarget, Variable as BakeVariable,
};
pub use coracle_build::{Cause, FileChange, StepState, StepWhy};
pub use coracle_build::{Entitlements, HostAddress, ProcessLimit, Sandbox};
pub use coracle_check::{
    Edit, Family, Finding, Fix, Outline, OutlineAttachment, ProjectReport, Report, Rule,
    Selection as RuleSelection, Target, UnknownRule, all as rules, find_any as find_rule,
};
pub use coracle_compose::labels::COMPOSE_VERSION;
pub use coracle_compose::{Goal, RemoveOptions};
pub use coracle_composefile::{
    Beaten, Difference, EnvFileRole, Layer, Leaf, Loaded, Masks, NoSuchValue, Operator as VariableOperator,
    Outcome, Provenance, Reason, Reference, Removal, Side, Step, ValueKind, ValuePath, VariableOrigin,
    VariableUse, View, Way, difference, leaves, short_form,
};
pub use coracle_composefile::{
    Config as ComposeConfig, ConfigOptions as ComposeConfigOptions, Format as ComposeFormat, PullPolicy,
};
pub use coracle_composefile::{command_words, parse_env_file};
pub use coracle_dockerfile::NetworkMode as BuildNetwork;
pub use coracle_runtime::{DetachKeys, Entry as JournalEntry, EventQuery};
pub use coracle_snapshot::Change;
pub use coracle_store::prune::{Entry as CacheEntry, FilterError, KEEP_WITHIN, PruneFilter};
pub use doctor::{Ailment, Doctor, Mended, Remedy};
pub use engine::{Engine, Options};
pub use events::Events;
pub use failure::{During, Failure, Fault, Result};
pub use images::{ImageView, Images, Pull, ReadyImage};
pub use imports::ImportRequest;
pub use keepers::Keepers;
pub use networks::{Endpoint, Ipv6Request, NetworkRequest, Networks};
pub use outputs::{
    Annotation, AnnotationKind, ArchiveOutput, AttestOptions, Compression, Flatten, ImageOutput, LoadedImage,
    LocalMode, Output, OutputOptions, Packing, Place, ProvenanceMode, ProvenanceOptions, ProvenanceVersion,
    Sbom, SbomFormat, Stream,
};
pub use ports::build::{Amount, ContextEntry, ContextReport, HidingLine};
pub use projects::{
    AbortWhen, AttachEvent, AttachOptions, BuildPolicy, ComposeFiles, Control, ControlOptions, DownOptions,
    EnvironmentView, Interrupts, LoadedProject, OpenProject, ProjectRequest, ProjectSummary, Projects,
    RemoveImages, ResolvedEnvironment, RunRequest, Selection, ServiceBuild, ServiceUrl, TransferOptions,
    UpOptions, UpReport, environments, list_environments, project_request, resolve_environment, service_hash,
};
pub use volumes::{VolumeRecord, Volumes};

//! What runs at turns of a service's life, and what follows changes of its sources.

use std::path::PathBuf;

use coracle_report::Span;
use indexmap::IndexMap;

/// A command that runs in a service's containers at a turn of their life (`post_start`, `pre_stop`).
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Where it is given.
    pub span: Span,
    /// Program and arguments.
    pub command: Vec<String>,
    /// `user[:group]`; `None` is the container's.
    pub user: Option<String>,
    /// Whether it has all privileges.
    pub privileged: bool,
    /// Working directory; `None` is the container's.
    pub working_dir: Option<String>,
    /// Variables beside the container's.
    pub environment: IndexMap<String, String>,
}

/// One entry of `develop.watch`: what happens when a path changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Where it is given.
    pub span: Span,
    /// The path that is watched, absolute.
    pub path: PathBuf,
    /// What happens.
    pub action: WatchAction,
    /// Where files go inside, for actions that bring them there.
    pub target: Option<String>,
    /// Patterns of what is left out.
    pub ignore: Vec<String>,
    /// Patterns of what counts; none is everything.
    pub include: Vec<String>,
    /// What runs inside, for [`WatchAction::SyncExec`].
    pub exec: Option<Hook>,
    /// Whether files are brought inside before anything changes.
    pub initial_sync: bool,
}

/// What happens when a watched path changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchAction {
    /// The image is built anew and the service replaced.
    Rebuild,
    /// Changed files are copied into the containers.
    Sync,
    /// The containers restart.
    Restart,
    /// Files are copied, then the containers restart.
    SyncRestart,
    /// Files are copied, then a command runs inside.
    SyncExec,
}

/// A program outside that manages a service (`provider`).
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Where it is given.
    pub span: Span,
    /// Its type: the program is `docker-TYPE` or `TYPE`.
    pub kind: String,
    /// Its options; several values of one are given one after the other.
    pub options: IndexMap<String, Vec<String>>,
}

/// An AI model that a service uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelUse {
    /// The variable that would hold its address.
    pub endpoint_var: Option<String>,
    /// The variable that would hold its name.
    pub model_var: Option<String>,
}

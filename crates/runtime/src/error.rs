//! Why something could not be done with a container.

use std::io;
use std::path::PathBuf;

use coracle_container::runtime_spec::RuntimeSpecError;
use coracle_shim::filter::FilterError;

use crate::SignalError;

/// Why something could not be done with a container.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried, e.g. `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record is not what it should be.
    #[error("`{}` is malformed", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What is wanted cannot be expressed.
    #[error(transparent)]
    Spec(#[from] RuntimeSpecError),
    /// The system call profile cannot be compiled.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A signal that does not exist.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The program could not be started again as a shim.
    #[error("cannot start the container's supervisor")]
    Spawn(#[source] io::Error),
    /// No shim listens.
    #[error("the container does not run")]
    NotRunning,
    /// The shim ended, or speaks another language.
    #[error("lost the connection to the container's supervisor")]
    Connection(#[source] io::Error),
    /// The shim refused or failed.
    #[error("{message}")]
    Shim {
        /// Why, in words for the user.
        message: String,
        /// The exit code that Docker gives for it: 125, 126 or 127.
        code: i32,
    },
}

impl RuntimeError {
    /// Returns the exit code that `run` ends with: 126 and 127 for a program that cannot be run, 125 otherwise.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Shim { code, .. } => *code,
            Self::File { .. }
            | Self::Record { .. }
            | Self::Spec(_)
            | Self::Filter(_)
            | Self::Signal(_)
            | Self::Spawn(_)
            | Self::NotRunning
            | Self::Connection(_) => 125,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

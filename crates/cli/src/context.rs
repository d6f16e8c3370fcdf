//! What every command gets: the engine, opened on first use, and the door to the terminal.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_engine::{Engine, Options, Result};
use coracle_report::Reporter;

use crate::printer::Printer;
use crate::reporters::{self, Progress};

/// The invocation's surroundings.
pub struct Context {
    /// Where output goes.
    pub printer: Printer,
    /// Where images, containers and volumes lie.
    pub data_root: Option<PathBuf>,
    /// Where sockets and locks lie.
    pub run_root: Option<PathBuf>,
}

impl Context {
    /// Returns the same for a thread that may outlive the command.
    pub fn again(&self) -> Self {
        Self { printer: self.printer, data_root: self.data_root.clone(), run_root: self.run_root.clone() }
    }

    /// Opens the engine with progress shown as `progress` says.
    pub fn engine(&self, progress: Progress) -> Result<(Engine, Arc<dyn Reporter>)> {
        let reporter = reporters::reporter(progress, self.printer);
        let options = Options {
            data_root: self.data_root.clone(),
            run_root: self.run_root.clone(),
            reporter: Arc::clone(&reporter),
            environment: self.variables(),
        };
        Ok((Engine::open(options)?, reporter))
    }

    /// Opens the engine for a command without progress.
    pub fn quiet_engine(&self) -> Result<Engine> {
        self.engine(Progress::Quiet).map(|(engine, _)| engine)
    }

    /// Opens the engine when there is one that this user may open; makes nothing.
    pub fn engine_if_there(&self) -> Option<Engine> {
        let there = self.data_root.as_deref().unwrap_or(Path::new(Engine::DATA_ROOT)).is_dir();
        if there { self.quiet_engine().ok() } else { None }
    }

    /// Returns the variables of this process that are text.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let texts =
            |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
        std::env::vars_os().filter_map(texts).collect()
    }
}

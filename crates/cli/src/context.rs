//! What every command gets: the engine, opened on first use, and the door to the terminal.

use std::path::PathBuf;
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
    /// Opens the engine with progress shown as `progress` says.
    pub fn engine(&self, progress: Progress) -> Result<(Engine, Arc<dyn Reporter>)> {
        let reporter = reporters::reporter(progress, self.printer);
        let options = Options {
            data_root: self.data_root.clone(),
            run_root: self.run_root.clone(),
            reporter: Arc::clone(&reporter),
            environment: std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        };
        Ok((Engine::open(options)?, reporter))
    }

    /// Opens the engine for a command without progress.
    pub fn quiet_engine(&self) -> Result<Engine> {
        self.engine(Progress::Quiet).map(|(engine, _)| engine)
    }
}

//! Where a build's files come from: the context, named contexts, the Dockerfile.

use std::path::PathBuf;

use coracle_engine::{ContextSource, NamedSource, Result};

/// What a build is made from.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    /// Dockerfile (default: PATH/Dockerfile): a file, `-` for standard input, or a URL.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Use files, an image or a repository in place of stages and images of a name: a directory, a tar archive, a URL,
    /// docker-image://IMAGE. May be given several times.
    #[arg(long, value_name = "NAME=SOURCE")]
    pub build_context: Vec<String>,
}

impl SourceArgs {
    /// Returns the named contexts.
    pub fn named(&self) -> Result<Vec<(String, NamedSource)>> {
        self.build_context.iter().map(|text| NamedSource::parse(text)).collect()
    }
}

/// Returns the context that the path argument means.
pub fn context(path: &str) -> Result<ContextSource> {
    ContextSource::parse(path)
}

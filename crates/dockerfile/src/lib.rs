//! Dockerfile bytes to stages of spanned instructions; expansion, heredocs, `.dockerignore`.
//!
//! Owns the syntax of the Dockerfile reference and of `.dockerignore`; refuses to read files, to resolve
//! images and to decide what is built (that is `build`). Everything here is a pure function of its input.

mod command;
mod directives;
mod expand;
mod glob;
mod ignore;
mod instruction;
mod line;
mod logical;
mod mount;
mod near;
mod parse;
mod print;
mod query;
mod source;
mod spanned;
mod stage;
mod statement;
mod text_pattern;

pub use command::list_fault;
pub use directives::frontend;
pub use expand::{Escape, ExpandError, Lookup, expand, expand_body, expand_words};
pub use glob::{Glob, GlobError};
pub use ignore::{DOCKERIGNORE, IgnoreFile, IgnoreRule, Verdict, ignore_file_names};
pub use instruction::{
    AddFiles, Argument, CommandForm, CopyFiles, CopySource, EnvPair, FileOptions, Healthcheck,
    HealthcheckProbe, Heredoc, Instruction, NetworkMode, OnBuild, PairForm, Run, Security, Statement,
};
pub use line::{KEYWORDS, flags};
pub use logical::Logical;
pub use mount::{Mount, MountKind, MountOwner, Sharing};
pub use near::nearest;
pub use parse::{parse, parse_trigger};
pub use source::Source;
pub use spanned::{Spanned, Word};
pub use stage::{BaseRef, Directives, Dockerfile, Stage, StageLookup};
pub use text_pattern::PatternError;

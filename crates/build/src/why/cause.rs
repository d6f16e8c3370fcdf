//! Causes as values, and their sentences.

use std::fmt;

use serde::Serialize;

/// How many hexadecimal digits of a digest people see.
pub(super) const SHORT: usize = 12;

/// One reason why a step was, or would be, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// No step like it is remembered.
    NeverBuilt,
    /// The caller asked for it: `--no-cache`, `--no-cache-filter`.
    Asked {
        /// The option.
        option: String,
    },
    /// The same step was done before, but its result was removed.
    Collected,
    /// It was done before, but what it was made of is not remembered.
    Forgotten,
    /// The instruction's text is another.
    Instruction {
        /// As it was.
        old: String,
        /// As it is.
        new: String,
    },
    /// The base image is another.
    Base {
        /// Its reference.
        image: String,
        /// Its id as it was, shortened.
        old: String,
        /// Its id as it is, shortened.
        new: String,
    },
    /// A build argument, a variable or an option of the step has another value. Secret values are never among them.
    Setting {
        /// What, e.g. `build argument VERSION` or `user`.
        name: String,
        /// As it was; `None`: it was not set, or is not shown.
        old: Option<String>,
        /// As it is; `None`: it is not set, or is not shown.
        new: Option<String>,
        /// Whether values are kept back since the name sounds like a secret's.
        hidden: bool,
    },
    /// A file is another.
    File {
        /// Relative to where it is taken from.
        path: String,
        /// What happened to it.
        #[serde(flatten)]
        change: FileChange,
    },
    /// Some files are others; which was not remembered.
    Files {
        /// Where they come from.
        place: String,
    },
    /// An earlier step of the stage was done again.
    Earlier {
        /// The first such step.
        step: String,
    },
    /// A step of another stage, from which files are taken, was done again.
    Stage {
        /// The first such step.
        step: String,
    },
}

/// What happened to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum FileChange {
    /// It is new.
    Added {
        /// Its digest, shortened; empty for what has no content.
        new: String,
    },
    /// It is gone.
    Removed {
        /// Its digest, shortened; empty for what had no content.
        old: String,
    },
    /// It holds something else.
    Content {
        /// Its digest as it was, shortened.
        old: String,
        /// Its digest as it is, shortened.
        new: String,
    },
    /// Its mode is another.
    Mode {
        /// As it was, octal.
        old: String,
        /// As it is, octal.
        new: String,
    },
    /// A file has become a directory or the like.
    Kind {
        /// What it was.
        old: String,
        /// What it is.
        new: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverBuilt => f.write_str("never built here"),
            Self::Asked { option } => f.write_str(option),
            Self::Collected => f.write_str("built before, but its result was removed from the cache"),
            Self::Forgotten => f.write_str("changed since the last build; how is not remembered"),
            Self::Instruction { old, new } => write!(f, "the instruction was `{old}`, is `{new}`"),
            Self::Base { image, old, new } => write!(f, "base {image} changed: {old} -> {new}"),
            Self::Setting { name, hidden: true, .. } => write!(f, "{name} changed (values are not shown)"),
            Self::Setting { name, old, new, .. } => match (old, new) {
                (Some(old), Some(new)) => write!(f, "{name} changed: `{old}` -> `{new}`"),
                (None, Some(new)) => write!(f, "{name} was added: `{new}`"),
                (Some(old), None) => write!(f, "{name} was removed: `{old}`"),
                (None, None) => write!(f, "{name} changed"),
            },
            Self::File { path, change } => write!(f, "{path} {change}"),
            Self::Files { place } => write!(f, "files of {place} changed"),
            Self::Earlier { step } => write!(f, "after {step}"),
            Self::Stage { step } => write!(f, "takes files made after {step}"),
        }
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { new } if new.is_empty() => f.write_str("was added"),
            Self::Added { new } => write!(f, "was added ({new})"),
            Self::Removed { old } if old.is_empty() => f.write_str("was removed"),
            Self::Removed { old } => write!(f, "was removed ({old})"),
            Self::Content { old, new } => write!(f, "changed: {old} -> {new}"),
            Self::Mode { old, new } => write!(f, "changed its mode: {old} -> {new}"),
            Self::Kind { old, new } => write!(f, "was a {old}, is a {new}"),
        }
    }
}

/// Returns causes in one line: the first two in full, then how many more there are.
pub(crate) fn one_line(causes: &[Cause]) -> String {
    const SHOWN: usize = 2;
    let mut text: Vec<String> = causes.iter().take(SHOWN).map(Cause::to_string).collect();
    if causes.len() > SHOWN {
        text.push(format!("and {} more", causes.len() - SHOWN));
    }
    text.join("; ")
}

/// Returns the first digits of a digest.
pub(super) fn short(hex: &str) -> String {
    hex.chars().take(SHORT).collect()
}

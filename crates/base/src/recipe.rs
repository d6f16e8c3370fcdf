//! A recipe as a typed value: what it stands for, its body, its editions, and why one cannot be used.
//!
//! Reading one is `document`'s business; which parts and editions apply to a reference is `plan`'s.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::pattern::{Captures, Pattern, PatternError};

/// Why a recipe cannot be used. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The document is not TOML, or has unknown, missing or mistyped keys.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A pattern of `matches` is malformed.
    #[error("{file}: `matches` is not usable")]
    Pattern {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: PatternError,
    },
    /// A value breaks a rule of its key.
    #[error("{file}: {key} `{value}` {rule}")]
    Value {
        /// The file.
        file: String,
        /// The key, e.g. `file.path`.
        key: &'static str,
        /// The value.
        value: String,
        /// The rule, as the end of a sentence.
        rule: &'static str,
    },
    /// A key where it has no meaning, or none where one is needed.
    #[error("{file}: {message}")]
    Shape {
        /// The file.
        file: String,
        /// What is wrong.
        message: String,
    },
    /// A file named by `source` is not there.
    #[error("{file}: source file `{source_file}` is not in the recipe directory")]
    MissingSource {
        /// The recipe.
        file: String,
        /// The file.
        source_file: String,
    },
    /// A part that no file of `parts/` defines.
    #[error("{file}: no part is called `{part}`; known: {known}")]
    UnknownPart {
        /// The recipe.
        file: String,
        /// The part.
        part: String,
        /// Those that exist.
        known: String,
    },
    /// A recipe directory or file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The path.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A recipe: what it stands for, and what it is made of.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The file's name without `.toml`.
    pub name: String,
    /// One line for listings.
    pub summary: String,
    /// The references it stands for.
    pub matches: Vec<Pattern>,
    /// Captures where a pattern has none of that name.
    pub defaults: Captures,
    /// The reference that `base build NAME` bakes.
    pub reference: String,
    /// What every reference gets.
    pub body: Body,
    /// What some references get besides.
    pub editions: Vec<Edition>,
}

/// An addition to a recipe for the references that fit all of `when`.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Capture name (or `tag`) and the pattern its value must fit.
    pub when: BTreeMap<String, Pattern>,
    /// What they get.
    pub body: Body,
}

/// How much of Debian the tree holds before `packages` are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Nothing: only unpacked packages, archives and files.
    None,
    /// The essential packages.
    Essential,
    /// The essential packages and apt.
    Apt,
}

/// A Debian suite, e.g. `bookworm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Suite(String);

impl Suite {
    /// Returns the suite's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not the name of a Debian suite, such as bookworm"))
        }
    }
}

impl TryFrom<String> for Suite {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Suite> for String {
    fn from(suite: Suite) -> Self {
        suite.0
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Permission bits, written as a string of octal digits: `"0755"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// `0755`.
    pub const EXECUTABLE: Self = Self(0o755);
    /// `0644`.
    pub const PLAIN: Self = Self(0o644);

    /// Returns the bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o7777 && (3..=4).contains(&text.len()) => Ok(Self(bits)),
            _ => Err(format!("`{text}` is not a mode of three or four octal digits, such as 0755")),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// What a tree is made of. The same keys stand in a recipe, in its editions and in parts.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// The Debian suite.
    pub suite: Option<Suite>,
    /// How much of Debian to begin with.
    pub variant: Option<Variant>,
    /// Packages installed with their dependencies.
    pub packages: Vec<String>,
    /// Packages only unpacked.
    pub unpack: Option<Unpack>,
    /// Names of parts whose bodies come first.
    pub parts: Vec<String>,
    /// Groups to add.
    pub groups: Vec<Group>,
    /// Users to add.
    pub users: Vec<User>,
    /// Directories to make.
    pub directories: Vec<Directory>,
    /// Files to write.
    pub files: Vec<File>,
    /// Symbolic links to make.
    pub symlinks: Vec<Symlink>,
    /// Archives to unpack.
    pub archives: Vec<Archive>,
    /// A shell script run inside the tree after all that.
    pub setup: Option<String>,
    /// Paths left out of the layer (`*` any characters but `/`, `**` any).
    pub exclude: Vec<String>,
    /// The image configuration.
    pub image: ImageBody,
}

/// Debian packages unpacked without their dependencies and maintainer scripts, so that they can be moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpack {
    /// The packages.
    pub packages: Vec<String>,
    /// The directory they are unpacked into.
    pub into: String,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: String,
    /// Its log-in shell.
    pub shell: String,
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where.
    pub path: String,
    /// Permissions, `0755` unless said.
    #[serde(default = "executable")]
    pub mode: Mode,
    /// `[uid, gid]`, root unless said.
    #[serde(default)]
    pub owner: [u32; 2],
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Where.
    pub path: String,
    /// Permissions, `0644` unless said.
    pub mode: Mode,
    /// `[uid, gid]`, root unless said.
    pub owner: [u32; 2],
    /// What it holds.
    pub content: String,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// Where.
    pub path: String,
    /// What it says.
    pub target: String,
}

/// A package of the npm registry, pinned by its integrity, unpacked into the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The package's name.
    pub npm: String,
    /// Its exact version.
    pub version: String,
    /// `sha512-` and the base64 of the archive's SHA-512, as the registry and lock files state it.
    pub integrity: String,
    /// The directory it is unpacked into; its leading `package/` is dropped.
    pub into: String,
    /// Paths of the package that are not unpacked (same wildcards as `exclude`).
    #[serde(default)]
    pub exclude: Vec<String>,
    /// The processor architecture it is for; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
}

/// The image configuration that a recipe states. Values may hold `{capture}` and `{version:PACKAGE}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageBody {
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Command.
    pub cmd: Option<Vec<String>>,
    /// User.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Volumes.
    pub volumes: Vec<String>,
    /// Ports, e.g. `80/tcp`.
    pub ports: Vec<String>,
    /// Signal that asks for the end.
    pub stop_signal: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

fn executable() -> Mode {
    Mode::EXECUTABLE
}

//! A recipe as it is written: the TOML document, its typed form, and every rule a document must keep.
//!
//! Owns parsing and checking; which parts and editions apply to a reference is `plan`'s business.

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

fn plain() -> Mode {
    Mode::PLAIN
}

/// The document, and each of its editions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    summary: Option<String>,
    reference: Option<String>,
    matches: Vec<String>,
    defaults: Captures,
    edition: Vec<Document>,
    when: BTreeMap<String, String>,
    suite: Option<Suite>,
    variant: Option<Variant>,
    packages: Vec<String>,
    unpack: Option<Unpack>,
    parts: Vec<String>,
    group: Vec<Group>,
    user: Vec<User>,
    directory: Vec<Directory>,
    file: Vec<FileDocument>,
    symlink: Vec<Symlink>,
    archive: Vec<Archive>,
    setup: Option<String>,
    exclude: Vec<String>,
    image: ImageBody,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDocument {
    path: String,
    #[serde(default = "plain")]
    mode: Mode,
    #[serde(default)]
    owner: [u32; 2],
    content: Option<String>,
    source: Option<String>,
}

/// Where a recipe is read from: its name for messages, and the files beside it.
pub(crate) struct Origin<'a> {
    /// The file's path relative to the recipe directory, e.g. `node.toml`.
    pub file: &'a str,
    /// Returns the text of a file of the recipe directory.
    pub read: &'a dyn Fn(&str) -> Option<String>,
}

impl Recipe {
    /// Parses a recipe whose `source` files are read through `origin`.
    pub(crate) fn parse(name: &str, text: &str, origin: &Origin<'_>) -> Result<Self, RecipeError> {
        let mut document = parse_document(text, origin)?;
        let shape =
            |message: &str| RecipeError::Shape { file: origin.file.to_owned(), message: message.to_owned() };
        if document.matches.is_empty() {
            return Err(shape("a recipe needs `matches`, the references it stands for"));
        }
        if !document.when.is_empty() {
            return Err(shape("`when` belongs into an `[[edition]]`"));
        }
        let summary = document.summary.take().ok_or_else(|| shape("a recipe needs a `summary`"))?;
        let reference = document
            .reference
            .take()
            .ok_or_else(|| shape("a recipe needs a `reference`, the image that its name alone stands for"))?;
        let matches = document
            .matches
            .iter()
            .map(|text| Pattern::parse(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| RecipeError::Pattern { file: origin.file.to_owned(), source })?;
        let defaults = std::mem::take(&mut document.defaults);
        let mut editions = Vec::new();
        for mut edition in std::mem::take(&mut document.edition) {
            let foreign = edition.summary.is_some()
                || edition.reference.is_some()
                || !(edition.matches.is_empty() && edition.defaults.is_empty() && edition.edition.is_empty());
            if foreign || edition.when.is_empty() {
                return Err(shape(
                    "an `[[edition]]` needs `when` and has no `summary`, `reference`, `matches`, `defaults` or editions",
                ));
            }
            let mut when = BTreeMap::new();
            for (capture, text) in std::mem::take(&mut edition.when) {
                let known = capture == "tag"
                    || defaults.contains_key(&capture)
                    || matches.iter().any(|pattern| pattern.names().contains(&capture));
                if !known {
                    return Err(shape(&format!("`when` asks for `{capture}`, which nothing captures")));
                }
                let pattern = Pattern::parse(&text)
                    .map_err(|source| RecipeError::Pattern { file: origin.file.to_owned(), source })?;
                when.insert(capture, pattern);
            }
            editions.push(Edition { when, body: edition.into_body(origin)? });
        }
        let body = document.into_body(origin)?;
        Ok(Self { name: name.to_owned(), summary, matches, defaults, reference, body, editions })
    }
}

impl Body {
    /// Parses a part: a document that only has a body.
    pub(crate) fn parse_part(text: &str, origin: &Origin<'_>) -> Result<Self, RecipeError> {
        let document = parse_document(text, origin)?;
        let foreign = document.summary.is_some()
            || document.reference.is_some()
            || !(document.matches.is_empty() && document.edition.is_empty() && document.when.is_empty());
        if foreign || !document.parts.is_empty() {
            return Err(RecipeError::Shape {
                file: origin.file.to_owned(),
                message: "a part has no `summary`, `reference`, `matches`, `when`, editions or parts"
                    .to_owned(),
            });
        }
        document.into_body(origin)
    }
}

fn parse_document(text: &str, origin: &Origin<'_>) -> Result<Document, RecipeError> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start).min(text.len());
        let before = &text[..offset];
        RecipeError::Syntax {
            file: origin.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1,
            message: error.message().to_owned(),
        }
    })
}

impl Document {
    fn into_body(self, origin: &Origin<'_>) -> Result<Body, RecipeError> {
        let rules = Rules { file: origin.file };
        for package in self.packages.iter().chain(self.unpack.iter().flat_map(|unpack| &unpack.packages)) {
            rules.package(package)?;
        }
        if let Some(unpack) = &self.unpack {
            rules.path("unpack.into", &unpack.into)?;
        }
        for group in &self.group {
            rules.account("group.name", &group.name)?;
        }
        for user in &self.user {
            rules.account("user.name", &user.name)?;
            rules.path("user.home", &user.home)?;
            rules.path("user.shell", &user.shell)?;
        }
        for directory in &self.directory {
            rules.path("directory.path", &directory.path)?;
        }
        for symlink in &self.symlink {
            rules.path("symlink.path", &symlink.path)?;
        }
        for archive in &self.archive {
            rules.path("archive.into", &archive.into)?;
            rules.archive(archive)?;
        }
        for name in self.image.env.keys() {
            if name.is_empty() || name.contains('=') {
                return Err(rules.broken("image.env", name, "is not the name of a variable"));
            }
        }
        let mut files = Vec::new();
        for file in self.file {
            rules.path("file.path", &file.path)?;
            files.push(file.into_file(origin)?);
        }
        Ok(Body {
            suite: self.suite,
            variant: self.variant,
            packages: self.packages,
            unpack: self.unpack,
            parts: self.parts,
            groups: self.group,
            users: self.user,
            directories: self.directory,
            files,
            symlinks: self.symlink,
            archives: self.archive,
            setup: self.setup,
            exclude: self.exclude,
            image: self.image,
        })
    }
}

impl FileDocument {
    fn into_file(self, origin: &Origin<'_>) -> Result<File, RecipeError> {
        let content = match (self.content, self.source) {
            (Some(content), None) => content,
            (None, Some(source)) => (origin.read)(&source).ok_or_else(|| RecipeError::MissingSource {
                file: origin.file.to_owned(),
                source_file: source,
            })?,
            _ => {
                return Err(RecipeError::Shape {
                    file: origin.file.to_owned(),
                    message: format!("file `{}` needs either `content` or `source`", self.path),
                });
            }
        };
        Ok(File { path: self.path, mode: self.mode, owner: self.owner, content })
    }
}

/// The rules of single values.
struct Rules<'a> {
    file: &'a str,
}

impl Rules<'_> {
    fn broken(&self, key: &'static str, value: &str, rule: &'static str) -> RecipeError {
        RecipeError::Value { file: self.file.to_owned(), key, value: value.to_owned(), rule }
    }

    /// A path inside the tree: absolute, without `.` and `..`, without characters that a shell or passwd(5) minds.
    fn path(&self, key: &'static str, path: &str) -> Result<(), RecipeError> {
        let Some(rest) = path.strip_prefix('/') else {
            return Err(self.broken(key, path, "must be absolute"));
        };
        let whole = rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !whole {
            return Err(self.broken(key, path, "must not have empty, `.` or `..` parts"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte);
        if path.bytes().all(plain) {
            Ok(())
        } else {
            Err(self.broken(key, path, "may hold only letters, digits and `/._-+@`"))
        }
    }

    /// A Debian package name (Debian policy 5.6.1), in which captures may stand.
    fn package(&self, name: &str) -> Result<(), RecipeError> {
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.{}_".contains(&byte);
        if name.len() > 1 && name.bytes().all(plain) && !name.starts_with(['+', '-', '.']) {
            Ok(())
        } else {
            Err(self.broken("package", name, "is not the name of a Debian package"))
        }
    }

    fn account(&self, key: &'static str, name: &str) -> Result<(), RecipeError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let legal = name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if legal {
            Ok(())
        } else {
            Err(self.broken(key, name, "must be lower-case letters, digits, `_` and `-`"))
        }
    }

    fn archive(&self, archive: &Archive) -> Result<(), RecipeError> {
        let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"@/._-".contains(&byte);
        if archive.npm.is_empty() || !archive.npm.bytes().all(name) || archive.npm.contains("..") {
            return Err(self.broken("archive.npm", &archive.npm, "is not the name of an npm package"));
        }
        let version = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
        if archive.version.is_empty() || !archive.version.bytes().all(version) {
            return Err(self.broken("archive.version", &archive.version, "is not an exact version"));
        }
        let digest = archive.integrity.strip_prefix("sha512-");
        let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        if digest.is_some_and(|digest| digest.len() == 88 && digest.bytes().all(base64)) {
            Ok(())
        } else {
            Err(self.broken(
                "archive.integrity",
                &archive.integrity,
                "must be `sha512-` and 88 base64 characters",
            ))
        }
    }
}

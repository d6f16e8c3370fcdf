//! The TOML document of a recipe or part: its keys, and every rule that they must keep.
//!
//! The only door to [`Recipe`] and [`Body`].

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::pattern::{Captures, Pattern};
use crate::recipe::{
    Archive, Body, Directory, Edition, File, Group, ImageBody, Mode, Recipe, RecipeError, Suite, Symlink,
    Unpack, User, Variant,
};

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

fn plain() -> Mode {
    Mode::PLAIN
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

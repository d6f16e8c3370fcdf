//! The set of recipes: those built into the binary, or those of a directory; finds the one for a reference.
//!
//! A recipe directory holds `NAME.toml` for each recipe, `parts/NAME.toml` for pieces that recipes share, and
//! the files that `source` keys name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use coracle_oci::{Platform, Reference};
use include_dir::{Dir, include_dir};

use crate::document::Origin;
use crate::pattern::Captures;
use crate::plan::{self, Plan, PlanError};
use crate::recipe::{Body, Recipe, RecipeError};

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../bases");

/// The largest file of a recipe directory that is read, bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// A set of recipes.
#[derive(Clone, Debug)]
pub struct Recipes {
    recipes: Vec<Arc<Recipe>>,
    parts: BTreeMap<String, Body>,
}

/// A recipe that stands for a reference, and what it comes to for it.
#[derive(Clone, Debug)]
pub struct Match {
    /// The recipe.
    pub recipe: Arc<Recipe>,
    /// What its pattern captured, with defaults and `tag`.
    pub captures: Captures,
    /// The reference that was asked for.
    pub reference: Reference,
    /// What is to be baked.
    pub plan: Plan,
}

impl Recipes {
    /// Returns the recipes that are part of the product.
    pub fn builtin() -> Self {
        let mut files = BTreeMap::new();
        collect_built_in(&BUILT_IN, &mut files);
        Self::from_files(&files).expect("the built-in recipes are parsed by this crate's tests")
    }

    /// Reads the recipes of a directory.
    pub fn load_dir(path: &Path) -> Result<Self, RecipeError> {
        let mut files = BTreeMap::new();
        collect_directory(path, "", &mut files)?;
        Self::from_files(&files)
    }

    /// Parses recipes and parts out of the files of a recipe directory, keyed by relative path.
    pub fn from_files(files: &BTreeMap<String, String>) -> Result<Self, RecipeError> {
        let read = |path: &str| files.get(path).cloned();
        let mut recipes = Vec::new();
        let mut parts = BTreeMap::new();
        for (file, text) in files {
            let origin = Origin { file, read: &read };
            let Some(path) = file.strip_suffix(".toml") else { continue };
            match path.split_once('/') {
                None => recipes.push(Arc::new(Recipe::parse(path, text, &origin)?)),
                Some(("parts", name)) if !name.contains('/') => {
                    parts.insert(name.to_owned(), Body::parse_part(text, &origin)?);
                }
                Some(_) => {}
            }
        }
        for recipe in &recipes {
            let bodies =
                std::iter::once(&recipe.body).chain(recipe.editions.iter().map(|edition| &edition.body));
            for part in bodies.flat_map(|body| &body.parts) {
                if !parts.contains_key(part) {
                    return Err(RecipeError::UnknownPart {
                        file: format!("{}.toml", recipe.name),
                        part: part.clone(),
                        known: parts.keys().cloned().collect::<Vec<_>>().join(", "),
                    });
                }
            }
        }
        Ok(Self { recipes, parts })
    }

    /// Returns the recipes in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Recipe> {
        self.recipes.iter().map(AsRef::as_ref)
    }

    /// Returns the recipe of that name.
    pub fn by_name(&self, name: &str) -> Option<&Recipe> {
        self.iter().find(|recipe| recipe.name == name)
    }

    /// Returns the recipe that stands for `reference` on this machine; `None` when there is none, when it has no
    /// edition for the tag, or when the reference is pinned by a digest, which a stand-in cannot have.
    pub fn find(&self, reference: &Reference) -> Option<Match> {
        self.resolve(reference)?.ok()
    }

    /// Returns what [`Recipes::find`] returns, and why a recipe whose patterns fit gives nothing.
    pub fn resolve(&self, reference: &Reference) -> Option<Result<Match, PlanError>> {
        let tag = reference.tag()?;
        if reference.digest().is_some() {
            return None;
        }
        let text = reference.to_string();
        let (recipe, captured) = self.recipes.iter().find_map(|recipe| {
            let captured = recipe.matches.iter().find_map(|pattern| pattern.matches(&text))?;
            Some((recipe, captured))
        })?;
        let mut captures = recipe.defaults.clone();
        captures.extend(captured);
        captures.insert("tag".to_owned(), tag.to_owned());
        let mut bodies = Vec::new();
        self.with_parts(&recipe.body, &mut bodies);
        for edition in &recipe.editions {
            let fits = edition.when.iter().all(|(capture, pattern)| {
                captures.get(capture).is_some_and(|value| pattern.matches(value).is_some())
            });
            if fits {
                self.with_parts(&edition.body, &mut bodies);
            }
        }
        let plan = plan::merge(&recipe.name, &bodies, &captures, &Platform::host().architecture);
        Some(plan.map(|plan| Match {
            recipe: Arc::clone(recipe),
            captures,
            reference: reference.clone(),
            plan,
        }))
    }

    fn with_parts<'a>(&'a self, body: &'a Body, bodies: &mut Vec<&'a Body>) {
        bodies.extend(body.parts.iter().filter_map(|part| self.parts.get(part)));
        bodies.push(body);
    }
}

fn collect_built_in(directory: &Dir<'_>, files: &mut BTreeMap<String, String>) {
    for file in directory.files() {
        if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8()) {
            files.insert(path.to_owned(), text.to_owned());
        }
    }
    for inner in directory.dirs() {
        collect_built_in(inner, files);
    }
}

fn collect_directory(
    path: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, String>,
) -> Result<(), RecipeError> {
    let failed = |path: &Path, source| RecipeError::Read { path: path.to_owned(), source };
    for entry in std::fs::read_dir(path).map_err(|error| failed(path, error))? {
        let entry = entry.map_err(|error| failed(path, error))?;
        let kind = entry.file_type().map_err(|error| failed(&entry.path(), error))?;
        let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else { continue };
        if kind.is_dir() {
            collect_directory(&entry.path(), &format!("{name}/"), files)?;
        } else if kind.is_file() {
            let length = entry.metadata().map_err(|error| failed(&entry.path(), error))?.len();
            if length > FILE_LIMIT {
                let source = std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB");
                return Err(failed(&entry.path(), source));
            }
            let text = std::fs::read_to_string(entry.path()).map_err(|error| failed(&entry.path(), error))?;
            files.insert(name, text);
        }
    }
    Ok(())
}

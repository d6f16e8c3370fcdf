//! Base images from Debian packages: recipes, and the baker that turns one into a layer and a configuration.
//!
//! Where a registry can be reached a `FROM` is pulled. Where none can, a recipe (`bases/*.toml`) names the
//! references it stands for, the Debian packages, files and set-up it takes, and the image configuration; the
//! baker makes a root file system of it with `mmdebstrap`. The same recipe and package versions give the same
//! layer digest. Stand-ins say so in their labels ([`LABEL_STAND_IN`]).
//!
//! This crate writes only below the directories it is handed, and stores nothing: importing the result into the
//! image store is the engine's part.

mod archive;
mod bake;
mod debian;
mod document;
mod layer;
mod pattern;
mod plan;
mod recipe;
mod recipes;
mod stage;
mod workspace;

pub use archive::ArchiveError;
pub use bake::{BakeOptions, Baked, Baker, BaseError, bake};
pub use debian::PackageList;
pub use layer::LayerError;
pub use pattern::{Captures, Pattern, PatternError};
pub use plan::{LABEL_PACKAGES, LABEL_RECIPE, LABEL_STAND_IN, Plan, PlanError};
pub use recipe::{
    Archive, Body, Directory, Edition, File, Group, ImageBody, Mode, Recipe, RecipeError, Suite, Symlink,
    Unpack, User, Variant,
};
pub use recipes::{Match, Recipes};

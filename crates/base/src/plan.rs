//! What exactly is baked for one reference: a recipe with its parts and editions merged and captures filled in.
//!
//! Pure. Two references with equal plans share one image; [`Plan::key`] tells.

use std::collections::BTreeMap;

use coracle_oci::Digest;
use serde::Serialize;

use crate::pattern::Captures;
use crate::recipe::{
    Archive, Body, Directory, File, Group, ImageBody, Suite, Symlink, Unpack, User, Variant,
};

/// Marks an image as a stand-in; its value is `true`.
pub const LABEL_STAND_IN: &str = "coracle.stand-in";
/// Names the recipe of a stand-in.
pub const LABEL_RECIPE: &str = "coracle.stand-in.recipe";
/// Holds the digest of the list of packages with their versions that a stand-in was made of.
pub const LABEL_PACKAGES: &str = "coracle.stand-in.packages";

/// Why a recipe gives no plan for a reference that its patterns fit.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// Neither the recipe nor an edition that applies names a suite: the version is not to be had.
    #[error("recipe `{recipe}` has no edition for tag `{tag}`")]
    NoEdition {
        /// The recipe.
        recipe: String,
        /// The tag.
        tag: String,
    },
    /// A `{name}` that nothing captures.
    #[error("recipe `{recipe}` uses `{{{name}}}`, which nothing captures")]
    UnknownCapture {
        /// The recipe.
        recipe: String,
        /// The name.
        name: String,
    },
}

/// Everything the baker needs to know, and nothing else: equal plans bake equal images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The recipe's name.
    pub recipe: String,
    /// The Debian suite.
    pub suite: Suite,
    /// How much of Debian to begin with.
    pub variant: Variant,
    /// Packages to install, sorted.
    pub packages: Vec<String>,
    /// Packages to unpack.
    pub unpack: Option<Unpack>,
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
    /// Archives to unpack, those of other architectures left out.
    pub archives: Vec<Archive>,
    /// Scripts to run inside the tree, in order.
    pub setup: Vec<String>,
    /// Paths left out of the layer.
    pub exclude: Vec<String>,
    /// The image configuration; `{version:PACKAGE}` is still to be filled in.
    pub image: ImageBody,
}

impl Plan {
    /// Returns the digest that equal plans share, whatever reference they were made for.
    pub fn key(&self) -> Digest {
        Digest::of(
            serde_json::to_vec(self).expect("a plan holds only strings, numbers, lists and string maps"),
        )
    }
}

/// Merges `bodies` (parts before those that name them, editions after the recipe) into a plan.
pub(crate) fn merge(
    recipe: &str,
    bodies: &[&Body],
    captures: &Captures,
    architecture: &str,
) -> Result<Plan, PlanError> {
    let mut suite = None;
    let mut variant = Variant::Apt;
    let mut plan = Plan {
        recipe: recipe.to_owned(),
        suite: "none".parse().expect("a word of lower-case letters"),
        variant,
        packages: Vec::new(),
        unpack: None,
        groups: Vec::new(),
        users: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        symlinks: Vec::new(),
        archives: Vec::new(),
        setup: Vec::new(),
        exclude: Vec::new(),
        image: ImageBody::default(),
    };
    for body in bodies {
        suite = body.suite.clone().or(suite);
        variant = body.variant.unwrap_or(variant);
        plan.packages.extend(body.packages.iter().cloned());
        if let Some(unpack) = &body.unpack {
            let known =
                plan.unpack.get_or_insert_with(|| Unpack { packages: Vec::new(), into: unpack.into.clone() });
            known.packages.extend(unpack.packages.iter().cloned());
            known.into.clone_from(&unpack.into);
        }
        replace_by(&mut plan.groups, &body.groups, |group| &group.name);
        replace_by(&mut plan.users, &body.users, |user| &user.name);
        replace_by(&mut plan.directories, &body.directories, |directory| &directory.path);
        replace_by(&mut plan.files, &body.files, |file| &file.path);
        replace_by(&mut plan.symlinks, &body.symlinks, |symlink| &symlink.path);
        let fits =
            |archive: &&Archive| archive.architecture.as_deref().is_none_or(|wanted| wanted == architecture);
        let archives: Vec<Archive> = body.archives.iter().filter(fits).cloned().collect();
        replace_by(&mut plan.archives, &archives, |archive| &archive.into);
        plan.setup.extend(body.setup.clone());
        plan.exclude.extend(body.exclude.iter().cloned());
        merge_image(&mut plan.image, &body.image);
    }
    let tag = captures.get("tag").cloned().unwrap_or_default();
    plan.suite = suite.ok_or(PlanError::NoEdition { recipe: recipe.to_owned(), tag })?;
    plan.variant = variant;
    fill_in(&mut plan, captures)?;
    plan.packages.sort();
    plan.packages.dedup();
    if let Some(unpack) = &mut plan.unpack {
        unpack.packages.sort();
        unpack.packages.dedup();
    }
    Ok(plan)
}

/// Appends `items`; one with the name of an earlier one takes its place.
fn replace_by<T: Clone>(known: &mut Vec<T>, items: &[T], name: impl Fn(&T) -> &String) {
    for item in items {
        match known.iter_mut().find(|other| name(other) == name(item)) {
            Some(other) => *other = item.clone(),
            None => known.push(item.clone()),
        }
    }
}

fn merge_image(known: &mut ImageBody, other: &ImageBody) {
    known.env.extend(other.env.clone());
    known.labels.extend(other.labels.clone());
    for volume in &other.volumes {
        if !known.volumes.contains(volume) {
            known.volumes.push(volume.clone());
        }
    }
    for port in &other.ports {
        if !known.ports.contains(port) {
            known.ports.push(port.clone());
        }
    }
    let ImageBody { entrypoint, cmd, user, workdir, stop_signal, .. } = other.clone();
    known.entrypoint = entrypoint.or(known.entrypoint.take());
    known.cmd = cmd.or(known.cmd.take());
    known.user = user.or(known.user.take());
    known.workdir = workdir.or(known.workdir.take());
    known.stop_signal = stop_signal.or(known.stop_signal.take());
}

/// Replaces `{capture}` in package names, variables and labels.
fn fill_in(plan: &mut Plan, captures: &Captures) -> Result<(), PlanError> {
    let recipe = plan.recipe.clone();
    let lookup = |name: &str| -> Result<Option<String>, PlanError> {
        if name.starts_with("version:") {
            return Ok(None);
        }
        match captures.get(name) {
            Some(value) => Ok(Some(value.clone())),
            None => Err(PlanError::UnknownCapture { recipe: recipe.clone(), name: name.to_owned() }),
        }
    };
    let unpacked = plan.unpack.iter_mut().flat_map(|unpack| &mut unpack.packages);
    let texts = plan.packages.iter_mut().chain(unpacked);
    for text in texts.chain(plan.image.env.values_mut()).chain(plan.image.labels.values_mut()) {
        *text = substitute(text, &lookup)?;
    }
    Ok(())
}

/// Replaces every `{name}` that `lookup` has a value for, inner ones first; one without is left as it stands.
pub(crate) fn substitute<E>(
    text: &str,
    lookup: &dyn Fn(&str) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut text = text.to_owned();
    let (mut settled, mut from) = (0, 0);
    while let Some(end) = text[from..].find('}').map(|offset| from + offset) {
        let Some(start) = text[settled..end].rfind('{').map(|offset| settled + offset) else {
            from = end + 1;
            settled = from;
            continue;
        };
        if let Some(value) = lookup(&text[start + 1..end])? {
            text.replace_range(start..=end, &value);
            from = start + value.len();
        } else {
            from = end + 1;
            settled = from;
        }
    }
    Ok(text)
}

/// Returns the variables with their `{version:PACKAGE}` filled in as `NAME=value`, `PATH` first.
pub(crate) fn environment(
    variables: &BTreeMap<String, String>,
    version: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let lookup = |name: &str| match name.strip_prefix("version:") {
        Some(package) => version(package).map(Some).ok_or_else(|| package.to_owned()),
        None => Ok(None),
    };
    let mut lines = Vec::new();
    for (name, value) in variables {
        let line = format!("{name}={}", substitute(value, &lookup)?);
        if name == "PATH" { lines.insert(0, line) } else { lines.push(line) }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn substitutes_known_names_only() {
        let lookup = |name: &str| Ok::<_, Infallible>((name == "a").then(|| "1".to_owned()));
        let table = [
            ("x{a}y{a}", "x1y1"),
            ("{b}", "{b}"),
            ("{a", "{a"),
            ("", ""),
            ("{b} x}", "{b} x}"),
            ("a}{a}", "a}1"),
            ("{b}{x{a}}", "{b}{x1}"),
        ];
        for (text, expected) in table {
            assert_eq!(substitute(text, &lookup).unwrap(), expected);
        }
    }

    #[test]
    fn versions_enter_the_environment_and_path_comes_first() {
        let variables = [("A", "{version:x}"), ("PATH", "/bin"), ("Z", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let version = |package: &str| (package == "x").then(|| "3.11.2".to_owned());
        assert_eq!(environment(&variables, &version).unwrap(), ["PATH=/bin", "A=3.11.2", "Z=1"]);
        assert_eq!(environment(&variables, &|_| None).unwrap_err(), "x");
    }
}

//! `package.json` and its lock, as far as rules need them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use coracle_report::{Position, Span};
use serde_json::Value;

use crate::project::Files;

/// A `package.json`.
pub(super) struct Package {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Its scripts.
    pub scripts: BTreeMap<String, String>,
    /// Packages that are needed to run.
    pub dependencies: BTreeSet<String>,
    /// Packages that are needed to build.
    pub development: BTreeSet<String>,
    /// Programs by the package that brings them, from the lock.
    bins: BTreeMap<String, String>,
}

/// Programs of packages that many use, for projects without a lock.
const BINS: &[(&str, &str)] = &[
    ("tsc", "typescript"),
    ("vite", "vite"),
    ("vitest", "vitest"),
    ("webpack", "webpack-cli"),
    ("rollup", "rollup"),
    ("esbuild", "esbuild"),
    ("ng", "@angular/cli"),
    ("react-scripts", "react-scripts"),
    ("next", "next"),
    ("nuxt", "nuxt"),
    ("vue-cli-service", "@vue/cli-service"),
    ("vue-tsc", "vue-tsc"),
    ("svelte-kit", "@sveltejs/kit"),
    ("astro", "astro"),
    ("parcel", "parcel"),
    ("tsup", "tsup"),
    ("nest", "@nestjs/cli"),
    ("tailwindcss", "tailwindcss"),
    ("postcss", "postcss-cli"),
    ("babel", "@babel/cli"),
    ("gulp", "gulp"),
    ("remix", "@remix-run/dev"),
    ("prisma", "prisma"),
    ("ts-node", "ts-node"),
    ("tsx", "tsx"),
    ("nodemon", "nodemon"),
    ("jest", "jest"),
    ("eslint", "eslint"),
    ("turbo", "turbo"),
    ("nx", "nx"),
];

impl Package {
    /// Reads the `package.json` of a directory and the lock beside it.
    pub(super) fn read(directory: &Path, files: &dyn Files) -> Option<Self> {
        let path = directory.join("package.json");
        let text = files.text(&path)?;
        let json: Value = serde_json::from_str(&text).ok()?;
        let names = |key: &str| -> BTreeSet<String> {
            let of = json.get(key).and_then(Value::as_object);
            of.into_iter().flat_map(|of| of.keys().cloned()).collect()
        };
        let scripts = json.get("scripts").and_then(Value::as_object);
        let scripts = scripts
            .into_iter()
            .flatten()
            .filter_map(|(name, script)| Some((name.clone(), script.as_str()?.to_owned())));
        let dependencies = names("dependencies").into_iter().chain(names("optionalDependencies"));
        Some(Self {
            scripts: scripts.collect(),
            dependencies: dependencies.collect(),
            development: names("devDependencies"),
            bins: lock_bins(directory, files).unwrap_or_default(),
            path,
            text,
        })
    }

    /// Returns the development dependency that brings a program which no other dependency brings.
    pub(super) fn development_bin(&self, program: &str) -> Option<&str> {
        let listed = || BINS.iter().find(|(bin, _)| *bin == program).map(|(_, package)| *package);
        let package = match self.bins.get(program) {
            Some(package) => package.as_str(),
            None => listed().or_else(|| self.development.contains(program).then_some(program))?,
        };
        let package = self.development.get(package)?;
        (!self.dependencies.contains(package)).then_some(package.as_str())
    }

    /// Returns where a key stands in quotes.
    pub(super) fn place(&self, key: &str) -> Span {
        let needle = format!("\"{key}\"");
        for (index, line) in self.text.lines().enumerate() {
            if let Some(at) = line.find(&needle) {
                let column = line[..at].chars().count() as u32 + 1;
                let start = Position::new(index as u32 + 1, column);
                let end = Position::new(start.line, column + needle.chars().count() as u32);
                return Span::new(&self.path, start, end);
            }
        }
        Span::at(&self.path, 1, 1)
    }
}

/// Returns the programs of the packages that a `package-lock.json` marks for development alone.
fn lock_bins(directory: &Path, files: &dyn Files) -> Option<BTreeMap<String, String>> {
    let json: Value = serde_json::from_str(&files.text(&directory.join("package-lock.json"))?).ok()?;
    let mut bins = BTreeMap::new();
    for (place, package) in json.get("packages")?.as_object()? {
        let Some(name) = place.strip_prefix("node_modules/").filter(|name| !name.contains("/node_modules/"))
        else {
            continue;
        };
        match package.get("bin") {
            Some(Value::Object(of)) => {
                bins.extend(of.keys().map(|bin| (bin.clone(), name.to_owned())));
            }
            Some(Value::String(_)) => {
                let bin = name.rsplit('/').next().unwrap_or(name);
                bins.insert(bin.to_owned(), name.to_owned());
            }
            _ => {}
        }
    }
    Some(bins)
}

//! The list of everything that is installed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::distribution::{self, Distribution};
use crate::{Ecosystem, FileTree, Package, binaries, languages};

/// What is installed in a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The distribution.
    pub distribution: Option<Distribution>,
    /// The packages, sorted; each once.
    pub packages: Vec<Package>,
    /// What is there but could not be listed.
    pub notes: Vec<String>,
}

/// Lists what is installed in a tree.
pub fn inventory(tree: &dyn FileTree) -> io::Result<Inventory> {
    let files = tree.files()?;
    let mut packages = distribution::debian(tree, &files)?;
    packages.extend(distribution::alpine(tree)?);
    packages.extend(languages::python(tree, &files)?);
    packages.extend(languages::node(tree, &files)?);
    packages.extend(binaries::binaries(tree, &files)?);
    // The same package found twice (a lock file and a module, two programs) is one; what is known of it is joined.
    let mut once: BTreeMap<(Ecosystem, String, String, Option<String>), Package> = BTreeMap::new();
    for package in packages {
        let key =
            (package.ecosystem, package.name.clone(), package.version.clone(), package.architecture.clone());
        match once.get_mut(&key) {
            None => drop(once.insert(key, package)),
            Some(known) => {
                if known.licences.is_empty() {
                    known.licences = package.licences;
                }
                known.checksum = known.checksum.take().or(package.checksum);
                let depends: BTreeSet<String> = known.depends.drain(..).chain(package.depends).collect();
                known.depends = depends.into_iter().collect();
            }
        }
    }
    let mut notes = Vec::new();
    let rpm = ["var/lib/rpm/", "usr/lib/sysimage/rpm/"];
    if files.iter().any(|file| rpm.iter().any(|directory| file.path.starts_with(directory))) {
        notes.push("there is an RPM database; packages of RPM are not listed".to_owned());
    }
    Ok(Inventory { distribution: Distribution::read(tree)?, packages: once.into_values().collect(), notes })
}

impl Inventory {
    /// Returns which packages each needs, by their places in [`Inventory::packages`]. What is not installed is left out.
    pub fn dependencies(&self) -> Vec<Vec<usize>> {
        let mut places: BTreeMap<(Ecosystem, &str), usize> = BTreeMap::new();
        for (index, package) in self.packages.iter().enumerate() {
            places.entry((package.ecosystem, package.name.as_str())).or_insert(index);
        }
        let needs = |package: &Package| {
            let found = |name: &String| places.get(&(package.ecosystem, name.as_str())).copied();
            package.depends.iter().filter_map(found).collect()
        };
        self.packages.iter().map(needs).collect()
    }
}

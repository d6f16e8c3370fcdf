//! The layer check: every dependency between our crates must stand in the table of `ARCHITECTURE.md`.
//!
//! The table is read from the document itself, so that it cannot drift from the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

const PREFIX: &str = "coracle-";
/// The binary's package, which carries the product's bare name.
const BINARY: (&str, &str) = ("coracle", "cli");
const VOCABULARY: [&str; 3] = ["oci", "report", "container"];
const ANY: &str = "any";

/// The table: each crate with the crates it may use.
type Table = BTreeMap<String, BTreeSet<String>>;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// Compares `cargo metadata` with the table and fails on every arrow that is not listed.
pub fn check() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let document =
        std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("reading ARCHITECTURE.md")?;
    let table = parse_table(&document)?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let violations = violations(&table, &metadata);
    if violations.is_empty() {
        #[expect(clippy::print_stdout, reason = "a development command speaks to its caller")]
        {
            println!("layers: {} crates, every arrow stands in ARCHITECTURE.md", table.len());
        }
        Ok(())
    } else {
        bail!("arrows that ARCHITECTURE.md does not list:\n  {}", violations.join("\n  "))
    }
}

fn violations(table: &Table, metadata: &Metadata) -> Vec<String> {
    let mut found = Vec::new();
    let mut present = BTreeSet::new();
    for package in &metadata.packages {
        let Some(name) = room(&package.name) else { continue };
        present.insert(name.to_owned());
        let Some(row) = table.get(name) else {
            found.push(format!("crate `{name}` has no row"));
            continue;
        };
        for dependency in &package.dependencies {
            let test_only = dependency.kind.as_deref() == Some("dev");
            let Some(target) = room(&dependency.name).filter(|_| dependency.path.is_some()) else { continue };
            let allowed = row.contains(target) || row.contains(ANY) || (test_only && target == "testkit");
            if !allowed {
                found.push(format!("{name} -> {target}"));
            }
        }
    }
    for name in table.keys().filter(|name| !present.contains(*name)) {
        found.push(format!("row `{name}` has no crate"));
    }
    found
}

/// Returns a package's bare name when it is one of ours.
fn room(package: &str) -> Option<&str> {
    if package == BINARY.0 {
        return Some(BINARY.1);
    }
    package.strip_prefix(PREFIX).or_else(|| (package == "xtask").then_some("xtask"))
}

/// Reads the rows `| floor | crate | owns | may use |`; a crate cell may hold several names.
fn parse_table(document: &str) -> Result<Table> {
    let mut table = Table::new();
    let mut floors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in document.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [floor, names, _, may_use] = cells.as_slice() else { continue };
        if !line.starts_with('|') || *floor == "floor" || floor.starts_with('-') {
            continue;
        }
        for name in names.split(',').map(|name| name.trim().trim_matches('`')) {
            floors.entry((*floor).to_owned()).or_default().insert(name.to_owned());
            if table.insert(name.to_owned(), words(may_use)).is_some() {
                bail!("crate `{name}` has two rows in ARCHITECTURE.md");
            }
        }
    }
    if table.is_empty() {
        bail!("ARCHITECTURE.md holds no table of crates");
    }
    for row in table.values_mut() {
        if row.remove("vocabulary") {
            row.extend(VOCABULARY.map(str::to_owned));
        }
        if row.remove("floors 2-4") {
            for floor in ["2", "3", "4"] {
                row.extend(floors.get(floor).into_iter().flatten().cloned());
            }
        }
    }
    Ok(table)
}

fn words(cell: &str) -> BTreeSet<String> {
    let words = cell.split(',').map(|word| word.split('(').next().unwrap_or(word).trim().trim_matches('`'));
    words.filter(|word| !word.is_empty() && *word != "-").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
| floor | crate | owns | may use |
|---|---|---|---|
| 1 | `oci` | digests | - |
| 2 | `store` | blobs | oci |
| 5 | `engine` | all | floors 2-4, vocabulary |
| dev | `testkit`, `xtask` | tests | any |
";

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies.iter().map(|(name, kind)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            path: Some("/somewhere".to_owned()),
        });
        Package { name: name.to_owned(), dependencies: dependencies.collect() }
    }

    fn house(store: Package) -> Metadata {
        let engine = package("coracle-engine", &[("coracle-store", None), ("coracle-oci", None)]);
        let rest = ["coracle-oci", "coracle-testkit", "xtask"].map(|name| package(name, &[]));
        Metadata { packages: [store, engine].into_iter().chain(rest).collect() }
    }

    #[test]
    fn listed_arrows_pass() {
        let table = parse_table(TABLE).unwrap();
        let store = package("coracle-store", &[("coracle-oci", None), ("coracle-testkit", Some("dev"))]);
        assert_eq!(violations(&table, &house(store)), Vec::<String>::new());
    }

    #[test]
    fn other_arrows_are_named() {
        let table = parse_table(TABLE).unwrap();
        let store = package("coracle-store", &[("coracle-engine", None), ("coracle-testkit", None)]);
        assert_eq!(violations(&table, &house(store)), ["store -> engine", "store -> testkit"]);
    }

    #[test]
    fn rows_and_crates_must_agree() {
        let table = parse_table(TABLE).unwrap();
        let metadata = Metadata { packages: vec![package("coracle-attic", &[])] };
        let found = violations(&table, &metadata);
        assert!(found.contains(&"crate `attic` has no row".to_owned()));
        assert!(found.contains(&"row `store` has no crate".to_owned()));
    }
}

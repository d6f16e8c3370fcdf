//! Distributions and their package databases: dpkg, apk.

use std::collections::BTreeSet;
use std::io;

use base64::Engine as _;

use crate::licences::debian_copyright;
use crate::{Ecosystem, FileEntry, FileTree, Package};

/// Largest database that is read; a full desktop's is some 10 MB.
const MAX_DATABASE: u64 = 128 << 20;
const MAX_COPYRIGHT: u64 = 4 << 20;

/// What `os-release` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// `ID`, e.g. `debian`.
    pub id: String,
    /// `VERSION_ID`, e.g. `12`; may be empty.
    pub version: String,
    /// `PRETTY_NAME`.
    pub name: String,
}

impl Distribution {
    /// Reads `/etc/os-release`, or else `/usr/lib/os-release`.
    pub fn read(tree: &dyn FileTree) -> io::Result<Option<Self>> {
        for path in ["etc/os-release", "usr/lib/os-release"] {
            let Some(bytes) = tree.read(path, 64 << 10)? else { continue };
            let text = String::from_utf8_lossy(&bytes);
            let value = |name: &str| {
                text.lines().find_map(|line| {
                    let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
                    Some(value.trim_matches(['"', '\'']).to_owned())
                })
            };
            if let Some(id) = value("ID").filter(|id| !id.is_empty()) {
                let name = value("PRETTY_NAME").unwrap_or_else(|| id.clone());
                return Ok(Some(Self { id, version: value("VERSION_ID").unwrap_or_default(), name }));
            }
        }
        Ok(None)
    }

    /// Returns the value of a package URL's `distro`.
    pub fn tag(&self) -> String {
        if self.version.is_empty() { self.id.clone() } else { format!("{}-{}", self.id, self.version) }
    }
}

/// Reads the packages of dpkg: `status`, and `status.d` of images made without dpkg.
pub fn debian(tree: &dyn FileTree, files: &[FileEntry]) -> io::Result<Vec<Package>> {
    const STATUS: &str = "var/lib/dpkg/status";
    let mut all = Vec::new();
    let mut paths = vec![STATUS];
    paths.extend(files.iter().map(|file| file.path.as_str()).filter(|path| {
        path.strip_prefix("var/lib/dpkg/status.d/").is_some_and(|name| !name.ends_with(".md5sums"))
    }));
    for path in paths {
        let Some(bytes) = tree.read(path, MAX_DATABASE)? else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for paragraph in text.split("\n\n") {
            let Some(mut package) = debian_package(paragraph, path) else { continue };
            let copyright = format!("usr/share/doc/{}/copyright", package.name);
            if let Some(bytes) = tree.read(&copyright, MAX_COPYRIGHT)? {
                package.licences = debian_copyright(&String::from_utf8_lossy(&bytes));
            }
            all.push(package);
        }
    }
    Ok(all)
}

fn debian_package(paragraph: &str, path: &str) -> Option<Package> {
    let field = |name: &str| {
        paragraph.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let (name, version) = (field("Package")?, field("Version")?);
    // Removed packages whose configuration stayed are not installed; status.d has no such line.
    if field("Status").is_some_and(|status| !status.ends_with(" installed")) {
        return None;
    }
    let mut package = Package::new(Ecosystem::Debian, name, version, path);
    package.architecture = field("Architecture").map(str::to_owned);
    package.supplier = field("Maintainer").map(str::to_owned);
    package.source = field("Source").map(|source| match source.split_once(" (") {
        Some((name, version)) => (name.to_owned(), version.trim_end_matches(')').to_owned()),
        None => (source.to_owned(), version.to_owned()),
    });
    let mut depends = BTreeSet::new();
    for list in [field("Depends"), field("Pre-Depends")].into_iter().flatten() {
        for alternatives in list.split(',') {
            for name in alternatives.split('|') {
                let name = name.split(['(', ':', '[']).next().unwrap_or_default().trim();
                if !name.is_empty() {
                    depends.insert(name.to_owned());
                }
            }
        }
    }
    package.depends = depends.into_iter().collect();
    Some(package)
}

/// Reads the packages of apk.
pub fn alpine(tree: &dyn FileTree) -> io::Result<Vec<Package>> {
    let mut all = Vec::new();
    for path in ["lib/apk/db/installed", "usr/lib/apk/db/installed"] {
        let Some(bytes) = tree.read(path, MAX_DATABASE)? else { continue };
        let text = String::from_utf8_lossy(&bytes);
        all.extend(text.split("\n\n").filter_map(|record| alpine_package(record, path)));
        break;
    }
    Ok(all)
}

fn alpine_package(record: &str, path: &str) -> Option<Package> {
    let field = |letter: &str| {
        record.lines().find_map(|line| line.strip_prefix(letter)?.strip_prefix(':').map(str::trim))
    };
    let mut package = Package::new(Ecosystem::Alpine, field("P")?, field("V")?, path);
    package.architecture = field("A").map(str::to_owned);
    package.licences = field("L").map(str::to_owned).into_iter().collect();
    package.supplier = field("m").map(str::to_owned);
    package.source = field("o")
        .filter(|origin| *origin != package.name)
        .map(|origin| (origin.to_owned(), package.version.clone()));
    // `Q1` and base64 of a SHA-1.
    package.checksum = field("C").and_then(|text| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.strip_prefix("Q1")?).ok()?;
        Some(("SHA1", hex::encode(bytes)))
    });
    let depends = field("D").unwrap_or_default().split_whitespace();
    let depends: BTreeSet<String> = depends
        .filter(|word| !word.starts_with('!') && !word.contains(':'))
        .map(|word| word.split(['<', '>', '=', '~']).next().unwrap_or_default().to_owned())
        .collect();
    package.depends = depends.into_iter().collect();
    Some(package)
}

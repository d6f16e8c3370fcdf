//! Packages of languages: Python's and Node's metadata files.

use std::io;

use base64::Engine as _;
use serde_json::Value;

use crate::{Ecosystem, FileEntry, FileTree, Package};

/// Largest metadata file that is read; the description of a package is in it.
const MAX_METADATA: u64 = 4 << 20;
/// Largest lock file that is read.
const MAX_LOCK: u64 = 64 << 20;

/// Reads the packages of Python: `*.dist-info/METADATA`, `*.egg-info/PKG-INFO` and `*.egg-info` files.
pub fn python(tree: &dyn FileTree, files: &[FileEntry]) -> io::Result<Vec<Package>> {
    let mut all = Vec::new();
    for file in files {
        let path = file.path.as_str();
        let is_metadata = path.ends_with(".dist-info/METADATA")
            || path.ends_with(".egg-info/PKG-INFO")
            || path.ends_with(".egg-info");
        if !is_metadata {
            continue;
        }
        let Some(bytes) = tree.read(path, MAX_METADATA)? else { continue };
        let text = String::from_utf8_lossy(&bytes);
        // The description follows an empty line.
        let head = text.split("\n\n").next().unwrap_or_default();
        let fields = |name: &'static str| {
            head.lines().filter_map(move |line| {
                let (key, value) = line.split_once(':')?;
                let value = value.trim();
                (key.eq_ignore_ascii_case(name) && !value.is_empty() && value != "UNKNOWN").then_some(value)
            })
        };
        let (Some(name), Some(version)) = (fields("Name").next(), fields("Version").next()) else { continue };
        let mut package = Package::new(Ecosystem::Python, name, version, path);
        let classified = || {
            let licence = fields("Classifier").find(|text| text.starts_with("License ::"))?;
            licence.rsplit(" :: ").next().map(str::to_owned)
        };
        // Some put the whole text of their licence into the field.
        let plain = fields("License").next().filter(|text| text.len() < 60).map(str::to_owned);
        package.licences = fields("License-Expression")
            .next()
            .map(str::to_owned)
            .or(plain)
            .or_else(classified)
            .into_iter()
            .collect();
        package.supplier = fields("Author-email").chain(fields("Author")).next().map(str::to_owned);
        package.depends = {
            let mut names: Vec<String> = fields("Requires-Dist")
                .filter(|requirement| !requirement.contains("extra =="))
                .map(|requirement| {
                    let end = requirement
                        .find(|letter: char| !(letter.is_ascii_alphanumeric() || "-_.".contains(letter)));
                    requirement[..end.unwrap_or(requirement.len())].to_owned()
                })
                .collect();
            names.sort();
            names.dedup();
            names
        };
        all.push(package);
    }
    Ok(all)
}

/// Reads the packages of Node: `package.json` of everything in a `node_modules`, and lock files.
pub fn node(tree: &dyn FileTree, files: &[FileEntry]) -> io::Result<Vec<Package>> {
    let mut all = Vec::new();
    for file in files {
        let path = file.path.as_str();
        if path.ends_with("/package.json") && is_module(path) {
            let Some(bytes) = tree.read(path, MAX_METADATA)? else { continue };
            let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { continue };
            let (Some(name), Some(version)) = (value["name"].as_str(), value["version"].as_str()) else {
                continue;
            };
            let mut package = Package::new(Ecosystem::Node, name, version, path);
            package.licences = node_licence(&value);
            package.depends = keys(&value["dependencies"]);
            all.push(package);
        } else if path.ends_with("package-lock.json") && !path.contains("node_modules/") {
            let Some(bytes) = tree.read(path, MAX_LOCK)? else { continue };
            let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { continue };
            all.extend(locked(&value, path));
        }
    }
    Ok(all)
}

/// Returns whether a `package.json` is that of a module itself, not of something within it.
fn is_module(path: &str) -> bool {
    let Some(at) = path.rfind("node_modules/") else { return false };
    let parts: Vec<&str> = path[at + "node_modules/".len()..].split('/').collect();
    match parts.as_slice() {
        [name, _] => !name.starts_with(['@', '.']),
        [scope, _, _] => scope.starts_with('@'),
        _ => false,
    }
}

fn locked(lock: &Value, path: &str) -> Vec<Package> {
    let Some(packages) = lock["packages"].as_object() else { return Vec::new() };
    let mut all = Vec::new();
    for (place, entry) in packages {
        let Some(at) = place.rfind("node_modules/") else { continue };
        let name = &place[at + "node_modules/".len()..];
        let Some(version) = entry["version"].as_str() else { continue };
        // Tools of development are listed in the lock but not installed for production.
        if entry["dev"].as_bool() == Some(true) || entry["link"].as_bool() == Some(true) {
            continue;
        }
        let mut package = Package::new(Ecosystem::Node, name, version, path);
        package.licences = node_licence(entry);
        package.depends = keys(&entry["dependencies"]);
        package.checksum = entry["integrity"].as_str().and_then(|text| {
            let bytes =
                base64::engine::general_purpose::STANDARD.decode(text.strip_prefix("sha512-")?).ok()?;
            Some(("SHA512", hex::encode(bytes)))
        });
        all.push(package);
    }
    all
}

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> =
        value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default();
    keys.sort();
    keys
}

fn node_licence(value: &Value) -> Vec<String> {
    let one = |value: &Value| {
        value.as_str().or_else(|| value["type"].as_str()).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    match &value["licenses"] {
        Value::Array(list) => list.iter().filter_map(one).collect(),
        _ => one(&value["license"]).into_iter().collect(),
    }
}

//! An image as text, so that two can be compared: the archive that `save` writes, to sorted lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::case::FILE_TIME;

/// Returns what an archive of `docker save` holds: configuration, history, and what each layer above the
/// first `below` layers changes; how a layer says it (opaque or single whiteouts, parents named again) is its own.
pub fn image(archive: &[u8], below: usize) -> Value {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("the entry's bytes");
        files.insert(name, bytes);
    }
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).expect("a manifest");
    let config = manifest[0]["Config"].as_str().expect("the configuration's name");
    let config: Value = serde_json::from_slice(&files[config]).expect("a configuration");
    let layers = manifest[0]["Layers"].as_array().expect("layers");
    let mut tree = Tree::default();
    let mut changes = Vec::new();
    for (index, name) in layers.iter().enumerate() {
        let changed = tree.apply(&files[name.as_str().expect("a layer's name")]);
        if index >= below {
            changes.push(Value::from(changed));
        }
    }
    json!({
        "platform": [config["os"], config["architecture"], config["variant"]],
        "config": stripped(&config["config"]),
        "history": history(&config["history"], below),
        "layers": changes,
    })
}

/// Returns a configuration without what says nothing: null, "", [], {}, false, 0.
fn stripped(config: &Value) -> Value {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    };
    let entries = config.as_object().into_iter().flatten();
    // What older engines wrote of a container into each image; neither builder fills it.
    let old = ["Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin"];
    let mut sorted: Vec<(&String, &Value)> =
        entries.filter(|(name, value)| says(value) && !old.contains(&name.as_str())).collect();
    sorted.sort_by_key(|(name, _)| *name);
    Value::Object(
        sorted.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>(),
    )
}

fn history(history: &Value, below: usize) -> Vec<Value> {
    let mut layers = 0;
    let mut shown = Vec::new();
    for entry in history.as_array().into_iter().flatten() {
        let empty = entry["empty_layer"] == true;
        if layers >= below {
            let words = entry["created_by"].as_str().unwrap_or_default();
            let mut line = format!("{}{words}", if empty { "- " } else { "+ " });
            if let Some(comment) = entry["comment"].as_str() {
                let _ = write!(line, " ({comment})");
            }
            shown.push(line.into());
        }
        layers += usize::from(!empty);
    }
    shown
}

/// A file system as layers make it: what stands at each path, described in one line.
#[derive(Clone, Default)]
struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Applies a layer and returns what it changed: `+` is new or other than before, `-` is gone (topmost only).
    fn apply(&mut self, layer: &[u8]) -> Vec<String> {
        let before = self.clone();
        let entries = entries(layer);
        // A layer's whiteouts hide what lies below it, never what it brings itself.
        for (path, _) in &entries {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            match name.strip_prefix(".wh.") {
                Some(".wh..opq") => self.remove_below(parent),
                Some(hidden) => self.remove(&joined(parent, hidden)),
                None => {}
            }
        }
        for (path, line) in entries {
            if path.rsplit('/').next().is_some_and(|name| name.starts_with(".wh.")) {
                continue;
            }
            if !line.starts_with('d') {
                self.remove_below(&path);
            }
            let line = match line.strip_prefix("h -> ") {
                Some(target) => {
                    let target =
                        self.0.get(target).unwrap_or_else(|| panic!("{path}: no `{target}` to link to"));
                    target.clone()
                }
                None => line,
            };
            self.0.insert(path, line);
        }
        let changed = self.0.iter().filter(|(path, line)| before.0.get(*path) != Some(line));
        let mut lines: Vec<String> = changed.map(|(path, line)| format!("+ {path} {line}")).collect();
        let mut gone: Vec<&String> = before.0.keys().filter(|path| !self.0.contains_key(*path)).collect();
        let all = gone.clone();
        gone.retain(|path| {
            let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
            !parents.into_iter().any(|parent| all.iter().any(|path| *path == parent))
        });
        lines.extend(gone.into_iter().map(|path| format!("- {path}")));
        lines
    }

    fn remove(&mut self, path: &str) {
        self.0.remove(path);
        self.remove_below(path);
    }

    fn remove_below(&mut self, path: &str) {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        self.0.retain(|other, _| !other.starts_with(&prefix) || other.is_empty());
    }
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

/// Returns a layer's entries in order: path, and kind, mode, owner, and what it is.
fn entries(layer: &[u8]) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries().expect("a layer is an archive") {
        let mut entry = entry.expect("an entry");
        let header = entry.header().clone();
        let name = plain(&entry.path_bytes());
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => 'l',
            tar::EntryType::Link => 'h',
            tar::EntryType::Fifo => 'p',
            tar::EntryType::Char => 'c',
            tar::EntryType::Block => 'b',
            _ => '-',
        };
        if kind == 'h' {
            let target = plain(&entry.link_name_bytes().expect("a hard link names its file"));
            lines.push((name, format!("h -> {target}")));
            continue;
        }
        let mode = header.mode().expect("a mode") & 0o7777;
        let mut line = format!(
            "{kind}{mode:04o} {}:{}",
            header.uid().expect("an owner"),
            header.gid().expect("a group")
        );
        if let Some(target) = entry.link_name_bytes() {
            let _ = write!(line, " -> {}", String::from_utf8_lossy(&target));
        }
        for field in entry.pax_extensions().ok().flatten().into_iter().flatten().flatten() {
            if let Some(name) = field.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr.")) {
                let _ = write!(line, " {name}={}", hex::encode(field.value_bytes()));
            }
        }
        if kind == '-' {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("the file's bytes");
            let _ = write!(line, " {} {}", bytes.len(), &hex::encode(Sha256::digest(&bytes))[..16]);
        }
        // Times of what steps make are the moment's; times that come from a context or a server are kept.
        match header.mtime().expect("a time") {
            // A directory's time changes with whatever is made in it.
            _ if kind == 'd' => {}
            FILE_TIME => line.push_str(" old"),
            time if time < FILE_TIME => line.push_str(" zero"),
            _ => {}
        }
        lines.push((name, line));
    }
    lines
}

/// Returns an entry's path without `./` and `/` around it.
fn plain(path: &[u8]) -> String {
    String::from_utf8_lossy(path).trim_start_matches("./").trim_matches('/').to_owned()
}

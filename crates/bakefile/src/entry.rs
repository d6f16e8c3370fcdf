//! Entries of named fields: outputs, caches, secrets, attestations, SSH.

use std::collections::BTreeMap;

use crate::attribute::Attribute;
use crate::types::fields;
use crate::value::Value;

/// Fields by name.
pub type Entry = BTreeMap<String, String>;

/// Reads an entry from a text such as `type=registry,ref=user/app:cache`, or from an object.
pub(crate) fn entry(attribute: Attribute, value: &Value) -> Result<Entry, String> {
    let mut found = match value {
        Value::String(text) => from_text(attribute, text)?,
        Value::Map(map) => {
            let mut found = Entry::new();
            for (name, value) in map {
                match value {
                    Value::Null => {}
                    Value::List(items) => {
                        let words: Option<Vec<String>> = items.iter().map(Value::as_text).collect();
                        let words = words.ok_or_else(|| format!("`{name}` is a list of strings"))?;
                        found.insert(name.clone(), words.join(","));
                    }
                    value => {
                        let text = value.as_text().ok_or_else(|| format!("`{name}` is a string"))?;
                        found.insert(name.clone(), text);
                    }
                }
            }
            found
        }
        other => return Err(format!("an entry is a string or an object, not {}", crate::eval::a(other))),
    };
    let needed = match attribute {
        Attribute::Secret => {
            for (long, short) in [("source", "src"), ("file", "src")] {
                if let Some(path) = found.remove(long) {
                    found.insert(short.to_owned(), path);
                }
            }
            let kind = found.remove("type");
            if kind.as_deref() == Some("env")
                && !found.contains_key("env")
                && let Some(name) = found.remove("src")
            {
                found.insert("env".to_owned(), name);
            }
            "id"
        }
        Attribute::Ssh => {
            found.entry("id".to_owned()).or_insert_with(|| "default".to_owned());
            "id"
        }
        _ => {
            if attribute == Attribute::Output && !found.contains_key("type") && found.contains_key("dest") {
                found.insert("type".to_owned(), "local".to_owned());
            }
            "type"
        }
    };
    if attribute == Attribute::Secret && !found.contains_key("id") {
        let id = found.get("src").or_else(|| found.get("env")).cloned();
        found.extend(id.map(|id| ("id".to_owned(), id)));
    }
    if found.get(needed).is_none_or(String::is_empty) {
        return Err(format!("an entry of `{}` needs `{needed}`", attribute.name()));
    }
    Ok(found)
}

fn from_text(attribute: Attribute, text: &str) -> Result<Entry, String> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    if attribute == Attribute::Ssh {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let mut found = Entry::from([pair("id", id)]);
        if !paths.is_empty() {
            found.extend([pair("paths", paths)]);
        }
        return Ok(found);
    }
    let words = fields(text)?;
    let plain = words.len() == 1 && !text.contains('=');
    match attribute {
        Attribute::CacheFrom | Attribute::CacheTo if plain => {
            return Ok(Entry::from([pair("type", "registry"), pair("ref", text)]));
        }
        Attribute::Output if plain && text == "-" => {
            return Ok(Entry::from([pair("type", "tar"), pair("dest", "-")]));
        }
        Attribute::Output if plain => return Ok(Entry::from([pair("type", "local"), pair("dest", text)])),
        _ => {}
    }
    let mut found = Entry::new();
    for word in words {
        let (name, value) =
            word.split_once('=').ok_or_else(|| format!("`{word}` is not NAME=VALUE (of `{text}`)"))?;
        found.insert(name.trim().to_lowercase(), value.to_owned());
    }
    Ok(found)
}

/// What makes two entries the same: a later one replaces an earlier.
pub(crate) fn identity(attribute: Attribute, entry: &Entry) -> Option<String> {
    match attribute {
        Attribute::Attest => entry.get("type").cloned(),
        Attribute::Secret | Attribute::Ssh => entry.get("id").cloned(),
        _ => None,
    }
}

/// Writes an entry as it is written in `--print`.
pub(crate) fn printed(attribute: Attribute, entry: &Entry) -> serde_json::Value {
    let mut map = serde_json::Map::new();
    let order: &[&str] = match attribute {
        Attribute::Secret => &["id", "src", "env"],
        Attribute::Ssh => &["id"],
        _ => &[],
    };
    for name in order {
        if let Some(value) = entry.get(*name) {
            map.insert((*name).to_owned(), value.clone().into());
        }
    }
    for (name, value) in entry {
        if attribute == Attribute::Ssh && name == "paths" {
            map.insert(name.clone(), value.split(',').collect());
        } else if attribute == Attribute::Attest && name == "disabled" {
            map.insert(name.clone(), (value == "true").into());
        } else if !map.contains_key(name) {
            map.insert(name.clone(), value.clone().into());
        }
    }
    serde_json::Value::Object(map)
}

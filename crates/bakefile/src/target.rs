//! A target: its settings, how they are merged, overridden and printed.

use std::collections::{BTreeMap, BTreeSet};

use coracle_report::Span;
use indexmap::IndexMap;

use crate::attribute::{Attribute, Merge, Shape};
use crate::entry::{self, Entry};
use crate::value::Value;

/// What an attribute is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A text.
    Text(String),
    /// True or false.
    Flag(bool),
    /// Texts.
    Texts(Vec<String>),
    /// Texts by name.
    Pairs(BTreeMap<String, String>),
    /// Entries.
    Entries(Vec<Entry>),
}

/// A target with its settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What is set.
    pub settings: BTreeMap<Attribute, Setting>,
    /// Where it is set, when a file says so.
    pub places: BTreeMap<Attribute, Span>,
    /// Where the target is defined.
    pub span: Option<Span>,
    /// Targets whose settings it starts from.
    pub(crate) inherits: Vec<String>,
}

impl Target {
    /// Returns a target that sets nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Returns a text.
    pub fn text(&self, attribute: Attribute) -> Option<&str> {
        match self.settings.get(&attribute)? {
            Setting::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns whether a flag is set to true.
    pub fn flag(&self, attribute: Attribute) -> bool {
        matches!(self.settings.get(&attribute), Some(Setting::Flag(true)))
    }

    /// Returns texts; none when nothing is set.
    pub fn texts(&self, attribute: Attribute) -> &[String] {
        match self.settings.get(&attribute) {
            Some(Setting::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// Returns texts by name; none when nothing is set.
    pub fn pairs(&self, attribute: Attribute) -> impl Iterator<Item = (&str, &str)> {
        let pairs = match self.settings.get(&attribute) {
            Some(Setting::Pairs(pairs)) => Some(pairs),
            _ => None,
        };
        pairs.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns entries; none when nothing is set.
    pub fn entries(&self, attribute: Attribute) -> &[Entry] {
        match self.settings.get(&attribute) {
            Some(Setting::Entries(entries)) => entries,
            _ => &[],
        }
    }

    /// Returns the targets whose results are contexts, with the contexts' names.
    pub fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(Attribute::Contexts)
            .filter_map(|(name, value)| Some((name, value.strip_prefix("target:")?)))
    }

    /// Sets a text.
    pub fn set_text(&mut self, attribute: Attribute, text: impl Into<String>) {
        self.settings.insert(attribute, Setting::Text(text.into()));
    }

    /// Lays `other` over this target.
    pub(crate) fn lay_over(&mut self, other: &Self) {
        for (attribute, setting) in &other.settings {
            merge(&mut self.settings, *attribute, setting.clone(), attribute.merge());
        }
        self.places.extend(other.places.iter().map(|(attribute, place)| (*attribute, place.clone())));
        self.inherits.extend(other.inherits.iter().cloned());
        if other.span.is_some() {
            self.span.clone_from(&other.span);
        }
    }

    /// Drops what is given twice and what says nothing.
    pub(crate) fn normalise(&mut self) {
        if self.text(Attribute::Network) == Some("host") {
            let host = Setting::Texts(vec!["network.host".to_owned()]);
            merge(&mut self.settings, Attribute::Entitlements, host, Merge::Append);
        }
        for setting in self.settings.values_mut() {
            match setting {
                Setting::Texts(texts) => unique(texts),
                Setting::Entries(entries) => unique(entries),
                _ => {}
            }
        }
        if let Some(Setting::Pairs(contexts)) = self.settings.get_mut(&Attribute::Contexts) {
            contexts.retain(|_, value| !value.is_empty());
        }
        if self.text(Attribute::Dockerfile).is_none_or(str::is_empty) {
            self.set_text(Attribute::Dockerfile, "Dockerfile");
        }
        if self.text(Attribute::Context).is_none() {
            self.set_text(Attribute::Context, ".");
        }
        self.inherits.clear();
    }

    /// Returns the target as `--print` shows it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let escaped = |text: &str| text.replace("${", "$${").replace("%{", "%%{");
        let mut out = serde_json::Map::new();
        for (attribute, setting) in &self.settings {
            let plain = matches!(
                attribute,
                Attribute::Annotations
                    | Attribute::DockerfileInline
                    | Attribute::Labels
                    | Attribute::Args
                    | Attribute::ExtraHosts
            );
            let text =
                |text: &str| serde_json::Value::from(if plain { escaped(text) } else { text.to_owned() });
            let value = match setting {
                Setting::Text(value) => text(value),
                Setting::Flag(flag) => (*flag).into(),
                Setting::Texts(texts) if texts.is_empty() => continue,
                Setting::Pairs(pairs) if pairs.is_empty() => continue,
                Setting::Entries(entries) if entries.is_empty() => continue,
                Setting::Texts(texts) => texts.iter().map(|value| text(value)).collect(),
                Setting::Pairs(pairs) => serde_json::Value::Object(
                    pairs.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
                ),
                Setting::Entries(entries) => {
                    entries.iter().map(|entry| entry::printed(*attribute, entry)).collect()
                }
            };
            out.insert(attribute.name().to_owned(), value);
        }
        serde_json::Value::Object(out)
    }
}

fn unique<T: PartialEq + Clone>(items: &mut Vec<T>) {
    let mut seen: Vec<T> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    *items = seen;
}

/// Lays a setting over what is there.
pub(crate) fn merge(
    settings: &mut BTreeMap<Attribute, Setting>,
    attribute: Attribute,
    setting: Setting,
    how: Merge,
) {
    match (settings.get_mut(&attribute), setting) {
        (Some(Setting::Pairs(old)), Setting::Pairs(new)) if how == Merge::Append => old.extend(new),
        (Some(Setting::Texts(old)), Setting::Texts(new)) if how == Merge::Append => old.extend(new),
        (Some(Setting::Entries(old)), Setting::Entries(new)) if how == Merge::Append => {
            for entry in new {
                let identity = entry::identity(attribute, &entry);
                let same = old
                    .iter()
                    .position(|other| identity.is_some() && entry::identity(attribute, other) == identity);
                match same {
                    Some(at) => old[at] = entry,
                    None => old.push(entry),
                }
            }
        }
        (_, setting) => {
            settings.insert(attribute, setting);
        }
    }
}

/// Reads a value as an attribute's setting; `None` for null, which sets nothing.
pub(crate) fn setting(attribute: Attribute, value: Value) -> Result<Option<Setting>, String> {
    let kind = crate::eval::a(&value);
    if value == Value::Null {
        return Ok(None);
    }
    let texts = |value: &Value| -> Result<Vec<String>, String> {
        let items = value.as_items().ok_or_else(|| format!("a list of strings is needed, not {kind}"))?;
        items
            .iter()
            .filter(|item| **item != Value::Null)
            .map(|item| {
                item.as_text().ok_or_else(|| format!("a string is needed, not {}", crate::eval::a(item)))
            })
            .collect()
    };
    Ok(Some(match attribute.shape() {
        Shape::Text => {
            Setting::Text(value.as_text().ok_or_else(|| format!("a string is needed, not {kind}"))?)
        }
        Shape::Flag => Setting::Flag(value.as_bool().ok_or_else(|| format!("a bool is needed, not {kind}"))?),
        Shape::Texts => Setting::Texts(texts(&value)?),
        Shape::Pairs => {
            let Value::Map(map) = value else {
                return Err(format!("a map of strings is needed, not {kind}"));
            };
            let mut pairs = BTreeMap::new();
            for (name, value) in map {
                if value != Value::Null {
                    let text = value.as_text();
                    let text =
                        text.ok_or_else(|| format!("`{name}` is a string, not {}", crate::eval::a(&value)))?;
                    pairs.insert(name, text);
                }
            }
            Setting::Pairs(pairs)
        }
        Shape::Entries => {
            let items = value.as_items().ok_or_else(|| format!("a list of entries is needed, not {kind}"))?;
            let items = items.iter().filter(|item| **item != Value::Null && **item != Value::text(""));
            Setting::Entries(items.map(|item| entry::entry(attribute, item)).collect::<Result<_, _>>()?)
        }
    }))
}

/// What a definition comes down to for the targets that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    /// Groups that were asked for, with the targets in them; `default` is what was asked for.
    pub groups: IndexMap<String, Vec<String>>,
    /// Targets that are built, by name; those that are only another's context too.
    pub targets: BTreeMap<String, Target>,
    /// Those of the targets that are only another's context.
    pub linked: BTreeSet<String>,
}

impl Selected {
    /// Returns the selection without some targets; those that others have as contexts stay, and are only that.
    #[must_use]
    pub fn without(&self, names: &BTreeSet<String>) -> Self {
        let mut rest = self.clone();
        rest.targets.retain(|name, _| !names.contains(name) && !self.linked.contains(name));
        let mut open: Vec<String> = rest.targets.keys().cloned().collect();
        while let Some(name) = open.pop() {
            for (_, other) in self.targets[&name].links() {
                if rest.targets.contains_key(other) {
                    continue;
                }
                // Links were looked at when the targets were selected.
                if let Some(target) = self.targets.get(other) {
                    let mut target = target.clone();
                    let nothing = Entry::from([("type".to_owned(), "cacheonly".to_owned())]);
                    target.settings.insert(Attribute::Output, Setting::Entries(vec![nothing]));
                    rest.targets.insert(other.to_owned(), target);
                    rest.linked.insert(other.to_owned());
                    open.push(other.to_owned());
                }
            }
        }
        rest
    }

    /// Returns what `--print` shows.
    pub fn to_json(&self) -> serde_json::Value {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort();
        let groups = groups
            .into_iter()
            .map(|(name, targets)| (name.clone(), serde_json::json!({ "targets": targets })));
        let targets = self.targets.iter().map(|(name, target)| (name.clone(), target.to_json()));
        let groups: serde_json::Map<String, serde_json::Value> = groups.collect();
        let targets: serde_json::Map<String, serde_json::Value> = targets.collect();
        let mut out = serde_json::Map::new();
        if !groups.is_empty() {
            out.insert("group".to_owned(), groups.into());
        }
        out.insert("target".to_owned(), targets.into());
        out.into()
    }
}

impl Target {
    /// Lays a value over an attribute as a later definition would; null changes nothing. A text is a list of one
    /// where a list is needed.
    pub fn lay(&mut self, attribute: Attribute, value: Value) -> Result<(), String> {
        self.lay_as(attribute, value, attribute.merge())
    }

    /// As [`Target::lay`], but lists and maps always add to what is there.
    pub fn extend(&mut self, attribute: Attribute, value: Value) -> Result<(), String> {
        self.lay_as(attribute, value, Merge::Append)
    }

    fn lay_as(&mut self, attribute: Attribute, value: Value, how: Merge) -> Result<(), String> {
        let list = matches!(attribute.shape(), Shape::Texts | Shape::Entries);
        let value = if list && matches!(value, Value::String(_)) { Value::List(vec![value]) } else { value };
        if let Some(setting) = setting(attribute, value)? {
            merge(&mut self.settings, attribute, setting, how);
        }
        Ok(())
    }
}

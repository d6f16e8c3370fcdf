//! `--set TARGET.KEY[+]=VALUE`: what the caller lays over the files.

use std::collections::{BTreeMap, BTreeSet};

use coracle_report::Diagnostic;

use crate::attribute::{Attribute, Merge, Shape};
use crate::definition::Definition;
use crate::entry::{self, Entry};
use crate::source::{Fault, with_near};
use crate::target::{self, Setting, Target};
use crate::value::Value;

/// What is changed.
#[derive(Clone, Debug, PartialEq)]
enum Change {
    Set(Attribute, Setting, Merge),
    Pair(Attribute, String, String),
    Secret(String, Entry),
    Push(bool),
    Load(bool),
}

/// One override, of all targets that its pattern matches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Override {
    pub targets: BTreeSet<String>,
    change: Change,
}

impl Override {
    /// Reads the overrides of a command line. Several of a list add up.
    pub(crate) fn parse_all(texts: &[String], definition: &Definition) -> Result<Vec<Self>, Fault> {
        let mut found: Vec<Self> = Vec::new();
        let mut replaced: BTreeMap<(String, Attribute), ()> = BTreeMap::new();
        for text in texts {
            let mut change = Self::parse(text, definition)?;
            if let Change::Set(attribute, Setting::Texts(_) | Setting::Entries(_), how) = &mut change.change {
                // The first replaces what the files say, the next one adds to the first.
                let pattern = text.split('.').next().unwrap_or_default().to_owned();
                if *how == Merge::Replace && replaced.insert((pattern, *attribute), ()).is_some() {
                    *how = Merge::Append;
                }
            }
            found.push(change);
        }
        Ok(found)
    }

    fn parse(text: &str, definition: &Definition) -> Result<Self, Fault> {
        let fail = |why: String| Box::new(Diagnostic::error("bake-set", format!("--set {text}: {why}")));
        let (key, value) =
            text.split_once('=').ok_or_else(|| fail("TARGET.KEY=VALUE is needed".to_owned()))?;
        let (key, append) = key.strip_suffix('+').map_or((key, false), |key| (key, true));
        let (pattern, key) =
            key.split_once('.').ok_or_else(|| fail("TARGET.KEY=VALUE is needed".to_owned()))?;
        let targets: BTreeSet<String> = if definition.targets.contains_key(pattern) {
            BTreeSet::from([pattern.to_owned()])
        } else {
            let matcher =
                globset::Glob::new(pattern).map_err(|error| fail(error.to_string()))?.compile_matcher();
            definition.targets.keys().filter(|name| matcher.is_match(name)).cloned().collect()
        };
        if targets.is_empty() {
            let names = definition.targets.keys().map(String::as_str);
            let error = Diagnostic::error("bake-set", format!("--set {text}: no target matches `{pattern}`"));
            return Err(Box::new(with_near(error, pattern, names)));
        }
        let (name, part) = key.split_once('.').map_or((key, None), |(name, part)| (name, Some(part)));
        let flag = || Value::text(value).as_bool().ok_or_else(|| fail("true or false is needed".to_owned()));
        let change = match (name, part) {
            ("push", None) => Change::Push(flag()?),
            ("load", None) => Change::Load(flag()?),
            ("secret", Some(id)) => {
                let entry = entry::entry(Attribute::Secret, &Value::text(format!("id={id},{value}")))
                    .map_err(fail)?;
                Change::Secret(id.to_owned(), entry)
            }
            (name, part) => {
                let Some(attribute) = Attribute::of_override(name) else {
                    let names = Attribute::ALL.iter().map(|attribute| attribute.name());
                    let error =
                        Diagnostic::error("bake-set", format!("--set {text}: there is no key `{name}`"));
                    return Err(Box::new(with_near(error, name, names)));
                };
                match (attribute.shape(), part) {
                    (Shape::Pairs, Some(part)) => Change::Pair(attribute, part.to_owned(), value.to_owned()),
                    (Shape::Pairs, None) => {
                        return Err(fail(format!("`{name}` needs a name: {name}.NAME=VALUE")));
                    }
                    (_, Some(_)) => return Err(fail(format!("`{name}` has no parts"))),
                    (shape, None) => {
                        let list = matches!(shape, Shape::Texts | Shape::Entries);
                        let value = Value::text(value);
                        let value = if list { Value::List(vec![value]) } else { value };
                        let setting = target::setting(attribute, value).map_err(fail)?;
                        let always = matches!(
                            attribute,
                            Attribute::Annotations | Attribute::Attest | Attribute::Entitlements
                        );
                        let how = if append || always { Merge::Append } else { Merge::Replace };
                        Change::Set(attribute, setting.unwrap_or(Setting::Texts(Vec::new())), how)
                    }
                }
            }
        };
        Ok(Self { targets, change })
    }

    /// Changes a target.
    pub(crate) fn apply(&self, target: &mut Target) -> Result<(), Fault> {
        match &self.change {
            Change::Set(attribute, setting, how) => {
                target::merge(&mut target.settings, *attribute, setting.clone(), *how);
                target.places.remove(attribute);
            }
            Change::Pair(attribute, name, value) => {
                let pair = Setting::Pairs(BTreeMap::from([(name.clone(), value.clone())]));
                target::merge(&mut target.settings, *attribute, pair, Merge::Append);
            }
            Change::Secret(id, entry) => {
                if !target.entries(Attribute::Secret).iter().any(|secret| secret.get("id") == Some(id)) {
                    let message = format!("target `{}` has no secret `{id}` to override", target.name);
                    return Err(Box::new(Diagnostic::error("bake-set", message)));
                }
                let secret = Setting::Entries(vec![entry.clone()]);
                target::merge(&mut target.settings, Attribute::Secret, secret, Merge::Append);
            }
            Change::Push(push) => change_outputs(target, |outputs| set_push(outputs, *push)),
            Change::Load(load) => change_outputs(target, |outputs| set_load(outputs, *load)),
        }
        Ok(())
    }
}

fn change_outputs(target: &mut Target, change: impl FnOnce(&mut Vec<Entry>)) {
    let mut outputs = target.entries(Attribute::Output).to_vec();
    change(&mut outputs);
    target.settings.insert(Attribute::Output, Setting::Entries(outputs));
}

fn kind(entry: &Entry) -> &str {
    entry.get("type").map_or("", String::as_str)
}

fn set_push(outputs: &mut Vec<Entry>, push: bool) {
    if !push {
        outputs.retain(|output| kind(output) != "registry");
    }
    for output in outputs.iter_mut().filter(|output| kind(output) == "image") {
        output.insert("push".to_owned(), push.to_string());
    }
    if push && outputs.iter().all(|output| kind(output) == "docker") {
        let pairs = [("type", "image"), ("push", "true")];
        outputs.push(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}

fn set_load(outputs: &mut Vec<Entry>, load: bool) {
    let there = outputs.iter().any(|output| match kind(output) {
        "docker" => !output.contains_key("dest"),
        "image" | "registry" | "oci" => false,
        _ => true,
    });
    if load && !there {
        outputs.push(Entry::from([("type".to_owned(), "docker".to_owned())]));
    }
}

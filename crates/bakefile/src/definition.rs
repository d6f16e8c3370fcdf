//! Files to targets and groups: the whole definition, and what was asked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use coracle_report::Diagnostic;
use indexmap::IndexMap;

use crate::attribute::Attribute;
use crate::document::{self, Document};
use crate::eval::{Locals, Names as _, place_of};
use crate::functions::Facts;
use crate::overrides::Override;
use crate::resolve::{Placed, Resolver};
use crate::source::{Fault, Source, with_near};
use crate::target::{self, Selected, Target};
use crate::value::Value;

/// Attributes of a target that are no settings.
const OWN: [&str; 3] = ["inherits", "matrix", "name"];
/// The most targets that a matrix or a definition may have.
const TARGETS: usize = 4096;

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name as the user gave it.
    pub name: PathBuf,
    /// Its text.
    pub text: String,
}

/// What a definition may know of the world.
#[derive(Clone, Debug)]
pub struct World {
    /// Variables of the environment, and those that the caller sets.
    pub environment: BTreeMap<String, String>,
    /// `BAKE_LOCAL_PLATFORM`, such as `linux/amd64`.
    pub platform: String,
    /// The user's home directory.
    pub home: String,
    /// The time that `timestamp()` gives.
    pub now: jiff::Timestamp,
}

/// A variable as `--list=variables` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type as written; empty when it has none.
    pub kind: String,
    /// Its value.
    pub value: Value,
    /// What it is for.
    pub description: String,
}

/// Everything that the files define.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// Targets by name, in the order of the files, each merged of its blocks and without what it inherits.
    pub targets: IndexMap<String, Target>,
    /// Groups by name.
    pub groups: IndexMap<String, Group>,
    /// Variables in the order of the files.
    pub variables: Vec<Variable>,
}

/// A group of targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// What it is for.
    pub description: Option<String>,
    /// Names of targets and groups.
    pub targets: Vec<String>,
}

/// Reads and evaluates files, a later one over an earlier.
pub fn load(files: &[Input], world: &World) -> Result<Definition, Diagnostic> {
    load_files(files, world).map_err(|fault| *fault)
}

fn load_files(files: &[Input], world: &World) -> Result<Definition, Fault> {
    let mut documents: Vec<(Source, Document)> = Vec::new();
    for file in files {
        let source = Source::new(&file.name, file.text.clone());
        let document = document::parse(&source)?;
        document::check_blocks(&source, &document)?;
        documents.push((source, document));
    }
    let facts = Facts { now: world.now, home: world.home.clone() };
    let given = BTreeMap::from([
        ("BAKE_CMD_CONTEXT".to_owned(), Value::text("cwd://")),
        ("BAKE_LOCAL_PLATFORM".to_owned(), Value::text(&world.platform)),
    ]);
    let resolver = Resolver::new(&documents, &facts, &world.environment, &given);
    let mut definition = Definition::default();
    for placed in resolver.blocks("variable") {
        let name = placed.block.labels[0].clone();
        known(placed, &["default", "type", "description", "nullable"], "a variable")?;
        let value = resolver.variable(&name)?.unwrap_or(Value::Null);
        let description = optional_text(&resolver, placed, "description")?.unwrap_or_default();
        let kind = placed.block.body.attribute("type");
        let kind = kind.map(|kind| crate::types::parse(placed.source, &kind.value)).transpose()?;
        let kind = kind.map(|kind| kind.to_string()).unwrap_or_default();
        match definition.variables.iter_mut().find(|variable| variable.name == name) {
            Some(variable) => variable.value = value,
            None => definition.variables.push(Variable { name, kind, value, description }),
        }
    }
    for (source, document) in &documents {
        for attribute in &document.attributes {
            resolver.evaluator(source, None).value(&attribute.value)?;
        }
    }
    for placed in resolver.blocks("function") {
        known(placed, &["params", "variadic_params", "result"], "a function")?;
    }
    for placed in resolver.blocks("group") {
        group(&resolver, placed, &mut definition)?;
    }
    for placed in resolver.blocks("target") {
        targets(&resolver, placed, &mut definition)?;
    }
    Ok(definition)
}

fn known(placed: Placed<'_>, names: &[&str], what: &str) -> Result<(), Fault> {
    for attribute in &placed.block.body.attributes {
        let name = attribute.name.as_str();
        if !names.contains(&name) {
            let error = Diagnostic::error("bake-attribute", format!("{what} has no attribute `{name}`"));
            let error = with_near(error, name, names.iter().copied());
            return Err(placed.source.place(error, &attribute.place));
        }
    }
    Ok(())
}

fn optional_text(resolver: &Resolver<'_>, placed: Placed<'_>, name: &str) -> Result<Option<String>, Fault> {
    let attribute = placed.block.body.attribute(name);
    attribute
        .map(|attribute| resolver.evaluator(placed.source, None).text(&attribute.value, name))
        .transpose()
}

fn words(placed: Placed<'_>, value: &Value, place: &std::ops::Range<usize>) -> Result<Vec<String>, Fault> {
    let words = value.as_items().and_then(|items| items.iter().map(Value::as_text).collect());
    words.ok_or_else(|| placed.source.error("bake-value", "a list of strings is needed here", place))
}

fn group(resolver: &Resolver<'_>, placed: Placed<'_>, definition: &mut Definition) -> Result<(), Fault> {
    known(placed, &["targets", "description"], "a group")?;
    let Some(attribute) = placed.block.body.attribute("targets") else {
        return Err(placed.source.error("bake-attribute", "a group needs `targets`", &placed.block.place));
    };
    let value = resolver.evaluator(placed.source, None).value(&attribute.value)?;
    let targets = words(placed, &value, &place_of(&attribute.value))?;
    let description = optional_text(resolver, placed, "description")?;
    definition.groups.insert(placed.block.labels[0].clone(), Group { description, targets });
    Ok(())
}

/// Returns the combinations of a matrix.
fn combinations(resolver: &Resolver<'_>, placed: Placed<'_>) -> Result<Vec<BTreeMap<String, Value>>, Fault> {
    let Some(attribute) = placed.block.body.attribute("matrix") else { return Ok(vec![BTreeMap::new()]) };
    let place = place_of(&attribute.value);
    let wrong = |message: &str| placed.source.error("bake-matrix", message, &place);
    let Value::Map(axes) = resolver.evaluator(placed.source, None).value(&attribute.value)? else {
        return Err(wrong("a matrix is a map of lists"));
    };
    let mut rows = vec![BTreeMap::new()];
    for (name, values) in axes {
        let values = values.as_items().ok_or_else(|| wrong("a matrix is a map of lists"))?;
        if rows.len().saturating_mul(values.len()) > TARGETS {
            return Err(wrong(&format!("the matrix has more than {TARGETS} combinations")));
        }
        let mut next = Vec::new();
        for row in &rows {
            for value in values {
                let mut row: BTreeMap<String, Value> = row.clone();
                row.insert(name.clone(), value.clone());
                next.push(row);
            }
        }
        rows = next;
    }
    Ok(rows)
}

fn targets(resolver: &Resolver<'_>, placed: Placed<'_>, definition: &mut Definition) -> Result<(), Fault> {
    let names: Vec<&str> = Attribute::ALL.iter().map(|attribute| attribute.name()).chain(OWN).collect();
    known(placed, &names, "a target")?;
    let (source, body) = (placed.source, &placed.block.body);
    let label = placed.block.labels[0].clone();
    let named = body.attribute("name");
    let is_matrix = body.attribute("matrix").is_some();
    if let (Some(named), false) = (named, is_matrix) {
        return Err(source.error("bake-matrix", "`name` needs `matrix`", &named.place));
    }
    let mut made: Vec<String> = Vec::new();
    for row in combinations(resolver, placed)? {
        let locals = Locals { parent: None, values: &row };
        let evaluator = resolver.evaluator(source, is_matrix.then_some(&locals));
        let (name, at) = match named {
            Some(named) => (evaluator.text(&named.value, "a name")?, place_of(&named.value)),
            None => (label.clone(), placed.block.place.clone()),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            let message = format!("`{name}` cannot name a target: letters, digits, `_` and `-` can");
            return Err(source.error("bake-name", message, &at));
        }
        if made.contains(&name) {
            let message = format!("the matrix gives two targets the name `{name}`");
            let hint = "give each its own: name = \"NAME-${AXIS}\"";
            return Err(source.place(Diagnostic::error("bake-matrix", message).with_hint(hint), &at));
        }
        let span = Some(source.span(&placed.block.place));
        let mut found = Target { name: name.clone(), span, ..Target::default() };
        for attribute in &body.attributes {
            let place = place_of(&attribute.value);
            if attribute.name == "inherits" {
                found.inherits = words(placed, &evaluator.value(&attribute.value)?, &place)?;
            }
            let Some(key) = Attribute::of_name(&attribute.name) else { continue };
            let value = evaluator.value(&attribute.value)?;
            let setting = target::setting(key, value)
                .map_err(|why| source.error("bake-value", format!("`{}`: {why}", attribute.name), &place))?;
            if let Some(setting) = setting {
                found.settings.insert(key, setting);
                found.places.insert(key, source.span(&attribute.place));
            }
        }
        definition.add(found);
        if definition.targets.len() > TARGETS {
            return Err(source.error("bake-matrix", format!("there are more than {TARGETS} targets"), &at));
        }
        made.push(name);
    }
    if is_matrix && !made.contains(&label) {
        definition.groups.entry(label).or_insert(Group { description: None, targets: made });
    }
    Ok(())
}

impl Definition {
    /// Adds a target, or lays it over the one of its name.
    pub fn add(&mut self, target: Target) {
        match self.targets.get_mut(&target.name) {
            Some(known) => known.lay_over(&target),
            None => {
                self.targets.insert(target.name.clone(), target);
            }
        }
    }

    /// Resolves what was asked for: groups to targets, inheritance, overrides, and the targets that are contexts.
    pub fn select(&self, asked: &[String], overrides: &[String]) -> Result<Selected, Diagnostic> {
        self.selected(asked, overrides).map_err(|fault| *fault)
    }

    fn selected(&self, asked: &[String], overrides: &[String]) -> Result<Selected, Fault> {
        let overrides = Override::parse_all(overrides, self)?;
        let asked: Vec<String> =
            if asked.is_empty() { vec!["default".to_owned()] } else { self.patterns(asked)? };
        let mut selected = Selected::default();
        for name in &asked {
            let mut names = Vec::new();
            self.expand(name, &mut Vec::new(), &mut names, &mut selected.groups)?;
            for name in names {
                let target = self.resolve(&name, &overrides, &mut Vec::new())?;
                selected.targets.insert(name, target);
            }
        }
        let default =
            asked.iter().filter(|name| *name != "default" || !selected.groups.contains_key("default"));
        let default: Vec<String> = default.cloned().collect();
        let all = selected.groups.entry("default".to_owned()).or_default();
        all.extend(default);
        let all: BTreeSet<String> = all.drain(..).collect();
        selected.groups.insert("default".to_owned(), all.into_iter().collect());
        for name in selected.targets.keys().cloned().collect::<Vec<_>>() {
            self.link(&name, &overrides, &mut Vec::new(), &mut selected)?;
        }
        Ok(selected)
    }

    fn patterns(&self, asked: &[String]) -> Result<Vec<String>, Fault> {
        let mut names: Vec<String> = Vec::new();
        for word in asked {
            let name = word.replace('.', "_");
            let found = if name.contains(['*', '?', '[']) { self.matching(&name)? } else { vec![name] };
            names.extend(found.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        }
        Ok(names)
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, Fault> {
        let wrong = |why: String| Box::new(Diagnostic::error("bake-pattern", format!("`{pattern}`: {why}")));
        let matcher =
            globset::Glob::new(pattern).map_err(|error| wrong(error.to_string()))?.compile_matcher();
        let all =
            self.groups.keys().chain(self.targets.keys().filter(|name| !self.groups.contains_key(*name)));
        let found: Vec<String> = all.filter(|name| matcher.is_match(name)).cloned().collect();
        if found.is_empty() { Err(wrong("no target matches".to_owned())) } else { Ok(found) }
    }

    fn expand(
        &self,
        name: &str,
        path: &mut Vec<String>,
        names: &mut Vec<String>,
        groups: &mut IndexMap<String, Vec<String>>,
    ) -> Result<(), Fault> {
        if path.iter().any(|part| part == name) || names.iter().any(|known| known == name) {
            return Ok(());
        }
        let Some(group) = self.groups.get(name) else {
            names.push(name.to_owned());
            return Ok(());
        };
        if groups.contains_key(name) {
            return Ok(());
        }
        groups.insert(name.to_owned(), group.targets.clone());
        path.push(name.to_owned());
        for target in &group.targets {
            // A group that holds a target of its own name means the target.
            if target == name && self.targets.contains_key(target) {
                names.push(target.clone());
            } else {
                self.expand(target, path, names, groups)?;
            }
        }
        path.pop();
        Ok(())
    }

    fn unknown(&self, name: &str) -> Fault {
        let all = || self.targets.keys().chain(self.groups.keys()).map(String::as_str);
        let mut error = Diagnostic::error("bake-target", format!("there is no target `{name}`"));
        if name == "default" {
            error = error.with_hint("name the targets to build, or define a group `default`");
        }
        let mut error = with_near(error, name, all());
        let names: Vec<&str> = all().take(20).collect();
        if !names.is_empty() {
            error.notes.push(format!("there are: {}", names.join(", ")));
        }
        Box::new(error)
    }

    fn resolve(&self, name: &str, overrides: &[Override], path: &mut Vec<String>) -> Result<Target, Fault> {
        let mut target = self.inherited(name, overrides, path)?;
        target.normalise();
        Ok(target)
    }

    fn inherited(&self, name: &str, overrides: &[Override], path: &mut Vec<String>) -> Result<Target, Fault> {
        let own = self.targets.get(name).ok_or_else(|| self.unknown(name))?;
        if path.iter().any(|part| part == name) {
            let message = format!("target `{name}` inherits from itself");
            let chain = format!("{} -> {name}", path.join(" -> "));
            return Err(Box::new(
                Diagnostic { span: own.span.clone(), ..Diagnostic::error("bake-circle", message) }
                    .with_note(chain),
            ));
        }
        if path.len() > 64 {
            return Err(Box::new(Diagnostic::error("bake-too-deep", "targets inherit more than 64 deep")));
        }
        path.push(name.to_owned());
        let mut whole = Target { name: name.to_owned(), ..Target::default() };
        for parent in &own.inherits {
            let parent = self.inherited(parent, overrides, path).map_err(|mut fault| {
                if fault.span.is_none() {
                    fault.span.clone_from(&own.span);
                }
                fault
            })?;
            whole.lay_over(&parent);
            if whole.settings.values().map(size).sum::<usize>() > 1 << 20 {
                return Err(Box::new(Diagnostic::error(
                    "bake-too-much",
                    format!("target `{name}` inherits too much"),
                )));
            }
        }
        path.pop();
        whole.lay_over(own);
        for change in overrides.iter().filter(|change| change.targets.contains(name)) {
            change.apply(&mut whole)?;
        }
        Ok(whole)
    }

    fn link(
        &self,
        name: &str,
        overrides: &[Override],
        path: &mut Vec<String>,
        selected: &mut Selected,
    ) -> Result<(), Fault> {
        path.push(name.to_owned());
        let links: Vec<String> =
            selected.targets[name].links().map(|(_, target)| target.to_owned()).collect();
        for other in links {
            let span = selected.targets[name].places.get(&Attribute::Contexts).cloned();
            if path.contains(&other) {
                let message = format!("target `{other}` is a context of itself");
                let chain = format!("{} -> {other}", path.join(" -> "));
                return Err(Box::new(
                    Diagnostic { span, ..Diagnostic::error("bake-circle", message) }.with_note(chain),
                ));
            }
            if !selected.targets.contains_key(&other) {
                let mut target = self.resolve(&other, overrides, &mut Vec::new()).map_err(|mut fault| {
                    if fault.span.is_none() {
                        fault.span = span;
                    }
                    fault
                })?;
                let cache_only =
                    target::setting(Attribute::Output, Value::List(vec![Value::text("type=cacheonly")]));
                if let Ok(Some(cache_only)) = cache_only {
                    target.settings.insert(Attribute::Output, cache_only);
                }
                selected.targets.insert(other.clone(), target);
                selected.linked.insert(other.clone());
            }
            self.link(&other, overrides, path, selected)?;
        }
        path.pop();
        Ok(())
    }
}

fn size(setting: &target::Setting) -> usize {
    match setting {
        target::Setting::Text(text) => text.len(),
        target::Setting::Flag(_) => 1,
        target::Setting::Texts(texts) => texts.iter().map(String::len).sum::<usize>() + texts.len(),
        target::Setting::Pairs(pairs) => pairs.values().map(String::len).sum::<usize>() + pairs.len(),
        target::Setting::Entries(entries) => entries.len() * 16,
    }
}

impl Definition {
    /// Lays another definition over this one.
    pub fn lay_over(&mut self, other: Self) {
        for target in other.targets.into_values() {
            self.add(target);
        }
        self.groups.extend(other.groups);
        self.variables.extend(other.variables);
    }
}

//! Paths of values: `services.web.ports[80/tcp]`, and the way from one to its value.
//!
//! Names stand between dots; a name with dots is written in quotes (`labels."traefik.enable"`), or just as it is when
//! no shorter name fits. Items of lists stand in brackets: by number from 0, or by what tells them apart.

use std::fmt;
use std::str::FromStr;

use crate::identity;
use crate::scalar;
use crate::view::{ValueKind, View};

/// A step of a [`ValuePath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A key of a mapping; or an item of a list, when it is written without brackets.
    Key(String),
    /// An item of a list, by its number or its identity.
    Item(String),
}

impl Step {
    /// Returns the name, whichever it is of.
    pub fn name(&self) -> &str {
        match self {
            Self::Key(name) | Self::Item(name) => name,
        }
    }
}

/// Names one value of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValuePath(Vec<Step>);

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no path of a value: {reason}")]
pub struct ValuePathError {
    text: String,
    reason: &'static str,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", if at.steps().is_empty() { format!("the project has no `{missing}`") } else { format!("{at} has no `{missing}`") })]
pub struct NoSuchValue {
    /// How far it leads.
    pub at: ValuePath,
    /// The name that is not there.
    pub missing: String,
    /// The whole path with the name that was probably meant.
    pub near: Option<ValuePath>,
    /// The names that are there.
    pub known: Vec<String>,
}

impl ValuePath {
    /// Returns the steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Adds a step.
    pub fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Returns the path with a step behind it.
    #[must_use]
    pub fn with(&self, step: Step) -> Self {
        let mut longer = self.clone();
        longer.push(step);
        longer
    }

    /// Returns the path without its first `count` steps.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        Self(self.0.iter().skip(count).cloned().collect())
    }

    /// Returns the last name.
    pub fn last(&self) -> Option<&str> {
        self.0.last().map(Step::name)
    }

    /// Returns the names of the steps.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(Step::name).collect()
    }

    /// Returns the value that it leads to from the project's root, and the path in its plain form.
    ///
    /// `services.` may be left out, and a name with dots need not be quoted.
    pub fn find<'w>(&self, root: View<'w>) -> Result<(View<'w>, Self), NoSuchValue> {
        let found = self.find_below(root, &Self::default());
        let Err(error) = &found else { return found };
        let services = Self(vec![Step::Key("services".to_owned())]);
        let (true, Some(below)) = (error.at.0.is_empty(), root.get(&["services"])) else { return found };
        match self.find_below(below, &services) {
            Ok(found) => Ok(found),
            Err(deeper) if deeper.at.0.len() > 1 => Err(deeper),
            Err(other) => Err(NoSuchValue { near: error.near.clone().or(other.near), ..error.clone() }),
        }
    }

    fn find_below<'w>(&self, start: View<'w>, at: &Self) -> Result<(View<'w>, Self), NoSuchValue> {
        let (mut view, mut at) = (start, at.clone());
        let mut left = self.0.as_slice();
        while let Some((first, rest)) = left.split_first() {
            let Some((next, step, taken)) = step_into(view, left, &at) else {
                let missing = first.name();
                let known = names_in(view, &at);
                let number = missing.parse::<usize>().is_ok();
                let names = known.iter().map(String::as_str).filter(|_| !number);
                let near = scalar::nearest(missing, names).map(|near| {
                    let step = match view.kind() {
                        ValueKind::List => Step::Item(near.to_owned()),
                        _ => Step::Key(near.to_owned()),
                    };
                    let mut near = at.with(step);
                    near.0.extend(rest.iter().cloned());
                    near
                });
                return Err(NoSuchValue { at, missing: missing.to_owned(), near, known });
            };
            view = next;
            at.push(step);
            left = &left[taken..];
        }
        Ok((view, at))
    }
}

/// Returns the value below `view` that the first of `steps` lead to, its step and how many were taken.
fn step_into<'w>(view: View<'w>, steps: &[Step], at: &ValuePath) -> Option<(View<'w>, Step, usize)> {
    let first = steps.first()?.name();
    if view.kind() == ValueKind::List {
        let labels = identity::labels(&at.names(), view);
        let index = labels.iter().position(|label| label == first).or_else(|| first.parse().ok())?;
        let step = Step::Item(labels.get(index)?.clone());
        return Some((view.items().nth(index)?, step, 1));
    }
    let mut name = String::new();
    for (index, step) in steps.iter().enumerate() {
        let Step::Key(part) = step else {
            return (index == 0).then(|| Some((view.get(&[first])?, Step::Key(first.to_owned()), 1)))?;
        };
        if index > 0 {
            name.push('.');
        }
        name.push_str(part);
        if let Some(value) = view.get(&[&name]) {
            return Some((value, Step::Key(name), index + 1));
        }
    }
    None
}

fn names_in(view: View<'_>, at: &ValuePath) -> Vec<String> {
    if view.kind() == ValueKind::List {
        return identity::labels(&at.names(), view);
    }
    view.entries().map(|(key, _)| key.to_owned()).collect()
}

impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) => {
                    let dot = if index > 0 { "." } else { "" };
                    if name.is_empty() || name.contains(['.', '[', ']', '"', '\\']) {
                        write!(f, "{dot}{}", in_quotes(name))?;
                    } else {
                        write!(f, "{dot}{name}")?;
                    }
                }
                Step::Item(name) if name.contains(['[', ']', '"']) => write!(f, "[{}]", in_quotes(name))?,
                Step::Item(name) => write!(f, "[{name}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for ValuePath {
    type Err = ValuePathError;

    fn from_str(text: &str) -> Result<Self, ValuePathError> {
        let fail = |reason| ValuePathError { text: text.to_owned(), reason };
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (name, behind) = if inner.starts_with('"') {
                    quoted(inner).ok_or_else(|| fail("a quote is not closed"))?
                } else {
                    let end = inner.find(']').ok_or_else(|| fail("a bracket is not closed"))?;
                    (inner[..end].to_owned(), &inner[end..])
                };
                rest = behind.strip_prefix(']').ok_or_else(|| fail("a bracket is not closed"))?;
                steps.push(Step::Item(name));
            } else {
                if !steps.is_empty() {
                    rest = rest.strip_prefix('.').ok_or_else(|| fail("a dot is missing"))?;
                }
                let (name, behind) = if rest.starts_with('"') {
                    quoted(rest).ok_or_else(|| fail("a quote is not closed"))?
                } else {
                    let end = rest.find(['.', '[']).unwrap_or(rest.len());
                    if end == 0 {
                        return Err(fail("a name is empty"));
                    }
                    (rest[..end].to_owned(), &rest[end..])
                };
                rest = behind;
                steps.push(Step::Key(name));
            }
        }
        if steps.is_empty() {
            return Err(fail("it is empty"));
        }
        Ok(Self(steps))
    }
}

fn in_quotes(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Reads a text in double quotes, in which a backslash takes the next character as it is.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((name, &text[index + 2..])),
            '\\' => name.push(characters.next()?.1),
            other => name.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_paths() {
        let key = |name: &str| Step::Key(name.to_owned());
        let item = |name: &str| Step::Item(name.to_owned());
        let table = [
            ("services.web.image", vec![key("services"), key("web"), key("image")]),
            ("a.\"b.c\".d", vec![key("a"), key("b.c"), key("d")]),
            ("a[0].b", vec![key("a"), item("0"), key("b")]),
            ("a[80/tcp]", vec![key("a"), item("80/tcp")]),
            ("a[\"x]\"]", vec![key("a"), item("x]")]),
            ("\"say \\\"x\\\"\"", vec![key("say \"x\"")]),
        ];
        for (text, steps) in table {
            let path: ValuePath = text.parse().unwrap();
            assert_eq!(path.0, steps, "{text}");
            assert_eq!(path.to_string().parse::<ValuePath>().as_ref(), Ok(&path), "{text}");
        }
        for text in ["", ".", "a.", "a..b", "a[", "a[0", "\"a", "a[0]b", "[\"a]"] {
            assert!(text.parse::<ValuePath>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn paths_come_back(names in prop::collection::vec(("\\PC{0,6}", any::<bool>()), 1..5)) {
            let steps = names.into_iter().map(|(name, item)| if item { Step::Item(name) } else { Step::Key(name) });
            let path = ValuePath(steps.collect());
            prop_assert_eq!(path.to_string().parse::<ValuePath>(), Ok(path));
        }

        #[test]
        fn never_panics(text in "[a\\.\\[\\]\"\\\\ü]{0,12}") {
            let _ = text.parse::<ValuePath>();
        }
    }
}

//! A tree as the values that people set: what cannot be taken apart without losing its meaning is one value.

use crate::identity;
use crate::value_path::{Step, ValuePath};
use crate::view::{ValueKind, View};

/// One value.
#[derive(Clone, Debug)]
pub struct Leaf<'w> {
    /// Where it is.
    pub path: ValuePath,
    /// The value: a single one, a list whose order matters, or an item of a list in its long form.
    pub value: View<'w>,
    /// It on one line, in its short form where it has one.
    pub shown: String,
}

/// Returns the values at and below `path`, which leads to `value`; what only attributes imply is left out, unless
/// `path` itself leads there.
pub fn leaves<'w>(path: &ValuePath, value: View<'w>) -> Vec<Leaf<'w>> {
    let mut out = Vec::new();
    collect(path, value, true, &mut out);
    out
}

fn collect<'w>(path: &ValuePath, value: View<'w>, asked: bool, out: &mut Vec<Leaf<'w>>) {
    let names = path.names();
    let Some((_, parent)) = names.split_last() else {
        return below(path, value, out);
    };
    let told_apart = identity::is_told_apart(&names);
    let is_item = identity::is_told_apart(parent);
    let short = matches!(names.as_slice(), ["services", _, "depends_on", _]);
    match value.kind() {
        ValueKind::Mapping if (is_item || short) && (!asked || is_short(value)) => {
            out.push(Leaf { path: path.clone(), value, shown: identity::summary(parent, value) });
        }
        ValueKind::Mapping if value.entries().next().is_some() => below(path, value, out),
        ValueKind::List if told_apart && value.items().next().is_some() => below(path, value, out),
        _ if value.is_implied() && !asked => {}
        _ => out.push(Leaf { path: path.clone(), value, shown: value.shown() }),
    }
}

/// Says whether a mapping was written in a short form: everything in it stands at one place.
fn is_short(value: View<'_>) -> bool {
    let start = value.span().start;
    value.entries().all(|(_, entry)| entry.span().start == start)
}

/// Returns the value at `path` on one line, in its short form where it has one: `127.0.0.1:80:80` for a port.
pub fn short_form(path: &ValuePath, value: View<'_>) -> String {
    let names = path.names();
    let parent = names.split_last().map_or(&[][..], |(_, parent)| parent);
    identity::summary(parent, value)
}

fn below<'w>(path: &ValuePath, value: View<'w>, out: &mut Vec<Leaf<'w>>) {
    for (key, entry) in value.entries() {
        collect(&path.with(Step::Key(key.to_owned())), entry, false, out);
    }
    let labels = identity::labels(&path.names(), value);
    for (label, item) in labels.into_iter().zip(value.items()) {
        collect(&path.with(Step::Item(label)), item, false, out);
    }
}

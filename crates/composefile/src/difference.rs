//! What two projects have different, value by value: usually two environments of one project.

use crate::identity;
use crate::load::Loaded;
use crate::value_path::{Step, ValuePath};
use crate::view::{ValueKind, View};

/// A value that two projects do not have in common.
#[derive(Clone, Debug)]
pub struct Difference<'w> {
    /// Where it is, in both.
    pub path: ValuePath,
    /// What the first project has; `None` is nothing.
    pub left: Option<Side<'w>>,
    /// What the second has.
    pub right: Option<Side<'w>>,
}

/// What one project has.
#[derive(Clone, Debug)]
pub struct Side<'w> {
    /// The value.
    pub value: View<'w>,
    /// It on one line, in its short form where it has one.
    pub shown: String,
}

impl Difference<'_> {
    /// Returns the service that it is a part of.
    pub fn service(&self) -> Option<&str> {
        match self.path.steps() {
            [Step::Key(section), Step::Key(name), ..] if section == "services" => Some(name),
            _ => None,
        }
    }

    /// Says whether a whole service, network, volume, secret or configuration is in one of the projects only.
    pub fn is_whole_object(&self) -> bool {
        self.path.steps().len() == 2
    }
}

/// Returns the differences in the order of the first project, then what only the second has.
///
/// What only attributes imply is no difference, and neither are `x-` extensions at the top, which exist for what uses
/// them. Ports, mounts and the like are compared by what they are for (`ports[80/tcp]`), other lists as a whole.
pub fn difference<'w>(left: &'w Loaded, right: &'w Loaded) -> Vec<Difference<'w>> {
    let mut comparison = Comparison { path: ValuePath::default(), out: Vec::new() };
    comparison.compare(Some(left.root()), Some(right.root()));
    comparison.out
}

struct Comparison<'w> {
    path: ValuePath,
    out: Vec<Difference<'w>>,
}

impl<'w> Comparison<'w> {
    fn names(&self) -> Vec<String> {
        self.path.steps().iter().map(|step| step.name().to_owned()).collect()
    }

    fn compare(&mut self, left: Option<View<'w>>, right: Option<View<'w>>) {
        if let (Some(left), Some(right)) = (left, right)
            && left.node().same(right.node())
        {
            return;
        }
        let names = self.names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sides = [left, right];
        let of_kind = |kind| sides.iter().flatten().all(|side| side.kind() == kind);
        // An object that only one has is one difference; all its values are not news.
        let whole = names.len() == 2 && (left.is_none() || right.is_none());
        let short = matches!(names.as_slice(), ["services", _, "depends_on", _]);
        if of_kind(ValueKind::Mapping) && !whole && !short {
            self.mappings(left, right);
        } else if of_kind(ValueKind::List) && identity::is_told_apart(&names) {
            self.lists(&names, left, right);
        } else {
            let parent = if short { &names[..3] } else { &names[..] };
            self.found(parent, left, right);
        }
    }

    fn mappings(&mut self, left: Option<View<'w>>, right: Option<View<'w>>) {
        let keys = |side: Option<View<'w>>| side.into_iter().flat_map(View::entries).map(|(key, _)| key);
        let mut all: Vec<&str> = keys(left).collect();
        all.extend(keys(right).filter(|key| left.and_then(|left| left.get(&[key])).is_none()));
        for key in all {
            if self.path.steps().is_empty() && key.starts_with("x-") {
                continue;
            }
            let side = |side: Option<View<'w>>| side.and_then(|side| side.get(&[key]));
            self.below(Step::Key(key.to_owned()), |comparison| comparison.compare(side(left), side(right)));
        }
    }

    fn lists(&mut self, names: &[&str], left: Option<View<'w>>, right: Option<View<'w>>) {
        let items = |side: Option<View<'w>>| -> Vec<(String, View<'w>)> {
            let labels = side.map(|side| identity::labels(names, side)).unwrap_or_default();
            labels.into_iter().zip(side.into_iter().flat_map(View::items)).collect()
        };
        let (left, right) = (items(left), items(right));
        let find = |items: &[(String, View<'w>)], label: &str| {
            items.iter().find(|(known, _)| known == label).map(|(_, item)| *item)
        };
        let only_right = right.iter().filter(|(label, _)| find(&left, label).is_none());
        let labels: Vec<&String> = left.iter().chain(only_right).map(|(label, _)| label).collect();
        for label in labels {
            let (ours, theirs) = (find(&left, label), find(&right, label));
            self.below(Step::Item(label.clone()), |comparison| comparison.items(names, ours, theirs));
        }
    }

    /// Compares two items by their short forms, and by their values when those are the same.
    fn items(&mut self, list: &[&str], left: Option<View<'w>>, right: Option<View<'w>>) {
        if let (Some(ours), Some(theirs)) = (left, right) {
            if ours.node().same(theirs.node()) {
                return;
            }
            if identity::summary(list, ours) == identity::summary(list, theirs) {
                return self.mappings(left, right);
            }
        }
        self.found(list, left, right);
    }

    fn below(&mut self, step: Step, work: impl FnOnce(&mut Self)) {
        let longer = self.path.with(step);
        let shorter = std::mem::replace(&mut self.path, longer);
        work(self);
        self.path = shorter;
    }

    fn found(&mut self, list: &[&str], left: Option<View<'w>>, right: Option<View<'w>>) {
        let written = |side: Option<View<'w>>| side.filter(|side| !side.is_implied());
        if written(left).is_none() && written(right).is_none() {
            return;
        }
        let side =
            |side: Option<View<'w>>| side.map(|value| Side { value, shown: identity::summary(list, value) });
        let (left, right) = (side(left), side(right));
        // A number in quotes is the same number.
        let same = |a: &Side<'w>, b: &Side<'w>| {
            a.shown == b.shown && a.value.text().is_some() == b.value.text().is_some()
        };
        if left.as_ref().zip(right.as_ref()).is_some_and(|(a, b)| same(a, b)) {
            return;
        }
        self.out.push(Difference { path: self.path.clone(), left, right });
    }
}

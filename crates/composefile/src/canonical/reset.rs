//! `!reset` and `!override`: what a document takes away from those before it.

use crate::tree::{MergeTag, Node, Value};

/// The paths whose earlier value a document drops.
#[derive(Clone, Debug, Default)]
pub(super) struct Resets {
    paths: Vec<Vec<String>>,
}

impl Resets {
    /// Takes the tagged values out of a document: those of `!reset` go, those of `!override` stay.
    pub(super) fn take(document: &mut Node) -> Self {
        let mut resets = Self::default();
        resets.collect(document, &mut Vec::new());
        resets
    }

    fn collect(&mut self, node: &mut Node, path: &mut Vec<String>) {
        match &mut node.value {
            Value::Mapping(mapping) => mapping.retain(|key, entry| {
                path.push(key.clone());
                let tag = entry.node.tag.take();
                if tag.is_some() {
                    self.paths.push(path.clone());
                } else {
                    self.collect(&mut entry.node, path);
                }
                path.pop();
                tag != Some(MergeTag::Reset)
            }),
            Value::Sequence(items) => items.retain_mut(|item| {
                let tag = item.tag.take();
                path.push("[]".to_owned());
                self.collect(item, path);
                path.pop();
                tag != Some(MergeTag::Reset)
            }),
            Value::Null | Value::Scalar(_) => {}
        }
    }

    /// Drops the values at the paths from what came before.
    pub(super) fn apply(&self, earlier: &mut Node) {
        self.apply_below(earlier, &[]);
    }

    /// Drops the values at the paths that lead into the service `name` from `service`.
    pub(super) fn apply_to_service(&self, service: &mut Node, name: &str) {
        self.apply_below(service, &["services", name]);
    }

    fn apply_below(&self, node: &mut Node, prefix: &[&str]) {
        for path in &self.paths {
            let Some((begin, rest)) = path.split_at_checked(prefix.len()) else { continue };
            let Some((last, before)) = rest.split_last() else { continue };
            if begin.iter().zip(prefix).any(|(step, prefix)| step != prefix) {
                continue;
            }
            let parent = before.iter().try_fold(&mut *node, |node, step| node.get_mut(step));
            if let Some(mapping) = parent.and_then(Node::mapping_mut) {
                mapping.shift_remove(last);
            }
        }
    }
}

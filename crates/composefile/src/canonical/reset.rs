//! `!reset` and `!override`: what a document takes away from those before it.

use crate::source::{Findings, Mark};
use crate::trace::{Because, Removed};
use crate::tree::{MergeTag, Node, Value};

/// The paths whose earlier value a document drops.
#[derive(Clone, Debug, Default)]
pub(super) struct Resets {
    paths: Vec<Taken>,
}

/// A tagged value.
#[derive(Clone, Debug)]
struct Taken {
    path: Vec<String>,
    tag: MergeTag,
    mark: Mark,
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
                if let Some(tag) = tag {
                    self.paths.push(Taken { path: path.clone(), tag, mark: entry.node.mark });
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

    /// Drops the values at the paths from what came before `document`.
    pub(super) fn apply(&self, earlier: &mut Node, document: &mut Node, findings: &mut Findings) {
        self.apply_below(earlier, document, &[], findings);
    }

    /// Drops the values at the paths that lead into the service `name` from what it extends.
    pub(super) fn apply_to_service(
        &self,
        base: &mut Node,
        name: &str,
        own: &mut Node,
        findings: &mut Findings,
    ) {
        self.apply_below(base, own, &["services", name], findings);
    }

    fn apply_below(&self, earlier: &mut Node, later: &mut Node, prefix: &[&str], findings: &mut Findings) {
        for taken in &self.paths {
            let Some((begin, rest)) = taken.path.split_at_checked(prefix.len()) else { continue };
            let Some((last, before)) = rest.split_last() else { continue };
            if begin.iter().zip(prefix).any(|(step, prefix)| step != prefix) {
                continue;
            }
            let parent = before.iter().try_fold(&mut *earlier, |node, step| node.get_mut(step));
            let lost = parent.and_then(Node::mapping_mut).and_then(|mapping| mapping.shift_remove(last));
            let (Some(lost), Some(trace)) = (lost, &mut findings.trace) else { continue };
            match taken.tag {
                MergeTag::Reset => {
                    trace.removed.push(Removed { path: taken.path.clone(), at: taken.mark, lost: lost.node });
                }
                MergeTag::Override => {
                    let winner = rest.iter().try_fold(&mut *later, |node, step| node.get_mut(step));
                    if let Some(winner) = winner {
                        trace.beat(&mut winner.mark, lost.node, Because::Override);
                    }
                }
            }
        }
    }
}

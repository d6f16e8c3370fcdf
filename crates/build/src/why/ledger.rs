//! The steps of a Dockerfile's last build, and which of them a step of this build was.

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::CacheKey;

/// The steps of a build, in the graph's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    pub steps: Vec<LedgerStep>,
}

/// One step of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LedgerStep {
    /// Its whole name.
    pub name: String,
    pub key: CacheKey,
    /// Of a base: the image's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How long it took when it was made, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<u64>,
}

/// What a step was made of; kept by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepMemory {
    pub facts: Facts,
    /// For each source of files: where it is, the digest over them, and the manifest if it is known.
    pub files: Vec<FilesMemory>,
    /// How long the step took, milliseconds.
    pub took: u64,
}

/// The files of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilesMemory {
    pub(super) place: String,
    pub(super) manifest: Option<String>,
}

/// Splits a vertex's name, e.g. `[builder 3/5] RUN make`, into its stage (empty for the only one) and its text.
pub(crate) fn split_name(name: &str) -> (&str, &str) {
    let Some((inside, text)) = name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else {
        return ("", name);
    };
    let stage = inside.rsplit_once(' ').map_or("", |(stage, _)| stage);
    (stage, text)
}

/// Returns for each step of this build the step of the last build that it was, by index.
///
/// In each stage, steps with the same text belong together, in order; what is left over belongs to what is left over
/// with the same instruction, in order: those were edited.
pub(super) fn matches(old: &[&str], new: &[&str]) -> Vec<Option<usize>> {
    let old: Vec<(&str, &str)> = old.iter().map(|name| split_name(name)).collect();
    let new: Vec<(&str, &str)> = new.iter().map(|name| split_name(name)).collect();
    let mut taken = vec![false; old.len()];
    let mut found = vec![None; new.len()];
    let keyword = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    let same_text = |a: (&str, &str), b: (&str, &str)| a == b;
    let same_keyword = |a: (&str, &str), b: (&str, &str)| a.0 == b.0 && keyword(a.1) == keyword(b.1);
    for (exact, same) in [(true, &same_text as &dyn Fn(_, _) -> bool), (false, &same_keyword)] {
        for (index, step) in new.iter().enumerate() {
            if found[index].is_some() {
                continue;
            }
            // An edited step lies between the same neighbours as before.
            let in_stage = |at: &&usize| old[**at].0 == step.0;
            let after =
                found[..index].iter().flatten().filter(in_stage).max().map_or(0, |last: &usize| last + 1);
            let before = found[index + 1..].iter().flatten().filter(in_stage).min().copied();
            let mut range = if exact { 0..old.len() } else { after..before.unwrap_or(old.len()) };
            if let Some(at) = range.find(|at| !taken[*at] && same(old[*at], *step)) {
                taken[at] = true;
                found[index] = Some(at);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split() {
        for (name, expected) in [
            ("[builder 3/5] RUN make", ("builder", "RUN make")),
            ("[2/5] COPY a b", ("", "COPY a b")),
            ("[stage-1 2/5] RUN [ -e x ] && y", ("stage-1", "RUN [ -e x ] && y")),
            ("FROM debian", ("", "FROM debian")),
        ] {
            assert_eq!(split_name(name), expected, "{name}");
        }
    }

    #[test]
    fn steps_are_found_again() {
        let old =
            ["[a 1/4] FROM x", "[a 2/4] COPY p /", "[a 3/4] RUN one", "[a 4/4] RUN two", "[b 1/1] RUN one"];
        // One was inserted, one edited, one moved to another stage.
        let new = [
            "[a 1/5] FROM x",
            "[a 2/5] COPY p /",
            "[a 3/5] RUN zero",
            "[a 4/5] RUN one",
            "[a 5/5] RUN two --more",
            "[c 1/1] RUN one",
        ];
        assert_eq!(matches(&old, &new), [Some(0), Some(1), None, Some(2), Some(3), None]);
        let edited = ["[a 1/4] FROM x", "[a 2/4] COPY p q /", "[a 3/4] RUN one", "[a 4/4] RUN two --more"];
        assert_eq!(matches(&old, &edited), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(matches(&[], &new), [None; 6]);
    }
}

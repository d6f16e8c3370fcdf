//! Variables as a build sees them, and which of them a word asks for.

use std::cell::RefCell;
use std::collections::BTreeSet;

use coracle_dockerfile::{Escape, ExpandError, expand, expand_words};

/// Names and values, in the order they were first set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(Vec<(String, String)>);

/// A word with its variables replaced, and the names it asked for.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    pub text: String,
    pub matched: BTreeSet<String>,
    pub unmatched: BTreeSet<String>,
}

impl Variables {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Replaces the variables of a word. What it asked for is known even when it cannot be expanded.
    pub(crate) fn expand(&self, word: &str, escape: Escape) -> (Expansion, Option<ExpandError>) {
        self.record(|lookup| expand(word, escape, lookup))
    }

    /// Replaces the variables of a heredoc's body.
    pub(crate) fn expand_body(&self, body: &str) -> (Expansion, Option<ExpandError>) {
        self.record(|lookup| coracle_dockerfile::expand_body(body, Escape::Backslash, lookup))
    }

    /// Returns the words that a word expands to; none when it cannot be.
    pub(crate) fn words(&self, word: &str, escape: Escape) -> Vec<String> {
        expand_words(word, escape, &|name| self.get(name).map(str::to_owned)).unwrap_or_default()
    }

    fn record(
        &self,
        expand: impl Fn(&dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError>,
    ) -> (Expansion, Option<ExpandError>) {
        let asked = RefCell::new(Expansion::default());
        let lookup = |name: &str| {
            let value = self.get(name);
            let mut asked = asked.borrow_mut();
            let names = if value.is_some() { &mut asked.matched } else { &mut asked.unmatched };
            names.insert(name.to_owned());
            value.map(str::to_owned)
        };
        let result = expand(&lookup);
        let mut expansion = asked.into_inner();
        match result {
            Ok(text) => {
                expansion.text = text;
                (expansion, None)
            }
            Err(error) => (expansion, Some(error)),
        }
    }
}

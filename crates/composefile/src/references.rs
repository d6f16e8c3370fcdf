//! The variables that a text refers to, one by one with their operators; what they are worth is of no concern here.

use coracle_report::Span;

/// What stands behind a variable's name in `${NAME...}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Nothing: `$NAME`, `${NAME}`.
    None,
    /// `-`: the word when the variable is not set.
    DefaultIfUnset,
    /// `:-`: the word when the variable is not set or empty.
    DefaultIfEmpty,
    /// `?`: an error when the variable is not set.
    RequiredIfUnset,
    /// `:?`: an error when the variable is not set or empty.
    RequiredIfEmpty,
    /// `+`: the word when the variable is set.
    AlternativeIfSet,
    /// `:+`: the word when the variable is set and not empty.
    AlternativeIfFull,
}

impl Operator {
    /// Those that are written, longest first.
    const WRITTEN: [Self; 6] = [
        Self::DefaultIfEmpty,
        Self::RequiredIfEmpty,
        Self::AlternativeIfFull,
        Self::DefaultIfUnset,
        Self::RequiredIfUnset,
        Self::AlternativeIfSet,
    ];

    /// Returns how it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::DefaultIfUnset => "-",
            Self::DefaultIfEmpty => ":-",
            Self::RequiredIfUnset => "?",
            Self::RequiredIfEmpty => ":?",
            Self::AlternativeIfSet => "+",
            Self::AlternativeIfFull => ":+",
        }
    }

    /// Says whether the word stands for a variable without a value.
    pub fn is_default(self) -> bool {
        matches!(self, Self::DefaultIfUnset | Self::DefaultIfEmpty)
    }

    /// Says whether a variable without a value is an error.
    pub fn is_required(self) -> bool {
        matches!(self, Self::RequiredIfUnset | Self::RequiredIfEmpty)
    }

    /// Says whether the word stands for a variable that has a value.
    pub fn is_alternative(self) -> bool {
        matches!(self, Self::AlternativeIfSet | Self::AlternativeIfFull)
    }

    /// Says whether an empty value counts as none.
    pub fn refuses_empty(self) -> bool {
        matches!(self, Self::DefaultIfEmpty | Self::RequiredIfEmpty | Self::AlternativeIfFull)
    }
}

/// One place where a file refers to a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The variable.
    pub name: String,
    /// What stands behind its name.
    pub operator: Operator,
    /// The text behind the operator: a default, an alternative or a message.
    pub word: String,
    /// Whether it stands in the word of another one, and so may not be used at all.
    pub nested: bool,
    /// From the dollar sign to the end; as near as the way the value is written lets one tell.
    pub span: Span,
}

/// A reference by its place in the text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) operator: Operator,
    pub(crate) word: String,
    pub(crate) nested: bool,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Levels of words within words that are looked into, as many as interpolation allows.
const NESTING_LIMIT: usize = 32;

/// References of one text that are told of; more are an attack on the memory.
const FOUND_LIMIT: usize = 1_000;

/// Returns the references in `text`, in the order of their dollar signs, the first thousand. What is no variable is
/// passed over.
pub(crate) fn find(text: &str) -> Vec<Found> {
    let mut finder = Finder { text, found: Vec::new() };
    finder.run(0, false, 0);
    finder.found
}

struct Finder<'t> {
    text: &'t str,
    found: Vec<Found>,
}

impl Finder<'_> {
    /// Reads from `at` to the end, or to the brace that closes a word; returns where that is.
    fn run(&mut self, mut at: usize, braced: bool, depth: usize) -> usize {
        while let Some(character) = self.text[at..].chars().next() {
            if self.found.len() >= FOUND_LIMIT {
                return self.text.len();
            }
            match character {
                '$' => at = self.variable(at, depth),
                '}' if braced => break,
                other => at += other.len_utf8(),
            }
        }
        at
    }

    /// Reads what begins with the dollar sign at `start`; returns where it ends.
    fn variable(&mut self, start: usize, depth: usize) -> usize {
        let rest = &self.text[start + 1..];
        if rest.starts_with('$') {
            return start + 2;
        }
        let braced = rest.strip_prefix('{');
        let name = name_of(braced.unwrap_or(rest)).to_owned();
        let behind = start + 1 + usize::from(braced.is_some()) + name.len();
        if name.is_empty() || depth >= NESTING_LIMIT {
            return start + 1;
        }
        let nested = depth > 0;
        let place = self.found.len();
        let mut found =
            Found { name, operator: Operator::None, word: String::new(), nested, start, end: behind };
        if braced.is_none() {
            self.found.push(found);
            return behind;
        }
        let rest = &self.text[behind..];
        let written = Operator::WRITTEN.into_iter().find(|operator| rest.starts_with(operator.as_str()));
        let Some(operator) = written else {
            if !rest.starts_with('}') {
                return behind;
            }
            found.end = behind + 1;
            self.found.push(found);
            return behind + 1;
        };
        let word = behind + operator.as_str().len();
        let end = self.run(word, true, depth + 1);
        if !self.text[end..].starts_with('}') {
            // Unclosed to the end of the text: reading on from here would read it all again, level by level.
            self.found.truncate(place);
            return end;
        }
        found.operator = operator;
        self.text[word..end].clone_into(&mut found.word);
        found.end = end + 1;
        self.found.insert(place, found);
        end + 1
    }
}

fn name_of(text: &str) -> &str {
    let starts = text.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic());
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    if starts { &text[..end] } else { "" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(text: &str) -> Vec<String> {
        let show = |found: &Found| {
            let (operator, word) = (found.operator.as_str(), found.word.as_str());
            format!("{}{operator}{word}{}", found.name, if found.nested { " nested" } else { "" })
        };
        find(text).iter().map(show).collect()
    }

    #[test]
    fn finds_what_interpolation_replaces() {
        let table: &[(&str, &[&str])] = &[
            ("plain $ $5 $$A $${A}", &[]),
            ("$A and ${B}.", &["A", "B"]),
            ("${A:-x}", &["A:-x"]),
            ("${A-}", &["A-"]),
            ("${A:?say why}", &["A:?say why"]),
            ("${A:+x}${B+y}", &["A:+x", "B+y"]),
            ("${A:-${B:-c}} $D", &["A:-${B:-c}", "B:-c nested", "D"]),
            ("${A", &[]),
            ("${A:-${B}", &[]),
            ("$C ${A b} $D", &["C", "D"]),
            ("ü${A}ü", &["A"]),
        ];
        for (text, expected) in table {
            assert_eq!(show(text), *expected, "{text}");
        }
        let found = find("ü${A:-x}");
        assert_eq!((found[0].start, found[0].end), (2, 9));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[${}:?+\\-aSET ü]{0,40}") {
            let _ = find(&text);
        }

        #[test]
        fn finds_all_that_are_missing(text in "[${}:\\-aST ü]{0,30}") {
            let mut missing = Vec::new();
            if crate::interpolate::interpolate(&text, &|_| None, &mut missing).is_ok() {
                let names: Vec<String> = find(&text).into_iter().map(|found| found.name).collect();
                for missing in missing {
                    prop_assert!(names.contains(&missing.name), "{} in {}", missing.name, text);
                }
            }
        }
    }
}

//! What of the rules is asked for: `# check=skip=A,B;error=true;experimental=C`, at the head of a file, before one
//! instruction, or as the build argument `BUILDKIT_DOCKERFILE_CHECK`.

use std::collections::BTreeSet;

use coracle_dockerfile::{Dockerfile, Word};
use coracle_report::Diagnostic;

use crate::{BUILDKIT, Rule, find};

/// A choice of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// These, by name.
    Some(BTreeSet<String>),
    /// All.
    All,
}

impl Default for Choice {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Choice {
    fn read(text: &str) -> Self {
        if text == "all" {
            return Self::All;
        }
        Self::Some(text.split(',').map(|name| name.trim().to_owned()).collect())
    }

    fn holds(&self, rule: &Rule) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(rule.id),
        }
    }

    fn add(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Some(own), Self::Some(more)) => own.extend(more.iter().cloned()),
        }
    }
}

/// What of the rules is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Rules that are passed over.
    pub skip: Choice,
    /// Experimental rules that are asked for.
    pub experimental: Choice,
    /// Whether a build with findings fails.
    pub error: bool,
}

/// Why a text is no choice of rules.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadOptions {
    /// A part without `=`.
    #[error("`{0}` is no option of checks: it has no `=`")]
    NoValue(String),
    /// An unknown key.
    #[error("`{0}` is no option of checks")]
    Unknown(String),
    /// `error` is something else than a boolean.
    #[error("`error` is true or false, not `{0}`")]
    NoBoolean(String),
}

impl Options {
    /// Reads `skip=A,B;error=true;experimental=C`.
    pub fn parse(text: &str) -> Result<Self, BadOptions> {
        let mut options = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(options);
        }
        for part in text.splitn(3, ';') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(BadOptions::NoValue(part.to_owned()));
            };
            let value = value.trim();
            match key.trim() {
                "skip" => options.skip = Choice::read(value),
                "experimental" => options.experimental = Choice::read(value),
                "error" => {
                    options.error = match value {
                        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
                        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
                        other => return Err(BadOptions::NoBoolean(other.to_owned())),
                    }
                }
                other => return Err(BadOptions::Unknown(other.to_owned())),
            }
        }
        Ok(options)
    }

    /// Returns the options of a file's head; `argument` (`BUILDKIT_DOCKERFILE_CHECK`) takes their place.
    pub(crate) fn of(file: &Dockerfile, argument: Option<&str>) -> Result<Self, Diagnostic> {
        let advice = "write `# check=skip=RULE,RULE` or `# check=error=true`";
        if let Some(argument) = argument {
            let options = Self::parse(argument);
            return options.map_err(|why| Diagnostic::error("bad-check", why.to_string()).with_hint(advice));
        }
        let Some(word) = &file.directives.check else {
            return Ok(Self::default());
        };
        let options = Self::parse(word.split(' ').next().unwrap_or_default());
        options.map_err(|why| file.source.error("bad-check", why.to_string(), &word.span).with_hint(advice))
    }

    /// Returns the options for one instruction: a comment `# check=...` before it adds to them.
    pub(crate) fn before(&self, comments: &[Word]) -> Self {
        let mut options = self.clone();
        let local = comments.iter().find_map(|comment| {
            let (key, value) = comment.split_once('=')?;
            key.trim().eq_ignore_ascii_case("check").then(|| value.trim())
        });
        let local = local.and_then(|value| Self::parse(value.split(' ').next().unwrap_or_default()).ok());
        if let Some(local) = local {
            options.skip.add(&local.skip);
            options.experimental.add(&local.experimental);
        }
        options
    }

    /// Says whether findings of a rule are wanted.
    pub fn wants(&self, rule: &Rule) -> bool {
        if rule.experimental { self.experimental.holds(rule) } else { !self.skip.holds(rule) }
    }

    /// Returns the names in it that are no rule's, each with the rule's name that was probably meant.
    pub fn unknown(&self) -> Vec<(String, Option<&'static str>)> {
        let names = [&self.skip, &self.experimental].into_iter().filter_map(|choice| match choice {
            Choice::Some(names) => Some(names),
            Choice::All => None,
        });
        let unknown = names.flatten().filter(|name| !BUILDKIT.iter().any(|rule| rule.id == name.as_str()));
        unknown
            .map(|name| {
                let near = find(name).map(|rule| rule.id);
                let near = near.or_else(|| {
                    coracle_dockerfile::nearest(name, BUILDKIT.iter().map(|rule| rule.id))
                        .and_then(find)
                        .map(|rule| rule.id)
                });
                (name.clone(), near)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let options = Options::parse("skip=A, B;error=true").unwrap();
        assert_eq!(options.skip, Choice::Some(["A".to_owned(), "B".to_owned()].into()));
        assert!(options.error);
        assert_eq!(Options::parse("skip=all").unwrap().skip, Choice::All);
        assert_eq!(Options::parse(" ").unwrap(), Options::default());
        assert_eq!(Options::parse("skip"), Err(BadOptions::NoValue("skip".to_owned())));
        assert_eq!(Options::parse("skp=A"), Err(BadOptions::Unknown("skp".to_owned())));
        assert_eq!(Options::parse("error=maybe"), Err(BadOptions::NoBoolean("maybe".to_owned())));
    }

    #[test]
    fn names_slips() {
        let options =
            Options::parse("skip=jsonargsrecommended,UndefinedVra,Nothing,StageNameCasing").unwrap();
        let unknown = options.unknown();
        let of = |name: &str| unknown.iter().find(|(own, _)| own == name).map(|(_, near)| *near);
        assert_eq!(of("jsonargsrecommended"), Some(Some("JSONArgsRecommended")));
        assert_eq!(of("UndefinedVra"), Some(Some("UndefinedVar")));
        assert_eq!(of("Nothing"), Some(None));
        assert_eq!(of("StageNameCasing"), None);
    }
}

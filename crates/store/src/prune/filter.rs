//! Filters on entries of the build cache, as `docker buildx du` and `docker builder prune` write them.

use std::time::Duration;

use jiff::SignedDuration;
use regex::Regex;

use super::Entry;

/// Why a text is no filter.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a filter: {why}")]
pub struct FilterError {
    text: String,
    why: String,
}

/// Conditions that all must hold.
#[derive(Clone, Debug, Default)]
pub struct PruneFilter {
    conditions: Vec<Condition>,
    /// What was used within this time is not accepted (`until`).
    until: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Condition {
    Text { field: Field, how: How, wanted: bool },
    Flag { flag: Flag, wanted: bool },
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Id,
    Kind,
    Description,
    Parents,
}

#[derive(Clone, Debug)]
enum How {
    Equal(String),
    Matches(Regex),
}

#[derive(Clone, Copy, Debug)]
enum Flag {
    InUse,
    Shared,
    Mutable,
}

const KNOWN: &str = "until=24h, id=ID, type=regular|exec.cachemount|source.http, description~=WORD, parents=ID, \
                     inuse, shared, private, mutable, immutable";

impl PruneFilter {
    /// Reads filters; an entry must fulfil all of them.
    ///
    /// The forms are `KEY`, `KEY=VALUE`, `KEY!=VALUE` and `KEY~=REGEX`.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for text in texts {
            filter.add(text.as_ref())?;
        }
        Ok(filter)
    }

    /// Returns how long a thing must have been unused, when the user said so.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// Returns whether everything but the age of an entry fulfils the conditions.
    pub fn accepts(&self, entry: &Entry) -> bool {
        self.conditions.iter().all(|condition| condition.holds(entry))
    }

    fn add(&mut self, text: &str) -> Result<(), FilterError> {
        let fail = |why: String| FilterError { text: text.to_owned(), why };
        let (key, how, value) = split(text);
        let key = key.trim().to_ascii_lowercase();
        if key == "until" || key == "unused-for" {
            let value = value.filter(|_| how == "=");
            let value = value.ok_or_else(|| fail(format!("write it as {key}=24h")))?;
            if self.until.is_some() {
                return Err(fail("there can be only one of its kind".to_owned()));
            }
            let time = time(value).ok_or_else(|| fail("its time is written as 24h, 90m or 7d".to_owned()))?;
            self.until = Some(time);
            return Ok(());
        }
        let field = match key.as_str() {
            "id" => Some(Field::Id),
            "type" => Some(Field::Kind),
            "description" => Some(Field::Description),
            "parents" | "parent" => Some(Field::Parents),
            _ => None,
        };
        if let Some(field) = field {
            let value = value.filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| fail(format!("it says no {key}")))?;
            let how_so = if how == "~=" {
                How::Matches(Regex::new(value).map_err(|error| fail(error.to_string()))?)
            } else {
                How::Equal(value.to_owned())
            };
            self.conditions.push(Condition::Text { field, how: how_so, wanted: how != "!=" });
            return Ok(());
        }
        let (flag, positive) = match key.as_str() {
            "inuse" => (Flag::InUse, true),
            "shared" => (Flag::Shared, true),
            "private" => (Flag::Shared, false),
            "mutable" => (Flag::Mutable, true),
            "immutable" => (Flag::Mutable, false),
            _ => return Err(fail(format!("the filters are {KNOWN}"))),
        };
        let said = match value {
            None | Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(_) => return Err(fail(format!("{key} is true or false"))),
        };
        let said = match how {
            "!=" => !said,
            "~=" => return Err(fail(format!("{key} is true or false"))),
            _ => said,
        };
        self.conditions.push(Condition::Flag { flag, wanted: said == positive });
        Ok(())
    }
}

impl Condition {
    fn holds(&self, entry: &Entry) -> bool {
        match self {
            Self::Flag { flag, wanted } => {
                let is = match flag {
                    Flag::InUse => entry.in_use,
                    Flag::Shared => entry.shared,
                    Flag::Mutable => entry.is_mutable(),
                };
                is == *wanted
            }
            Self::Text { field, how, wanted } => {
                let fits = |text: &str| match how {
                    How::Equal(value) => value == text,
                    How::Matches(pattern) => pattern.is_match(text),
                };
                let is = match field {
                    Field::Id => fits(&entry.id),
                    Field::Kind => fits(entry.kind.as_str()),
                    Field::Description => fits(&entry.description),
                    Field::Parents => entry.parents.iter().any(|parent| fits(parent)),
                };
                is == *wanted
            }
        }
    }
}

/// Splits a filter into its key, what stands between, and its value.
fn split(text: &str) -> (&str, &'static str, Option<&str>) {
    let Some(at) = text.find('=') else { return (text, "", None) };
    let value = &text[at + 1..];
    match text.as_bytes()[..at].last() {
        Some(b'~') => (&text[..at - 1], "~=", Some(value)),
        Some(b'!') => (&text[..at - 1], "!=", Some(value)),
        _ => (&text[..at], "=", Some(value.strip_prefix('=').unwrap_or(value))),
    }
}

/// Reads a time as Go writes it, or in days and weeks.
fn time(text: &str) -> Option<Duration> {
    let days = |suffix: char, hours: u64| {
        let number = text.strip_suffix(suffix)?.parse::<u64>().ok()?;
        number.checked_mul(hours * 3600).map(Duration::from_secs)
    };
    days('d', 24).or_else(|| days('w', 168)).or_else(|| {
        let time: SignedDuration = text.parse().ok()?;
        Duration::try_from(time).ok()
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::prune::Kind;

    fn entry() -> Entry {
        Entry {
            id: "1k".to_owned(),
            kind: Kind::CacheMount,
            size: 1,
            created: Timestamp::UNIX_EPOCH,
            last_used: Timestamp::UNIX_EPOCH,
            in_use: false,
            shared: false,
            parents: vec!["1j".to_owned()],
            description: "[2/3] RUN make".to_owned(),
        }
    }

    #[test]
    fn filters_are_read_and_hold() {
        for (text, holds) in [
            ("id=1k", true),
            ("id==1k", true),
            ("id!=1k", false),
            ("id=1", false),
            ("id~=^1", true),
            ("type=exec.cachemount", true),
            ("type=regular", false),
            ("description~=make$", true),
            ("parents=1j", true),
            ("inuse", false),
            ("inuse=false", true),
            ("inuse!=true", true),
            ("shared", false),
            ("private", true),
            ("private=0", false),
            ("mutable", true),
            ("immutable", false),
        ] {
            assert_eq!(PruneFilter::parse([text]).unwrap().accepts(&entry()), holds, "{text}");
        }
        assert!(!PruneFilter::parse(["private", "type=regular"]).unwrap().accepts(&entry()));
    }

    #[test]
    fn times_and_mistakes() {
        for (text, seconds) in [("24h", 86_400), ("90m", 5_400), ("1h30m", 5_400), ("7d", 604_800), ("0s", 0)]
        {
            let filter = PruneFilter::parse([format!("until={text}")]).unwrap();
            assert_eq!(filter.until(), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["until", "until=soon", "until=-1h", "size=1", "id", "id=", "shared=maybe", "id~=(", "", "="]
        {
            assert!(PruneFilter::parse([text]).is_err(), "{text}");
        }
        assert!(PruneFilter::parse(["until=1h", "unused-for=2h"]).is_err());
    }
}

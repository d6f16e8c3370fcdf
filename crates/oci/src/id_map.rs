//! How a mount shows the owners of files: ranges of user and group ids as they are stored, and as they are seen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kernel takes no more ranges of a kind (`user_namespaces(7)`).
const MOST_RANGES: usize = 340;

/// Owners as a mount shows them (`mount_setattr(2)`, MOUNT_ATTR_IDMAP). Owners outside of all ranges are shown as
/// 65534, and nobody can make files of theirs.
///
/// Written as Podman does: `uids=1000-0-1;gids=1000-0-1` shows what user 1000 owns as root's; several ranges are
/// separated by `#`. When one kind is left out, the ranges of the other hold for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Users.
    pub uids: Vec<IdRange>,
    /// Groups.
    pub gids: Vec<IdRange>,
}

/// A range of ids that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one as the file system stores it.
    pub stored: u32,
    /// The first one as it is shown.
    pub shown: u32,
    /// How many.
    pub count: u32,
}

impl FromStr for IdMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut uids, mut gids) = (None, None);
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let place = match part.split_once('=') {
                Some(("uids", ranges)) => (&mut uids, ranges),
                Some(("gids", ranges)) => (&mut gids, ranges),
                _ => return Err(format!("`{part}` is neither `uids=...` nor `gids=...`")),
            };
            if place.0.replace(ranges(place.1)?).is_some() {
                return Err(format!("`{text}` says a kind of ids twice"));
            }
        }
        match (uids, gids) {
            (Some(uids), Some(gids)) => Ok(Self { uids, gids }),
            (Some(both), None) | (None, Some(both)) => Ok(Self { uids: both.clone(), gids: both }),
            (None, None) => {
                Err("it needs ranges of ids, e.g. `uids=1000-0-1;gids=1000-0-1`: stored-shown-count"
                    .to_owned())
            }
        }
    }
}

fn ranges(text: &str) -> Result<Vec<IdRange>, String> {
    let ranges = text.split('#').map(str::parse).collect::<Result<Vec<IdRange>, String>>()?;
    if ranges.len() > MOST_RANGES {
        return Err(format!("the kernel takes at most {MOST_RANGES} ranges"));
    }
    let overlap = |one: u32, count: u32, other: u32, others: u32| {
        u64::from(one) < u64::from(other) + u64::from(others)
            && u64::from(other) < u64::from(one) + u64::from(count)
    };
    for (index, one) in ranges.iter().enumerate() {
        for other in &ranges[..index] {
            if overlap(one.stored, one.count, other.stored, other.count)
                || overlap(one.shown, one.count, other.shown, other.count)
            {
                return Err(format!("the ranges `{other}` and `{one}` overlap"));
            }
        }
    }
    Ok(ranges)
}

impl FromStr for IdRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no range of ids: write it as STORED-SHOWN-COUNT, e.g. `1000-0-1`");
        let numbers: Vec<u32> =
            text.split('-').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let [stored, shown, count] = numbers[..] else { return Err(wrong()) };
        // The highest number means «none» to the kernel.
        let fits = |first: u32| first.checked_add(count).is_some();
        if count == 0 || !fits(stored) || !fits(shown) {
            return Err(wrong());
        }
        Ok(Self { stored, shown, count })
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.stored, self.shown, self.count)
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ranges: &[IdRange]| ranges.iter().map(IdRange::to_string).collect::<Vec<_>>().join("#");
        write!(f, "uids={};gids={}", list(&self.uids), list(&self.gids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_podman_writes_them() {
        let map: IdMap = "uids=0-1-10#10-11-10;gids=0-100-10".parse().unwrap();
        assert_eq!(map.uids[1], IdRange { stored: 10, shown: 11, count: 10 });
        assert_eq!(map.to_string(), "uids=0-1-10#10-11-10;gids=0-100-10");
        let both: IdMap = "uids=1000-0-1".parse().unwrap();
        assert_eq!(both.uids, both.gids);
        for (bad, why) in [
            ("", "needs ranges"),
            ("1000", "neither"),
            ("uids=1000-0", "no range"),
            ("uids=1000-0-0", "no range"),
            ("uids=4294967295-0-1", "no range"),
            ("uids=-1-0-1", "no range"),
            ("uids=0-0-10#5-100-1", "overlap"),
            ("uids=0-0-10#50-9-1", "overlap"),
            ("uids=0-0-1;uids=1-1-1", "twice"),
        ] {
            let error = bad.parse::<IdMap>().unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}

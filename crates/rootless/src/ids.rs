//! Ids that a user may give away: `/etc/subuid` and `/etc/subgid` (subuid(5)), and how they appear inside.

use std::fs;
use std::path::Path;

/// Ids of the host in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// One line of a map of ids (`user_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First id inside.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// What a user may give away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subordinates {
    /// The user's name; its number when the user database does not know it.
    pub name: String,
    /// Users.
    pub users: Vec<Range>,
    /// Groups.
    pub groups: Vec<Range>,
}

impl Subordinates {
    /// Returns whether containers can have more than one id.
    pub fn suffice(&self) -> bool {
        !self.users.is_empty() && !self.groups.is_empty()
    }
}

/// Looks up what the user `uid` may give away; missing files are as empty ones.
pub fn subordinates(uid: u32) -> Subordinates {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let name = user_name(&read("/etc/passwd"), uid).unwrap_or_else(|| uid.to_string());
    let users = ranges(&read("/etc/subuid"), &name, uid);
    let groups = ranges(&read("/etc/subgid"), &name, uid);
    Subordinates { name, users, groups }
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Returns the ranges that `text` gives to the user, who is named by name or number.
fn ranges(text: &str, name: &str, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let range = Range { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        let fits = range.count > 0 && range.first.checked_add(range.count).is_some();
        ((owner == name || owner == number) && fits).then_some(range)
    };
    text.lines().filter_map(range).collect()
}

/// Returns the map of a world: its root is the user, the ids after it are those that may be given away.
pub fn plan(own: u32, ranges: &[Range]) -> Vec<Mapping> {
    let mut mappings = vec![Mapping { inside: 0, outside: own, count: 1 }];
    let mut inside: u32 = 1;
    for range in ranges {
        // An id may appear once only.
        if (range.first..range.first + range.count).contains(&own) {
            continue;
        }
        mappings.push(Mapping { inside, outside: range.first, count: range.count });
        match inside.checked_add(range.count) {
            Some(next) => inside = next,
            None => break,
        }
    }
    mappings
}

/// Returns the largest id that is mapped in this process's user namespace; `groups` asks for groups.
pub fn maximum_id(groups: bool) -> u32 {
    let path = if groups { "/proc/self/gid_map" } else { "/proc/self/uid_map" };
    largest(&fs::read_to_string(Path::new(path)).unwrap_or_default()).unwrap_or(u32::MAX - 1)
}

fn largest(map: &str) -> Option<u32> {
    let last = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let inside: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.nth(1)?.parse().ok()?;
        Some(inside.saturating_add(count).saturating_sub(1))
    };
    map.lines().filter_map(last).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";

    #[test]
    fn ranges_by_name_and_by_number() {
        assert_eq!(user_name(PASSWD, 1000).as_deref(), Some("anna"));
        assert_eq!(user_name(PASSWD, 1001), None);
        let text = "anna:100000:65536\nbert:200000:65536\n1000:300000:10\nanna:broken:1\nanna:5:0\nanna:9\n";
        let found = ranges(text, "anna", 1000);
        assert_eq!(found, [Range { first: 100_000, count: 65_536 }, Range { first: 300_000, count: 10 }]);
    }

    #[test]
    fn the_user_is_root_inside() {
        let ranges = [Range { first: 100_000, count: 65_536 }, Range { first: 900, count: 200 }];
        assert_eq!(
            plan(1000, &ranges),
            [
                Mapping { inside: 0, outside: 1000, count: 1 },
                Mapping { inside: 1, outside: 100_000, count: 65_536 }
            ],
            "a range that holds the user's own id is left out"
        );
        assert_eq!(plan(1000, &[]), [Mapping { inside: 0, outside: 1000, count: 1 }]);
    }

    #[test]
    fn largest_mapped() {
        assert_eq!(
            largest("         0       1000          1\n         1     100000      65536\n"),
            Some(65_536)
        );
        assert_eq!(largest("         0          0 4294967295\n"), Some(u32::MAX - 1));
        assert_eq!(largest(""), None);
    }
}

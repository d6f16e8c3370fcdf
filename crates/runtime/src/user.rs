//! Who a container runs as: `user[:group]` looked up in the container's own user database. Pure: the files' texts
//! come from the caller, who opens them inside the root file system.

/// Why a user or group is not known.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// No such user.
    #[error("there is no user `{0}` in the container's /etc/passwd")]
    User(String),
    /// No such group.
    #[error("there is no group `{0}` in the container's /etc/group")]
    Group(String),
    /// A number that no user or group can have: the kernel takes the highest one for «as it is», which is root.
    #[error("`{0}` has a number beyond 2147483647, the highest that a user or group can have")]
    Range(String),
    /// One that is not known, because the files cannot be used.
    #[error("{error}; {why}")]
    Unusable {
        /// What is missing.
        error: Box<UserError>,
        /// What is wrong with the files.
        why: String,
    },
}

/// The highest number of a user or group, as Docker has it.
const HIGHEST: u32 = i32::MAX.unsigned_abs();

/// A user with all that a process needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, sorted.
    pub groups: Vec<u32>,
    /// Home directory; `/` when the user has no entry.
    pub home: String,
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(Passwd { name, uid, gid, home })
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or("").split(',').filter(|member| !member.is_empty()).collect();
        Some(Group { name, gid, members })
    })
}

fn group_id(wanted: &str, group_text: &str) -> Result<u32, UserError> {
    if let Some(group) = groups(group_text).find(|group| group.name == wanted) {
        return Ok(group.gid);
    }
    wanted.parse().map_err(|_| UserError::Group(wanted.to_owned()))
}

/// Looks up `wanted` (`user`, `uid`, `user:group`, `uid:gid`; empty means root) and the groups `extra`.
///
/// As in Docker, an unknown number is taken as it is, with the root group unless one is named, and a named group
/// replaces the supplementary groups of the user database.
pub fn resolve_user(
    wanted: &str,
    extra: &[String],
    passwd_text: &str,
    group_text: &str,
) -> Result<ResolvedUser, UserError> {
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let entry = passwd(passwd_text)
        .find(|entry| entry.name == user)
        .or_else(|| passwd(passwd_text).find(|entry| number == Some(entry.uid)));
    let (uid, mut gid, home, name) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home, Some(entry.name)),
        (None, Some(number)) => (number, 0, "", None),
        (None, None) => return Err(UserError::User(user.to_owned())),
    };
    let mut list = Vec::new();
    match group {
        Some(group) => gid = group_id(group, group_text)?,
        None => {
            if let Some(name) = name {
                let of_user = groups(group_text).filter(|group| group.members.contains(&name));
                list.extend(of_user.map(|group| group.gid));
            }
        }
    }
    for group in extra {
        list.push(group_id(group, group_text)?);
    }
    list.push(gid);
    if std::iter::once(&uid).chain(&list).any(|number| *number > HIGHEST) {
        return Err(UserError::Range(wanted.to_owned()));
    }
    list.sort_unstable();
    list.dedup();
    let home = if home.is_empty() { "/" } else { home };
    Ok(ResolvedUser { uid, gid, groups: list, home: home.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:101:102::/var/www:/bin/false\n33:x:7:7::/odd:\n";
    const GROUP: &str = "root:x:0:\nweb:x:102:\naudio:x:29:web,root\nvideo:x:44:web\nstaff:x:50:\n";

    fn resolve(wanted: &str, extra: &[&str]) -> Result<(u32, u32, Vec<u32>, String), UserError> {
        let extra: Vec<String> = extra.iter().map(|group| (*group).to_owned()).collect();
        resolve_user(wanted, &extra, PASSWD, GROUP).map(|user| (user.uid, user.gid, user.groups, user.home))
    }

    #[test]
    fn lookups() {
        for (wanted, extra, expected) in [
            ("", vec![], (0, 0, vec![0, 29], "/root")),
            ("web", vec![], (101, 102, vec![29, 44, 102], "/var/www")),
            ("101", vec![], (101, 102, vec![29, 44, 102], "/var/www")),
            ("web:staff", vec![], (101, 50, vec![50], "/var/www")),
            ("web:7", vec!["staff", "9"], (101, 7, vec![7, 9, 50], "/var/www")),
            ("1000", vec![], (1000, 0, vec![0], "/")),
            ("1000:1001", vec![], (1000, 1001, vec![1001], "/")),
            ("33", vec![], (7, 7, vec![7], "/odd")),
        ] {
            let (uid, gid, groups, home) = expected;
            assert_eq!(resolve(wanted, &extra), Ok((uid, gid, groups, home.to_owned())), "{wanted}");
        }
        assert_eq!(resolve("nobody", &[]), Err(UserError::User("nobody".to_owned())));
        assert_eq!(resolve("web:nogroup", &[]), Err(UserError::Group("nogroup".to_owned())));
        assert_eq!(resolve("-1", &[]), Err(UserError::User("-1".to_owned())));
        for (wanted, extra) in [("4294967295", vec![]), ("0:4294967295", vec![]), ("0", vec!["2147483648"])] {
            assert!(matches!(resolve(wanted, &extra), Err(UserError::Range(_))), "{wanted}");
        }
        let hostile = "web:x:4294967295:0::/:\n";
        assert_eq!(resolve_user("web", &[], hostile, ""), Err(UserError::Range("web".to_owned())));
        assert!(resolve("2147483647", &[]).is_ok());
    }
}

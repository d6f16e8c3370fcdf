//! Users that a build makes.

use super::words::option;

/// A user that `useradd` or `adduser` makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name.
    pub name: String,
    /// Its number, when it is said.
    pub uid: Option<String>,
    /// Its home.
    pub home: String,
    /// Whether its home is made and given to it; `None` when that depends.
    pub home_made: Option<bool>,
}

/// Options of the two programs that take a value.
const USERADD: &[&str] = &[
    "-b",
    "-c",
    "-d",
    "-e",
    "-f",
    "-g",
    "-G",
    "-k",
    "-K",
    "-p",
    "-r-",
    "-R",
    "-s",
    "-u",
    "-Z",
    "--base-dir",
    "--comment",
    "--home-dir",
    "--home",
    "--expiredate",
    "--inactive",
    "--gid",
    "--groups",
    "--skel",
    "--key",
    "--password",
    "--root",
    "--shell",
    "--uid",
    "--selinux-user",
    "--prefix",
    "-P",
];
const ADDUSER: &[&str] = &[
    "-h",
    "-g",
    "-s",
    "-G",
    "-u",
    "-k",
    "--home",
    "--shell",
    "--uid",
    "--gid",
    "--ingroup",
    "--gecos",
    "--firstuid",
    "--lastuid",
    "--conf",
    "--comment",
    "--firstgid",
    "--lastgid",
];

/// Reads the user that a simple command makes, if it makes one.
pub(crate) fn read(words: &[String]) -> Option<Account> {
    let (program, arguments) = words.split_first()?;
    let flags = |names: &[&str]| arguments.iter().any(|word| names.contains(&word.as_str()));
    // Short flags may stand together: `-rm`.
    let short = |flag: char| {
        arguments.iter().any(|word| {
            word.strip_prefix('-').is_some_and(|rest| {
                !rest.starts_with('-') && rest.chars().all(char::is_alphabetic) && rest.contains(flag)
            })
        })
    };
    let home_of = |name: &str, names: &[&str]| match option(arguments, names) {
        Some(home) => home.to_owned(),
        None => format!("/home/{name}"),
    };
    match program.rsplit('/').next()? {
        "useradd" => {
            let name = positional(arguments, USERADD).last()?.clone();
            let no = short('M') || flags(&["--no-create-home"]);
            let made = !no && (short('m') || flags(&["--create-home"]));
            let home = home_of(&name, &["-d", "--home-dir", "--home"]);
            let uid = option(arguments, &["-u", "--uid"]).map(str::to_owned);
            Some(Account { name, uid, home, home_made: Some(made) })
        }
        "adduser" => {
            // `adduser USER GROUP` puts a user into a group.
            let debian = flags(&[
                "--system",
                "--disabled-password",
                "--gecos",
                "--ingroup",
                "--group",
                "--no-create-home",
            ]);
            let positional = positional(arguments, ADDUSER);
            let (name, more) = positional.split_first()?;
            if !more.is_empty() && !debian {
                return None;
            }
            let home = home_of(name, &["-h", "--home"]);
            let uid = option(arguments, &["-u", "--uid"]).map(str::to_owned);
            let none = short('H') || flags(&["--no-create-home"]);
            let home_made = match () {
                () if none => Some(false),
                () if flags(&["--system"]) => None,
                () => Some(true),
            };
            Some(Account { name: name.clone(), uid, home, home_made })
        }
        _ => None,
    }
}

/// Returns the words that are neither options nor their values.
fn positional(words: &[String], valued: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word.starts_with('>') || word.starts_with("2>") {
            continue;
        }
        if !word.starts_with('-') || word == "-" {
            found.push(word.clone());
            continue;
        }
        // The last letter of a cluster (`-rg GROUP`) may take the next word.
        let last = match word.strip_prefix("--") {
            Some(_) => word.clone(),
            None => word.chars().next_back().map(|last| format!("-{last}")).unwrap_or_default(),
        };
        if valued.contains(&last.as_str()) && !word.contains('=') {
            words.next();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let table = [
            ("useradd -r -g appuser appuser", Some(("appuser", None, "/home/appuser", Some(false)))),
            ("useradd -m -u 1000 app", Some(("app", Some("1000"), "/home/app", Some(true)))),
            ("useradd -rm -d /srv/app -s /bin/false app", Some(("app", None, "/srv/app", Some(true)))),
            ("useradd --create-home --shell=/bin/bash app", Some(("app", None, "/home/app", Some(true)))),
            ("adduser -S appuser -u 1001", Some(("appuser", Some("1001"), "/home/appuser", Some(true)))),
            ("adduser -D -H app", Some(("app", None, "/home/app", Some(false)))),
            ("adduser --system --group app", Some(("app", None, "/home/app", None))),
            ("adduser --disabled-password --gecos  app", None),
            ("adduser app www-data", None),
            ("groupadd app", None),
        ];
        for (text, expected) in table {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            let found = read(&words);
            let short = found.as_ref().map(|account| {
                (account.name.as_str(), account.uid.as_deref(), account.home.as_str(), account.home_made)
            });
            if text.contains("--gecos") {
                assert_eq!(short.map(|found| found.0), Some("app"));
                continue;
            }
            assert_eq!(short, expected, "{text}");
        }
    }
}

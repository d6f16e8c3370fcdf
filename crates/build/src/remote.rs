//! What lies elsewhere: git repositories and URLs, as contexts and sources of `ADD` write them. Pure.
//!
//! The forms are BuildKit's (`util/gitutil`, `frontend/dockerfile/dfgitutil`): `REPOSITORY#REF:SUBDIRECTORY`,
//! `https://HOST/PATH.git?ref=REF&subdir=DIRECTORY`, `git@HOST:PATH`, `ssh://`, `git://`, `github.com/OWNER/NAME`.

use std::fmt;

use serde::Serialize;

/// Keys of a query that mean something to a git URL.
const KEYS: [&str; 9] =
    ["ref", "tag", "branch", "commit", "checksum", "subdir", "submodules", "keep-git-dir", "fetch-by-commit"];

/// A directory of a git repository at a reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GitSource {
    /// The repository, without query and fragment. Never begins with `-`.
    pub remote: String,
    /// Branch, tag, full reference or commit; `None` is what the repository's HEAD names. Never begins with `-`.
    pub reference: Option<String>,
    /// The directory in it, without `..`; empty is the whole.
    pub subdir: String,
    /// The commit (or the beginning of its id) that the reference must be.
    pub checksum: Option<String>,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
    /// Whether submodules are fetched too.
    pub submodules: bool,
}

/// What lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteSource {
    /// A file that is fetched by HTTP.
    Http(String),
    /// A git repository.
    Git(GitSource),
}

impl RemoteSource {
    /// Reads a URL or another form of a git repository; `Ok(None)` is a path of this machine. The error says what is
    /// wrong with it.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if let Some(source) = GitSource::parse(text)? {
            return Ok(Some(Self::Git(source)));
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
        if matches!(scheme, "http" | "https") {
            if rest.is_empty() || rest.starts_with('/') {
                return Err(format!("`{text}` names no host"));
            }
            return Ok(Some(Self::Http(text.to_owned())));
        }
        Ok(None)
    }
}

impl GitSource {
    /// Reads a repository; `Ok(None)` is something else.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let (whole, fragment) = match text.split_once('#') {
            Some((whole, fragment)) => (whole, Some(fragment)),
            None => (text, None),
        };
        let scheme = whole.split_once("://").map(|(scheme, _)| scheme);
        let (remote, query) = match (scheme, whole.split_once('?')) {
            (Some(_), Some((remote, query))) => (remote, Some(query)),
            _ => (whole, None),
        };
        let remote = match scheme {
            Some("http" | "https") => {
                let path = remote.trim_end_matches('/');
                let suffix = std::path::Path::new(path).extension();
                if suffix.is_none_or(|suffix| suffix != "git") {
                    return Ok(None);
                }
                remote.to_owned()
            }
            Some("git" | "ssh" | "git+ssh" | "git+https" | "git+http") => {
                remote.strip_prefix("git+").unwrap_or(remote).to_owned()
            }
            None if is_scp(remote) => remote.to_owned(),
            None if remote.starts_with("github.com/") => format!("https://{remote}"),
            _ => return Ok(None),
        };
        let host = remote.split_once("://").map_or(remote.as_str(), |(_, rest)| rest);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if host.is_empty() || host.starts_with(['/', '-', ':']) {
            return Err(format!("`{text}` names no host"));
        }
        if let Some(odd) = remote.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("`{}` stands in a repository's address", odd.escape_default()));
        }
        let mut source = Self {
            remote,
            reference: None,
            subdir: String::new(),
            checksum: None,
            keep_git_dir: false,
            submodules: true,
        };
        match (query, fragment) {
            (Some(query), Some(_)) if !query.is_empty() => {
                return Err(format!(
                    "`{text}` has both a query and a fragment: only one may say what is meant"
                ));
            }
            (Some(query), _) => source.read_query(query)?,
            (None, Some(fragment)) => {
                let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
                source.set_reference(reference)?;
                source.set_subdir(subdir)?;
            }
            (None, None) => {}
        }
        Ok(Some(source))
    }

    fn read_query(&mut self, query: &str) -> Result<(), String> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = unescape(value)?;
            match key {
                "ref" => self.set_reference(&value)?,
                "branch" => self.set_reference(&qualified("refs/heads/", &value))?,
                "tag" => self.set_reference(&qualified("refs/tags/", &value))?,
                "commit" | "checksum" => {
                    if !is_commit_prefix(&value) {
                        return Err(format!("`{value}` is no commit: that is 7 to 64 hexadecimal digits"));
                    }
                    self.checksum = Some(value);
                }
                "subdir" => self.set_subdir(&value)?,
                "submodules" => self.submodules = truth(key, &value)?,
                "keep-git-dir" => self.keep_git_dir = truth(key, &value)?,
                // Whether a commit is asked for by its id is the fetcher's choice here.
                "fetch-by-commit" => drop(truth(key, &value)?),
                _ => {
                    let near = coracle_dockerfile::nearest(key, KEYS);
                    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                    return Err(format!("`{key}` in the query means nothing to a git repository{near}"));
                }
            }
        }
        if self.reference.is_none() {
            self.reference = self.checksum.clone().filter(|commit| is_full_commit(commit));
        }
        Ok(())
    }

    fn set_reference(&mut self, reference: &str) -> Result<(), String> {
        if reference.is_empty() {
            return Ok(());
        }
        // The rules of git-check-ref-format(1) that matter to a command line and a refspec.
        let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
        if reference.starts_with('-') || reference.contains("..") || reference.contains(odd) {
            return Err(format!("`{}` is no name of a branch, tag or commit", reference.escape_debug()));
        }
        self.reference = Some(reference.to_owned());
        Ok(())
    }

    fn set_subdir(&mut self, subdir: &str) -> Result<(), String> {
        let parts: Vec<&str> = subdir.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return Err(format!("the directory `{subdir}` leads out of the repository"));
        }
        if parts.contains(&".git") {
            return Err("the repository's own `.git` is no directory to take".to_owned());
        }
        self.subdir = parts.join("/");
        Ok(())
    }

    /// Returns the name of the repository, for messages and history: `REMOTE#REF:SUBDIRECTORY` without a password.
    pub fn shown(&self) -> String {
        let remote = match self.remote.split_once("://") {
            Some((scheme, rest)) => match rest.split_once('@') {
                Some((user, host)) if user.contains(':') => format!("{scheme}://{host}"),
                _ => self.remote.clone(),
            },
            None => self.remote.clone(),
        };
        let reference = self.reference.as_deref().unwrap_or_default();
        match (reference, self.subdir.as_str()) {
            ("", "") => remote,
            (reference, "") => format!("{remote}#{reference}"),
            (reference, subdir) => format!("{remote}#{reference}:{subdir}"),
        }
    }
}

impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Returns whether this is a whole id of a commit (SHA-1 or SHA-256).
pub fn is_full_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_commit_prefix(text)
}

/// Returns whether this may begin a commit's id.
pub fn is_commit_prefix(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `user@host:path`, where the user is plain.
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let Some((host, path)) = rest.split_once(':') else { return false };
    !user.is_empty() && !user.starts_with('-') && plain(user) && plain(host) && !path.is_empty()
}

fn qualified(prefix: &str, name: &str) -> String {
    if name.is_empty() || name.starts_with("refs/") { name.to_owned() } else { format!("{prefix}{name}") }
}

fn truth(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("`{key}={value}` is neither true nor false")),
    }
}

/// Takes the `%` escapes of a query's value back.
fn unescape(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(format!("`{text}` has a `%` without two digits"));
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| format!("`{text}` is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(text: &str) -> GitSource {
        GitSource::parse(text).unwrap().unwrap_or_else(|| panic!("`{text}` is a repository"))
    }

    #[test]
    fn repositories_are_known_by_their_form() {
        let commit = "0123456789012345678901234567890123456789";
        let by_commit = format!("https://h/r.git?commit={commit}");
        for (text, remote, reference, subdir) in [
            ("https://github.com/a/b.git", "https://github.com/a/b.git", None, ""),
            ("https://github.com/a/b.git#v1", "https://github.com/a/b.git", Some("v1"), ""),
            ("https://github.com/a/b.git#v1:docs/x", "https://github.com/a/b.git", Some("v1"), "docs/x"),
            ("https://github.com/a/b.git#:docs", "https://github.com/a/b.git", None, "docs"),
            (
                "https://github.com/a/b.git#main:/./docs//x/",
                "https://github.com/a/b.git",
                Some("main"),
                "docs/x",
            ),
            ("https://h/r.git?ref=v1&subdir=a%2Fb", "https://h/r.git", Some("v1"), "a/b"),
            ("https://h/r.git?branch=main", "https://h/r.git", Some("refs/heads/main"), ""),
            ("https://h/r.git?tag=v1", "https://h/r.git", Some("refs/tags/v1"), ""),
            (by_commit.as_str(), "https://h/r.git", Some(commit), ""),
            ("git@github.com:a/b.git#x", "git@github.com:a/b.git", Some("x"), ""),
            ("git@github.com:a/b", "git@github.com:a/b", None, ""),
            ("ssh://git@h:2222/a/b", "ssh://git@h:2222/a/b", None, ""),
            ("git://127.0.0.1:9418/a#v1:d", "git://127.0.0.1:9418/a", Some("v1"), "d"),
            ("github.com/a/b#v1", "https://github.com/a/b", Some("v1"), ""),
        ] {
            let source = git(text);
            assert_eq!(
                (source.remote.as_str(), source.reference.as_deref(), source.subdir.as_str()),
                (remote, reference, subdir),
                "{text}"
            );
        }
        let source = git("https://h/r.git?submodules=0&keep-git-dir=1&checksum=0123456");
        assert!(!source.submodules && source.keep_git_dir);
        assert_eq!(source.checksum.as_deref(), Some("0123456"));
    }

    #[test]
    fn other_things_are_none() {
        for text in [
            ".",
            "a/b.git",
            "/srv/r.git",
            "./github.com/a/b",
            "https://h/a.tar.gz",
            "docker-image://x",
            "a@b",
        ] {
            assert_eq!(GitSource::parse(text), Ok(None), "{text}");
        }
        assert_eq!(
            RemoteSource::parse("https://h/a.tar.gz#x"),
            Ok(Some(RemoteSource::Http("https://h/a.tar.gz#x".to_owned())))
        );
        assert_eq!(RemoteSource::parse("dir/file"), Ok(None));
    }

    #[test]
    fn nothing_becomes_an_option_or_leads_out() {
        for text in [
            "https://h/r.git#--upload-pack=touch",
            "https://h/r.git#-x",
            "https://h/r.git#a..b",
            "https://h/r.git#a b",
            "https://h/r.git#main:../x",
            "https://h/r.git#main:.git",
            "https://h/r.git?subdir=..%2F..",
            "https://h/r.git?reff=x",
            "https://h/r.git?submodules=maybe",
            "https://h/r.git?commit=xyz",
            "https://h/r.git?ref=a#b",
            "ssh://-oProxyCommand=x/r.git",
            "ssh://u@-oProxyCommand=x/r.git",
            "https:///r.git",
            "https://h/r\n.git",
        ] {
            assert!(GitSource::parse(text).is_err(), "{text}: {:?}", GitSource::parse(text));
        }
        assert!(RemoteSource::parse("http://").is_err());
        assert_eq!(GitSource::parse("-u@h:x"), Ok(None));
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(git("https://u:secret@h/r.git#v1").shown(), "https://h/r.git#v1");
    }
}

//! Paths as a Dockerfile writes them: absolute ones of the image, relative ones of a source.

use crate::SourcePath;

/// Returns `path` without empty, `.` and `..` parts, and how many `..` led above its beginning.
fn parts(path: &str) -> (Vec<&str>, usize) {
    let mut parts = Vec::new();
    let mut above = 0;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    above += 1;
                }
            }
            _ => parts.push(part),
        }
    }
    (parts, above)
}

/// Returns the absolute, clean path of `path` in a container whose working directory is `cwd`.
pub(crate) fn absolute(cwd: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    format!("/{}", parts(&whole).0.join("/"))
}

/// Returns the absolute destination of a copy; it ends with `/` when it must be a directory.
pub(crate) fn destination(cwd: &str, path: &str) -> String {
    let mut dest = absolute(cwd, path);
    let directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    if directory && !dest.ends_with('/') {
        dest.push('/');
    }
    dest
}

/// Returns the source that `path` means; `Err` when it leads out of the place's root, which only a place that is a
/// whole file system (`rooted`) forgives.
pub(crate) fn source(path: &str, rooted: Rooted) -> Result<SourcePath, ()> {
    let (list, above) = parts(path);
    if above > 0 && rooted == Rooted::Context {
        return Err(());
    }
    let pivot = path.split_once("/./").map_or_else(String::new, |(before, _)| parts(before).0.join("/"));
    let pivot = Some(pivot);
    let trailing_slash = path.len() > 1 && path.ends_with('/');
    Ok(SourcePath { path: list.join("/"), literal: false, trailing_slash, pivot })
}

/// What the root of a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rooted {
    /// The context's directory: there are files above it, which must not be reached.
    Context,
    /// A file system's root: `/..` is `/`.
    FileSystem,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolutes() {
        for (cwd, path, expected) in [
            ("/app", "x", "/app/x"),
            ("/app", "/x/", "/x"),
            ("/app", ".", "/app"),
            ("", "x", "/x"),
            ("/a/b", "../../../c", "/c"),
        ] {
            assert_eq!(absolute(cwd, path), expected);
        }
    }

    #[test]
    fn destinations() {
        for (path, expected) in [
            ("x", "/app/x"),
            ("x/", "/app/x/"),
            (".", "/app/"),
            ("./", "/app/"),
            ("/", "/"),
            ("x/.", "/app/x/"),
        ] {
            assert_eq!(destination("/app", path), expected);
        }
    }

    #[test]
    fn sources() {
        let of = |path| source(path, Rooted::Context).map(|source| source.path);
        assert_eq!(of("/src/").as_deref(), Ok("src"));
        assert_eq!(of("a/./b/../c").as_deref(), Ok("a/c"));
        assert_eq!(of(".").as_deref(), Ok(""));
        assert_eq!(of("../x"), Err(()));
        assert_eq!(of("a/../../x"), Err(()));
        assert_eq!(source("../x", Rooted::FileSystem).unwrap().path, "x");
        assert_eq!(source("a/b/./c/d", Rooted::Context).unwrap().pivot.as_deref(), Some("a/b"));
        assert!(source("d/", Rooted::Context).unwrap().trailing_slash);
    }
}

//! Paths as a Dockerfile writes them: absolute ones of the image, relative ones of a source.

use crate::SourcePath;

/// Returns the parts of `path` without empty, `.` and `..` ones; `..` of the root is the root.
fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts
}

/// Returns the absolute, clean path of `path` in a container whose working directory is `cwd`.
pub(crate) fn absolute(cwd: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") };
    format!("/{}", parts(&whole).join("/"))
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

/// Returns the source that `path` means; what leads above the place's root leads to the root, as in BuildKit.
pub(crate) fn source(path: &str) -> SourcePath {
    let pivot = path.split_once("/./").map_or_else(String::new, |(before, _)| parts(before).join("/"));
    let pivot = Some(pivot);
    let trailing_slash = path.len() > 1 && path.ends_with('/');
    SourcePath { path: parts(path).join("/"), literal: false, trailing_slash, pivot }
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
        let of = |path| source(path).path;
        assert_eq!(of("/src/"), "src");
        assert_eq!(of("a/./b/../c"), "a/c");
        assert_eq!(of("."), "");
        assert_eq!(of("../x"), "x");
        assert_eq!(of("a/../../x"), "x");
        assert_eq!(source("a/b/./c/d").pivot.as_deref(), Some("a/b"));
        assert!(source("d/").trailing_slash);
    }
}

//! The parser directives at a Dockerfile's head: `# syntax=`, `# escape=`, `# check=`.
//!
//! They end at the first line that is no such comment, be it empty. A name in any case, each at most once. A first line
//! that begins with `#!` is passed over, as BuildKit does, and then `escape` means nothing.

use coracle_report::{Diagnostic, Position};

use crate::{Directives, Escape, Source, Spanned, Word};

/// Says whether the file begins with `#!`.
pub(crate) fn shebang(source: &Source) -> bool {
    source.lines().first().is_some_and(|line| line.starts_with("#!"))
}

/// Reads the directives; returns also the index of the first line after them.
pub(crate) fn directives(source: &Source) -> Result<(Directives, usize), Diagnostic> {
    let mut directives = Directives::default();
    let mut escape_seen = false;
    let skipped = usize::from(shebang(source));
    for (index, line) in source.lines().iter().enumerate().skip(skipped) {
        let Some((name, value)) = directive(source, index, line) else {
            return Ok((directives, index));
        };
        let twice = |seen: bool| {
            let message = format!("directive `{name}` is given twice");
            if seen { Err(source.error("duplicate-directive", message, &value.span)) } else { Ok(()) }
        };
        match name.as_str() {
            "syntax" => {
                twice(directives.syntax.is_some())?;
                if let Err(why) = frontend(&value) {
                    return Err(source.place(why, &value.span));
                }
                directives.syntax = Some(value);
            }
            "check" => {
                twice(directives.check.is_some())?;
                directives.check = Some(value);
            }
            "escape" => {
                twice(escape_seen)?;
                escape_seen = true;
                if skipped == 0 {
                    directives.escape = match value.as_str() {
                        "\\" => Escape::Backslash,
                        "`" => Escape::Backtick,
                        other => {
                            let message =
                                format!("the escape character is `\\` or a backtick, not `{other}`");
                            return Err(source.error("bad-directive", message, &value.span));
                        }
                    };
                }
            }
            // Any other comment ends the directives, as does everything that is no comment.
            _ => return Ok((directives, index)),
        }
    }
    Ok((directives, source.lines().len()))
}

fn directive(source: &Source, index: usize, line: &str) -> Option<(String, Word)> {
    let rest = line.trim_start().strip_prefix('#')?;
    let (name, value) = rest.split_once('=')?;
    let name = name.trim();
    let value = value.trim();
    let legal = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !legal || value.is_empty() {
        return None;
    }
    let number = index as u32 + 1;
    let before = line.rfind(value).map_or(0, |offset| line[..offset].chars().count()) as u32;
    let start = Position::new(number, before + 1);
    let end = Position::new(number, before + 1 + value.chars().count() as u32);
    Some((name.to_ascii_lowercase(), Spanned::new(value.to_owned(), source.span(start, end))))
}

/// Says whether the frontend that `# syntax=` or the build argument `BUILDKIT_SYNTAX` asks for is the Dockerfile
/// frontend of version 1, in any channel, from any mirror: that is what this crate implements. Any other frontend
/// reads another language, so its files are refused rather than misread.
pub fn frontend(syntax: &str) -> Result<(), Diagnostic> {
    // What follows a space is for the frontend's command line.
    let image = syntax.split(' ').next().unwrap_or_default();
    let name = image.split('@').next().unwrap_or_default();
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    };
    let ours =
        ["docker/dockerfile", "docker/dockerfile-upstream", "moby/dockerfile"].into_iter().any(|known| {
            repository.strip_suffix(known).is_some_and(|before| before.is_empty() || before.ends_with('/'))
        });
    if !ours {
        let message = format!("`{image}` is not the Dockerfile frontend, and Coracle runs no other");
        return Err(Diagnostic::error("unknown-frontend", message)
            .with_note("a frontend may read a language of its own; this file would be misread without it")
            .with_hint("if the file is an ordinary Dockerfile, write `# syntax=docker/dockerfile:1`"));
    }
    let version = tag.trim_end_matches("-labs").trim_end_matches("-experimental");
    let version = version.strip_suffix("-rc").unwrap_or(version);
    match version.split(['.', '-']).next().unwrap_or_default().parse::<u32>() {
        Ok(1) | Err(_) => Ok(()),
        Ok(major) => {
            let message = format!("version {major} of the Dockerfile syntax is not known here");
            Err(Diagnostic::error("unknown-frontend", message)
                .with_hint("write `# syntax=docker/dockerfile:1`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::frontend;

    #[test]
    fn frontends() {
        for known in [
            "docker/dockerfile:1",
            "docker/dockerfile",
            "docker/dockerfile:1.7",
            "docker/dockerfile:1.20.0",
            "docker/dockerfile:1-labs",
            "docker/dockerfile:1.7-labs",
            "docker/dockerfile:labs",
            "docker/dockerfile:latest",
            "docker/dockerfile:1.0-experimental",
            "docker.io/docker/dockerfile:1",
            "mirror.example:5000/proxy/docker/dockerfile:1.4",
            "docker/dockerfile-upstream:master",
            "docker/dockerfile:1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "docker/dockerfile:1 some words",
        ] {
            assert_eq!(frontend(known), Ok(()), "{known}");
        }
        for unknown in
            ["tool/frontend", "docker/dockerfile:2", "example/notdocker/dockerfilex:1", "dockerfile"]
        {
            assert_eq!(frontend(unknown).unwrap_err().code, "unknown-frontend", "{unknown}");
        }
    }
}

//! `RUN --mount`: the comma-separated fields of a mount to a typed value.

use std::ops::Range;

use coracle_report::{Diagnostic, Span};

use crate::logical::Logical;
use crate::{Source, Word, nearest};

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where the flag stands.
    pub span: Span,
}

/// How builds that run at once share a cache mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// All use it at once.
    #[default]
    Shared,
    /// A second user gets a new one.
    Private,
    /// A second user waits.
    Locked,
}

/// Owner and mode of a mounted thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOwner {
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// What a `--mount` mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A part of the context, of a stage or of an image.
    Bind {
        /// Stage or image; `None` is the context.
        from: Option<Word>,
        /// Path in it; `None` is its root.
        source: Option<Word>,
        /// Where it is mounted.
        target: Word,
        /// Whether writes are allowed (and thrown away).
        writable: bool,
    },
    /// A directory that outlives the build.
    Cache {
        /// Its name; `None` means the target.
        id: Option<Word>,
        /// Where it is mounted.
        target: Word,
        /// What happens when two builds use it.
        sharing: Sharing,
        /// Stage or image whose `source` fills it at first.
        from: Option<Word>,
        /// Path in `from`.
        source: Option<Word>,
        /// Whether it is mounted read-only.
        read_only: bool,
        /// Owner of its root when it is made.
        owner: MountOwner,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Where it is mounted.
        target: Word,
        /// Its limit in bytes.
        size: Option<u64>,
    },
    /// A secret as a file or a variable, in no layer.
    Secret {
        /// Its id; `None` means the target's file name.
        id: Option<Word>,
        /// The file; `None` means `/run/secrets/<id>`, or no file when `env` is given.
        target: Option<Word>,
        /// The variable that holds it.
        env: Option<Word>,
        /// Whether the build fails without it.
        required: bool,
        /// Owner and mode of the file.
        owner: MountOwner,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Its id; `None` means `default`.
        id: Option<Word>,
        /// Where the socket stands.
        target: Option<Word>,
        /// Whether the build fails without it.
        required: bool,
        /// Owner and mode of the socket.
        owner: MountOwner,
    },
}

impl MountKind {
    /// Returns the stage or image that the mount reads from.
    pub fn from(&self) -> Option<&Word> {
        match self {
            Self::Bind { from, .. } | Self::Cache { from, .. } => from.as_ref(),
            Self::Tmpfs { .. } | Self::Secret { .. } | Self::Ssh { .. } => None,
        }
    }
}

struct Field {
    key: Word,
    value: Option<Word>,
}

struct Fields<'s> {
    source: &'s Source,
    kind: &'static str,
    known: &'static [&'static str],
    list: Vec<Field>,
    span: Span,
}

const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const BIND: &[&str] =
    &["type", "target", "dst", "destination", "source", "src", "from", "rw", "readwrite", "ro", "readonly"];
const CACHE: &[&str] = &[
    "type",
    "target",
    "dst",
    "destination",
    "source",
    "src",
    "from",
    "id",
    "sharing",
    "ro",
    "readonly",
    "rw",
    "readwrite",
    "uid",
    "gid",
    "mode",
];
const TMPFS: &[&str] = &["type", "target", "dst", "destination", "size"];
const SECRET: &[&str] =
    &["type", "id", "source", "src", "target", "dst", "destination", "env", "required", "uid", "gid", "mode"];

/// Parses the value of a `--mount` flag.
pub(crate) fn parse(source: &Source, logical: &Logical, range: Range<usize>) -> Result<Mount, Diagnostic> {
    let span = logical.span(source, range.clone());
    let list = split(source, logical, range);
    let kind = match list.iter().find(|field| field.key.eq_ignore_ascii_case("type")) {
        None => "bind",
        Some(Field { value: Some(value), .. }) => {
            let wanted = value.value.to_ascii_lowercase();
            *KINDS.iter().find(|kind| **kind == wanted).ok_or_else(|| {
                let error = source.error(
                    "unknown-mount-type",
                    format!("unknown mount type `{}`", value.value),
                    &value.span,
                );
                suggest(error, &wanted, KINDS)
            })?
        }
        Some(Field { key, value: None }) => {
            return Err(source.error("bad-mount", "`type` has no value", &key.span));
        }
    };
    let known = match kind {
        "bind" => BIND,
        "cache" => CACHE,
        "tmpfs" => TMPFS,
        _ => SECRET,
    };
    let fields = Fields { source, kind, known, list, span };
    fields.check()?;
    let kind = match kind {
        "bind" => MountKind::Bind {
            from: fields.text(&["from"])?,
            source: fields.text(&["source", "src"])?,
            target: fields.target()?,
            writable: fields.flag(&["rw", "readwrite"])?.unwrap_or(false),
        },
        "cache" => MountKind::Cache {
            id: fields.text(&["id"])?,
            target: fields.target()?,
            sharing: fields.sharing()?,
            from: fields.text(&["from"])?,
            source: fields.text(&["source", "src"])?,
            read_only: fields.flag(&["ro", "readonly"])?.unwrap_or(false),
            owner: fields.owner()?,
        },
        "tmpfs" => MountKind::Tmpfs { target: fields.target()?, size: fields.size()? },
        "secret" => MountKind::Secret {
            id: fields.text(&["id", "source", "src"])?,
            target: fields.text(&["target", "dst", "destination"])?,
            env: fields.text(&["env"])?,
            required: fields.flag(&["required"])?.unwrap_or(false),
            owner: fields.owner()?,
        },
        _ => MountKind::Ssh {
            id: fields.text(&["id"])?,
            target: fields.text(&["target", "dst", "destination"])?,
            required: fields.flag(&["required"])?.unwrap_or(false),
            owner: fields.owner()?,
        },
    };
    if let MountKind::Secret { id: None, target: None, .. } = kind {
        return Err(fields.missing("a secret mount needs `id` or `target`"));
    }
    Ok(Mount { kind, span: fields.span })
}

fn suggest<'c>(
    error: Diagnostic,
    wanted: &str,
    known: impl IntoIterator<Item = &'c str> + Clone,
) -> Diagnostic {
    if let Some(near) = nearest(wanted, known.clone()) {
        return error.with_hint(format!("did you mean `{near}`?"));
    }
    let all: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
    error.with_hint(format!("known here: {}", all.join(", ")))
}

/// Splits at commas; a field in double quotes may hold commas (as in CSV).
fn split(source: &Source, logical: &Logical, range: Range<usize>) -> Vec<Field> {
    let text = &logical.text()[range.clone()];
    let mut fields = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    for (offset, character) in text.char_indices().chain([(text.len(), ',')]) {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted || offset == text.len() => {
                let mut field = start..offset;
                let raw = &text[field.clone()];
                if raw.len() >= 2 && raw.starts_with('"') && raw.ends_with('"') {
                    field = start + 1..offset - 1;
                }
                let at = |part: Range<usize>| {
                    logical.word(source, range.start + part.start..range.start + part.end)
                };
                let (key, value) = match text[field.clone()].find('=') {
                    None => (at(field), None),
                    Some(equals) => {
                        (at(field.start..field.start + equals), Some(at(field.start + equals + 1..field.end)))
                    }
                };
                fields.push(Field { key, value });
                start = offset + 1;
            }
            _ => {}
        }
    }
    fields
}

impl Fields<'_> {
    fn check(&self) -> Result<(), Diagnostic> {
        for field in &self.list {
            let key = field.key.to_ascii_lowercase();
            if !self.known.contains(&key.as_str()) {
                let message = format!("a {} mount has no field `{}`", self.kind, field.key.value);
                let error = self.source.error("unknown-mount-field", message, &field.key.span);
                return Err(suggest(error, &key, self.known.iter().copied()));
            }
        }
        Ok(())
    }

    fn missing(&self, message: &str) -> Diagnostic {
        self.source.error("bad-mount", message, &self.span)
    }

    fn find(&self, keys: &[&str]) -> Option<&Field> {
        self.list.iter().rev().find(|field| keys.iter().any(|key| field.key.eq_ignore_ascii_case(key)))
    }

    fn text(&self, keys: &[&str]) -> Result<Option<Word>, Diagnostic> {
        match self.find(keys) {
            None => Ok(None),
            Some(Field { value: Some(value), .. }) if !value.is_empty() => Ok(Some(value.clone())),
            Some(Field { key, .. }) => {
                Err(self.source.error("bad-mount", format!("`{}` has no value", key.value), &key.span))
            }
        }
    }

    fn target(&self) -> Result<Word, Diagnostic> {
        let target = self.text(&["target", "dst", "destination"])?;
        target.ok_or_else(|| self.missing(&format!("a {} mount needs `target`", self.kind)))
    }

    fn flag(&self, keys: &[&str]) -> Result<Option<bool>, Diagnostic> {
        match self.find(keys) {
            None => Ok(None),
            Some(Field { value: None, .. }) => Ok(Some(true)),
            Some(Field { key, value: Some(value) }) => match value.to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(Some(true)),
                "false" | "0" => Ok(Some(false)),
                _ => {
                    let message = format!("`{}` is true or false, not `{}`", key.value, value.value);
                    Err(self.source.error("bad-mount", message, &value.span))
                }
            },
        }
    }

    fn number(&self, key: &str, radix: u32) -> Result<Option<u32>, Diagnostic> {
        let Some(word) = self.text(&[key])? else {
            return Ok(None);
        };
        let digits = if radix == 8 { word.trim_start_matches("0o") } else { word.as_str() };
        u32::from_str_radix(digits, radix).map(Some).map_err(|_| {
            let base = if radix == 8 { "an octal number such as 0755" } else { "a number" };
            self.source.error("bad-mount", format!("`{key}` is {base}, not `{}`", word.value), &word.span)
        })
    }

    fn owner(&self) -> Result<MountOwner, Diagnostic> {
        Ok(MountOwner {
            uid: self.number("uid", 10)?,
            gid: self.number("gid", 10)?,
            mode: self.number("mode", 8)?,
        })
    }

    fn sharing(&self) -> Result<Sharing, Diagnostic> {
        let Some(word) = self.text(&["sharing"])? else {
            return Ok(Sharing::default());
        };
        match word.to_ascii_lowercase().as_str() {
            "shared" => Ok(Sharing::Shared),
            "private" => Ok(Sharing::Private),
            "locked" => Ok(Sharing::Locked),
            other => {
                let message = format!("`sharing` is shared, private or locked, not `{}`", word.value);
                let error = self.source.error("bad-mount", message, &word.span);
                Err(suggest(error, other, ["shared", "private", "locked"]))
            }
        }
    }

    fn size(&self) -> Result<Option<u64>, Diagnostic> {
        let Some(word) = self.text(&["size"])? else {
            return Ok(None);
        };
        bytes(&word).map(Some).ok_or_else(|| {
            let message = format!("`size` is a number of bytes such as 64m, not `{}`", word.value);
            self.source.error("bad-mount", message, &word.span)
        })
    }
}

/// Reads `64`, `64k`, `64m`, `1g`, with an optional `b` or `ib` (binary units, as Docker's).
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits_end = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let number: u64 = lower[..digits_end].parse().ok()?;
    let unit = lower[digits_end..].trim();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        assert_eq!(super::bytes("64"), Some(64));
        assert_eq!(super::bytes("64MiB"), Some(64 << 20));
        assert_eq!(super::bytes("1gb"), Some(1 << 30));
        assert_eq!(super::bytes("x"), None);
        assert_eq!(super::bytes("99999999999t"), None);
    }
}

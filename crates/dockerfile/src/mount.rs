//! `RUN --mount`: the comma-separated fields of a mount to a typed value.

use coracle_report::{Diagnostic, Position, Span};

use crate::{Source, Spanned, Word, nearest};

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where the flag stands.
    pub span: Span,
    /// The fields as written, without quotes and escapes around them.
    pub text: Word,
    /// Whether a field that is a number or a word of a list holds a variable.
    deferred: bool,
}

/// Returns a word with its variables replaced.
type Expand<'e> = &'e dyn Fn(&Word) -> Result<String, Diagnostic>;

impl Mount {
    /// Returns the mount with the variables replaced in fields that are numbers or words of a list (`uid`, `mode`,
    /// `size`, `sharing`, ...), which cannot be known before. The other fields keep theirs.
    pub fn resolved(&self, source: &Source, expand: Expand<'_>) -> Result<Self, Diagnostic> {
        if self.deferred { read(source, &self.text, Some(expand)) } else { Ok(self.clone()) }
    }
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
    list: Vec<Field>,
    span: Span,
    expand: Option<Expand<'s>>,
    deferred: std::cell::Cell<bool>,
}

const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
/// All fields. Those that mean nothing for a type are passed over, as BuildKit does, unless [`MISPLACED`] refuses them.
const FIELDS: &[&str] = &[
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

/// Fields that only some types take.
const MISPLACED: &[(&str, &[&str])] = &[
    ("sharing", &["cache"]),
    ("source", &["bind", "cache", "tmpfs", "secret"]),
    ("src", &["bind", "cache", "tmpfs", "secret"]),
    ("required", &["secret", "ssh"]),
    ("size", &["tmpfs"]),
    ("mode", &["cache", "secret", "ssh"]),
    ("uid", &["cache", "secret", "ssh"]),
    ("gid", &["cache", "secret", "ssh"]),
    ("from", &["bind", "cache", "tmpfs", "ssh"]),
];

/// Parses the value of a `--mount` flag.
pub(crate) fn parse(source: &Source, value: &Word) -> Result<Mount, Diagnostic> {
    read(source, value, None)
}

fn read<'s>(source: &'s Source, value: &Word, expand: Option<Expand<'s>>) -> Result<Mount, Diagnostic> {
    let list = split(source, value)?;
    let kind = match list.iter().rfind(|field| field.key.eq_ignore_ascii_case("type")) {
        None => "bind",
        Some(Field { value: Some(value), .. }) => {
            let wanted = match expand {
                Some(expand) => expand(value)?.to_ascii_lowercase(),
                None => value.value.to_ascii_lowercase(),
            };
            *KINDS.iter().find(|kind| **kind == wanted).ok_or_else(|| {
                let message = format!("unknown mount type `{}`", value.value);
                suggest(source.error("unknown-mount-type", message, &value.span), &wanted, KINDS)
            })?
        }
        Some(Field { key, value: None }) => {
            return Err(source.error("bad-mount", "`type` has no value", &key.span));
        }
    };
    let span = value.span.clone();
    let fields = Fields { source, kind, list, span, expand, deferred: false.into() };
    fields.check()?;
    let kind = match kind {
        "bind" => MountKind::Bind {
            from: fields.text(&["from"])?,
            source: fields.text(&["source", "src"])?,
            target: fields.target()?,
            writable: !fields.read_only(true)?,
        },
        "cache" => MountKind::Cache {
            id: fields.text(&["id"])?,
            target: fields.target()?,
            sharing: fields.sharing()?,
            from: fields.text(&["from"])?,
            source: fields.text(&["source", "src"])?,
            read_only: fields.read_only(false)?,
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
    if let MountKind::Secret { id, target, .. } = &kind {
        if id.is_none() && target.is_none() {
            return Err(fields.missing("a secret mount needs `id` or `target`"));
        }
        if fields.find(&["id"]).is_some() && fields.find(&["source", "src"]).is_some() {
            return Err(fields.missing("a secret mount takes `id` or `source`, not both"));
        }
    }
    let deferred = fields.deferred.get();
    Ok(Mount { kind, span: fields.span, text: value.clone(), deferred })
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

/// Splits at commas. A field in double quotes may hold commas, and a quote as two (as in CSV).
fn split(source: &Source, value: &Word) -> Result<Vec<Field>, Diagnostic> {
    // The value has lost the quotes around it, so that places within it may be a little to the left of the truth.
    let at = |offset: usize, text: &str| {
        let start = value.span.start;
        let before = value.value[..offset].chars().count() as u32;
        let start = Position::new(start.line, start.column + before);
        let end = Position::new(start.line, start.column + text.chars().count() as u32);
        Spanned::new(text.to_owned(), source.span(start, end))
    };
    let bad = |offset: usize, message: &str| {
        source.error("bad-mount", message, &at(offset, value.value.get(offset..=offset).unwrap_or("")).span)
    };
    let mut fields = Vec::new();
    let mut start = 0;
    loop {
        let rest = &value.value[start..];
        let (text, text_start, end) = if let Some(quoted) = rest.strip_prefix('"') {
            let mut text = String::new();
            let mut characters = quoted.char_indices().peekable();
            let closing = loop {
                match characters.next() {
                    Some((_, '"')) if characters.next_if(|(_, next)| *next == '"').is_some() => {
                        text.push('"');
                    }
                    Some((offset, '"')) => break Some(offset),
                    Some((_, character)) => text.push(character),
                    None => break None,
                }
            };
            let Some(closing) = closing else {
                return Err(bad(start, "a quote is never closed"));
            };
            (text, start + 1, start + 1 + closing + 1)
        } else {
            let length = rest.find(',').unwrap_or(rest.len());
            if let Some(quote) = rest[..length].find('"') {
                return Err(bad(start + quote, "a quote within a field: quote the whole field"));
            }
            (rest[..length].to_owned(), start, start + length)
        };
        let field = match text.split_once('=') {
            None => Field { key: at(text_start, &text), value: None },
            Some((key, value)) => {
                let value_start = (text_start + key.len() + 1).min(end);
                Field { key: at(text_start, key), value: Some(at(value_start, value)) }
            }
        };
        fields.push(field);
        match value.value[end..].chars().next() {
            None => return Ok(fields),
            Some(',') => start = end + 1,
            Some(_) => return Err(bad(end, "a quote must end its field")),
        }
    }
}

impl Fields<'_> {
    fn check(&self) -> Result<(), Diagnostic> {
        for field in &self.list {
            let key = field.key.to_ascii_lowercase();
            if !FIELDS.contains(&key.as_str()) {
                let message = format!("a {} mount has no field `{}`", self.kind, field.key.value);
                let error = self.source.error("unknown-mount-field", message, &field.key.span);
                return Err(suggest(error, &key, FIELDS.iter().copied()));
            }
            if let Some((_, kinds)) = MISPLACED.iter().find(|(name, _)| *name == key)
                && !kinds.contains(&self.kind)
            {
                let message = format!("a {} mount has no field `{}`", self.kind, field.key.value);
                let error = self.source.error("unknown-mount-field", message, &field.key.span);
                return Err(error.with_hint(format!("`{key}` is for mounts of type {}", kinds.join(", "))));
            }
            let bare = matches!(key.as_str(), "readonly" | "ro" | "readwrite" | "rw" | "required");
            if field.value.is_none() && !bare {
                let message = format!("`{}` has no value", field.key.value);
                return Err(self.source.error("bad-mount", message, &field.key.span));
            }
        }
        Ok(())
    }

    /// Returns the value of a field that is a number or a word of a list; `None` when there is none, or when it
    /// cannot be known yet.
    fn known(&self, keys: &[&str]) -> Result<Option<Word>, Diagnostic> {
        let Some(word) = self.text(keys)? else {
            return Ok(None);
        };
        match self.expand {
            Some(expand) => Ok(Some(word.with(expand(&word)?))),
            None if word.contains('$') => {
                self.deferred.set(true);
                Ok(None)
            }
            None => Ok(Some(word)),
        }
    }

    /// Says whether the mount is read-only: the last of `ro` and `rw` decides, else `default`.
    fn read_only(&self, default: bool) -> Result<bool, Diagnostic> {
        let keys = ["readonly", "ro", "readwrite", "rw"];
        let Some(last) = self.find(&keys) else {
            return Ok(default);
        };
        let writes =
            last.key.to_ascii_lowercase().ends_with('w') || last.key.eq_ignore_ascii_case("readwrite");
        let value = self.flag(&keys)?.unwrap_or(default != writes);
        Ok(value != writes)
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
            None => return Ok(None),
            Some(Field { value: None, .. }) => return Ok(Some(true)),
            Some(_) => {}
        }
        let Some(word) = self.known(keys)? else {
            return Ok(None);
        };
        match word.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => {
                let message = format!("`{}` is true or false, not `{}`", keys[0], word.value);
                Err(self.source.error("bad-mount", message, &word.span))
            }
        }
    }

    fn number(&self, key: &str, radix: u32) -> Result<Option<u32>, Diagnostic> {
        let Some(word) = self.known(&[key])? else {
            return Ok(None);
        };
        // `from_str_radix` would take a sign.
        let digits = word.strip_prefix('+').map_or(word.as_str(), |_| "");
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
        let Some(word) = self.known(&["sharing"])? else {
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
        let Some(word) = self.known(&["size"])? else {
            return Ok(None);
        };
        bytes(&word).map(Some).ok_or_else(|| {
            let message = format!("`size` is a number of bytes such as 64m, not `{}`", word.value);
            self.source.error("bad-mount", message, &word.span)
        })
    }
}

/// Reads `64`, `64k`, `1.5m`, `1g`, with an optional `b` or `ib` (binary units, as Docker's).
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits_end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (digits, unit) = lower.split_at(digits_end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let size = digits.parse::<f64>().ok()? * (1_u64 << shift) as f64;
    (size.is_finite() && size < u64::MAX as f64).then_some(size as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        assert_eq!(super::bytes("64"), Some(64));
        assert_eq!(super::bytes("64MiB"), Some(64 << 20));
        assert_eq!(super::bytes("1gb"), Some(1 << 30));
        assert_eq!(super::bytes("1.5k"), Some(1536));
        assert_eq!(super::bytes("x"), None);
        assert_eq!(super::bytes("."), None);
        assert_eq!(super::bytes("99999999999t"), None);
    }
}

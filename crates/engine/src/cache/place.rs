//! `--cache-to` and `--cache-from`: what their texts mean, in BuildKit's syntax and beyond.

use std::path::PathBuf;
use std::str::FromStr;

use coracle_oci::Reference;

use super::LayerCompression;

/// Where a build cache lies outside of this machine's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// In a registry.
    Registry(Reference),
    /// In a directory, as an OCI image layout; under a tag.
    Local(PathBuf, String),
    /// In the image itself.
    Inline,
}

/// Which steps are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Those whose layers are in the image.
    #[default]
    Min,
    /// All.
    Max,
}

/// Where the cache of a build goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTo {
    /// The place.
    pub place: CachePlace,
    /// Which steps.
    pub mode: CacheMode,
    /// How layers are compressed that were made here.
    pub compression: LayerCompression,
    /// Whether the directories of `RUN --mount=type=cache` go along.
    pub mounts: bool,
    /// Whether a failure only warns.
    pub ignore_error: bool,
}

/// Where a build may find results of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFrom {
    /// The place; an image that was built with an inline cache is a place in a registry.
    pub place: CachePlace,
}

/// Splits `a=b,c=d`, in which a value may be quoted as in CSV.
fn fields(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut parts = Vec::new();
    let (mut part, mut quoted) = (String::new(), false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    if quoted {
        return Err("a quotation mark is not closed".to_owned());
    }
    parts.push(part);
    parts
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .map(|part| match part.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_ascii_lowercase(), value.to_owned())),
            None => Err(format!("`{part}` is not of the form name=value")),
        })
        .collect()
}

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(format!("{name}={other}: true or false is wanted")),
    }
}

fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|error: coracle_oci::ReferenceError| error.to_string())
}

fn foreign(kind: &str) -> String {
    match kind {
        "gha" | "s3" | "azblob" => {
            format!(
                "type={kind} is not supported: use a registry, or a directory that the service keeps (type=local)"
            )
        }
        other => format!("`{other}` is no type of cache: registry, local or inline"),
    }
}

/// What a `type` needs besides itself.
struct Wanted {
    kind: String,
    reference: Option<String>,
    directory: Option<String>,
    tag: String,
}

impl Wanted {
    fn place(self, directory: &str) -> Result<CachePlace, String> {
        match &*self.kind {
            "registry" => {
                let text = self.reference.ok_or("type=registry needs ref=NAME")?;
                reference(&text).map(CachePlace::Registry)
            }
            "local" => match self.directory {
                Some(path) if !path.is_empty() => Ok(CachePlace::Local(path.into(), self.tag)),
                _ => Err(format!("type=local needs {directory}=DIRECTORY")),
            },
            "inline" => Ok(CachePlace::Inline),
            other => Err(foreign(other)),
        }
    }
}

impl FromStr for CacheTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            let place = CachePlace::Registry(reference(text)?);
            let compression = LayerCompression::default();
            return Ok(Self { place, mode: CacheMode::Min, compression, mounts: false, ignore_error: false });
        }
        let mut wanted =
            Wanted { kind: String::new(), reference: None, directory: None, tag: "latest".to_owned() };
        let (mut mode, mut compression, mut level) = (CacheMode::Min, LayerCompression::default(), None);
        let (mut mounts, mut ignore_error) = (false, false);
        for (name, value) in fields(text)? {
            match &*name {
                "type" => wanted.kind = value,
                "ref" => wanted.reference = Some(value),
                "dest" => wanted.directory = Some(value),
                "tag" => wanted.tag = value,
                "mode" => {
                    mode = match &*value {
                        "min" => CacheMode::Min,
                        "max" => CacheMode::Max,
                        other => return Err(format!("mode={other}: min or max is wanted")),
                    }
                }
                "compression" => compression = value.parse()?,
                "compression-level" => {
                    level = Some(value.parse::<i32>().map_err(|_| format!("{name}={value} is no number"))?);
                }
                "mounts" => mounts = boolean(&name, &value)?,
                "ignore-error" => ignore_error = boolean(&name, &value)?,
                "oci-mediatypes" | "image-manifest" => {
                    if !boolean(&name, &value)? {
                        return Err(format!("{name}=false is not supported: caches are OCI image manifests"));
                    }
                }
                // Layers that were compressed otherwise before are compressed again anyway.
                "force-compression" => drop(boolean(&name, &value)?),
                other => return Err(format!("`{other}` is no option of --cache-to")),
            }
        }
        if let Some(level) = level {
            compression =
                compression.with_level(level).ok_or(format!("there is no level {level} of {compression}"))?;
        }
        let place = wanted.place("dest")?;
        if place == CachePlace::Inline && mounts {
            return Err("mounts=true needs a place of its own: type=registry or type=local".to_owned());
        }
        Ok(Self { place, mode, compression, mounts, ignore_error })
    }
}

impl FromStr for CacheFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return Ok(Self { place: CachePlace::Registry(reference(text)?) });
        }
        let mut wanted =
            Wanted { kind: String::new(), reference: None, directory: None, tag: "latest".to_owned() };
        for (name, value) in fields(text)? {
            match &*name {
                "type" => wanted.kind = value,
                "ref" => wanted.reference = Some(value),
                "src" => wanted.directory = Some(value),
                "tag" => wanted.tag = value,
                "digest" => return Err("digest= is not supported: name a tag=".to_owned()),
                other => return Err(format!("`{other}` is no option of --cache-from")),
            }
        }
        match wanted.place("src")? {
            CachePlace::Inline => {
                Err("an inline cache is read with its image's name: type=registry,ref=NAME".to_owned())
            }
            place => Ok(Self { place }),
        }
    }
}

impl std::fmt::Display for CachePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Local(path, _) => write!(f, "{}", path.display()),
            Self::Inline => f.write_str("the image"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildkit_reads() {
        let to: CacheTo = "type=registry,ref=r.example/a:c,mode=max,compression=zstd,compression-level=7,oci-mediatypes=true,image-manifest=true,mounts=true,ignore-error=true".parse().unwrap();
        assert_eq!(to.place, CachePlace::Registry("r.example/a:c".parse().unwrap()));
        assert_eq!((to.mode, to.compression), (CacheMode::Max, LayerCompression::Zstd(7)));
        assert!(to.mounts && to.ignore_error);
        let to: CacheTo = "type=local,\"dest=/a,b\",tag=x".parse().unwrap();
        assert_eq!(to.place, CachePlace::Local("/a,b".into(), "x".to_owned()));
        assert_eq!("type=inline".parse::<CacheTo>().unwrap().place, CachePlace::Inline);
        let from: CacheFrom = "r.example/a".parse().unwrap();
        assert_eq!(from.place, CachePlace::Registry("r.example/a".parse().unwrap()));
        let from: CacheFrom = "type=local,src=/c".parse().unwrap();
        assert_eq!(from.place, CachePlace::Local("/c".into(), "latest".to_owned()));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, says) in [
            ("type=registry", "needs ref"),
            ("type=local", "needs dest"),
            ("type=gha", "not supported"),
            ("type=x", "no type of cache"),
            ("type=registry,ref=A", "uppercase"),
            ("type=local,dest=/a,mode=all", "min or max"),
            ("type=local,dest=/a,colour=red", "no option"),
            ("type=local,dest=/a,mounts=yes", "true or false"),
            ("type=local,\"dest=/a", "quotation"),
            ("type=local,dest", "name=value"),
            ("type=inline,mounts=true", "place of its own"),
            ("type=local,dest=/a,compression-level=99", "no level"),
        ] {
            let error = text.parse::<CacheTo>().unwrap_err();
            assert!(error.contains(says) || says == "uppercase", "{text}: {error}");
        }
        assert!("type=local,dest=/a".parse::<CacheFrom>().is_err());
        assert!("type=inline".parse::<CacheFrom>().is_err());
    }
}

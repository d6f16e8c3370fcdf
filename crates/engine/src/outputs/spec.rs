//! What a build's result is turned into, as `--output` says it (BuildKit's exporters and their options).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use coracle_report::Diagnostic;

use super::annotations::{Annotation, AnnotationKind};
use super::compress::Compression;

/// One destination of a build's result.
#[derive(Clone, Debug)]
pub enum Output {
    /// An image in the store, in a registry, or both.
    Image(ImageOutput),
    /// An OCI image layout.
    Oci(ArchiveOutput),
    /// An archive that `docker load` reads.
    Docker(ArchiveOutput),
    /// The files, in a directory.
    Local {
        /// The directory.
        dest: PathBuf,
        /// What becomes of what is there already.
        mode: LocalMode,
        /// Whether each platform gets a directory of its own; `None` when there are several.
        split: Option<bool>,
    },
    /// The files, as a tar archive.
    Tar(Place),
    /// Nothing but the build cache.
    CacheOnly,
}

/// What becomes of files that are in the directory already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalMode {
    /// They stay unless the result has the same names.
    #[default]
    Copy,
    /// They go unless the result has the same names.
    Delete,
}

/// An image in the store, in a registry, or both.
#[derive(Clone, Debug, Default)]
pub struct ImageOutput {
    /// Its names; none means those of `--tag`.
    pub names: Vec<String>,
    /// Whether it goes into the store.
    pub store: bool,
    /// Whether it goes to the registries of its names.
    pub push: bool,
    /// How its layers are packed.
    pub packing: Packing,
    /// Metadata of its manifest and index.
    pub annotations: Vec<Annotation>,
}

/// An image in a file or directory.
#[derive(Clone, Debug)]
pub struct ArchiveOutput {
    /// Where.
    pub place: Place,
    /// Its names; none means those of `--tag`.
    pub names: Vec<String>,
    /// How its layers are packed.
    pub packing: Packing,
    /// Metadata of its manifest and index.
    pub annotations: Vec<Annotation>,
}

/// Where an archive is written.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file, replaced in one step when everything is written.
    File(PathBuf),
    /// A directory (`tar=false`).
    Directory(PathBuf),
    /// An open stream, such as standard output.
    Stream(Stream),
}

/// An open stream that an archive is written to.
#[derive(Clone, Debug)]
pub struct Stream(Arc<File>);

impl Stream {
    /// Takes an open file.
    pub fn new(file: File) -> Self {
        Self(Arc::new(file))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

/// How layers are packed for leaving the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// How they are compressed.
    pub compression: Compression,
    /// Whether documents have the media types of the OCI specification, not Docker's.
    pub oci_media_types: bool,
    /// Whether files of the build's layers are no younger than `SOURCE_DATE_EPOCH`.
    pub rewrite_timestamp: bool,
}

impl Default for Packing {
    fn default() -> Self {
        Self { compression: Compression::default(), oci_media_types: true, rewrite_timestamp: false }
    }
}

impl Output {
    /// Returns the output of a build that asks for none: an image in the store.
    pub fn store() -> Self {
        Self::Image(ImageOutput { store: true, ..ImageOutput::default() })
    }

    /// Reads the text of `--output`: `type=...,key=value,...`, a directory, or `-` for an archive of the files on
    /// the stream that `stdout` opens.
    pub fn parse(text: &str, stdout: &dyn Fn() -> io::Result<Stream>) -> Result<Self, Diagnostic> {
        let fields = fields(text).map_err(|why| bad(text, why))?;
        if let [only] = fields.as_slice()
            && !only.contains('=')
        {
            return match only.as_str() {
                "" => Err(bad(text, "it is empty".to_owned())),
                "-" => Ok(Self::Tar(Place::Stream(open(stdout)?))),
                directory => Ok(Self::Local { dest: directory.into(), mode: LocalMode::Copy, split: None }),
            };
        }
        let mut options = Options { text, values: BTreeMap::new() };
        for field in fields {
            let (key, value) =
                field.split_once('=').ok_or_else(|| bad(text, format!("`{field}` is no key=value")))?;
            // Only the keys' beginnings are words; an annotation's own key keeps its case.
            let key = key.trim();
            let lower = key.to_ascii_lowercase();
            let key = if lower.starts_with("annotation") { key.to_owned() } else { lower };
            if options.values.insert(key.clone(), value.to_owned()).is_some() {
                return Err(bad(text, format!("`{key}` is given twice")));
            }
        }
        let kind = options.take("type").ok_or_else(|| bad(text, "it has no type".to_owned()))?;
        let output = match kind.as_str() {
            "local" => Self::Local {
                dest: options
                    .take("dest")
                    .filter(|dest| !dest.is_empty())
                    .ok_or_else(|| bad(text, "type=local needs dest=DIRECTORY".to_owned()))?
                    .into(),
                mode: match options.take("mode").as_deref() {
                    None | Some("copy") => LocalMode::Copy,
                    Some("delete") => LocalMode::Delete,
                    Some(other) => {
                        return Err(bad(text, format!("mode `{other}` is neither copy nor delete")));
                    }
                },
                split: options.flag("platform-split")?,
            },
            "tar" => Self::Tar(options.place(stdout, false)?),
            "oci" => {
                let directory = options.flag("tar")? == Some(false);
                Self::Oci(options.archive(stdout, directory, true)?)
            }
            // As with Docker: without a destination it is loaded into the store.
            "docker" if !options.values.contains_key("dest") => options.image(true, false)?,
            "docker" => {
                let directory = options.flag("tar")? == Some(false);
                Self::Docker(options.archive(stdout, directory, false)?)
            }
            "image" => options.image(true, false)?,
            "registry" => options.image(false, true)?,
            "cacheonly" => Self::CacheOnly,
            other => {
                let error = bad(text, format!("there is no type `{other}`"));
                return Err(
                    error.with_hint("the types are image, registry, oci, docker, local, tar and cacheonly")
                );
            }
        };
        match options.values.into_keys().next() {
            None => Ok(output),
            Some(key) => Err(bad(text, format!("type={kind} has no option `{key}`"))),
        }
    }

    /// Returns whether it writes to an open stream.
    pub fn is_stream(&self) -> bool {
        let place = match self {
            Self::Oci(archive) | Self::Docker(archive) => &archive.place,
            Self::Tar(place) => place,
            Self::Image(_) | Self::Local { .. } | Self::CacheOnly => return false,
        };
        matches!(place, Place::Stream(_))
    }

    /// Adds metadata to the documents of an image; other outputs have none.
    pub fn annotate(&mut self, more: &[Annotation]) {
        match self {
            Self::Image(image) => image.annotations.extend_from_slice(more),
            Self::Oci(archive) | Self::Docker(archive) => archive.annotations.extend_from_slice(more),
            Self::Local { .. } | Self::Tar(_) | Self::CacheOnly => {}
        }
    }
}

struct Options<'a> {
    text: &'a str,
    values: BTreeMap<String, String>,
}

impl Options<'_> {
    fn take(&mut self, key: &str) -> Option<String> {
        self.values.remove(key)
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>, Diagnostic> {
        match self.take(key).as_deref() {
            None => Ok(None),
            Some("true" | "1" | "") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(bad(self.text, format!("{key} is true or false, not `{other}`"))),
        }
    }

    fn place(
        &mut self,
        stdout: &dyn Fn() -> io::Result<Stream>,
        directory: bool,
    ) -> Result<Place, Diagnostic> {
        match self.take("dest").as_deref() {
            None | Some("" | "-") if directory => {
                Err(bad(self.text, "tar=false needs dest=DIRECTORY".to_owned()))
            }
            None | Some("" | "-") => Ok(Place::Stream(open(stdout)?)),
            Some(path) if directory => Ok(Place::Directory(path.into())),
            Some(path) => Ok(Place::File(path.into())),
        }
    }

    fn names(&mut self) -> Vec<String> {
        let names = self.take("name").unwrap_or_default();
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn packing(&mut self, oci: bool) -> Result<Packing, Diagnostic> {
        let text = self.text;
        let compression = self.take("compression");
        let level = match self.take("compression-level") {
            None => None,
            Some(level) => {
                Some(level.parse().map_err(|_| bad(text, format!("`{level}` is no compression level")))?)
            }
        };
        let compression = Compression::parse(compression.as_deref().unwrap_or("gzip"), level)
            .map_err(|why| bad(text, why))?;
        // Every layer is packed anew, so that this is always so.
        self.flag("force-compression")?;
        let oci_media_types = self.flag("oci-mediatypes")?.unwrap_or(oci);
        let rewrite_timestamp = self.flag("rewrite-timestamp")?.unwrap_or(false);
        Ok(Packing { compression, oci_media_types, rewrite_timestamp })
    }

    fn annotations(&mut self) -> Result<Vec<Annotation>, Diagnostic> {
        let keys: Vec<String> =
            self.values.keys().filter(|key| key.starts_with("annotation")).cloned().collect();
        let mut all = Vec::new();
        for key in keys {
            let value = self.take(&key).unwrap_or_default();
            let (place, name) = key
                .split_once('.')
                .filter(|(_, name)| !name.is_empty())
                .ok_or_else(|| bad(self.text, format!("`{key}` names no annotation")))?;
            let place = place.strip_prefix("annotation").unwrap_or_default();
            let place = place.strip_prefix('-').unwrap_or(place);
            let place = if place.is_empty() || place.starts_with('[') {
                format!("manifest{place}")
            } else {
                place.to_owned()
            };
            let (kind, platform) = AnnotationKind::parse(&place).map_err(|why| bad(self.text, why))?;
            all.push(Annotation { kind, platform, key: name.to_owned(), value });
        }
        Ok(all)
    }

    fn image(&mut self, store: bool, push: bool) -> Result<Output, Diagnostic> {
        let push = self.flag("push")?.unwrap_or(push);
        let by_digest = self.flag("push-by-digest")? == Some(true);
        if by_digest {
            return Err(bad(self.text, "push-by-digest is not supported".to_owned())
                .with_hint("push under a name: name=registry.example.com/app:latest,push=true"));
        }
        let store = self.flag("store")?.unwrap_or(store);
        // Layers are always unpacked here: a step's result is a snapshot that containers start from.
        self.flag("unpack")?;
        self.flag("name-canonical")?;
        self.flag("dangling-name-prefix")?;
        Ok(Output::Image(ImageOutput {
            names: self.names(),
            store,
            push,
            packing: self.packing(true)?,
            annotations: self.annotations()?,
        }))
    }

    fn archive(
        &mut self,
        stdout: &dyn Fn() -> io::Result<Stream>,
        directory: bool,
        oci: bool,
    ) -> Result<ArchiveOutput, Diagnostic> {
        Ok(ArchiveOutput {
            place: self.place(stdout, directory)?,
            names: self.names(),
            packing: self.packing(oci)?,
            annotations: self.annotations()?,
        })
    }
}

fn open(stdout: &dyn Fn() -> io::Result<Stream>) -> Result<Stream, Diagnostic> {
    stdout().map_err(|error| {
        Diagnostic::error("usage", error.to_string()).with_hint("write dest=FILE, or redirect the output")
    })
}

fn bad(text: &str, why: String) -> Diagnostic {
    Diagnostic::error("bad-output", format!("cannot read the output `{text}`: {why}"))
}

/// Splits at commas; double quotes keep a field together, as in CSV (RFC 4180).
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        let mut field = String::new();
        if characters.next_if_eq(&'"').is_some() {
            loop {
                match characters.next() {
                    None => return Err("a quote is not closed".to_owned()),
                    Some('"') if characters.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(other) => field.push(other),
                }
            }
            if characters.peek().is_some_and(|next| *next != ',') {
                return Err("something follows a closing quote".to_owned());
            }
        } else {
            while let Some(next) = characters.next_if(|next| *next != ',') {
                field.push(next);
            }
        }
        all.push(field);
        if characters.next().is_none() {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Output, Diagnostic> {
        Output::parse(text, &|| Err(io::Error::other("an archive is not for a terminal")))
    }

    #[test]
    fn reads_buildx_forms() {
        assert!(matches!(parse("out"), Ok(Output::Local { dest, .. }) if dest == *"out"));
        assert!(matches!(
            parse("type=local,dest=out,mode=delete"),
            Ok(Output::Local { mode: LocalMode::Delete, .. })
        ));
        let Ok(Output::Oci(archive)) = parse(
            "type=oci,\"dest=a,b.tar\",compression=zstd,compression-level=9,annotation.org.X=1,annotation-index[linux/amd64].y=2",
        ) else {
            panic!("an OCI archive")
        };
        assert!(matches!(&archive.place, Place::File(path) if path == "a,b.tar"));
        assert_eq!(archive.packing.compression, Compression::Zstd { level: 9 });
        assert_eq!(archive.annotations.len(), 2);
        assert!(archive.annotations.iter().any(|annotation| annotation.key == "org.X"));
        let Ok(Output::Image(image)) = parse("type=image,\"name=a:1,b:2\",push=true") else {
            panic!("an image")
        };
        assert_eq!((image.names, image.push, image.store), (vec!["a:1".into(), "b:2".into()], true, true));
        assert!(matches!(parse("type=registry"), Ok(Output::Image(image)) if image.push && !image.store));
        assert!(matches!(parse("type=docker"), Ok(Output::Image(image)) if image.store));
        assert!(matches!(parse("type=docker,dest=x.tar"), Ok(Output::Docker(_))));
        assert!(matches!(parse("type=cacheonly"), Ok(Output::CacheOnly)));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for text in [
            "",
            "-",
            "type=oci",
            "type=what",
            "dest=x",
            "type=local",
            "type=local,dest=x,color=red",
            "type=oci,dest=x,dest=y",
            "type=oci,tar=false",
            "type=image,compression=lz4",
            "type=oci,\"dest=x",
            "type=oci,dest=x,compression-level=99",
            "type=oci,dest=x,annotation.=1",
            "type=image,push=perhaps",
            "type=oci,dest=x,annotation-layer.a=1",
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("`{text}` is taken"));
            assert!(!error.message.is_empty(), "{text}");
        }
    }
}

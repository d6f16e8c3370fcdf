//! What a build's result is turned into: an image in the store, archives, files, and what is said about them.
//!
//! Owns the documents and archives that leave the builder. Refuses to build: it takes configurations over snapshots.

mod annotations;
mod archive;
mod attest;
mod compress;
mod content;
mod files;
mod finished;
mod layout;
mod spec;
mod target;
mod warnings;

use std::io::Write;
use std::sync::atomic::AtomicBool;

use coracle_oci::{Digest, ImageId, Platform, Reference};
use coracle_report::{Diagnostic, Event, Outcome, Task, TaskId};
use coracle_store::Image;
use serde_json::{Map, Value, json};

pub use annotations::{Annotation, AnnotationKind};
pub use archive::LoadedImage;
pub use attest::{AttestOptions, ProvenanceMode, ProvenanceOptions, ProvenanceVersion, Sbom, SbomFormat};
pub(crate) use attest::{BuildFacts, Material, attest, smallest};
pub use compress::Compression;
pub(crate) use content::{Attestation, Attested, Content, Described, attestation_documents};
pub(crate) use finished::Finished;
pub use finished::Flatten;
pub use spec::{ArchiveOutput, ImageOutput, LocalMode, Output, Packing, Place, Stream};
pub(crate) use warnings::warnings;

use self::annotations::select;
use self::layout::Reader;
use crate::cache::{Beside, BesideImage};
use crate::{During, Engine, Failure, Images, LayerCompression, PushOptions, Result};

/// What becomes of a build's result.
#[derive(Clone, Debug, Default)]
pub struct OutputOptions {
    /// Where it goes; nothing means an image in the store.
    pub outputs: Vec<Output>,
    /// Which layers are made one.
    pub flatten: Option<Flatten>,
    /// What is attested of it.
    pub attest: AttestOptions,
}

/// What is known of a result besides its files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts<'a> {
    /// Set when the build is to end.
    pub cancel: Option<&'a AtomicBool>,
    /// Its names.
    pub tags: Vec<Reference>,
    /// `SOURCE_DATE_EPOCH`, in seconds.
    pub epoch: Option<i64>,
    /// Whether every step was cached.
    pub cached: bool,
    /// The task that this is a part of.
    pub parent: Option<TaskId>,
}

/// What was delivered.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    /// The image's id.
    pub id: ImageId,
    /// What `--metadata-file` holds.
    pub metadata: Map<String, Value>,
}

/// Delivers images, one for each platform, to all outputs.
pub(crate) fn deliver(
    engine: &Engine,
    images: Vec<(Finished, Vec<Attestation>)>,
    outputs: &[Output],
    facts: &Facts<'_>,
) -> Result<Delivered> {
    let store = [Output::store()];
    let outputs = if outputs.is_empty() { &store[..] } else { outputs };
    check(engine, &images, outputs, facts)?;
    let mut images = images;
    let mut retimed: Option<Vec<(Finished, Vec<Attestation>)>> = None;
    let mut metadata = Map::new();
    let stores = outputs.iter().any(|output| matches!(output, Output::Image(image) if image.store));
    let mut id = host_id(&images);
    for output in outputs {
        let images = match (rewrites(output), facts.epoch) {
            (true, Some(epoch)) => {
                if retimed.is_none() {
                    let again = |(image, list): &(Finished, Vec<Attestation>)| {
                        Ok((image.retimed(engine, epoch)?, list.clone()))
                    };
                    retimed = Some(images.iter().map(again).collect::<Result<_>>()?);
                }
                retimed.as_mut().expect("it was made just now")
            }
            _ => &mut images,
        };
        let said = one(engine, images, output, facts)?;
        // The store's image is the one that the id must find.
        if metadata.is_empty()
            && !stores
            && let Some(told) = said.get("containerimage.config.digest").and_then(Value::as_str)
        {
            id = told.parse().ok().or(id);
        }
        // The first image that is said something about is the one that the file describes.
        for (key, value) in said {
            metadata.entry(key).or_insert(value);
        }
    }
    let provenance = images.iter().flat_map(|(_, list)| list).find(|item| item.file == "provenance.json");
    if let Some(provenance) = provenance {
        metadata.insert("buildx.build.provenance".to_owned(), provenance.predicate.clone());
    }
    let id = id.unwrap_or_else(|| coracle_oci::ImageConfig::scratch().id());
    metadata.entry("containerimage.config.digest".to_owned()).or_insert_with(|| json!(id));
    Ok(Delivered { id, metadata })
}

/// Returns the id of the host's image, or of the first.
fn host_id(images: AllImages<'_>) -> Option<ImageId> {
    let host = images.iter().find(|(image, _)| image.platform().normalized() == Platform::host());
    host.or(images.first()).map(|(image, _)| image.config.id())
}

fn rewrites(output: &Output) -> bool {
    match output {
        Output::Image(image) => image.packing.rewrite_timestamp,
        Output::Oci(archive) | Output::Docker(archive) => archive.packing.rewrite_timestamp,
        Output::Local { .. } | Output::Tar(_) | Output::CacheOnly => false,
    }
}

/// Refuses, before anything is written, what cannot be done.
fn check(
    engine: &Engine,
    images: &[(Finished, Vec<Attestation>)],
    outputs: &[Output],
    facts: &Facts<'_>,
) -> Result<()> {
    let refuse = |message: &str, hint: &str| {
        Err(Failure::user(Diagnostic::error("bad-output", message).with_hint(hint.to_owned())))
    };
    if outputs.iter().filter(|output| output.is_stream()).count() > 1 {
        return refuse("two outputs cannot share standard output", "give all but one a dest=FILE");
    }
    for output in outputs {
        if let Output::Docker(_) = output
            && images.len() > 1
        {
            return refuse("`docker load` reads no archive of several platforms", "use type=oci");
        }
        if let Output::Image(image) = output
            && image.push
            && names(&image.names, &facts.tags)?.is_empty()
        {
            return refuse("an image without a name cannot be pushed", "name it with -t REGISTRY/NAME:TAG");
        }
        if rewrites(output) && facts.epoch.is_none() {
            let message = "rewrite-timestamp does nothing without SOURCE_DATE_EPOCH";
            engine.reporter.event(Event::Notice(
                Diagnostic::warning("no-epoch", message)
                    .with_hint("SOURCE_DATE_EPOCH=$(git log -1 --pretty=%ct) coracle build ..."),
            ));
        }
    }
    Ok(())
}

/// Returns an output's own names, or the build's.
fn names(own: &[String], tags: &[Reference]) -> Result<Vec<Reference>> {
    if own.is_empty() {
        return Ok(tags.to_vec());
    }
    own.iter().map(|name| Images::parse(name)).collect()
}

/// Images with what is attested of each.
type AllImages<'a> = &'a [(Finished, Vec<Attestation>)];

fn one(
    engine: &Engine,
    images: AllImages<'_>,
    output: &Output,
    facts: &Facts<'_>,
) -> Result<Map<String, Value>> {
    match output {
        Output::CacheOnly => Ok(Map::new()),
        Output::Image(image) => to_image(engine, images, image, facts),
        Output::Oci(archive) => to_archive(engine, images, archive, Reader::Oci, facts),
        Output::Docker(archive) => {
            // Docker's archives know no attestations.
            let plain: Vec<_> = images.iter().map(|(image, _)| (image.clone(), Vec::new())).collect();
            to_archive(engine, &plain, archive, Reader::Docker, facts)
        }
        Output::Local { dest, mode, split } => during(engine, facts, "write the files", || {
            target::fill_directory(dest, &mut |directory| {
                files::fill(engine, images, directory, *mode, split.unwrap_or(images.len() > 1), facts.epoch)
            })
        })
        .map(|()| Map::new()),
        Output::Tar(place) => during(engine, facts, "write the archive of the files", || {
            to_place(place, &mut |out| files::archive(engine, images, out, facts.epoch))
        })
        .map(|()| Map::new()),
    }
}

/// Reports an output as a task of the build.
fn during<T>(engine: &Engine, facts: &Facts<'_>, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let task = Task::start(&*engine.reporter, facts.parent, name.to_owned());
    let result = work();
    task.finish(match &result {
        Ok(_) => Outcome::Done,
        Err(failure) => Outcome::Failed(failure.first().message.clone()),
    });
    result
}

fn to_place(place: &Place, write: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<()> {
    match place {
        Place::File(path) => target::write_file(path, write),
        Place::Stream(stream) => target::write_stream(stream, write),
        Place::Directory(path) => {
            let message = format!("an archive cannot be the directory {}", path.display());
            Err(Failure::user(Diagnostic::error("bad-output", message)))
        }
    }
}

fn to_archive(
    engine: &Engine,
    images: AllImages<'_>,
    archive: &ArchiveOutput,
    reader: Reader,
    facts: &Facts<'_>,
) -> Result<Map<String, Value>> {
    let names = names(&archive.names, &facts.tags)?;
    during(engine, facts, "write the image archive", || {
        let content = Content::pack(engine, images, &names, &archive.packing, &archive.annotations)?;
        let named = [(&content, names.as_slice())];
        match &archive.place {
            Place::Directory(path) => target::fill_directory(path, &mut |directory| {
                layout::write_directory(&named, reader, directory)
            })?,
            place => to_place(place, &mut |out| layout::write_archive(&named, reader, out))?,
        }
        Ok(describe(&content, &names))
    })
}

/// Returns what the metadata file says of an image that was packed.
fn describe(content: &Content, names: &[Reference]) -> Map<String, Value> {
    let mut said = Map::new();
    if let [only] = content.images.as_slice() {
        said.insert("containerimage.config.digest".to_owned(), json!(only.config.digest));
    }
    said.insert("containerimage.descriptor".to_owned(), content.root.to_json());
    said.insert("containerimage.digest".to_owned(), json!(content.root.digest));
    put_names(&mut said, names);
    said
}

fn put_names(said: &mut Map<String, Value>, names: &[Reference]) {
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        said.insert("image.name".to_owned(), json!(names.join(",")));
    }
}

fn to_image(
    engine: &Engine,
    images: AllImages<'_>,
    output: &ImageOutput,
    facts: &Facts<'_>,
) -> Result<Map<String, Value>> {
    let names = names(&output.names, &facts.tags)?;
    // What only goes to a registry lies in the store without a name, until it is collected.
    let own: &[Reference] = if output.store { &names } else { &[] };
    let (document, mut said) = keep_all(engine, images, output, own, facts)?;
    if output.push {
        said.extend(push(engine, images, &document, &names, output, facts)?);
    }
    put_names(&mut said, &names);
    Ok(said)
}

/// Puts images into the store and gives them their names: one by itself, several as an index.
fn keep_all(
    engine: &Engine,
    images: AllImages<'_>,
    output: &ImageOutput,
    names: &[Reference],
    facts: &Facts<'_>,
) -> Result<(Digest, Map<String, Value>)> {
    let store = &engine.store;
    let naming = "naming the image";
    let kept =
        images.iter().map(|(image, _)| keep(engine, image, output, facts)).collect::<Result<Vec<_>>>()?;
    crate::failure::pass(coracle_fault::Point::BuildStored)?;
    let (media_type, digest) = if let [only] = kept.as_slice() {
        for name in names {
            if store.reference(name).during(naming)?.as_ref() != Some(&only.manifest_digest) {
                store.set_reference(name, &only.manifest_digest).during(naming)?;
            }
        }
        ("application/vnd.oci.image.manifest.v1+json", only.manifest_digest)
    } else {
        let index = store.put_index(&kept).during("putting the platforms together")?;
        for name in names {
            store.set_index_reference(name, &index).during(naming)?;
        }
        ("application/vnd.oci.image.index.v1+json", index)
    };
    let size = store.read_blob(&digest, coracle_store::MAX_DOCUMENT).during("reading a manifest")?.len();
    let mut said = Map::new();
    let host = kept.iter().find(|image| image.config.architecture == Platform::host().architecture);
    if let Some(image) = host.or(kept.first()) {
        said.insert("containerimage.config.digest".to_owned(), json!(image.id));
    }
    said.insert(
        "containerimage.descriptor".to_owned(),
        json!({"mediaType": media_type, "digest": digest, "size": size}),
    );
    said.insert("containerimage.digest".to_owned(), json!(digest));
    Ok((digest, said))
}

/// Puts an image into the store.
fn keep(engine: &Engine, image: &Finished, output: &ImageOutput, facts: &Facts<'_>) -> Result<Image> {
    let store = &engine.store;
    let mut annotations = image.annotations.clone();
    annotations.extend(select(&output.annotations, AnnotationKind::Manifest, Some(&image.platform())));
    // Nothing is written, and no disk waited for, when the image is there as it was.
    let known = store.image_by_id(&image.config.id()).during("looking for the image")?;
    let same = |digest: &Digest| store.manifest(digest).is_ok_and(|old| old.annotations == annotations);
    if let Some(known) = known.filter(|known| facts.cached && same(&known.manifest_digest)) {
        return Ok(known);
    }
    engine.snapshots.sync().during("syncing layers to the disk")?;
    store.put_annotated_image(&image.config, &image.layers()?, annotations).during("recording an image")
}

/// Sends the stored image, or index, with what is attested, to the registry of each name.
fn push(
    engine: &Engine,
    images: AllImages<'_>,
    document: &Digest,
    names: &[Reference],
    output: &ImageOutput,
    facts: &Facts<'_>,
) -> Result<Map<String, Value>> {
    let beside = |(image, list): &(Finished, Vec<Attestation>)| {
        let platform = image.platform();
        let annotations = select(&output.annotations, AnnotationKind::ManifestDescriptor, Some(&platform));
        BesideImage { platform, attestations: list.clone(), annotations }
    };
    let beside = Beside {
        images: images.iter().map(beside).collect(),
        index: select(&output.annotations, AnnotationKind::Index, None),
    };
    let options = PushOptions {
        compression: match output.packing.compression {
            Compression::None => LayerCompression::None,
            Compression::Gzip { level } => LayerCompression::Gzip(level),
            Compression::Zstd { level } => LayerCompression::Zstd(level),
        },
        parent: facts.parent,
    };
    let never = AtomicBool::new(false);
    let cancel = facts.cancel.unwrap_or(&never);
    let mut said = Map::new();
    for name in names {
        let report = engine.images().push_document(document, name, &beside, &options, cancel)?;
        said.insert("containerimage.digest".to_owned(), json!(report.digest));
        said.insert(
            "containerimage.descriptor".to_owned(),
            json!({"mediaType": report.media_type, "digest": report.digest, "size": report.size}),
        );
    }
    Ok(said)
}

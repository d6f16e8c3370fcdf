//! Images: made ready for use, listed, named, removed.

mod fetch;
mod growing;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use coracle_oci::{DiffId, Digest, ImageConfig, ImageId, Platform, Reference};
use coracle_registry::{BlobSink, BlobWriter, CommitError, RegistryError};
use coracle_report::{Diagnostic, Event, TaskId};
use coracle_snapshot::SnapshotId;
use coracle_store::{Image, PartialBlob, Store, StoreError};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{During, Engine, Failure, Result, near};

/// Label of images that were baked instead of pulled.
pub use coracle_base::LABEL_STAND_IN;

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// When it is not in the store.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
}

/// An image that containers and builds can start from.
#[derive(Clone, Debug)]
pub struct ReadyImage {
    /// Its id.
    pub id: ImageId,
    /// Its configuration.
    pub config: ImageConfig,
    /// The snapshot of its top layer; `None` without layers.
    pub snapshot: Option<SnapshotId>,
    /// Whether it stands in for one that could not be pulled.
    pub stand_in: bool,
}

/// An image in a listing.
#[derive(Clone, Debug)]
pub struct ImageView {
    /// Its id.
    pub id: ImageId,
    /// A name; `None` when it has none. An image with several names is listed once for each.
    pub reference: Option<Reference>,
    /// When it was made, RFC 3339; when it came into the store, if it does not say.
    pub created: Option<String>,
    /// Bytes of its layers, uncompressed.
    pub size: u64,
    /// Whether it stands in for one that could not be pulled.
    pub stand_in: bool,
}

/// The images of an engine.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    pub(crate) engine: &'a Engine,
}

impl Images<'_> {
    /// Reads an image name as users write it.
    pub fn parse(name: &str) -> Result<Reference> {
        name.parse().map_err(|error: coracle_oci::ReferenceError| {
            Failure::user(Diagnostic::error("image-name", error.to_string()))
        })
    }

    /// Makes an image ready: from the store, else from its registry, else, where that cannot be reached, baked from
    /// Debian packages. `name` is a reference or the beginning of an id.
    pub fn ensure(&self, name: &str, pull: Pull, parent: Option<TaskId>) -> Result<ReadyImage> {
        let reference = match Self::parse(name) {
            Ok(reference) => reference,
            // `sha256:...` and short ids are no references but name images of the store.
            Err(failure) => match self.by_id(name)? {
                Some(image) => return self.ready(image)?.ok_or(failure),
                None => return Err(failure),
            },
        };
        let stored = self.stored(&reference, name)?;
        match (pull, stored) {
            (Pull::Missing | Pull::Never, Some(image)) => return Ok(image),
            (Pull::Never, None) => return Err(self.no_such_image(name)),
            (Pull::Missing | Pull::Always, _) => {}
        }
        let error = match self.pull(&reference, &Platform::host(), parent) {
            Ok(image) => return Ok(image),
            Err(failure) => failure,
        };
        let Refused::Unreachable(reason) = error else { return Err(error.into_failure(&reference)) };
        // An image that is there already is better than one that cannot be fetched.
        if let Some(image) = self.stored(&reference, name)? {
            let message =
                format!("cannot ask {} for a newer {}: {reason}", reference.registry(), reference.familiar());
            self.engine.reporter.event(Event::Notice(Diagnostic::warning("registry-unreachable", message)));
            return Ok(image);
        }
        match self.engine.bases().bake(&reference, parent) {
            Some(result) => {
                let image = result?;
                self.say_stand_in(&reference);
                Ok(image)
            }
            None => Err(Refused::Unreachable(reason).into_failure(&reference)),
        }
    }

    /// Tells the user in one line that an image stands in for another.
    pub fn say_stand_in(&self, reference: &Reference) {
        let message = format!(
            "{} is a stand-in baked from Debian packages, because {} could not be reached",
            reference.familiar(),
            reference.registry()
        );
        self.engine.reporter.event(Event::Notice(Diagnostic::note("stand-in", message)));
    }

    /// Returns an image of the store; `None` when it is not there, or its layers are not.
    pub fn stored(&self, reference: &Reference, name: &str) -> Result<Option<ReadyImage>> {
        let found = self.engine.store.image(reference).during(format_args!("looking for image {name}"))?;
        match found {
            Some(image) => self.ready(image),
            // Docker: a name such as `3f2a9c` that is no image's name may be the beginning of an id.
            None => match self.by_id(name)? {
                Some(image) => self.ready(image),
                None => Ok(None),
            },
        }
    }

    /// Asks the registry for the digest of what it has under a name now; nothing is fetched.
    pub fn digest_at_registry(&self, reference: &Reference) -> Result<Digest> {
        if let Some(digest) = reference.digest() {
            return Ok(digest);
        }
        let document = self.engine.registry().fetch_document(reference);
        document
            .map(|document| document.digest)
            .map_err(|error| Refused::from_pull(&error).into_failure(reference))
    }

    /// Returns whether an image got its name longer than `age` ago; one that is not there is.
    pub(crate) fn is_older(&self, reference: &Reference, age: Duration) -> Result<bool> {
        let set = self.engine.store.reference_set(reference).during("looking for an image")?;
        Ok(set.is_none_or(|set| {
            let passed = Timestamp::now().duration_since(set);
            Duration::try_from(passed).is_ok_and(|passed| passed >= age)
        }))
    }

    /// Finds the top snapshot of an image.
    pub(crate) fn ready(&self, image: Image) -> Result<Option<ReadyImage>> {
        let snapshot = match image.config.chain_id() {
            None => None,
            Some(chain) => {
                match self.engine.snapshots.by_chain(&chain).during("looking for an image's layers")? {
                    None => return Ok(None),
                    Some(snapshot) => Some(snapshot.id),
                }
            }
        };
        let stand_in = is_stand_in(&image.config);
        Ok(Some(ReadyImage { id: image.id, config: image.config, snapshot, stand_in }))
    }

    fn by_id(&self, name: &str) -> Result<Option<Image>> {
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        if digits.len() < 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let images = self.engine.store.list_images().during("listing images")?;
        let mut matching = images.into_iter().filter(|image| image.id.digest().hex().starts_with(digits));
        let first = matching.next();
        Ok(if matching.next().is_some() { None } else { first })
    }

    /// Records an image whose layers are snapshots already, and gives it a name.
    pub(crate) fn keep(
        &self,
        config: &ImageConfig,
        layers: &[(DiffId, u64)],
        reference: Option<&Reference>,
    ) -> Result<Image> {
        let store = &self.engine.store;
        self.engine.snapshots.sync().during("syncing layers to the disk")?;
        let image = store.put_image(config, layers).during("recording an image")?;
        if let Some(reference) = reference {
            store.set_reference(reference, &image.manifest_digest).during("naming an image")?;
        }
        Ok(image)
    }

    /// Returns the images of the store, newest first.
    pub fn list(&self) -> Result<Vec<ImageView>> {
        let mut views = Vec::new();
        let survey = self.engine.store.survey().during("listing images")?;
        for damage in survey.damage.iter().filter(|damage| !matches!(damage, StoreError::Missing(_))) {
            self.engine.tell_damage(&Failure::ours("an image is not shown", damage));
        }
        for image in survey.images {
            let view = |reference| ImageView {
                id: image.id,
                reference,
                // Builds leave the time out of the image, so that equal input gives an equal image.
                created: image.config.created.clone().or_else(|| Some(image.stored.to_string())),
                size: self.size(&image),
                stand_in: is_stand_in(&image.config),
            };
            if image.references.is_empty() {
                views.push(view(None));
            }
            views.extend(image.references.iter().cloned().map(|reference| view(Some(reference))));
        }
        views.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.reference.cmp(&b.reference)));
        Ok(views)
    }

    /// Returns the bytes of an image's layers as its manifest lists them.
    fn size(&self, image: &Image) -> u64 {
        let manifest = self.engine.store.manifest(&image.manifest_digest);
        manifest.map_or(0, |manifest| manifest.layers.iter().map(coracle_oci::Descriptor::size).sum())
    }

    /// Finds an image of the store by name or the beginning of its id.
    pub fn find(&self, name: &str) -> Result<Image> {
        if let Ok(reference) = name.parse::<Reference>()
            && let Some(image) =
                self.engine.store.image(&reference).during(format_args!("looking for image {name}"))?
        {
            return Ok(image);
        }
        self.by_id(name)?.ok_or_else(|| self.no_such_image(name))
    }

    pub(crate) fn no_such_image(&self, name: &str) -> Failure {
        let mut diagnostic = Diagnostic::error("no-such-image", format!("no such image: {name}"));
        let images = self.engine.store.list_images().unwrap_or_default();
        let names: Vec<String> =
            images.iter().flat_map(|image| &image.references).map(Reference::familiar).collect();
        if let Some(near) = near::nearest(name, names.iter().map(String::as_str)) {
            diagnostic = diagnostic.with_hint(format!("did you mean `{near}`?"));
        } else {
            diagnostic = diagnostic.with_hint("coracle images");
        }
        Failure::user(diagnostic)
    }

    /// Gives an image another name.
    pub fn tag(&self, name: &str, new: &str) -> Result<()> {
        let reference = Self::parse(new)?;
        // A name of several platforms' images passes all of them on.
        if let Ok(old) = name.parse::<Reference>()
            && self.engine.store.copy_reference(&old, &reference).during("naming an image")?
        {
            return Ok(());
        }
        let image = self.find(name)?;
        self.engine.store.set_reference(&reference, &image.manifest_digest).during("naming an image")?;
        self.engine.events().named("image", "tag", &reference.familiar(), &[]);
        Ok(())
    }

    /// Takes a name from an image, and removes the image when it has none left. Returns Docker's lines.
    pub fn remove(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let image = self.find(name)?;
        let named = name.parse::<Reference>().ok().filter(|reference| image.references.contains(reference));
        let leaves: Vec<Reference> = match &named {
            Some(reference) => vec![reference.clone()],
            None if image.references.len() > 1 && !force => {
                let names: Vec<_> = image.references.iter().map(Reference::familiar).collect();
                let message =
                    format!("image {} has several names: {}", image.id.digest().short(), names.join(", "));
                return Err(Failure::user(
                    Diagnostic::error("image-in-use", message).with_hint("name one of them, or use --force"),
                ));
            }
            None => image.references.clone(),
        };
        let last = image.references.len() == leaves.len();
        if last {
            let users = self.engine.containers().using_image(&image.id)?;
            let blocking: Vec<&str> = users
                .iter()
                .filter(|(_, running)| *running || !force)
                .map(|(name, _)| name.as_str())
                .collect();
            if !blocking.is_empty() {
                let message = format!("image `{name}` is in use by container {}", blocking.join(", "));
                return Err(Failure::user(
                    Diagnostic::error("image-in-use", message)
                        .with_hint(format!("coracle rm -f {}", blocking.join(" "))),
                ));
            }
        }
        let mut lines = Vec::new();
        let others = self.other_images(&leaves, &image)?;
        for reference in &leaves {
            self.engine.store.remove_reference(reference).during("taking a name from an image")?;
            self.engine.events().named("image", "untag", &reference.familiar(), &[]);
            lines.push(format!("Untagged: {}", reference.familiar()));
        }
        if last {
            self.engine.store.remove_image(&image.id, true).during("removing an image")?;
            self.engine.events().named("image", "delete", &image.id.to_string(), &[]);
            lines.push(format!("Deleted: {}", image.id));
            lines.extend(self.remove_nameless(&others)?);
            self.engine.collect_snapshots()?;
        }
        Ok(lines)
    }

    /// Returns everything known about an image, in the shape of Docker's `image inspect`.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let image = self.find(name)?;
        let config = serde_json::to_value(&image.config.config).during("writing JSON")?;
        let tags: Vec<String> = image.references.iter().map(Reference::familiar).collect();
        Ok(json!({
            "Id": image.id, "RepoTags": tags, "RepoDigests": [], "Created": image.config.created,
            "Author": image.config.author, "Config": config, "Architecture": image.config.architecture,
            "Os": image.config.os, "Size": self.size(&image),
            "RootFS": {"Type": "layers", "Layers": image.config.rootfs.diff_ids},
            "History": image.config.history,
        }))
    }

    /// Returns the chain of snapshots that images need.
    pub(crate) fn needed_snapshots(&self) -> Result<BTreeSet<SnapshotId>> {
        let mut needed = BTreeSet::new();
        for image in self.engine.store.list_images().during("listing images")? {
            let Some(chain) = image.config.chain_id() else { continue };
            if let Some(snapshot) = self.engine.snapshots.by_chain(&chain).during("looking for layers")? {
                needed.insert(snapshot.id);
            }
        }
        Ok(needed)
    }
}

/// Returns whether an image says that it stands in for another.
pub fn is_stand_in(config: &ImageConfig) -> bool {
    config.config.labels.get(LABEL_STAND_IN).is_some_and(|value| value == "true")
}

/// The store as a place for downloaded layers.
pub(crate) struct StoreSink<'a>(pub(crate) &'a Store);

/// One of them on its way.
struct StoreWriter(PartialBlob);

impl BlobSink for StoreSink<'_> {
    fn open(&self, digest: &Digest, _size: u64) -> io::Result<Option<Box<dyn BlobWriter + '_>>> {
        let partial = self.0.resume_blob(digest).map_err(io::Error::other)?;
        Ok(partial.map(|partial| Box::new(StoreWriter(partial)) as Box<dyn BlobWriter>))
    }
}

impl io::Write for StoreWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl BlobWriter for StoreWriter {
    fn written(&self) -> u64 {
        self.0.written()
    }

    fn restart(&mut self) -> io::Result<()> {
        self.0.restart().map_err(io::Error::other)
    }

    fn commit(self: Box<Self>) -> std::result::Result<(), CommitError> {
        match self.0.commit() {
            Ok(_) => Ok(()),
            Err(StoreError::Mismatch { actual, .. }) => Err(CommitError::Mismatch(actual)),
            Err(error) => Err(CommitError::Io(io::Error::other(error))),
        }
    }
}

/// Why an image was not pulled.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nobody answers.
    Unreachable(String),
    /// The registry says no.
    Denied(Diagnostic),
    /// It failed here.
    Failed(Failure),
}

impl Refused {
    fn from_pull(error: &RegistryError) -> Self {
        if error.is_unreachable() {
            return Self::Unreachable(error.to_string());
        }
        let mut diagnostic = Diagnostic::error("pull", error.to_string());
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            diagnostic = diagnostic.with_note(format!("caused by: {error}"));
            cause = error.source();
        }
        Self::Denied(diagnostic)
    }

    pub(crate) fn into_failure(self, reference: &Reference) -> Failure {
        match self {
            Self::Unreachable(reason) => {
                let message = format!(
                    "cannot pull {}: {} cannot be reached",
                    reference.familiar(),
                    reference.registry()
                );
                Failure::user(
                    Diagnostic::error("registry-unreachable", message)
                        .with_note(reason)
                        .with_note("no recipe bakes a stand-in for it")
                        .with_hint("see what can be baked here: coracle base ls")
                        .with_hint("or bring it from a machine that has it: `docker save` there, `coracle load` here"),
                )
            }
            Self::Denied(diagnostic) => Failure::user(diagnostic),
            Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(reason) => f.write_str(reason),
            Self::Denied(diagnostic) => diagnostic.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

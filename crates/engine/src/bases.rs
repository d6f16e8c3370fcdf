//! Base images baked from Debian packages, under the names that they stand in for.

use coracle_base::{BakeOptions, Baked, Baker, Match, Recipes};
use coracle_oci::{DiffId, ImageConfig, ImageId, Reference};
use coracle_report::{Diagnostic, Event, TaskId};
use coracle_store::{FileLock, Record, records};
use serde::{Deserialize, Serialize};

use crate::images::{Images, ReadyImage};
use crate::{During, Engine, Failure, Result};

/// A recipe in a listing.
#[derive(Clone, Debug)]
pub struct RecipeView {
    /// The name that `base build` takes.
    pub name: String,
    /// The references that it stands for.
    pub matches: String,
    /// What it is, in a line.
    pub summary: String,
}

/// A base that is there now.
#[derive(Clone, Debug)]
pub struct BuiltBase {
    /// The name it has.
    pub name: String,
    /// The image's id.
    pub id: ImageId,
}

/// What was baked of a plan, so that another name of the same image is not baked again.
#[derive(Debug, Serialize, Deserialize)]
struct BakedRecord {
    config: ImageConfig,
    layers: Vec<(DiffId, u64)>,
}

impl Record for BakedRecord {}

/// The bases of an engine.
#[derive(Clone, Copy)]
pub struct Bases<'a> {
    pub(crate) engine: &'a Engine,
}

impl Bases<'_> {
    /// Returns the built-in recipes.
    pub fn recipes(&self) -> Vec<RecipeView> {
        let recipes = Recipes::builtin();
        let view = |recipe: &coracle_base::Recipe| RecipeView {
            name: recipe.reference.clone(),
            matches: recipe.matches.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            summary: recipe.summary.clone(),
        };
        recipes.iter().map(view).collect()
    }

    /// Returns the references that `base build --all` bakes.
    pub fn defaults(&self) -> Vec<String> {
        Recipes::builtin().iter().map(|recipe| recipe.reference.clone()).collect()
    }

    /// Bakes stand-ins for these references, two at a time. With `if_missing`, what is in the store is left alone.
    pub fn build(&self, names: &[String], if_missing: bool) -> Result<Vec<BuiltBase>> {
        let recipes = Recipes::builtin();
        let mut wanted = Vec::new();
        for name in names {
            // A recipe's own name will do, too.
            let text = recipes.by_name(name).map_or(name, |recipe| &recipe.reference);
            let reference = Images::parse(text)?;
            let found = recipes.resolve(&reference).ok_or_else(|| unknown(name, &recipes))?;
            let found =
                found.map_err(|error| Failure::user(Diagnostic::error("base-edition", error.to_string())))?;
            wanted.push((reference, found));
        }
        let next = std::sync::atomic::AtomicUsize::new(0);
        let worker = || {
            let mut done = Vec::new();
            while let Some((reference, found)) =
                wanted.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
            {
                done.push(self.build_one(reference, found, if_missing));
            }
            done
        };
        let results = std::thread::scope(|scope| {
            let second = scope.spawn(worker);
            let mut results = worker();
            results.extend(second.join().expect("a baker does not panic"));
            results
        });
        results.into_iter().collect()
    }

    fn build_one(&self, reference: &Reference, found: &Match, if_missing: bool) -> Result<BuiltBase> {
        let name = reference.familiar();
        if if_missing && let Some(image) = self.engine.images().stored(reference, &name)? {
            return Ok(BuiltBase { name, id: image.id });
        }
        let image = self.bake_match(reference, found, None, if_missing)?;
        Ok(BuiltBase { name, id: image.id })
    }

    /// Bakes a stand-in for `reference`; `None` when no recipe stands for it.
    pub fn bake(&self, reference: &Reference, parent: Option<TaskId>) -> Option<Result<ReadyImage>> {
        let found = match Recipes::builtin().resolve(reference)? {
            Ok(found) => found,
            Err(error) => {
                let diagnostic = Diagnostic::warning("base-edition", error.to_string());
                self.engine.reporter.event(Event::Notice(diagnostic));
                return None;
            }
        };
        Some(self.bake_match(reference, &found, parent, true))
    }

    fn bake_match(
        &self,
        reference: &Reference,
        found: &Match,
        parent: Option<TaskId>,
        reuse: bool,
    ) -> Result<ReadyImage> {
        let key = found.plan.key();
        let directory = self.engine.layout.bases();
        std::fs::create_dir_all(&directory).during("making the bases' directory")?;
        // Two commands that want the same base at once bake it once.
        let _lock =
            FileLock::exclusive(&directory.join(format!("{}.lock", key.hex()))).during("locking a base")?;
        let record_path = directory.join(format!("{}.json", key.hex()));
        if reuse && let Some(image) = self.known(&record_path, reference)? {
            return Ok(image);
        }
        let options = BakeOptions { cache: Some(directory.join("cache")), ..BakeOptions::default() };
        let work = directory.join("work");
        let baked = Baker::new(options)
            .bake(found, &work, &*self.engine.reporter, parent)
            .map_err(|error| Failure::user(error.to_diagnostic()))?;
        let imported = self.import(baked, reference);
        let (image, record) = imported?;
        records::write_json_atomic(&record_path, &record).during("recording a base")?;
        Ok(image)
    }

    /// Names an image that was baked of the same plan before, if it is still there.
    fn known(&self, path: &std::path::Path, reference: &Reference) -> Result<Option<ReadyImage>> {
        let Some(record) = records::read_json::<BakedRecord>(path).during("reading a base's record")? else {
            return Ok(None);
        };
        let Some(chain) = record.config.chain_id() else { return Ok(None) };
        // Between this look and the image's record the layer may be nobody's.
        let _adding = self.engine.store.adding().during("adding an image to the store")?;
        let Some(snapshot) = self.engine.snapshots.by_chain(&chain).during("looking for a base's layer")?
        else {
            return Ok(None);
        };
        let image = self.engine.images().keep(&record.config, &record.layers, Some(reference))?;
        Ok(Some(ReadyImage {
            id: image.id,
            config: image.config,
            snapshot: Some(snapshot.id),
            stand_in: true,
        }))
    }

    /// Takes a baked layer in. Its id becomes that of our own archive of its files, so that what is built upon it can
    /// leave this machine under its own id without the baker's archive.
    fn import(&self, baked: Baked, reference: &Reference) -> Result<(ReadyImage, BakedRecord)> {
        let _adding = self.engine.store.adding().during("adding an image to the store")?;
        let unpacking = format!("unpacking {}", reference.familiar());
        let file = std::fs::File::open(&baked.layer_tar).during("opening a baked layer");
        let unpacked = file.and_then(|file| self.engine.snapshots.unpack(file, None).during(&unpacking));
        // Its content lies in the snapshot now, or the import failed.
        let _ = std::fs::remove_file(&baked.layer_tar);
        let snapshot = unpacked?.attach_as_ours().during(&unpacking)?;
        let (Some(diff_id), Some(size)) = (snapshot.diff_id, snapshot.size) else {
            let error = std::io::Error::other("its layer has no id");
            return Err(Failure::ours(&unpacking, &error));
        };
        let mut config = baked.config;
        config.rootfs.diff_ids = vec![diff_id];
        let layers = vec![(diff_id, size)];
        let image = self.engine.images().keep(&config, &layers, Some(reference))?;
        let ready =
            ReadyImage { id: image.id, config: image.config, snapshot: Some(snapshot.id), stand_in: true };
        Ok((ready, BakedRecord { config, layers }))
    }
}

fn unknown(name: &str, recipes: &Recipes) -> Failure {
    let names: Vec<String> = recipes.iter().map(|recipe| recipe.reference.clone()).collect();
    let diagnostic = Diagnostic::error("no-such-base", format!("no recipe stands for `{name}`"))
        .with_note(format!("recipes: {}", names.join(", ")));
    Failure::user(match crate::near::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => diagnostic.with_hint(format!("did you mean `{near}`?")),
        None => diagnostic.with_hint("coracle base ls"),
    })
}

//! Names of images: which manifest a reference stands for.

use coracle_oci::{Digest, Reference};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::error::{Result, StoreError};
use crate::records::{self, Record};

/// A name and the manifest it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedManifest {
    /// The name.
    pub reference: Reference,
    /// The manifest, or an index of several.
    pub manifest: Digest,
    /// Whether it is an index.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub index: bool,
    /// When the name was given.
    pub set: Timestamp,
}

impl Record for NamedManifest {}

impl Store {
    /// Lets a reference stand for a stored manifest, whatever it stood for before.
    pub fn set_reference(&self, reference: &Reference, manifest: &Digest) -> Result<()> {
        self.name(reference, manifest, false)
    }

    /// Lets a reference stand for a stored index, see [`Store::put_index`].
    pub fn set_index_reference(&self, reference: &Reference, index: &Digest) -> Result<()> {
        self.name(reference, index, true)
    }

    fn name(&self, reference: &Reference, manifest: &Digest, index: bool) -> Result<()> {
        let (reference, manifest, set) = (reference.clone(), *manifest, Timestamp::now());
        let path = self.layout.reference(&reference);
        records::write_json_atomic(&path, &NamedManifest { reference, manifest, index, set })
    }

    /// Lets `new` stand for all that `reference` stands for; returns whether that is anything.
    pub fn copy_reference(&self, reference: &Reference, new: &Reference) -> Result<bool> {
        let record: Option<NamedManifest> = records::read_json(&self.layout.reference(reference))?;
        let Some(record) = record else { return Ok(false) };
        self.name(new, &record.manifest, record.index)?;
        Ok(true)
    }

    /// Returns the manifest that a reference stands for.
    ///
    /// A reference with a digest is also found when another name of the same repository stands for that manifest.
    pub fn reference(&self, reference: &Reference) -> Result<Option<Digest>> {
        let record: Option<NamedManifest> = records::read_json(&self.layout.reference(reference))?;
        if let Some(record) = record {
            return Ok(Some(record.manifest));
        }
        let Some(digest) = reference.digest() else { return Ok(None) };
        let same = |name: &NamedManifest| {
            name.manifest == digest
                && name.reference.registry() == reference.registry()
                && name.reference.repository() == reference.repository()
        };
        Ok(self.references()?.iter().any(same).then_some(digest))
    }

    /// Returns when a reference was last given to an image: fetched, built or tagged.
    pub fn reference_set(&self, reference: &Reference) -> Result<Option<Timestamp>> {
        let record: Option<NamedManifest> = records::read_json(&self.layout.reference(reference))?;
        Ok(record.map(|record| record.set))
    }

    /// Returns all names, sorted.
    ///
    /// A record that is damaged hinders nobody; [`Store::survey`] tells of it.
    pub fn references(&self) -> Result<Vec<NamedManifest>> {
        self.surveyed_references().map(|(all, _)| all)
    }

    pub(crate) fn surveyed_references(&self) -> Result<(Vec<NamedManifest>, Vec<StoreError>)> {
        let (mut all, mut damage) = (Vec::new(), Vec::new());
        for path in records::list(&self.layout.references())? {
            match records::read_json::<NamedManifest>(&path) {
                // One that is removed meanwhile is none.
                Ok(record) => all.extend(record),
                Err(error) if error.is_damage() => damage.push(error),
                Err(error) => return Err(error),
            }
        }
        all.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok((all, damage))
    }

    /// Takes a name away; returns whether it was there. What it stood for stays.
    pub fn remove_reference(&self, reference: &Reference) -> Result<bool> {
        records::remove(&self.layout.reference(reference))
    }
}

//! Named and anonymous volumes: directories that outlive containers.
//!
//! ```text
//! volumes/<name>/record.json   what is known of it
//! volumes/<name>/_data/        what containers see
//! ```
//!
//! A volume with options shows something else: a directory of the host, or a file system that is mounted at `_data` for as
//! long as a container uses it.

mod device;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_fault::Point;
use coracle_report::Diagnostic;
use coracle_snapshot::rootfs::{CopyOptions, FileKind};
use coracle_snapshot::{RootFs, SnapshotError};
use coracle_store::{FileLock, Record, records};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::pass;
use crate::{During, Engine, Failure, Result, near, process};

/// A volume's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name.
    pub name: String,
    /// Whether no user named it: it goes with its container when asked.
    #[serde(default)]
    pub anonymous: bool,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it was filled from an image already (or must not be).
    #[serde(default)]
    pub filled: bool,
    /// Options of the `local` driver: `type`, `o` and `device` of what it shows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl Record for VolumeRecord {}

/// The volumes of an engine.
#[derive(Clone, Copy)]
pub struct Volumes<'a> {
    pub(crate) engine: &'a Engine,
}

impl Volumes<'_> {
    /// Makes a volume, or returns the one of that name. Without a name it is anonymous.
    pub fn create(&self, name: Option<String>, labels: BTreeMap<String, String>) -> Result<VolumeRecord> {
        self.create_with(name, labels, BTreeMap::new())
    }

    /// As [`Self::create`], with options of the `local` driver: `type`, `o` and `device`.
    pub fn create_with(
        &self,
        name: Option<String>,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeRecord> {
        device::Device::parse(&options).map_err(|why| {
            Failure::user(Diagnostic::error("volume-options", format!("the volume's options: {why}")))
        })?;
        match name {
            Some(name) => self.make(name, false, labels, options),
            None => self.make(Self::draw_name()?, true, labels, options),
        }
    }

    /// Returns a name for a volume that no user named.
    pub(crate) fn draw_name() -> Result<String> {
        process::random_hex().during("drawing a volume's name")
    }

    /// Makes an anonymous volume of a name that was drawn before.
    pub(crate) fn create_anonymous(&self, name: String) -> Result<VolumeRecord> {
        self.make(name, true, BTreeMap::new(), BTreeMap::new())
    }

    fn make(
        &self,
        name: String,
        anonymous: bool,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<VolumeRecord> {
        if !is_name(&name) {
            let message = format!("`{name}` is no volume name; use letters, digits, `_`, `.` and `-`");
            return Err(Failure::user(Diagnostic::error("volume-name", message)));
        }
        // Two containers that start at once and name the same new volume must both get the same record.
        let _lock = self.lock()?;
        if let Some(record) = self.record(&name)? {
            return Ok(record);
        }
        let record =
            VolumeRecord { name, anonymous, labels, created: Timestamp::now(), filled: false, options };
        let directory = self.engine.layout.volume(&record.name);
        let is_new = !directory.exists();
        let made = std::fs::create_dir_all(self.data(&record.name))
            .during(format_args!("making volume {}", record.name))
            .and_then(|()| pass(Point::VolumeMade))
            .and_then(|()| self.write(&record));
        if made.is_err() && is_new {
            let _ = std::fs::remove_dir_all(&directory);
        }
        made?;
        self.engine.events().named("volume", "create", &record.name, &[]);
        Ok(record)
    }

    /// Returns all volumes by name.
    pub fn list(&self) -> Result<Vec<VolumeRecord>> {
        let mut found = Vec::new();
        let entries = match std::fs::read_dir(self.engine.layout.volumes()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(Failure::ours("listing volumes", &error)),
        };
        for entry in entries {
            let name = entry.during("listing volumes")?.file_name();
            if let Some(name) = name.to_str().filter(|name| is_name(name)) {
                match self.record(name) {
                    Ok(record) => found.extend(record),
                    Err(failure) => self.engine.tell_damage(&failure),
                }
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Returns the volume called `name`.
    pub fn find(&self, name: &str) -> Result<VolumeRecord> {
        if is_name(name)
            && let Some(record) = self.record(name)?
        {
            return Ok(record);
        }
        let all = self.list()?;
        let mut diagnostic = Diagnostic::error("no-such-volume", format!("no such volume: {name}"));
        if let Some(near) = near::nearest(name, all.iter().map(|record| record.name.as_str())) {
            diagnostic = diagnostic.with_hint(format!("did you mean `{near}`?"));
        }
        Err(Failure::user(diagnostic))
    }

    /// Removes a volume that no container uses. Its data is lost.
    pub fn remove(&self, name: &str) -> Result<()> {
        let record = self.find(name)?;
        let users = self.engine.containers().using_volume(&record.name)?;
        if !users.is_empty() {
            let message = format!("volume `{}` is in use by {}", record.name, users.join(", "));
            return Err(Failure::user(
                Diagnostic::error("volume-in-use", message)
                    .with_hint(format!("coracle rm -f {}", users.join(" "))),
            ));
        }
        let _lock = self.lock()?;
        let directory = self.engine.layout.volume(&record.name);
        // Never erased through a mount: what it shows belongs to somebody else.
        device::unmount(&self.data(&record.name)).during(format_args!("unmounting volume {name}"))?;
        // Out of sight in one step: a half-removed volume is none, and its rest goes with the next command.
        self.put_away(&directory).during(format_args!("removing volume {name}"))?;
        pass(Point::VolumeUnrecorded)?;
        self.erase_gone().during(format_args!("removing volume {name}"))?;
        self.engine.events().named("volume", "destroy", &record.name, &[]);
        Ok(())
    }

    /// Returns everything known about a volume, in the shape of Docker's `volume inspect`.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let record = self.find(name)?;
        Ok(json!({
            "CreatedAt": record.created.to_string(), "Driver": "local", "Labels": record.labels,
            "Mountpoint": self.data(&record.name), "Name": record.name, "Options": record.options,
            "Scope": "local",
        }))
    }

    /// Returns the directory that containers see.
    pub fn data(&self, name: &str) -> PathBuf {
        self.engine.layout.volume_data(name)
    }

    /// Fills a volume on its first use with what the image has at `target`, owners and modes included, as Docker
    /// does. A volume that holds something is left alone.
    pub fn fill(&self, name: &str, data: &Path, root: &RootFs, target: &str) -> Result<()> {
        let Some(record) = self.record(name)? else { return Ok(()) };
        if record.filled {
            return Ok(());
        }
        // Held while copying: another container must not start on half of the files.
        let _lock = self.lock()?;
        let Some(mut record) = self.record(name)? else { return Ok(()) };
        let during = format!("filling volume {name} from the image");
        if !record.filled && std::fs::read_dir(data).during(&during)?.next().is_none() {
            copy_directory(root, Path::new(target), data).during(&during)?;
        }
        record.filled = true;
        self.write(&record)
    }

    /// Gives a volume whose record was lost a new one; what it holds is not touched.
    pub(crate) fn adopt(&self, name: &str) -> Result<()> {
        let _lock = self.lock()?;
        self.write(&VolumeRecord {
            name: name.to_owned(),
            anonymous: false,
            labels: BTreeMap::new(),
            created: Timestamp::now(),
            filled: true,
            options: BTreeMap::new(),
        })
    }

    /// Returns whether no user named a volume; one that is not there, or whose record is damaged, is nobody's to throw away.
    pub(crate) fn is_anonymous(&self, name: &str) -> Result<bool> {
        match self.record(name) {
            Ok(record) => Ok(record.is_some_and(|record| record.anonymous)),
            Err(failure) => {
                self.engine.tell_damage(&failure);
                Ok(false)
            }
        }
    }

    /// Removes an anonymous volume that was being made or removed, if no container uses it; one without a record too.
    pub(crate) fn discard(&self, name: &str) -> Result<()> {
        if !self.engine.containers().using_volume(name)?.is_empty() {
            return Ok(());
        }
        let directory = self.engine.layout.volume(name);
        let _lock = self.lock()?;
        if !directory.exists() {
            return Ok(());
        }
        device::unmount(&self.data(name)).during(format_args!("unmounting volume {name}"))?;
        self.put_away(&directory)
            .and_then(|()| self.erase_gone())
            .during(format_args!("removing volume {name}"))?;
        self.engine.events().named("volume", "destroy", name, &[]);
        Ok(())
    }

    /// Moves a volume out of sight.
    fn put_away(&self, directory: &Path) -> std::io::Result<()> {
        let gone = self.gone();
        std::fs::create_dir_all(&gone)?;
        std::fs::rename(directory, gone.join(process::random_hex()?))
    }

    /// Returns the directory of volumes that are being erased.
    fn gone(&self) -> PathBuf {
        self.engine.layout.volumes().join(".gone")
    }

    /// Erases what is left of volumes that were removed.
    pub(crate) fn erase_gone(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.gone()) {
            // Another command erases too, or has just removed one more.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Ok(())
            }
            erased => erased,
        }
    }

    fn record(&self, name: &str) -> Result<Option<VolumeRecord>> {
        let path = self.engine.layout.volume_record(name);
        records::read_json(&path).during(format_args!("reading the record of volume {name}"))
    }

    fn write(&self, record: &VolumeRecord) -> Result<()> {
        let path = self.engine.layout.volume_record(&record.name);
        records::write_json_atomic(&path, record)
            .during(format_args!("writing the record of volume {}", record.name))
    }

    fn lock(&self) -> Result<FileLock> {
        let path = self.engine.layout.volumes();
        std::fs::create_dir_all(&path).during("making the volumes' directory")?;
        FileLock::exclusive(&path.join(".lock")).during("locking the volumes")
    }
}

/// Copies what `root` has at `target` into the empty directory `data`, which takes its owner and mode too.
fn copy_directory(root: &RootFs, target: &Path, data: &Path) -> std::result::Result<(), SnapshotError> {
    let Some(metadata) = root.stat(target)? else { return Ok(()) };
    if metadata.kind != FileKind::Directory {
        return Ok(());
    }
    let into = RootFs::open_directory(data)?;
    let options = CopyOptions { keep_mtime: true, ..CopyOptions::default() };
    into.copy_tree_in(root, target, Path::new("/"), &options)?;
    into.set_attributes(Path::new("/"), metadata.mode, metadata.uid, metadata.gid)
}

/// Returns whether `text` may name a volume; it becomes a directory's name.
fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= 200
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

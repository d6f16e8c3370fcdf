//! The directory of snapshots.
//!
//! ```text
//! <root>/.lock              held while ids are given, bases chosen and snapshots removed; holds the next id
//! <root>/<id>/record.json   see `record`
//! <root>/<id>/fs/           the layer: content, overlay's whiteouts and opaque marks; a link when it is shared
//! <root>/<id>/archive       the archive that the layer came from, when ours of the same files would be another
//! <root>/<id>/work          overlay's work directory, until the snapshot is committed
//! <root>/chains/<hex>       the id of the committed snapshot with this chain id
//! <root>/.gone/             being removed
//! ```
//!
//! Many processes work here at once. An active snapshot's directory is locked (`flock`) by the process that
//! prepared it, so the kernel itself tells whether that process lives. Records are renamed into place but only a
//! held snapshot's is forced to the disk at once: everything else can be made again; see [`Snapshots::sync`].

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use coracle_fault::Point;
use coracle_oci::{ChainId, DiffId};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::error::{Result, SnapshotError};
use crate::id::INDEX;
use crate::rootfs::{Attributes, Metadata, remove_tree, set_attributes};
use crate::{ActiveSnapshot, Snapshot, SnapshotId, State, xattr};

/// Bounds on one layer that is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the uncompressed archive.
    pub bytes: u64,
    /// Most members of the archive.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 << 30, entries: 8 << 20 }
    }
}

/// The snapshots under one root directory. Cheap to make; many may exist at once, in many processes.
#[derive(Clone, Debug)]
pub struct Snapshots {
    root: PathBuf,
    pub(crate) limits: Limits,
}

/// The exclusive lock over the directory, with the counter that is kept in the lock's file.
pub(crate) struct Guard {
    file: File,
}

impl Snapshots {
    /// Opens the directory, and makes it when it is missing.
    pub fn open(root: &Path) -> Result<Self> {
        let chains = root.join(INDEX);
        if !chains.is_dir() {
            std::fs::create_dir_all(&chains).map_err(|error| SnapshotError::io("make", &chains, error))?;
            // Layers hold set-id programs: only root may look in.
            std::fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .map_err(|error| SnapshotError::io("set the permissions of", root, error))?;
        }
        let root = root.canonicalize().map_err(|error| SnapshotError::io("open", root, error))?;
        Ok(Self { root, limits: Limits::default() })
    }

    /// Sets other bounds for unpacking.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the directory of all snapshots.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Starts a snapshot on top of a committed one, or an empty one. It is discarded when dropped.
    pub fn prepare(&self, parent: Option<&SnapshotId>) -> Result<ActiveSnapshot> {
        let mut guard = self.lock()?;
        // Under the lock, so that the base is not removed between this look and the record of its child.
        let lower = match parent {
            Some(parent) => self.lowerdirs(parent)?,
            None => Vec::new(),
        };
        let (id, directory) = self.next_directory(&mut guard)?;
        let made = self.fill(&directory, Snapshot::new(id.clone(), parent.cloned()), lower.first());
        match made {
            Ok((record, lock)) => Ok(ActiveSnapshot::new(self.clone(), record, lower, lock)),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&directory);
                Err(error)
            }
        }
    }

    /// Writes the record of a held snapshot anew that was lost or damaged; what it holds is not touched.
    pub fn restore_held(&self, id: &SnapshotId, parent: Option<&SnapshotId>, holder: String) -> Result<()> {
        let _guard = self.lock()?;
        let mut record = Snapshot::new(id.clone(), parent.cloned());
        record.state = State::Held { holder };
        record.write(&self.record_path(id), true)
    }

    /// Returns what is known about a snapshot.
    pub fn get(&self, id: &SnapshotId) -> Result<Snapshot> {
        Snapshot::read(&self.record_path(id))?.ok_or_else(|| SnapshotError::Unknown(id.clone()))
    }

    /// Returns the committed snapshot with this stack of layers.
    pub fn by_chain(&self, chain: &ChainId) -> Result<Option<Snapshot>> {
        let path = self.chain_path(chain);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SnapshotError::io("read", &path, error)),
        };
        let Ok(id) = text.trim().parse::<SnapshotId>() else { return Ok(None) };
        let snapshot = Snapshot::read(&self.record_path(&id))?;
        Ok(snapshot.filter(|snapshot| snapshot.is_committed() && snapshot.chain_id == Some(*chain)))
    }

    /// Returns the layers of a committed snapshot, topmost first.
    pub fn lowerdirs(&self, id: &SnapshotId) -> Result<Vec<PathBuf>> {
        let mut layers = Vec::new();
        let mut next = Some(id.clone());
        while let Some(id) = next {
            let snapshot = self.get(&id)?;
            if !snapshot.is_committed() {
                return Err(SnapshotError::NotCommitted(id));
            }
            layers.push(self.layer_path(&id));
            next = snapshot.parent;
        }
        Ok(layers)
    }

    /// Returns the snapshots from a base without parent up to `id`.
    pub fn stack(&self, id: &SnapshotId) -> Result<Vec<Snapshot>> {
        let mut stack = vec![self.get(id)?];
        while let Some(parent) = stack.last().and_then(|top| top.parent.clone()) {
            stack.push(self.get(&parent)?);
        }
        stack.reverse();
        Ok(stack)
    }

    /// Records the digest and length of a committed snapshot's layer as an uncompressed tar; its chain id follows
    /// when its base's is known.
    pub fn set_diff_id(&self, id: &SnapshotId, diff_id: DiffId, size: u64) -> Result<Snapshot> {
        let _guard = self.lock()?;
        let mut snapshot = self.get(id)?;
        if !snapshot.is_committed() {
            return Err(SnapshotError::NotCommitted(id.clone()));
        }
        snapshot.diff_id = Some(diff_id);
        snapshot.size = Some(size);
        let parent = snapshot.parent.as_ref().map(|parent| self.get(parent)).transpose()?;
        snapshot.chain_id = match parent {
            None => Some(ChainId::extend(None, diff_id)),
            Some(parent) => parent.chain_id.map(|chain| ChainId::extend(Some(chain), diff_id)),
        };
        snapshot.write(&self.record_path(id), false)?;
        self.index(&snapshot)?;
        Ok(snapshot)
    }

    /// Returns all snapshots, oldest first. Damaged records are left out; [`Snapshots::get`] tells of them.
    pub fn list(&self) -> Result<Vec<Snapshot>> {
        let mut snapshots = Vec::new();
        for id in self.ids()? {
            match Snapshot::read(&self.record_path(&id)) {
                Ok(Some(snapshot)) => snapshots.push(snapshot),
                Ok(None) | Err(SnapshotError::Record { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        snapshots.sort_by_key(|snapshot| snapshot.id.counter());
        Ok(snapshots)
    }

    /// Removes a snapshot that nothing is based on. One that is not there is no failure.
    ///
    /// An active snapshot of another living process is refused.
    pub fn remove(&self, id: &SnapshotId) -> Result<()> {
        let gone = {
            let _guard = self.lock()?;
            let snapshot = match self.get(id) {
                Ok(snapshot) => snapshot,
                Err(SnapshotError::Unknown(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            match snapshot.state {
                State::Active if self.try_lock_directory(id)?.is_none() => {
                    return Err(SnapshotError::NotCommitted(id.clone()));
                }
                State::Active | State::Held { .. } => {}
                State::Committed => {
                    let needs = |child: &Snapshot| {
                        child.parent.as_ref() == Some(id) || child.layer_of.as_ref() == Some(id)
                    };
                    let child = self.list()?.into_iter().find(needs);
                    if let Some(child) = child {
                        return Err(SnapshotError::InUse { id: id.clone(), child: child.id });
                    }
                }
            }
            self.detach(id, snapshot.chain_id)?
        };
        Self::erase(&gone)
    }

    /// Removes what crashed processes left: their active snapshots, half-made and half-removed ones.
    ///
    /// Returns the ids that were removed.
    pub fn reclaim(&self) -> Result<Vec<SnapshotId>> {
        let mut removed = Vec::new();
        let mut gone = Vec::new();
        {
            let _guard = self.lock()?;
            for id in self.ids()? {
                let dead = match Snapshot::read(&self.record_path(&id)) {
                    Ok(Some(snapshot)) => snapshot.state == State::Active,
                    // Records are made under the lock that we hold: its maker did not get that far.
                    Ok(None) => true,
                    // It may hold what a container wrote: only who mends it on purpose takes it away.
                    Err(SnapshotError::Record { .. }) => false,
                    Err(error) => return Err(error),
                };
                if dead && self.try_lock_directory(&id)?.is_some() {
                    gone.push(self.detach(&id, None)?);
                    removed.push(id);
                }
            }
        }
        for path in gone {
            Self::erase(&path)?;
        }
        self.erase_gone()?;
        Ok(removed)
    }

    /// Erases what killed commands had begun to remove. Cheap when there is nothing.
    pub fn erase_gone(&self) -> Result<()> {
        let place = self.gone();
        let entries = match std::fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(SnapshotError::io("read", &place, error)),
        };
        for entry in entries.flatten() {
            Self::erase(&entry.path())?;
        }
        Ok(())
    }

    fn gone(&self) -> PathBuf {
        self.root.join(".gone")
    }

    /// Brings everything written so far to the disk. Call it once before recording that something is complete.
    pub fn sync(&self) -> Result<()> {
        let root = File::open(&self.root).map_err(|error| SnapshotError::io("open", &self.root, error))?;
        rustix::fs::syncfs(&root).map_err(|error| SnapshotError::io("sync", &self.root, error))
    }

    /// Returns the bytes on disk of a snapshot's own layer; a layer that is shared counts for its maker.
    pub fn usage(&self, id: &SnapshotId) -> Result<u64> {
        let snapshot = self.get(id)?;
        if snapshot.layer_of.is_some() {
            return Ok(0);
        }
        // What is committed never changes: it is measured once. The file goes with the snapshot's directory.
        let kept = self.directory(id).join("usage");
        if snapshot.is_committed()
            && let Some(bytes) = std::fs::read_to_string(&kept).ok().and_then(|text| text.trim().parse().ok())
        {
            return Ok(bytes);
        }
        let bytes = crate::pack::usage(&self.layer_path(id))?;
        if snapshot.is_committed() {
            let new = kept.with_extension(std::process::id().to_string());
            let written =
                std::fs::write(&new, format!("{bytes}\n")).and_then(|()| std::fs::rename(&new, &kept));
            if written.is_err() {
                let _ = std::fs::remove_file(&new);
            }
        }
        Ok(bytes)
    }

    /// Returns the directory with a snapshot's own layer, in overlay's form.
    pub fn layer_path(&self, id: &SnapshotId) -> PathBuf {
        self.directory(id).join("fs")
    }

    pub(crate) fn work_path(&self, id: &SnapshotId) -> PathBuf {
        self.directory(id).join("work")
    }

    pub(crate) fn directory(&self, id: &SnapshotId) -> PathBuf {
        self.root.join(id.as_str())
    }

    pub(crate) fn record_path(&self, id: &SnapshotId) -> PathBuf {
        self.directory(id).join("record.json")
    }

    fn chain_path(&self, chain: &ChainId) -> PathBuf {
        self.root.join(INDEX).join(chain.digest().hex())
    }

    /// Commits a snapshot's record. With a chain that exists already the existing snapshot is returned instead.
    pub(crate) fn commit_record(&self, mut record: Snapshot) -> Result<(Snapshot, bool)> {
        let _guard = self.lock()?;
        if let Some(chain) = record.chain_id
            && let Some(existing) = self.by_chain(&chain)?
        {
            return Ok((existing, false));
        }
        if let Some(parent) = &record.parent {
            // Its base may have been chosen after it was prepared.
            if !self.get(parent)?.is_committed() {
                return Err(SnapshotError::NotCommitted(parent.clone()));
            }
        }
        record.state = State::Committed;
        record.write(&self.record_path(&record.id), false)?;
        pass(Point::SnapshotCommitted, &self.root)?;
        self.index(&record)?;
        Ok((record, true))
    }

    /// Takes a snapshot's directory away under the lock, and removes it.
    pub(crate) fn discard(&self, id: &SnapshotId) -> Result<()> {
        let gone = {
            let _guard = self.lock()?;
            self.detach(id, None)?
        };
        Self::erase(&gone)
    }

    fn index(&self, snapshot: &Snapshot) -> Result<()> {
        let Some(chain) = snapshot.chain_id else { return Ok(()) };
        if self.by_chain(&chain)?.is_some_and(|existing| existing.id != snapshot.id) {
            return Ok(());
        }
        let path = self.chain_path(&chain);
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, snapshot.id.as_str())
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(|error| {
                let _ = std::fs::remove_file(&temporary);
                SnapshotError::io("write", &path, error)
            })
    }

    /// Puts a copy of nothing but the name of a layer on top of another snapshot: the new snapshot shares the layer of
    /// `layer`, which is based on nothing, and keeps it alive.
    pub fn stack_on(&self, layer: &SnapshotId, parent: &SnapshotId) -> Result<Snapshot> {
        let shared = self.get(layer)?;
        if !shared.is_committed() {
            return Err(SnapshotError::NotCommitted(layer.clone()));
        }
        // A layer that is itself shared has one maker, however often it is stacked.
        let maker = shared.layer_of.clone().unwrap_or_else(|| layer.clone());
        let mut active = self.prepare(Some(parent))?;
        let place = active.layer_path();
        std::fs::remove_dir(&place)
            .and_then(|()| std::os::unix::fs::symlink(format!("../{maker}/fs"), &place))
            .map_err(|error| SnapshotError::io("make", &place, error))?;
        active.record.layer_of = Some(maker);
        active.commit()
    }

    /// Returns the names of all snapshots, of those with a damaged record too.
    pub fn ids(&self) -> Result<Vec<SnapshotId>> {
        let entries =
            std::fs::read_dir(&self.root).map_err(|error| SnapshotError::io("read", &self.root, error))?;
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| SnapshotError::io("read", &self.root, error))?;
            if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    pub(crate) fn lock(&self) -> Result<Guard> {
        let path = self.root.join(".lock");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| SnapshotError::io("open", &path, error))?;
        // Closes the races between giving the same id twice, and between basing a snapshot on one and removing that.
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| SnapshotError::io("lock", &path, error))?;
        Ok(Guard { file })
    }

    fn next_directory(&self, guard: &mut Guard) -> Result<(SnapshotId, PathBuf)> {
        let lock_path = self.root.join(".lock");
        let mut counter = guard.counter().map_err(|error| SnapshotError::io("read", &lock_path, error))?;
        if counter == 0 {
            // New, or the file was lost: never give an id again that exists.
            counter = self.ids()?.iter().map(SnapshotId::counter).max().unwrap_or(0) + 1;
        }
        loop {
            let id = SnapshotId::from_counter(counter);
            let directory = self.directory(&id);
            counter += 1;
            match std::fs::create_dir(&directory) {
                Ok(()) => {
                    if let Err(error) = guard.set_counter(counter) {
                        let _ = std::fs::remove_dir(&directory);
                        return Err(SnapshotError::io("write", &lock_path, error));
                    }
                    return Ok((id, directory));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(SnapshotError::io("make", &directory, error)),
            }
        }
    }

    /// Fills a new snapshot's directory and locks it for this process.
    fn fill(
        &self,
        directory: &Path,
        record: Snapshot,
        lower: Option<&PathBuf>,
    ) -> Result<(Snapshot, OwnedFd)> {
        let lock = open_directory(directory)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| SnapshotError::io("lock", directory, error))?;
        let layer = self.layer_path(&record.id);
        for path in [&layer, &self.work_path(&record.id)] {
            std::fs::create_dir(path).map_err(|error| SnapshotError::io("make", path, error))?;
        }
        // The top layer's root decides over owner and permissions of `/`.
        copy_root_attributes(lower.map(PathBuf::as_path), &layer)?;
        pass(Point::SnapshotMade, directory)?;
        record.write(&self.record_path(&record.id), false)?;
        Ok((record, lock))
    }

    fn try_lock_directory(&self, id: &SnapshotId) -> Result<Option<OwnedFd>> {
        let directory = self.directory(id);
        let lock = match open_directory(&directory) {
            Ok(lock) => lock,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(SnapshotError::io("lock", &directory, error)),
        }
    }

    /// Renames a snapshot out of sight; the caller holds the lock.
    pub(crate) fn detach(&self, id: &SnapshotId, chain: Option<ChainId>) -> Result<PathBuf> {
        if let Some(chain) = chain {
            let path = self.chain_path(&chain);
            if std::fs::read_to_string(&path).is_ok_and(|text| text.trim() == id.as_str()) {
                std::fs::remove_file(&path).map_err(|error| SnapshotError::io("remove", &path, error))?;
            }
        }
        let directory = self.directory(id);
        let place = self.gone();
        if let Err(error) = std::fs::create_dir(&place)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(SnapshotError::io("make", &place, error));
        }
        let gone = place.join(format!("{id}-{}", std::process::id()));
        match std::fs::rename(&directory, &gone) {
            Ok(()) => pass(Point::SnapshotDetached, &gone).map(|()| gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(gone),
            Err(error) => Err(SnapshotError::io("remove", &directory, error)),
        }
    }

    pub(crate) fn erase(path: &Path) -> Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let parent = open_directory(parent)?;
        remove_tree(parent.as_fd(), name).map_err(|error| SnapshotError::io("remove", path, error))
    }
}

/// Passes a point at which a test may make the work on `path` fail.
fn pass(point: Point, path: &Path) -> Result<()> {
    coracle_fault::hit(point).map_err(|error| SnapshotError::io("write", path, error))
}

impl Guard {
    /// Returns the next id's number, 0 when it is not known.
    fn counter(&mut self) -> io::Result<u64> {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(0))?;
        (&mut self.file).take(32).read_to_string(&mut text)?;
        Ok(text.trim().parse().unwrap_or(0))
    }

    fn set_counter(&mut self, counter: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        // One write of a fixed length: never a mixture of two numbers.
        self.file.write_all(format!("{counter:020}\n").as_bytes())
    }
}

/// Gives a layer's root the owner, permissions and attributes of the one below, or of a new root directory.
pub(crate) fn copy_root_attributes(lower: Option<&Path>, layer: &Path) -> Result<()> {
    let target = open_directory(layer)?;
    let fail = |error: io::Error| SnapshotError::io("set the attributes of", layer, error);
    let Some(lower) = lower else {
        return set_attributes(&target, &Attributes { mode: 0o755, uid: 0, gid: 0 }).map_err(fail);
    };
    let source = open_directory(lower)?;
    let stat = rustix::fs::fstat(&source).map_err(|error| fail(error.into()))?;
    let metadata = Metadata::from(&stat);
    set_attributes(&target, &Attributes { mode: metadata.mode, uid: metadata.uid, gid: metadata.gid })
        .map_err(fail)?;
    let xattrs = xattr::read(&source).map_err(fail)?;
    xattr::write(&target, &xattrs).map_err(fail)
}

pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| SnapshotError::io("open", path, error))
}

fn flock(file: impl AsFd, operation: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(&file, operation) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

//! The images of the store as rules see them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use coracle_check::{BaseFacts, Bases, Images, Ownership};
use coracle_oci::{ImageConfig, Reference};
use coracle_snapshot::RootFs;
use coracle_snapshot::rootfs::FileKind;

use crate::Engine;
use crate::images::is_stand_in;

/// Where programs are looked for in an image that does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The largest file of an image that rules are given, bytes.
const LIMIT: u64 = 256 << 10;

/// The images that are here. Files are looked up through a read-only mount of the layers that has no place in the tree,
/// links followed inside it; it is made when a rule first asks and ends with this value.
///
/// An image that stands in for another knows only what it has: that something is missing from it says nothing of the
/// image that is meant, nor do the texts of its files.
pub struct StoredImages<'a> {
    engine: &'a Engine,
    contents: bool,
    known: RefCell<BTreeMap<String, Option<Rc<Stored>>>>,
}

struct Stored {
    config: ImageConfig,
    stand_in: bool,
    root: Option<RootFs>,
}

impl<'a> StoredImages<'a> {
    /// Returns the images of an engine.
    pub fn new(engine: &'a Engine) -> Self {
        Self { engine, contents: true, known: RefCell::default() }
    }

    /// Leaves out what is in images: only their configurations are known.
    pub fn configurations(engine: &'a Engine) -> Self {
        Self { contents: false, ..Self::new(engine) }
    }

    fn config(&self, image: &str) -> Option<ImageConfig> {
        let reference: Reference = image.parse().ok()?;
        Some(self.engine.store.image(&reference).ok()??.config)
    }

    fn stored(&self, image: &str) -> Option<Rc<Stored>> {
        if !self.contents {
            return None;
        }
        if let Some(known) = self.known.borrow().get(image) {
            return known.clone();
        }
        let found = self.config(image).map(|config| {
            let root = config.chain_id().and_then(|chain| {
                let snapshot = self.engine.snapshots.by_chain(&chain).ok()??;
                Some(RootFs::new(self.engine.snapshots.view(&snapshot.id).ok()?))
            });
            Rc::new(Stored { stand_in: is_stand_in(&config), config, root })
        });
        self.known.borrow_mut().insert(image.to_owned(), found.clone());
        found
    }
}

impl Stored {
    /// Returns whether a path is a file that can be run; `None` when that cannot be told.
    fn runs(&self, path: &Path) -> Option<bool> {
        let found = self.root.as_ref()?.stat(path).ok()?;
        Some(found.is_some_and(|file| file.kind == FileKind::File && file.mode & 0o111 != 0))
    }

    fn path(&self) -> &str {
        let set = self.config.config.env.iter().rev().find_map(|pair| pair.strip_prefix("PATH="));
        set.unwrap_or(PATH)
    }
}

impl Bases for StoredImages<'_> {
    fn base(&self, image: &str, _platform: Option<&str>) -> Option<BaseFacts> {
        let found = self.config(image)?;
        let config = found.config;
        Some(BaseFacts {
            env: config.env,
            shell: config.shell.is_some_and(|shell| !shell.is_empty()),
            on_build: config.on_build,
            platform: (found.os, found.architecture),
            user: config.user,
            working_dir: config.working_dir,
            cmd: config.cmd.unwrap_or_default(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            exposed: config.exposed_ports.into_keys().collect(),
            volumes: config.volumes.into_keys().collect(),
            healthcheck: config.healthcheck.is_some(),
        })
    }
}

impl Images for StoredImages<'_> {
    fn has_program(&self, image: &str, program: &str) -> Option<bool> {
        let stored = self.stored(image)?;
        if program.is_empty() {
            return None;
        }
        let found = if program.starts_with('/') {
            stored.runs(Path::new(program))?
        } else if program.contains('/') {
            // Relative to a directory that only the caller knows.
            return None;
        } else {
            let mut found = false;
            for directory in stored.path().split(':').filter(|directory| directory.starts_with('/')) {
                found = found || stored.runs(&Path::new(directory).join(program))?;
            }
            found
        };
        (found || !stored.stand_in).then_some(found)
    }

    fn ownership(&self, image: &str, path: &str) -> Option<Option<Ownership>> {
        let stored = self.stored(image)?;
        let found = stored.root.as_ref()?.stat(Path::new(path)).ok()?.map(|file| Ownership {
            uid: file.uid,
            gid: file.gid,
            mode: file.mode,
            directory: file.kind == FileKind::Directory,
        });
        (found.is_some() || !stored.stand_in).then_some(found)
    }

    fn text(&self, image: &str, path: &str) -> Option<String> {
        let stored = self.stored(image).filter(|stored| !stored.stand_in)?;
        String::from_utf8(stored.root.as_ref()?.read(Path::new(path), LIMIT).ok()?).ok()
    }
}

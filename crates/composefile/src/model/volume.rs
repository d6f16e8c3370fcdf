//! What is mounted into a service's containers, and the project's volumes.

use std::path::PathBuf;

use coracle_oci::{IdMap, Reference};
use coracle_report::Span;
use indexmap::IndexMap;

/// Something mounted into a service's containers.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Where it is given.
    pub span: Span,
    /// What.
    pub source: MountSource,
    /// Absolute path inside.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// What a [`Mount`] mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the host, absolute.
    Bind {
        /// The path.
        path: PathBuf,
        /// Whether a missing directory is made.
        create_host_path: bool,
        /// Which later mounts of the host show inside.
        propagation: Propagation,
        /// What becomes of mounts below the path.
        recursive: Recursive,
        /// How the owners of its files are shown (`x-idmap`); `None` is as they are.
        idmap: Option<IdMap>,
    },
    /// A volume of the project, by key.
    Volume {
        /// The key under `volumes`.
        key: String,
        /// Whether an empty volume is not filled from the image.
        no_copy: bool,
        /// The part of it that is mounted, relative; `None` is all.
        subpath: Option<String>,
        /// Labels that it is made with, beside those under `volumes`.
        labels: IndexMap<String, String>,
    },
    /// A volume of the container's own.
    Anonymous {
        /// Whether it is not filled from the image.
        no_copy: bool,
        /// Labels that it is made with.
        labels: IndexMap<String, String>,
    },
    /// A fresh tmpfs.
    Tmpfs {
        /// Size, bytes.
        size: Option<u64>,
        /// Mode of its root.
        mode: Option<u32>,
        /// Further options as mount(8) has them: `exec`, `uid=1000`.
        options: Vec<String>,
    },
    /// The files of an image, read-only.
    Image {
        /// The image.
        reference: Reference,
        /// The part of it that is mounted, relative; `None` is all.
        subpath: Option<String>,
    },
}

/// How mounts made later travel between the host and a bind mount (`bind.propagation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all; mounts that are there keep their own.
    Private,
    /// Not at all (the default).
    #[default]
    RPrivate,
    /// From the host inside; mounts that are there keep their own.
    Slave,
    /// From the host inside.
    RSlave,
    /// Both ways; mounts that are there keep their own.
    Shared,
    /// Both ways.
    RShared,
}

/// What becomes of mounts below a bind mount's path (`bind.recursive`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recursive {
    /// They are mounted too, read-only when the mount is (the default).
    #[default]
    Enabled,
    /// They are left out.
    Disabled,
    /// They are mounted too, and stay writable when the mount is read-only.
    Writable,
    /// They are mounted too, read-only.
    ReadOnly,
}

/// One entry of `volumes_from`: everything that others have mounted.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumesFrom {
    /// Where it is given.
    pub span: Span,
    /// Whose mounts.
    pub source: VolumesSource,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// Whose mounts a [`VolumesFrom`] takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumesSource {
    /// Those of a service's first container.
    Service(String),
    /// Those of a container, by name.
    Container(String),
}

/// A volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Where it is defined.
    pub span: Span,
    /// Its name in the engine: `PROJECT_KEY` unless `name` or `external` says otherwise.
    pub name: String,
    /// Whether somebody else makes and removes it.
    pub external: bool,
    /// Options of the `local` driver: `type`, `o`, `device`.
    pub driver_opts: IndexMap<String, String>,
    /// Labels.
    pub labels: IndexMap<String, String>,
}

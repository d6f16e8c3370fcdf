//! What is mounted into a container.

use std::path::PathBuf;

use coracle_oci::{IdMap, ImageId};
use serde::{Deserialize, Serialize};

/// Something mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub kind: MountKind,
    /// Where, an absolute path inside.
    pub target: String,
    /// Whether writing is refused.
    #[serde(default)]
    pub read_only: bool,
}

/// What a [`Mount`] mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// Whether a missing directory is made.
        create_host_path: bool,
        /// Which later mounts of the host show inside.
        #[serde(default, skip_serializing_if = "is_default")]
        propagation: Propagation,
        /// What becomes of mounts below the source.
        #[serde(default, skip_serializing_if = "is_default")]
        recursion: Recursion,
        /// How the owners of its files are shown; `None` is as they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idmap: Option<IdMap>,
    },
    /// A named volume.
    Volume {
        /// The volume's name; empty is a new one of the container's own.
        name: String,
        /// Whether an empty volume is not filled from the image.
        no_copy: bool,
        /// The part of it that is mounted, a path that must be there; `None` is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// A fresh tmpfs.
    Tmpfs {
        /// Size in bytes; `None` means the kernel's default.
        size: Option<u64>,
        /// Mode of its root, e.g. `0o1777`.
        mode: Option<u32>,
        /// Further options as mount(8) has them: `exec`, `uid=1000`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    },
    /// The files of an image, read-only.
    Image {
        /// The image reference as the user wrote it, for display.
        reference: String,
        /// The image.
        id: ImageId,
        /// The part of it that is mounted, a path that must be there; `None` is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
}

impl MountKind {
    /// Returns a bind mount as Docker makes it when nothing more is said.
    pub fn bind(source: impl Into<PathBuf>, create_host_path: bool) -> Self {
        Self::Bind {
            source: source.into(),
            create_host_path,
            propagation: Propagation::default(),
            recursion: Recursion::default(),
            idmap: None,
        }
    }

    /// Returns a whole volume.
    pub fn volume(name: impl Into<String>, no_copy: bool) -> Self {
        Self::Volume { name: name.into(), no_copy, subpath: None }
    }

    /// Returns a tmpfs without further options.
    pub fn tmpfs(size: Option<u64>, mode: Option<u32>) -> Self {
        Self::Tmpfs { size, mode, options: Vec::new() }
    }
}

/// How mounts made later below a bind mount's source or inside travel (`mount_namespaces(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Neither way; mounts that are there keep their own.
    Private,
    /// Neither way (Docker's default).
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

impl std::str::FromStr for Propagation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "private" => Self::Private,
            "rprivate" | "" => Self::RPrivate,
            "slave" => Self::Slave,
            "rslave" => Self::RSlave,
            "shared" => Self::Shared,
            "rshared" => Self::RShared,
            _ => {
                return Err(format!(
                    "`{text}` is none of `private`, `rprivate`, `slave`, `rslave`, `shared` and `rshared`"
                ));
            }
        })
    }
}

/// What becomes of mounts below a bind mount's source (`recursive` of Compose, `bind-recursive` of Docker).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recursion {
    /// They are mounted too, and read-only when the mount is.
    #[default]
    Enabled,
    /// They are left out.
    Disabled,
    /// They are mounted too, and stay writable when the mount is read-only.
    Writable,
    /// They are mounted too, read-only.
    ReadOnly,
}

impl std::str::FromStr for Recursion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "enabled" | "" => Self::Enabled,
            "disabled" => Self::Disabled,
            "writable" => Self::Writable,
            "readonly" => Self::ReadOnly,
            _ => return Err(format!("`{text}` is none of `enabled`, `disabled`, `writable` and `readonly`")),
        })
    }
}

/// Everything that another container has mounted (`--volumes-from`); resolved when the container is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Name or id of the other container.
    pub container: String,
    /// Whether writing is refused.
    #[serde(default)]
    pub read_only: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

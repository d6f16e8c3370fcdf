//! What beyond capabilities bounds a container's processes, Docker's `--security-opt`.

use serde::{Deserialize, Serialize};

/// Options of security beside `no-new-privileges` and `seccomp=unconfined`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// A system call profile in Docker's JSON, instead of the default one.
    pub seccomp_profile: Option<String>,
    /// The AppArmor profile; `unconfined` is none. `None` is the default one.
    pub apparmor: Option<String>,
    /// SELinux labels, e.g. `type:svirt_apache_t`, `disable`.
    pub labels: Vec<String>,
    /// Whether no path of `/proc` and `/sys` is hidden or read-only.
    pub system_paths_unconfined: bool,
    /// Further paths that are hidden.
    pub mask: Vec<String>,
    /// Paths that are not hidden although they are by default.
    pub unmask: Vec<String>,
}

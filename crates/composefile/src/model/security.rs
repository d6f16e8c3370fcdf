//! `security_opt`, and how the kernel treats a service's containers when memory runs out.

use std::path::PathBuf;

use coracle_report::Span;

/// Options of security beside `no-new-privileges` and `seccomp=unconfined`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    /// A system call profile instead of the default one.
    pub seccomp_profile: Option<SeccompProfile>,
    /// The AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux labels.
    pub labels: Vec<String>,
    /// Whether no path of `/proc` and `/sys` is hidden or read-only (`systempaths=unconfined`).
    pub system_paths_unconfined: bool,
    /// Further paths that are hidden.
    pub mask: Vec<String>,
    /// Paths that are not hidden although they are by default.
    pub unmask: Vec<String>,
}

/// A system call profile in Docker's JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct SeccompProfile {
    /// Where it is named.
    pub span: Span,
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

//! Why a pull or a push failed, told apart by what the caller can do about it.

use std::io;

use coracle_oci::{Digest, Platform, Reference};

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection: no such host, refused, timed out, or no common trust. Another source may serve instead.
    #[error("registry {registry} cannot be reached: {reason}")]
    Unreachable {
        /// The registry's host.
        registry: String,
        /// What went wrong, in one line.
        reason: String,
    },
    /// The registry wants (other) credentials, or denies access to these.
    #[error("registry {registry} denies access to {subject}{}", detail(message))]
    Unauthorized {
        /// The registry's host.
        registry: String,
        /// What was asked for.
        subject: String,
        /// The registry's own words.
        message: String,
    },
    /// The registry has no such image.
    #[error("there is no image {}", .0.familiar())]
    NotFound(Reference),
    /// The image exists, but not for the platform.
    #[error("{} exists for {}, but not for {platform}", reference.familiar(), list(available))]
    NoPlatform {
        /// The image.
        reference: Reference,
        /// What was asked for.
        platform: Platform,
        /// What there is.
        available: Vec<Platform>,
    },
    /// Too many requests.
    #[error("registry {registry} refuses more requests for now{}", detail(message))]
    RateLimited {
        /// The registry's host.
        registry: String,
        /// Seconds to wait, when the registry said so.
        retry_after: Option<u64>,
        /// The registry's own words.
        message: String,
    },
    /// The bytes are not what their digest or their form promises.
    #[error("{subject} is corrupt: {reason}")]
    Corrupt {
        /// Which document or layer.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A form that is too old or too foreign.
    #[error("{subject} has the unsupported type {media_type}")]
    Unsupported {
        /// Which document or layer.
        subject: String,
        /// Its type.
        media_type: String,
    },
    /// The registry answered with a status that fits no request of ours.
    #[error("registry {registry} answered {status} for {subject}{}", detail(message))]
    Status {
        /// The registry's host.
        registry: String,
        /// HTTP status.
        status: u16,
        /// What was asked for.
        subject: String,
        /// The registry's own words.
        message: String,
    },
    /// The transfer broke off and could not be gone on with.
    #[error("the transfer of {digest} from {registry} broke off after {received} bytes: {reason}")]
    Interrupted {
        /// The registry's host.
        registry: String,
        /// The blob.
        digest: Digest,
        /// How much had come.
        received: u64,
        /// What went wrong, in one line.
        reason: String,
    },
    /// An exchange broke off; the same may succeed a little later.
    #[error("{subject}: {reason} (registry {registry})")]
    Broken {
        /// The registry's host.
        registry: String,
        /// What was done.
        subject: String,
        /// What went wrong, in one line.
        reason: String,
    },
    /// The registry keeps no such repository and makes none.
    #[error("registry {registry} has no repository {repository}{}", detail(message))]
    NoRepository {
        /// The registry's host.
        registry: String,
        /// The repository.
        repository: String,
        /// The registry's own words.
        message: String,
    },
    /// The bytes to send could not be read or made.
    #[error("cannot read {subject}")]
    Source {
        /// What was to be sent.
        subject: String,
        /// Why.
        source: io::Error,
    },
    /// What is configured for the registry makes no sense.
    #[error(transparent)]
    Hosts(#[from] crate::hosts::HostsError),
    /// The program that keeps its credentials failed.
    #[error("the program that keeps the credentials failed")]
    Helper(#[source] crate::helper::HelperError),
    /// The caller gave up.
    #[error("the transfer was cancelled")]
    Cancelled,
    /// The caller's place for blobs failed, e.g. because its disk is full.
    #[error("cannot store {digest}")]
    Sink {
        /// The blob.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
}

/// What the client returns.
pub type Result<T> = std::result::Result<T, RegistryError>;

impl RegistryError {
    /// Returns whether no connection was possible, so that a stand-in may serve instead.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

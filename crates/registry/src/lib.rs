//! The distribution client: authentication and verified, parallel pull and push.
//!
//! Speaks the OCI distribution specification and what Docker's registries add to it. Refuses to store anything:
//! blobs go into a [`BlobSink`] of the caller's. Errors tell apart what a caller can do something about:
//! [`RegistryError::Unreachable`] lets a stand-in serve instead.

mod call;
mod challenge;
mod client;
mod credentials;
mod error;
mod helper;
mod hosts;
mod manifest;
mod pull;
mod push;

pub use client::{Client, Options};
pub use credentials::{CredentialStore, Credentials, CredentialsError};
pub use error::RegistryError;
pub use helper::HelperError;
pub use hosts::{HostConfig, Hosts, HostsError, Mirror};
pub use manifest::{Compression, Document, Layer, Resolved};
pub use pull::{BlobSink, BlobWriter, CommitError};
pub use push::{BlobSource, PushBlob, PushedBlob};

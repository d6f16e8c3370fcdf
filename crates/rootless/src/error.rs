//! Why a user's world cannot be entered.

use std::io;
use std::path::PathBuf;

/// Why a user's world cannot be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// A file of the holder's directory cannot be used.
    #[error("cannot use {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The directory belongs to somebody else.
    #[error("{} belongs to another user", .0.display())]
    Foreign(PathBuf),
    /// The holder's program cannot be started.
    #[error("cannot start the holder of this user's namespaces")]
    Start(#[source] io::Error),
    /// The kernel gives a normal user no namespace of its own.
    #[error("this kernel gives a normal user no namespace of its own: {0}")]
    NoNamespace(String),
    /// The holder could not make its world.
    #[error("cannot make this user's namespaces: {0}")]
    Refused(String),
    /// The holder does not answer as it should.
    #[error("the holder of this user's namespaces does not answer")]
    Silent(#[source] io::Error),
    /// A namespace cannot be joined.
    #[error("cannot join the {0} namespace of this user's containers")]
    Join(&'static str, #[source] io::Error),
}

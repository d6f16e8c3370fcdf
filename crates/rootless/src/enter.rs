//! The way into a user's world.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::process::DumpableBehavior;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::EnterError;
use crate::protocol::{Reply, Request};
use crate::world::{Home, in_user_namespace};
use crate::{descriptors, sockets, spawn};

/// How a world was entered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// What the user should know about a world that was made just now.
    pub notes: Vec<String>,
}

/// Enters the world of `run_root`, made when there is none: afterwards this process is root in namespaces of its user.
/// One that is inside already only tells the holder that it is there, if there is one.
///
/// To be called by a process with one thread. It counts as inside until it ends.
pub fn enter(run_root: &Path) -> Result<Entered, EnterError> {
    let home = Home::new(run_root);
    if rustix::process::geteuid().is_root() {
        if in_user_namespace() && home.lock().exists() {
            // A holder that was killed is missed by nobody inside.
            let _ = ask(&home, &Request::Stay).map(|(stream, _)| stay(stream));
        }
        return Ok(Entered::default());
    }
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |error: io::Error| EnterError::File(path, error)
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home.directory())
        .map_err(at(home.directory()))?;
    let owner = fs::metadata(home.directory()).map_err(at(home.directory()))?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(EnterError::Foreign(home.directory().to_path_buf()));
    }
    let lock = File::options().create(true).append(true).open(home.lock()).map_err(at(&home.lock()))?;
    // Closes the race of two commands that each start a holder, and of one that comes while a holder goes.
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| at(&home.lock())(error.into()))?;
    let mut entered = Entered::default();
    let answer = if let Ok(answer) = ask(&home, &Request::Enter) {
        answer
    } else {
        entered.notes = spawn::start(run_root, &home)?;
        ask(&home, &Request::Enter).map_err(EnterError::Silent)?
    };
    drop(lock);
    let (stream, namespaces) = answer;
    join(&namespaces)?;
    stay(stream);
    Ok(entered)
}

/// Keeps the connection for as long as the process lives; programs that it starts do not inherit it.
fn stay(stream: UnixStream) {
    let _ = OwnedFd::from(stream).into_raw_fd();
}

fn ask(home: &Home, request: &Request) -> io::Result<(UnixStream, Vec<OwnedFd>)> {
    let stream = sockets::connect(home.directory())?;
    descriptors::send(&stream, request, &[])?;
    match descriptors::receive(&stream)? {
        (Reply::Done, namespaces) => Ok((stream, namespaces)),
        (Reply::Failed(errno), _) => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn join(namespaces: &[OwnedFd]) -> Result<(), EnterError> {
    let [user, mount, network] = namespaces else {
        return Err(EnterError::Silent(io::ErrorKind::InvalidData.into()));
    };
    let directory = std::env::current_dir();
    let all = [
        ("user", LinkNameSpaceType::User, user),
        ("network", LinkNameSpaceType::Network, network),
        ("mount", LinkNameSpaceType::Mount, mount),
    ];
    for (name, kind, file) in all {
        move_into_link_name_space(file.as_fd(), Some(kind))
            .map_err(|error| EnterError::Join(name, error.into()))?;
    }
    // Else the process could not open some of its own files below `/proc`.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
    // Joining a mount namespace leads to its root. A directory that is gone is told by who needs it.
    if let Ok(directory) = directory {
        let _ = std::env::set_current_dir(directory);
    }
    Ok(())
}

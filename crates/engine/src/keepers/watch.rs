//! What a keeper does beside serving: it watches what shims record, and has services' addresses and names follow.
//!
//! A shim that finds its container unhealthy, or starts it again, tells nobody: it writes its record. The keeper of the
//! container's scope sees that by inotify. It also sees when somebody changes the packet filter, on which it depends how
//! ports are published. Where no keeper runs the rules stay as they are, until the next command.

use std::collections::BTreeMap;
use std::io::PipeReader;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use coracle_container::ContainerId;
use coracle_network::nftables::Changes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Keepers;
use crate::networks::Readiness;
use crate::{Engine, Result};

/// What happens within this time is dealt with together.
const BREATH: Duration = Duration::from_millis(3);

/// The same for changes of the packet filter, which come in hundreds.
const LONG_BREATH: Duration = Duration::from_millis(100);

/// Looks after the services of `scope` in a keeper's process, until the other end of `over` is closed.
pub(super) fn watch(engine: &Engine, scope: &str, over: PipeReader) {
    let Ok(inotify) = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) else { return };
    let filter = Changes::subscribe().ok();
    let mut known: BTreeMap<ContainerId, Readiness> = BTreeMap::new();
    let keepers = Keepers { engine };
    // The keeper's own state is replaced whenever a container comes or goes.
    let home = keepers.home(scope);
    if !see(&inotify, home.directory()) {
        return;
    }
    loop {
        // A failure is another command's to tell: it meets the same. Here the next change is waited for.
        let _told_elsewhere = look(engine, scope, &inotify, &mut known);
        let mut watched = vec![PollFd::new(&inotify, PollFlags::IN), PollFd::new(&over, PollFlags::empty())];
        watched.extend(filter.iter().map(|changes| PollFd::new(changes, PollFlags::IN)));
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        if !watched[1].revents().is_empty() {
            return;
        }
        let filtered_otherwise = watched.get(2).is_some_and(|changes| !changes.revents().is_empty());
        drop(watched);
        std::thread::sleep(if filtered_otherwise { LONG_BREATH } else { BREATH });
        swallow(&inotify);
        if filtered_otherwise && filter.as_ref().is_some_and(Changes::take) {
            // A firewall that is switched on, or that has lost our rules with its own, has ours made anew.
            let _told_elsewhere = engine.networks().reapply();
        }
    }
}

/// Watches the replicas that have come, and settles where one's readiness is another.
fn look(
    engine: &Engine,
    scope: &str,
    inotify: &OwnedFd,
    known: &mut BTreeMap<ContainerId, Readiness>,
) -> Result<()> {
    let networks = engine.networks();
    let attached = networks.attached()?;
    let replicas =
        attached.iter().filter(|(_, attached)| attached.scope == scope && !attached.endpoints.is_empty());
    let mut now = BTreeMap::new();
    for (id, attached) in replicas {
        if !known.contains_key(id) {
            // Before its record is read: what comes later is seen.
            see(inotify, &engine.layout.container(id.as_str()));
        }
        now.insert(id.clone(), networks.readiness(id, attached));
    }
    if now == *known {
        return Ok(());
    }
    *known = now;
    networks.settle()?;
    Keepers { engine }.refresh(scope)
}

fn see(inotify: &OwnedFd, directory: &Path) -> bool {
    // Records are renamed into place.
    inotify::add_watch(inotify, directory, WatchFlags::MOVED_TO).is_ok()
}

/// Reads all that has been told; what it was is looked up.
fn swallow(inotify: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(inotify.as_fd(), &mut buffer);
    while reader.next().is_ok() {}
}

//! A normal user's own world: user, mount and network namespaces in which the engine works as root does, the process
//! that holds them, and the way in.
//!
//! ```text
//! coracle (uid 1000) --lock, connect--> holder --descriptors of its namespaces--> setns: now root in there
//!                      `--starts it when there is none; newuidmap and newgidmap map its ids
//! holder: own user and mount namespace, the host's network; holds the network namespace of containers by a
//!         descriptor, runs pasta for it, and binds ports of the host for keepers
//!
//! <run>/holder/lock            held while a holder is looked for, started or about to end
//! <run>/holder/sock            the holder's socket; whoever is inside keeps a connection open
//! <run>/holder/world.json      which namespaces there are, to find them again when the holder was killed
//! <run>/holder/log             what pasta said last
//! ```
//!
//! A holder ends when nobody is inside and no shim holds its lock. When it is killed, containers go on: the next
//! command finds their namespaces by one of their processes and starts a new holder around them.
//!
//! Refuses to know what containers are, beyond the locks of their shims. Prints nothing.

mod cgroups;
mod descriptors;
mod enter;
mod error;
mod holder;
mod ids;
mod kernel;
mod pasta;
mod protocol;
mod sockets;
mod spawn;
mod world;

pub use enter::{Entered, enter};
pub use error::EnterError;
pub use holder::entry;
pub use ids::{Mapping, Range, Subordinates, maximum_id, plan, subordinates};
pub use pasta::{LINK_NAME, PASTA};
pub use protocol::{Protocol, SocketRequest};
pub use sockets::{Lender, lender};
pub use world::{in_user_namespace, is_single};

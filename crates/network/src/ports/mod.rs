//! Published ports on the host: bound before anything starts, and carried to containers.
//!
//! [`bind`] reserves, [`check`] looks whether that would succeed, [`who_holds`] says who is in the way. The proxies of
//! `tcp` and `udp` carry clients that the packet filter leaves alone: loopback, IPv6, and neighbours of the container.

mod bind;
mod client;
mod holder;
pub(crate) mod tcp;
pub(crate) mod udp;

pub(crate) use bind::bind_name_server;
pub use bind::{BindError, HostSockets, Socket, bind, check};
pub use holder::{Holder, who_holds};

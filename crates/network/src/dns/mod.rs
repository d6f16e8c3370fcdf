//! Names of containers, answered from zones; all else is for the host's resolvers.
//!
//! [`answer`] is pure: query bytes and zones in, reply bytes or "forward" out. Who listens and forwards is `keeper`.

mod answer;
mod meaning;
mod resolv;
mod zone;

pub use answer::{Answer, Transport, answer, failure};
pub use resolv::ResolvConf;
pub use zone::{Endpoint, Service, Zone, links, visible};

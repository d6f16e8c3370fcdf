//! Address plan and rule set as data; netlink, nftables, DNS and published ports apply them.
//!
//! Pure: [`subnet`], [`ipam`], [`names`], [`options`], [`pools`], [`rules`], [`services`], [`table`], [`dns`]. In the kernel: [`netlink`], [`nftables`]. Shared
//! by processes: [`Addresses`], [`keeper`]. Everything acts in the network namespace of the calling thread.

mod addresses;
pub mod dns;
pub mod ipam;
pub mod keeper;
mod lock;
pub mod names;
pub mod netlink;
pub mod nftables;
pub mod options;
pub mod pools;
mod port;
pub mod ports;
mod record;
pub mod rules;
pub mod services;
pub mod subnet;
pub mod subnet6;
pub mod table;

pub use addresses::{Addresses, AddressesError};
pub use lock::Lock;
pub use options::{NetworkOptions, OptionError};
pub use pools::AddressPool;
pub use port::{Protocol, PublishedPort, UnknownProtocol};
pub use record::{Ipv6Plan, NetworkRecord};
pub use rules::{NetworkRules, RuleSet};
pub use services::ServiceAddress;
pub use subnet::Subnet;
pub use subnet6::Subnet6;

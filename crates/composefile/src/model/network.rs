//! Networks, and how services are on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coracle_report::{Diagnostic, Span};
use indexmap::IndexMap;

/// How a service reaches a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// Through its `networks`.
    Networks,
    /// Not at all.
    None,
    /// In the host's namespace.
    Host,
    /// On the engine's default bridge (`network_mode: bridge`).
    DefaultBridge,
    /// In the namespace of a service's first container.
    Service(String),
    /// In the namespace of a container, by name or id.
    Container(String),
}

/// A service on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkAttachment {
    /// Names beside the service's own.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub ipv4_address: Option<Ipv4Addr>,
    /// A fixed IPv6 address.
    pub ipv6_address: Option<Ipv6Addr>,
    /// Addresses that mean something on the link only.
    pub link_local_ips: Vec<IpAddr>,
    /// A fixed hardware address.
    pub mac_address: Option<MacAddress>,
    /// The link's name inside.
    pub interface_name: Option<String>,
    /// Kernel parameters of the link (driver option `com.docker.network.endpoint.sysctls`).
    pub sysctls: Vec<String>,
    /// Networks with a higher one are connected first.
    pub priority: i32,
    /// Which network is the way out: the highest.
    pub gateway_priority: i32,
}

/// A hardware address of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

/// One entry of `links` or `external_links`.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Where it is given.
    pub span: Span,
    /// The service, or the container.
    pub target: String,
    /// The name it is known by.
    pub alias: String,
}

/// A network.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Where it is defined; `None` for the implicit `default`.
    pub span: Option<Span>,
    /// Its name in the engine: `PROJECT_KEY` unless `name` or `external` says otherwise.
    pub name: String,
    /// What makes it.
    pub driver: NetworkDriver,
    /// Whether somebody else makes and removes it.
    pub external: bool,
    /// Whether nothing outside is reachable.
    pub internal: bool,
    /// Subnet, e.g. `172.28.0.0/16`.
    pub subnet: Option<String>,
    /// Gateway.
    pub gateway: Option<Ipv4Addr>,
    /// The part of the subnet that addresses are chosen from (`ip_range`).
    pub range: Option<String>,
    /// Addresses that no container gets unless it asks (`aux_addresses`), by what they are for.
    pub reserved: IndexMap<String, Ipv4Addr>,
    /// Its IPv6 addresses; `None` is none.
    pub ipv6: Option<Ipv6Pool>,
    /// Options of the driver.
    pub driver_options: IndexMap<String, String>,
    /// Labels.
    pub labels: IndexMap<String, String>,
    /// What it asks for that this engine cannot give: errors of an `up` that needs it.
    pub refusals: Vec<Diagnostic>,
}

/// IPv6 addresses of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipv6Pool {
    /// Subnet, e.g. `fd00:1::/64`; `None` lets the engine choose.
    pub subnet: Option<String>,
    /// Gateway; `None` is the subnet's first address.
    pub gateway: Option<Ipv6Addr>,
}

/// What makes a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkDriver {
    /// A bridge of its own.
    #[default]
    Bridge,
    /// The host's namespace: services on it are in that.
    Host,
    /// Nothing: services on it have no network.
    None,
}

//! What is remembered of a network. Who stores it is the engine.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::options::NetworkOptions;
use crate::rules::NetworkRules;
use crate::subnet::Subnet;
use crate::subnet6::Subnet6;

/// One network as it stands in its record file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// The version of this record's shape; now 1.
    pub version: u32,
    /// 64 lower-case hex digits.
    pub id: String,
    /// The name users give, e.g. `stack_default`.
    pub name: String,
    /// Where its addresses come from.
    pub subnet: Subnet,
    /// The bridge's own address, the way out and the name server of its containers.
    pub gateway: Ipv4Addr,
    /// The name of the bridge link.
    pub bridge: String,
    /// Its IPv6 addresses; `None` is none.
    #[serde(default)]
    pub ipv6: Option<Ipv6Plan>,
    /// Whether it reaches nothing outside.
    pub internal: bool,
    /// The part of the subnet that addresses are chosen from; `None` is all of it.
    #[serde(default)]
    pub range: Option<Subnet>,
    /// Addresses that no container gets unless it asks, by what they are for.
    #[serde(default)]
    pub reserved: BTreeMap<String, Ipv4Addr>,
    /// What else it was told.
    #[serde(default)]
    pub options: NetworkOptions,
    /// What it was told, under Docker's names, for display.
    #[serde(default)]
    pub driver_options: BTreeMap<String, String>,
    /// The user's and Compose's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Virtual addresses of services, by project and service (`shop/backend`). They stay as long as the network.
    #[serde(default)]
    pub services: BTreeMap<String, Ipv4Addr>,
    /// The keeper that serves it: a project's name, or `_standalone`.
    pub scope: String,
}

/// The IPv6 addresses of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Plan {
    /// Where they come from.
    pub subnet: Subnet6,
    /// The bridge's own.
    pub gateway: Ipv6Addr,
}

impl NetworkRecord {
    /// The current version of the record's shape.
    pub const VERSION: u32 = 1;

    /// Returns the virtual IPv6 address beside the virtual address of a service.
    pub fn beside(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        self.ipv6.map(|plan| plan.subnet.beside(address, self.subnet))
    }

    /// Returns what the packet filter must know of the network.
    pub fn rules(&self) -> NetworkRules {
        NetworkRules {
            bridge: self.bridge.clone(),
            subnet: self.subnet,
            gateway: self.gateway,
            ipv6: self.ipv6.is_some(),
            internal: self.internal,
            masquerade: !self.internal && self.options.masquerade,
        }
    }
}

//! Address pools that the administrator chose, in Docker's words (`default-address-pools`).

use serde::Deserialize;

use crate::subnet::Subnet;

/// A range that subnets of new networks are cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// The range.
    pub base: Subnet,
    /// The prefix of each subnet.
    pub size: u8,
}

/// Why a configuration of pools cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Not of the form of a configuration.
    #[error("{0}")]
    Form(String),
    /// A base that is no subnet.
    #[error("`default-address-pools`: {0}")]
    Base(String),
    /// A size that leaves no room, or is no part of the base.
    #[error("`default-address-pools`: size {size} is none of {first} to 30, as base {base} wants")]
    Size {
        /// The size.
        size: u8,
        /// The base.
        base: Subnet,
        /// The smallest size.
        first: u8,
    },
}

/// The part of a daemon's configuration that is ours; the rest is somebody else's to judge.
#[derive(Debug, Default, Deserialize)]
struct Configuration {
    #[serde(default, rename = "default-address-pools")]
    pools: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    base: String,
    size: u8,
}

impl AddressPool {
    /// Reads the pools of a configuration in the form of Docker's `daemon.json`; none if it names none. Pools of IPv6 are left
    /// out: networks make a local subnet of their own.
    pub fn read(text: &str) -> Result<Vec<Self>, PoolError> {
        let configuration: Configuration =
            serde_json::from_str(text).map_err(|error| PoolError::Form(error.to_string()))?;
        let ipv4 = configuration.pools.into_iter().filter(|entry| !entry.base.contains(':'));
        ipv4.map(|Entry { base, size }| {
            let base: Subnet = base
                .parse()
                .map_err(|error: crate::subnet::SubnetError| PoolError::Base(error.to_string()))?;
            if !(base.prefix()..=30).contains(&size) {
                return Err(PoolError::Size { size, base, first: base.prefix() });
            }
            Ok(Self { base, size })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_form_is_read() {
        let text = r#"{"log-driver": "local", "default-address-pools": [
            {"base": "10.99.0.0/16", "size": 24}, {"base": "fd00:1::/48", "size": 64}]}"#;
        let pools = AddressPool::read(text).unwrap();
        assert_eq!(pools, [AddressPool { base: "10.99.0.0/16".parse().unwrap(), size: 24 }]);
        assert_eq!(AddressPool::read("{}"), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let told = |pool: &str| {
            AddressPool::read(&format!("{{\"default-address-pools\": [{pool}]}}")).unwrap_err().to_string()
        };
        assert!(told(r#"{"base": "10.99.0.1/16", "size": 24}"#).contains("bits set after its prefix"));
        assert!(told(r#"{"base": "10.99.0.0/16", "size": 8}"#).contains("size 8 is none of 16 to 30"));
        assert!(told(r#"{"base": "10.99.0.0/16", "size": 31}"#).contains("none of 16 to 30"));
        assert!(told(r#"{"base": "10.99.0.0/16"}"#).contains("missing field `size`"));
    }
}

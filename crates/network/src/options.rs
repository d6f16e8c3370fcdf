//! Options of a network's driver, under Docker's names.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest name of a link that the kernel takes (IFNAMSIZ - 1).
const LONGEST_LINK: usize = 15;

/// What a bridge network may be told beyond its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkOptions {
    /// The bridge's name; `None` derives one.
    pub bridge: Option<String>,
    /// The largest packet in bytes; `None` is that of the host's way out.
    pub mtu: Option<u32>,
    /// Whether what leaves it takes the host's address.
    pub masquerade: bool,
    /// Whether its containers may speak to one another.
    pub inter_container: bool,
    /// The host's address of ports that are published without one.
    pub host_binding: Option<IpAddr>,
    /// The beginning of the names of links inside containers.
    pub interface_prefix: Option<String>,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            bridge: None,
            mtu: None,
            masquerade: true,
            inter_container: true,
            host_binding: None,
            interface_prefix: None,
        }
    }
}

/// Why an option cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("driver option `{name}`: {reason}")]
pub struct OptionError {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub reason: String,
}

impl NetworkOptions {
    /// Reads options by Docker's names. Returns also the names of those that have no effect here.
    pub fn read(options: &BTreeMap<String, String>) -> Result<(Self, Vec<String>), OptionError> {
        let mut read = Self::default();
        let mut ignored = Vec::new();
        for (name, value) in options {
            let wrong = |reason: String| OptionError { name: name.clone(), reason };
            let boolean = || match value.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                _ => Err(wrong(format!("`{value}` is neither true nor false"))),
            };
            match name.as_str() {
                "com.docker.network.bridge.name" => read.bridge = Some(link_name(value).map_err(wrong)?),
                "com.docker.network.container_iface_prefix" => {
                    let legal = link_name(value).map_err(wrong)?;
                    if legal.len() > LONGEST_LINK - 2 {
                        return Err(wrong(format!("`{legal}` leaves no room for a number")));
                    }
                    read.interface_prefix = Some(legal);
                }
                "com.docker.network.driver.mtu" | "com.docker.network.bridge.mtu" => {
                    let mtu = value.parse().ok().filter(|mtu| (68..=65_535).contains(mtu));
                    read.mtu =
                        Some(mtu.ok_or_else(|| wrong(format!("`{value}` is no size of 68 to 65535")))?);
                }
                "com.docker.network.bridge.enable_icc" => read.inter_container = boolean()?,
                "com.docker.network.bridge.enable_ip_masquerade" => read.masquerade = boolean()?,
                "com.docker.network.bridge.host_binding_ipv4" => {
                    let address = value.parse().map_err(|_| wrong(format!("`{value}` is no IP address")))?;
                    read.host_binding = Some(address);
                }
                // What we do anyway.
                "com.docker.network.bridge.gateway_mode_ipv4" if value == "nat" => {}
                "com.docker.network.bridge.default_bridge" if !boolean()? => {}
                _ => ignored.push(name.clone()),
            }
        }
        Ok((read, ignored))
    }
}

/// Checks the name of a link.
pub fn link_name(text: &str) -> Result<String, String> {
    let legal = !text.is_empty()
        && text.len() <= LONGEST_LINK
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
        && !matches!(text, "." | ".." | "lo" | "all" | "default");
    if legal {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no name of a link: up to {LONGEST_LINK} letters, digits, `.`, `_` and `-`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<(NetworkOptions, Vec<String>), OptionError> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        NetworkOptions::read(&options.collect())
    }

    #[test]
    fn dockers_options() {
        let (options, ignored) = read(&[
            ("com.docker.network.bridge.name", "shop0"),
            ("com.docker.network.driver.mtu", "1400"),
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.bridge.enable_ip_masquerade", "0"),
            ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "nat"),
            ("com.docker.network.bridge.trusted_host_interfaces", "eth0"),
        ])
        .unwrap();
        assert_eq!(
            options,
            NetworkOptions {
                bridge: Some("shop0".to_owned()),
                mtu: Some(1400),
                masquerade: false,
                inter_container: false,
                host_binding: Some("127.0.0.1".parse().unwrap()),
                interface_prefix: None,
            }
        );
        assert_eq!(ignored, ["com.docker.network.bridge.trusted_host_interfaces"]);
        for (name, value) in [
            ("com.docker.network.bridge.name", "a/b"),
            ("com.docker.network.bridge.name", "much-too-long-name"),
            ("com.docker.network.driver.mtu", "12"),
            ("com.docker.network.bridge.enable_icc", "maybe"),
            ("com.docker.network.bridge.host_binding_ipv4", "here"),
        ] {
            assert!(read(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}

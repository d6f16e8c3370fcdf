//! Names of kernel objects, derived from ids so that any process can name them without asking.
//!
//! A link's name has at most 15 bytes (`IFNAMSIZ`). All of ours begin with `cr`, so that a listing shows whose they are.

/// The bridge of the network that containers join when nobody names one.
pub const DEFAULT_BRIDGE: &str = "coracle0";

/// What the names of all other bridges begin with.
pub const BRIDGE_PREFIX: &str = "cr-";

/// The longest name a link can have.
pub const LONGEST_LINK_NAME: usize = 15;

/// Returns the name of the bridge of the network with the id `network`: `cr-` and the first eight characters.
pub fn bridge(network: &str) -> String {
    format!("{BRIDGE_PREFIX}{}", head(network, 8))
}

/// Returns the name of the host's end of the link number `index` of the container with the id `container`.
///
/// `generation` tells links of successive network namespaces of one container apart (a restarted shim): the old
/// link may live until the kernel has taken its namespace away. Only its low 8 bits count.
pub fn veth(container: &str, index: u8, generation: u32) -> String {
    format!("crv{}{:02x}{:02x}", head(container, 8), generation & 0xff, index)
}

/// Returns the first `count` alphanumeric characters of an id.
fn head(id: &str, count: usize) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(bridge(id), "cr-01234567");
        assert_eq!(veth(id, 255, 0x1ff), "crv01234567ffff");
        assert!(veth(id, 255, u32::MAX).len() <= LONGEST_LINK_NAME);
        assert_ne!(veth(id, 0, 0), veth(id, 1, 0));
        assert_ne!(veth(id, 0, 0), veth(id, 0, 1));
        assert!(DEFAULT_BRIDGE.len() <= LONGEST_LINK_NAME);
    }

    #[test]
    fn odd_ids_make_no_odd_names() {
        assert_eq!(bridge("é/ab c"), "cr-abc");
    }
}

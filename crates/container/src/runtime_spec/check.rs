//! What can be told to be wrong with a container before it is made, from its specification alone.

use super::{NetworkNamespace, RLIMITS, RuntimeSpecError, capability, namespaces};
use crate::{ContainerSpec, NetworkMode};

/// Checks names of capabilities, limits of processes and kernel parameters.
pub fn check_spec(container: &ContainerSpec) -> Result<(), RuntimeSpecError> {
    capability::grant(&container.cap_add, &container.cap_drop, container.privileged, u64::MAX)
        .map_err(RuntimeSpecError::Capability)?;
    for ulimit in &container.ulimits {
        if !RLIMITS.contains(&ulimit.name.as_str()) {
            return Err(RuntimeSpecError::Ulimit(ulimit.name.clone()));
        }
    }
    let network = match container.network_mode {
        NetworkMode::Host => NetworkNamespace::Host,
        NetworkMode::Container(_) => NetworkNamespace::Joined,
        NetworkMode::Bridge | NetworkMode::None => NetworkNamespace::Own,
    };
    namespaces::sysctls(container, network, u32::MAX).map(drop)
}

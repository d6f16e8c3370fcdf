//! What a process of a container may not do: its system call filter and its capabilities, put on in the right order.
//!
//! libcontainer is given neither, since it compiles the filter anew at every start.

use std::collections::HashSet;
use std::path::Path;

use libcontainer::capabilities;
use libcontainer::oci_spec::runtime::{Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};
use libcontainer::syscall::syscall::SyscallType;

use crate::config::{FILTER_FILE, ShimConfig};
use crate::executor::CannotRun;
use crate::filter;
use crate::launch::OURS;

/// A filter and a set of capabilities, read before the process enters a world where they cannot be.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    filter: Option<Vec<u8>>,
    capabilities: LinuxCapabilities,
    /// Whether the process gives up privileges, so that the filter can come last.
    no_new_privileges: bool,
}

fn ours(what: &str, error: &dyn std::fmt::Display) -> CannotRun {
    CannotRun { code: OURS, message: format!("{what}: {error}") }
}

impl Confinement {
    /// Reads what the bundle says.
    pub fn of(config: &ShimConfig, bundle: &Path) -> Result<Self, CannotRun> {
        let fail = |error: &dyn std::fmt::Display| ours("cannot read the container's confinement", error);
        let filter = if config.filtered {
            Some(filter::read(&bundle.join(FILTER_FILE)).map_err(|error| fail(&error))?)
        } else {
            None
        };
        let set = config
            .capabilities
            .iter()
            .map(|name| serde_json::from_value(serde_json::Value::from(name.as_str())))
            .collect::<Result<HashSet<Capability>, _>>()
            .map_err(|error| fail(&error))?;
        let capabilities = LinuxCapabilitiesBuilder::default()
            .bounding(set.clone())
            .effective(set.clone())
            .permitted(set)
            .inheritable(HashSet::new())
            .ambient(HashSet::new())
            .build()
            .map_err(|error| fail(&error))?;
        Ok(Self { filter, capabilities, no_new_privileges: config.no_new_privileges })
    }

    /// Confines this process, for good. Its user is set and its effective capabilities are all that it holds.
    pub fn put_on(&self) -> Result<(), CannotRun> {
        let load = || match &self.filter {
            Some(program) => {
                filter::load(program).map_err(|error| ours("cannot load the system call filter", &error))
            }
            None => Ok(()),
        };
        // Without `no_new_privileges` the filter needs a capability that goes next.
        if !self.no_new_privileges {
            load()?;
        }
        let kernel = SyscallType::Linux.create_syscall();
        capabilities::drop_privileges(&self.capabilities, kernel.as_ref())
            .map_err(|error| ours("cannot drop capabilities", &error))?;
        if self.no_new_privileges {
            load()?;
        }
        Ok(())
    }
}

//! The unit of systemd that a container's control group lies in.
//!
//! ```text
//! coracle.slice                          systemd's, with the controllers that delegated units may use
//!   coracle-0123456789ab.scope           systemd's, delegated: what is below is ours alone
//!     shim                               the shim
//!     container                          the container
//! ```
//!
//! Where systemd manages a unified hierarchy nobody else may make groups beside its own (`CGROUP_DELEGATION.md`): it could
//! take their controllers away at any time. In a scope of its own a shim also survives the session or the service that
//! started it. systemd removes the scope when nothing is left in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::bus::{self, Body};
use crate::cgroup::{self, Version};
use crate::config::Scope;

/// Where systemd listens, for root.
const SOCKET: &str = "/run/systemd/private";
/// Where the unified hierarchy is.
const MOUNT: &str = "/sys/fs/cgroup";

/// Returns whether systemd manages the control groups of this host, and lets this process ask for some.
pub fn is_managed() -> bool {
    cgroup::version() == Version::V2
        && rustix::process::geteuid().is_root()
        && Path::new("/run/systemd/system").is_dir()
        && Path::new(SOCKET).exists()
}

impl Scope {
    /// Returns the path of the container's control group in this scope, below the hierarchy's root.
    pub fn cgroup(&self) -> String {
        // A dash in a slice's name stands for a slice in another (`systemd.slice(5)`).
        let stem = self.slice.strip_suffix(".slice").unwrap_or(&self.slice);
        let mut path = String::new();
        for (at, _) in stem.match_indices('-') {
            path.push('/');
            path.push_str(&stem[..at]);
            path.push_str(".slice");
        }
        format!("{path}/{}/{}/container", self.slice, self.unit)
    }

    /// Has systemd make the scope around this process.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("systemd made no unit {}: {error}", self.unit))
        };
        self.ask().map_err(failed)?;
        let group = self.wait().map_err(failed)?;
        if group.ends_with("shim") {
            return Ok(());
        }
        // What has processes of its own can give no controllers to groups below it.
        let own = group.join("shim");
        fs::create_dir_all(&own).and_then(|()| fs::write(own.join("cgroup.procs"), "0")).map_err(failed)
    }

    fn ask(&self) -> io::Result<()> {
        let socket = Path::new(SOCKET);
        let mut tries = 0;
        loop {
            let asked = bus::call_manager(socket, "StartTransientUnit", "ssa(sv)a(sa(sv))", &self.wish());
            match asked {
                // That of the run before, in which something still cleans up: it serves this run too, unless it goes
                // just now.
                Err(error) if error.to_string().contains("already") && tries < 1_000 => {
                    if bus::call_manager(socket, "AttachProcessesToUnit", "ssau", &self.addition()).is_ok() {
                        return Ok(());
                    }
                    tries += 1;
                    thread::sleep(Duration::from_millis(10));
                }
                result => return result,
            }
        }
    }

    fn addition(&self) -> Body {
        let mut body = Body::default();
        body.text(&self.unit);
        body.text("/shim");
        body.array(4, |processes| processes.number(std::process::id()));
        body
    }

    fn wish(&self) -> Body {
        let mut body = Body::default();
        body.text(&self.unit);
        body.text("fail");
        body.array(8, |properties| {
            properties.text_property("Description", &self.description);
            properties.text_property("Slice", &self.slice);
            properties.flag_property("Delegate", true);
            properties.text_property("CollectMode", "inactive-or-failed");
            properties.numbers_property("PIDs", &[std::process::id()]);
        });
        // No further units.
        body.array(8, |_| {});
        body
    }

    /// Waits until systemd has moved this process; returns the directory of the group that it is in.
    fn wait(&self) -> io::Result<PathBuf> {
        for _ in 0..5_000 {
            if let Some(group) = own_group(&fs::read_to_string("/proc/self/cgroup")?)
                && group.trim_end_matches("/shim").ends_with(&format!("/{}", self.unit))
            {
                return Ok(Path::new(MOUNT).join(group.trim_start_matches('/')));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "this process was not moved into it"))
    }
}

fn own_group(memberships: &str) -> Option<&str> {
    memberships.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(slice: &str) -> Scope {
        Scope { unit: "coracle-1.scope".to_owned(), slice: slice.to_owned(), description: "web".to_owned() }
    }

    #[test]
    fn slices_lie_in_slices() {
        assert_eq!(scope("coracle.slice").cgroup(), "/coracle.slice/coracle-1.scope/container");
        let nested = scope("shop-web-a.slice").cgroup();
        assert_eq!(nested, "/shop.slice/shop-web.slice/shop-web-a.slice/coracle-1.scope/container");
    }

    #[test]
    fn the_group_of_a_process() {
        assert_eq!(own_group("1:name=x:/y\n0::/a.slice/b.scope\n"), Some("/a.slice/b.scope"));
        assert_eq!(own_group("1:cpu:/\n"), None);
    }
}

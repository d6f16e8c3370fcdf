//! What a volume with options shows: a directory of the host, or a file system mounted while a container uses it.
//!
//! Owns the options of Docker's `local` driver: `type`, `o` and `device`, as mount(8) has them. Refuses sizes, which
//! need quotas.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};

use coracle_container::{ContainerRecord, MountKind};
use coracle_report::Diagnostic;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::mount::{MountFlags, UnmountFlags};

use super::Volumes;
use crate::{During, Failure, Result};

/// What a volume shows instead of its own directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// A directory of the host (`o: bind`).
    Directory(PathBuf),
    /// A file system.
    FileSystem {
        /// Its type, e.g. `nfs`.
        kind: String,
        /// Its device, e.g. `:/export`.
        device: String,
        /// Flags of mount(2).
        flags: MountFlags,
        /// Its own options.
        data: Vec<String>,
    },
}

impl Device {
    /// Reads the options; `None` when there are none.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> std::result::Result<Option<Self>, String> {
        if let Some(key) = options.keys().find(|key| !matches!(key.as_str(), "type" | "o" | "device")) {
            return Err(match key.as_str() {
                "size" => {
                    "`size` needs quotas, which are not supported; a tmpfs takes `o: size=64m`".to_owned()
                }
                key => format!("`{key}` is none of `type`, `o` and `device`"),
            });
        }
        let text = |key: &str| options.get(key).map(String::as_str).filter(|text| !text.is_empty());
        let (kind, device) = match (text("type"), text("device"), text("o")) {
            (None, None, None) => return Ok(None),
            (Some(kind), Some(device), _) => (kind, device),
            _ => return Err("`type` and `device` are given together".to_owned()),
        };
        let (mut flags, mut data, mut bind) = (MountFlags::empty(), Vec::new(), false);
        for option in text("o").unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
            match option {
                "bind" | "rbind" => bind = true,
                "ro" => flags |= MountFlags::RDONLY,
                "rw" | "defaults" | "exec" | "suid" | "dev" | "async" | "atime" => {}
                "noexec" => flags |= MountFlags::NOEXEC,
                "nosuid" => flags |= MountFlags::NOSUID,
                "nodev" => flags |= MountFlags::NODEV,
                "noatime" => flags |= MountFlags::NOATIME,
                "nodiratime" => flags |= MountFlags::NODIRATIME,
                "relatime" => flags |= MountFlags::RELATIME,
                "sync" => flags |= MountFlags::SYNCHRONOUS,
                "dirsync" => flags |= MountFlags::DIRSYNC,
                other => data.push(other.to_owned()),
            }
        }
        if bind {
            let path = PathBuf::from(device);
            if !path.is_absolute() {
                return Err(format!("the device `{device}` of a bind is no absolute path"));
            }
            return Ok(Some(Self::Directory(path)));
        }
        let legal =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !legal(kind) {
            return Err(format!("`{kind}` is no type of a file system"));
        }
        Ok(Some(Self::FileSystem { kind: kind.to_owned(), device: device.to_owned(), flags, data }))
    }
}

/// What containers see of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The directory.
    pub(crate) path: PathBuf,
    /// Whether its files are there the next time.
    pub(crate) lasts: bool,
}

impl Volumes<'_> {
    /// Returns the directory that shows a volume's files; what has to be mounted is.
    pub(crate) fn show(&self, name: &str) -> Result<Shown> {
        let data = self.data(name);
        let options = self.record(name)?.map(|record| record.options).unwrap_or_default();
        let device =
            Device::parse(&options).map_err(|why| wrong(format!("the options of volume `{name}`: {why}")))?;
        match device {
            None => Ok(Shown { path: data, lasts: true }),
            Some(Device::Directory(path)) if path.is_dir() => Ok(Shown { path, lasts: true }),
            Some(Device::Directory(path)) => {
                let path = path.display();
                let message = format!("volume `{name}` shows {path}, which is no directory");
                let hint = format!("mkdir -p {path}");
                Err(Failure::user(Diagnostic::error("volume-device", message).with_hint(hint)))
            }
            Some(Device::FileSystem { kind, device, flags, data: options }) => {
                // Two containers that start at once must not both mount it.
                let _lock = self.lock()?;
                let lasts = !matches!(kind.as_str(), "tmpfs" | "ramfs");
                if !is_mounted(&data) {
                    mount(&kind, &device, flags, &options, &data).map_err(|error| {
                        let message = format!("cannot mount {device} ({kind}) for volume `{name}`: {error}");
                        Failure::user(Diagnostic::error("volume-device", message))
                    })?;
                }
                Ok(Shown { path: data, lasts })
            }
        }
    }

    /// Takes away the mounts of volumes that nobody but the container `record`, which has ended, uses.
    pub(crate) fn unmount_unused(&self, record: &ContainerRecord) -> Result<()> {
        for mount in &record.spec.mounts {
            let MountKind::Volume { name, .. } = &mount.kind else { continue };
            let Some(volume) = self.record(name)?.filter(|volume| !volume.options.is_empty()) else {
                continue;
            };
            let _lock = self.lock()?;
            if is_mounted(&self.data(&volume.name))
                && !self.engine.containers().is_volume_alive(&volume.name, &record.id)?
            {
                unmount(&self.data(&volume.name)).during(format_args!("unmounting volume {name}"))?;
            }
        }
        Ok(())
    }
}

fn wrong(message: String) -> Failure {
    Failure::user(Diagnostic::error("volume-options", message))
}

fn mount(kind: &str, device: &str, flags: MountFlags, options: &[String], at: &Path) -> io::Result<()> {
    let mut data = Vec::new();
    for option in options {
        data.push(match option.strip_prefix("addr=") {
            Some(host) if kind.starts_with("nfs") || kind == "cifs" => format!("addr={}", address(host)?),
            _ => option.clone(),
        });
    }
    let data = CString::new(data.join(","))?;
    rustix::mount::mount(device, at, kind, flags, data.as_c_str())?;
    Ok(())
}

/// Returns the address of a server: the kernel knows no names.
fn address(host: &str) -> io::Result<std::net::IpAddr> {
    let none = || io::Error::other(format!("`{host}` has no address"));
    (host, 0).to_socket_addrs()?.next().map(|address| address.ip()).ok_or_else(none)
}

fn is_mounted(path: &Path) -> bool {
    let found = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Takes away what is mounted at `path`, if anything is.
pub(super) fn unmount(path: &Path) -> io::Result<()> {
    while is_mounted(path) {
        rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> std::result::Result<Option<Device>, String> {
        let options = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Device::parse(&options.collect())
    }

    #[test]
    fn options_are_read_as_the_local_driver_reads_them() {
        assert_eq!(parse(&[]), Ok(None));
        let bind = parse(&[("type", "none"), ("o", "bind,rw"), ("device", "/srv/data")]);
        assert_eq!(bind, Ok(Some(Device::Directory(PathBuf::from("/srv/data")))));
        let nfs = parse(&[("type", "nfs"), ("o", "addr=10.0.0.1,ro,nfsvers=4"), ("device", ":/export")]);
        let expected = Device::FileSystem {
            kind: "nfs".to_owned(),
            device: ":/export".to_owned(),
            flags: MountFlags::RDONLY,
            data: vec!["addr=10.0.0.1".to_owned(), "nfsvers=4".to_owned()],
        };
        assert_eq!(nfs, Ok(Some(expected)));
        for bad in [
            &[("type", "tmpfs")][..],
            &[("device", "/a"), ("o", "bind")],
            &[("size", "10g")],
            &[("kind", "x")],
            &[("type", "none"), ("o", "bind"), ("device", "data")],
            &[("type", "../x"), ("device", "/a")],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}

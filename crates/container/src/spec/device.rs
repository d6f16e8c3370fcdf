//! Device nodes and what a container may do with them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A device node of the host given to a container, Docker's `--device`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    /// Its path on the host; a directory gives every node below it.
    pub source: PathBuf,
    /// Its absolute path inside.
    pub target: PathBuf,
    /// What may be done with it.
    #[serde(default)]
    pub access: DeviceAccess,
}

impl FromStr for Device {
    type Err = String;

    /// Reads `source[:target][:permissions]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, access) = match parts[..] {
            [source] => (source, source, "rwm"),
            [source, other] if other.starts_with('/') => (source, other, "rwm"),
            [source, access] => (source, source, access),
            [source, target, access] => (source, target, access),
            _ => return Err(format!("`{text}` is not of the form SOURCE[:TARGET][:rwm]")),
        };
        for path in [source, target] {
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Err(format!("`{path}` is no absolute path of a device"));
            }
        }
        Ok(Self { source: source.into(), target: target.into(), access: access.parse()? })
    }
}

/// Which of reading, writing and making nodes is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceAccess {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// Making nodes with mknod(2).
    pub make: bool,
}

impl Default for DeviceAccess {
    /// Everything.
    fn default() -> Self {
        Self { read: true, write: true, make: true }
    }
}

impl FromStr for DeviceAccess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = !text.is_empty() && text.chars().all(|letter| "rwm".contains(letter));
        let once = ["r", "w", "m"].iter().all(|letter| text.matches(letter).count() <= 1);
        if !legal || !once {
            return Err(format!("`{text}` is no set of permissions of `r`, `w` and `m`"));
        }
        let has = |letter| text.contains(letter);
        Ok(Self { read: has('r'), write: has('w'), make: has('m') })
    }
}

impl fmt::Display for DeviceAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (allowed, letter) in [(self.read, "r"), (self.write, "w"), (self.make, "m")] {
            if allowed {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for DeviceAccess {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceAccess> for String {
    fn from(access: DeviceAccess) -> Self {
        access.to_string()
    }
}

/// A rule of the device controller, Docker's `--device-cgroup-rule`: `c 1:3 mr`, `a *:* rwm`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceRule {
    /// `a`, `b` or `c`: all, block devices, character devices.
    pub kind: char,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// What is allowed.
    pub access: DeviceAccess,
}

impl FromStr for DeviceRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no device rule such as `c 1:3 rwm`");
        let mut words = text.split_ascii_whitespace();
        let (Some(kind), Some(numbers), Some(access), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let kind = match kind {
            "a" => 'a',
            "b" => 'b',
            "c" => 'c',
            _ => return Err(wrong()),
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            text => text.parse().map(Some).map_err(|_| wrong()),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
        Ok(Self { kind, major: number(major)?, minor: number(minor)?, access: access.parse()? })
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{} {}:{} {}", self.kind, number(self.major), number(self.minor), self.access)
    }
}

impl TryFrom<String> for DeviceRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceRule> for String {
    fn from(rule: DeviceRule) -> Self {
        rule.to_string()
    }
}

/// Weights and bounds of block devices, Docker's `--blkio-weight` and its kin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Weights of single devices.
    pub weight_device: Vec<DeviceLimit>,
    /// Bytes read a second.
    pub device_read_bps: Vec<DeviceLimit>,
    /// Bytes written a second.
    pub device_write_bps: Vec<DeviceLimit>,
    /// Reads a second.
    pub device_read_iops: Vec<DeviceLimit>,
    /// Writes a second.
    pub device_write_iops: Vec<DeviceLimit>,
}

impl BlockIo {
    /// Returns whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns every limit of a single device.
    pub fn device_limits(&self) -> impl Iterator<Item = &DeviceLimit> {
        let lists = [
            &self.weight_device,
            &self.device_read_bps,
            &self.device_write_bps,
            &self.device_read_iops,
            &self.device_write_iops,
        ];
        lists.into_iter().flatten()
    }
}

/// A number for one block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimit {
    /// The device's path on the host.
    pub path: PathBuf,
    /// A weight, bytes or operations a second.
    pub rate: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_as_docker_writes_them() {
        let shown = |text: &str| {
            text.parse::<Device>().map(|device| {
                format!("{} {} {}", device.source.display(), device.target.display(), device.access)
            })
        };
        for (text, device) in [
            ("/dev/a", "/dev/a /dev/a rwm"),
            ("/dev/a:/dev/b", "/dev/a /dev/b rwm"),
            ("/dev/a:r", "/dev/a /dev/a r"),
            ("/dev/a:/dev/b:wr", "/dev/a /dev/b rw"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(device), "{text}");
        }
        for text in ["dev/a", "/dev/a:b", "/dev/a:/dev/b:x", "/dev/a:/dev/../b", "/dev/a:rr", ""] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn device_rules_as_docker_writes_them() {
        for text in ["c 1:3 rm", "b *:* rwm", "a *:* r"] {
            assert_eq!(text.parse::<DeviceRule>().unwrap().to_string(), text);
        }
        for text in ["c 1:3", "x 1:3 r", "c 1 r", "c 1:x r", "c 1:3 q", "c 1:3 r w"] {
            assert!(text.parse::<DeviceRule>().is_err(), "{text}");
        }
    }
}

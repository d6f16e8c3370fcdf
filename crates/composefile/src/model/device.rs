//! Devices of the host that a service's containers get, and bounds of block devices.

use std::path::PathBuf;

use coracle_report::Span;

/// One entry of `devices`.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Where it is given.
    pub span: Span,
    /// Absolute path on the host; a directory gives every node below it.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: PathBuf,
    /// Some of `r`, `w` and `m`.
    pub permissions: String,
}

/// One entry of `device_cgroup_rules`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRule {
    /// Where it is given.
    pub span: Span,
    /// E.g. `c 1:3 mr`.
    pub rule: String,
}

/// `blkio_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// A number for one block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLimit {
    /// The device's path on the host.
    pub path: PathBuf,
    /// A weight, bytes or operations a second.
    pub rate: u64,
}

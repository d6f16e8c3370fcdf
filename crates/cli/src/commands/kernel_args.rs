//! Flags of `coracle run` and `create` that speak of namespaces, control groups, devices and security, as Docker has them.

use std::path::Path;

use coracle_container::{
    BlockIo, CgroupMode, DeviceLimit, DeviceRule, IpcMode, Isolation, Link, MacAddress, PidMode, Resources,
    Security, UtsMode,
};
use coracle_engine::Result;

use super::flag_error::bad_flag;
use crate::values;

/// The largest seccomp profile that is read.
const LARGEST_PROFILE: u64 = 4 << 20;

/// The flags.
#[derive(Debug, Default, clap::Args)]
pub struct KernelArgs {
    /// Inter-process communication: private, shareable, none, host, container:NAME.
    #[arg(long, value_name = "MODE", value_parser = ipc, help_heading = "Isolation")]
    pub ipc: Option<IpcMode>,
    /// Processes: private, host, container:NAME.
    #[arg(long, value_name = "MODE", value_parser = pid, help_heading = "Isolation")]
    pub pid: Option<PidMode>,
    /// Host name: private, host.
    #[arg(long, value_name = "MODE", value_parser = uts, help_heading = "Isolation")]
    pub uts: Option<UtsMode>,
    /// View of the control groups: private, host.
    #[arg(long, value_name = "MODE", value_parser = cgroupns, help_heading = "Isolation")]
    pub cgroupns: Option<CgroupMode>,
    /// User namespace: only `host`.
    #[arg(long, value_name = "MODE", value_parser = ["", "host"], help_heading = "Isolation")]
    pub userns: Option<String>,
    /// The program that runs containers: there is one, `runc` names it.
    #[arg(long, value_parser = ["runc", "io.containerd.runc.v2"], help_heading = "Isolation")]
    pub runtime: Option<String>,
    /// NIS domain name.
    #[arg(long, help_heading = "Isolation")]
    pub domainname: Option<String>,
    /// Set an annotation of the runtime specification.
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Isolation")]
    pub annotation: Vec<String>,
    /// A fixed IPv6 address.
    #[arg(long, help_heading = "Network")]
    pub ip6: Option<std::net::Ipv6Addr>,
    /// Hardware address.
    #[arg(long, help_heading = "Network")]
    pub mac_address: Option<MacAddress>,
    /// Option of the resolver.
    #[arg(long, alias = "dns-opt", help_heading = "Network")]
    pub dns_option: Vec<String>,
    /// Know another container by a name.
    #[arg(long, value_name = "NAME[:ALIAS]", value_parser = link, help_heading = "Network")]
    pub link: Vec<Link>,
    /// The control group that its own is below.
    #[arg(long, value_name = "PATH", help_heading = "Limits")]
    pub cgroup_parent: Option<String>,
    /// Length of the period of --cpu-quota, microseconds.
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_period: Option<u64>,
    /// Processor time in a period, microseconds.
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true, help_heading = "Limits")]
    pub cpu_quota: Option<i64>,
    /// Length of the period of --cpu-rt-runtime, microseconds.
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_rt_period: Option<u64>,
    /// Real-time processor time in a period, microseconds.
    #[arg(long, value_name = "MICROSECONDS", help_heading = "Limits")]
    pub cpu_rt_runtime: Option<i64>,
    /// Limit of memory and swap together; -1 is none.
    #[arg(long, value_name = "SIZE", value_parser = values::swap, allow_negative_numbers = true, help_heading = "Limits")]
    pub memory_swap: Option<i64>,
    /// How readily its memory is swapped out: 0 to 100.
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, help_heading = "Limits")]
    pub memory_swappiness: Option<i64>,
    /// Let its processes wait for memory rather than be ended.
    #[arg(long, help_heading = "Limits")]
    pub oom_kill_disable: bool,
    /// How soon the kernel ends it for want of memory: -1000 to 1000.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, help_heading = "Limits")]
    pub oom_score_adj: Option<i32>,
    /// Relative weight of block devices: 10 to 1000.
    #[arg(long, value_name = "WEIGHT", help_heading = "Limits")]
    pub blkio_weight: Option<u16>,
    /// Weight of one block device.
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = device_number, help_heading = "Limits")]
    pub blkio_weight_device: Vec<DeviceLimit>,
    /// Bytes read from a device a second.
    #[arg(long, value_name = "DEVICE:SIZE", value_parser = device_bytes, help_heading = "Limits")]
    pub device_read_bps: Vec<DeviceLimit>,
    /// Bytes written to a device a second.
    #[arg(long, value_name = "DEVICE:SIZE", value_parser = device_bytes, help_heading = "Limits")]
    pub device_write_bps: Vec<DeviceLimit>,
    /// Reads from a device a second.
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = device_number, help_heading = "Limits")]
    pub device_read_iops: Vec<DeviceLimit>,
    /// Writes to a device a second.
    #[arg(long, value_name = "DEVICE:NUMBER", value_parser = device_number, help_heading = "Limits")]
    pub device_write_iops: Vec<DeviceLimit>,
    /// Allow devices by their numbers: `c 1:3 rwm`.
    #[arg(long, value_name = "RULE", help_heading = "Security")]
    pub device_cgroup_rule: Vec<DeviceRule>,
}

impl KernelArgs {
    /// Returns which namespaces are shared.
    pub fn isolation(&self) -> Isolation {
        Isolation {
            ipc: self.ipc.clone().unwrap_or_default(),
            pid: self.pid.clone().unwrap_or_default(),
            uts: self.uts.unwrap_or_default(),
            cgroup: self.cgroupns.unwrap_or_default(),
        }
    }

    /// Returns the limits that these flags speak of.
    pub fn resources(&self) -> Result<Resources> {
        let memory_swappiness = match self.memory_swappiness {
            // Docker: -1 keeps the kernel's.
            None | Some(-1) => None,
            Some(number) => Some(u64::try_from(number).map_err(|_| {
                bad_flag("--memory-swappiness", "it takes a percentage; write a number from 0 to 100")
            })?),
        };
        Ok(Resources {
            memory_swap: self.memory_swap,
            cpu_period: self.cpu_period.filter(|period| *period > 0),
            cpu_quota: self.cpu_quota.filter(|quota| *quota != 0),
            cpu_rt_period: self.cpu_rt_period.filter(|period| *period > 0),
            cpu_rt_runtime: self.cpu_rt_runtime.filter(|runtime| *runtime != 0),
            memory_swappiness,
            oom_kill_disable: self.oom_kill_disable,
            block_io: BlockIo {
                weight: self.blkio_weight,
                weight_device: self.blkio_weight_device.clone(),
                device_read_bps: self.device_read_bps.clone(),
                device_write_bps: self.device_write_bps.clone(),
                device_read_iops: self.device_read_iops.clone(),
                device_write_iops: self.device_write_iops.clone(),
            },
            ..Resources::default()
        })
    }
}

/// What `--security-opt` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecurityOptions {
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `seccomp=unconfined`.
    pub seccomp_unconfined: bool,
    /// The rest.
    pub security: Security,
}

/// Reads `--security-opt`; files are relative to `here`.
pub fn security(texts: &[String], here: &Path) -> std::result::Result<SecurityOptions, String> {
    let mut options = SecurityOptions::default();
    let security = &mut options.security;
    for text in texts {
        let (name, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, "true"));
        match (name, value) {
            ("no-new-privileges", "true") => options.no_new_privileges = true,
            ("no-new-privileges", "false") => options.no_new_privileges = false,
            ("seccomp", "unconfined") => options.seccomp_unconfined = true,
            ("seccomp", "builtin") => options.seccomp_unconfined = false,
            ("seccomp", file) => security.seccomp_profile = Some(profile(&here.join(file))?),
            ("apparmor", profile) => security.apparmor = Some(profile.to_owned()),
            ("label", label) => security.labels.push(label.to_owned()),
            ("systempaths", "unconfined") => security.system_paths_unconfined = true,
            ("mask", paths) => security.mask.extend(paths.split(':').map(str::to_owned)),
            ("unmask", paths) => security.unmask.extend(paths.split(':').map(str::to_owned)),
            _ => return Err(format!("security option `{text}` is not known")),
        }
    }
    Ok(options)
}

fn profile(path: &Path) -> std::result::Result<String, String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST_PROFILE).read_to_string(&mut text))
        .map_err(|error| format!("cannot read the seccomp profile {}: {error}", path.display()))?;
    Ok(text)
}

fn ipc(text: &str) -> std::result::Result<IpcMode, String> {
    match (text, text.strip_prefix("container:")) {
        (_, Some(name)) if !name.is_empty() => Ok(IpcMode::Container(name.to_owned())),
        ("" | "private", _) => Ok(IpcMode::Private),
        ("shareable", _) => Ok(IpcMode::Shareable),
        ("none", _) => Ok(IpcMode::None),
        ("host", _) => Ok(IpcMode::Host),
        _ => Err("it is none of private, shareable, none, host and container:NAME".to_owned()),
    }
}

fn pid(text: &str) -> std::result::Result<PidMode, String> {
    match (text, text.strip_prefix("container:")) {
        (_, Some(name)) if !name.is_empty() => Ok(PidMode::Container(name.to_owned())),
        ("" | "private", _) => Ok(PidMode::Private),
        ("host", _) => Ok(PidMode::Host),
        _ => Err("it is none of private, host and container:NAME".to_owned()),
    }
}

fn uts(text: &str) -> std::result::Result<UtsMode, String> {
    match text {
        "" | "private" => Ok(UtsMode::Private),
        "host" => Ok(UtsMode::Host),
        _ => Err("it is neither private nor host".to_owned()),
    }
}

fn cgroupns(text: &str) -> std::result::Result<CgroupMode, String> {
    match text {
        "" | "private" => Ok(CgroupMode::Private),
        "host" => Ok(CgroupMode::Host),
        _ => Err("it is neither private nor host".to_owned()),
    }
}

fn link(text: &str) -> std::result::Result<Link, String> {
    let (container, alias) = text.split_once(':').unwrap_or((text, text));
    if container.is_empty() || alias.is_empty() {
        return Err(format!("`{text}` is not of the form NAME[:ALIAS]"));
    }
    Ok(Link { container: container.to_owned(), alias: alias.to_owned() })
}

fn device_limit(
    text: &str,
    read: impl Fn(&str) -> std::result::Result<u64, String>,
) -> std::result::Result<DeviceLimit, String> {
    let (path, rate) =
        text.rsplit_once(':').ok_or_else(|| format!("`{text}` is not of the form DEVICE:NUMBER"))?;
    if !path.starts_with('/') {
        return Err(format!("`{path}` is no absolute path of a device"));
    }
    Ok(DeviceLimit { path: path.into(), rate: read(rate)? })
}

fn device_bytes(text: &str) -> std::result::Result<DeviceLimit, String> {
    device_limit(text, values::bytes)
}

fn device_number(text: &str) -> std::result::Result<DeviceLimit, String> {
    device_limit(text, |rate| rate.parse().map_err(|_| format!("`{rate}` is not a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_limits_as_docker_writes_them() {
        assert_eq!(ipc("container:db"), Ok(IpcMode::Container("db".to_owned())));
        assert!(ipc("container:").is_err() && ipc("open").is_err() && pid("shareable").is_err());
        assert_eq!(pid("host"), Ok(PidMode::Host));
        assert_eq!(link("db:postgres").unwrap().alias, "postgres");
        assert!(link(":x").is_err());
        assert_eq!(device_bytes("/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert!(device_number("sda:1").is_err() && device_number("/dev/sda").is_err());
    }

    #[test]
    fn options_of_security() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("p.json"), "{}").unwrap();
        let read = |texts: &[&str]| {
            security(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), directory.path())
        };
        let options =
            read(&["no-new-privileges", "seccomp=p.json", "label=type:x", "systempaths=unconfined"]);
        let options = options.unwrap();
        assert!(options.no_new_privileges && options.security.system_paths_unconfined);
        assert_eq!(options.security.seccomp_profile.as_deref(), Some("{}"));
        assert_eq!(options.security.labels, ["type:x"]);
        assert!(read(&["seccomp=missing.json"]).is_err() && read(&["what=ever"]).is_err());
        assert!(!read(&["no-new-privileges:false"]).unwrap().no_new_privileges);
    }
}

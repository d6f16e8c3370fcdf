//! Texts of Docker's command line as typed values: sizes, times, ports, volumes, variables.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use coracle_container::{
    Mount, MountKind, Propagation, Protocol, PublishedPort, Recursion, RestartPolicy, Ulimit,
};
use coracle_oci::IdMap;

/// Reads a size: `512m`, `1g`, `1073741824`, `64KiB`; powers of 1024 as Docker does.
pub fn bytes(text: &str) -> Result<u64, String> {
    let error = || format!("`{text}` is not a size; write a number and b, k, m, g or t, e.g. 512m");
    let lower = text.trim().to_ascii_lowercase();
    let split = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let exponent = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(error()),
    };
    let number: f64 = number.parse().map_err(|_| error())?;
    let bytes = number * 1024_f64.powi(exponent);
    if bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(error()) }
}

/// Reads a stretch of time as Go writes it, in milliseconds: `30s`, `1m30s`, `500ms`, `1.5h`.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    let error = || format!("`{text}` is not a time; write it as 30s, 1m30s or 500ms");
    let mut rest = text;
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(error());
    }
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..split].parse().map_err(|_| error())?;
        rest = &rest[split..];
        let split = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = match &rest[..split] {
            "ns" => 0.000_001,
            "us" | "µs" => 0.001,
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return Err(error()),
        };
        total += number * factor;
        rest = &rest[split..];
    }
    Ok(total as u64)
}

/// Reads processors in thousandths: `0.5` is 500.
pub fn millicpus(text: &str) -> Result<u64, String> {
    let error = || format!("`{text}` is not a number of processors; write it as 0.5 or 2");
    let number: f64 = text.parse().map_err(|_| error())?;
    if number.is_finite() && number > 0.0 && number < 100_000.0 {
        Ok((number * 1_000.0).round() as u64)
    } else {
        Err(error())
    }
}

/// Reads a limit of memory and swap together; -1 is none.
pub fn swap(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        text => {
            bytes(text).and_then(|bytes| i64::try_from(bytes).map_err(|_| format!("`{text}` is too large")))
        }
    }
}

/// Reads a count of which -1 and 0 are without bound.
pub fn count_or_endless(text: &str) -> Result<i64, String> {
    let number: Option<i64> = text.parse().ok();
    number
        .filter(|number| *number >= -1)
        .ok_or_else(|| format!("`{text}` is no count; write a number, or -1 for no bound"))
}

/// Reads seconds of patience; -1 is for ever.
pub fn patience(text: &str) -> Result<u64, String> {
    match text {
        "-1" => Ok(u64::MAX / 1000),
        text => {
            text.parse().map_err(|_| format!("`{text}` is no number of seconds; write 10, or -1 for ever"))
        }
    }
}

/// Checks a list of processors such as `0-3,5` against those of this machine.
pub fn processors(text: &str) -> Result<String, String> {
    listed(text, "/sys/devices/system/cpu/online", "processors")
}

/// Checks a list of memory nodes such as `0` against those of this machine.
pub fn memory_nodes(text: &str) -> Result<String, String> {
    listed(text, "/sys/devices/system/node/online", "memory nodes")
}

fn listed(text: &str, there: &str, what: &str) -> Result<String, String> {
    // A kernel without memory nodes has one.
    let there = std::fs::read_to_string(there).unwrap_or_else(|_| "0".to_owned());
    let wrong =
        || format!("`{text}` is no list of {what}; write it as 0-1,3; this machine has {}", there.trim());
    let wanted = numbers(text).ok_or_else(wrong)?;
    let known = numbers(there.trim()).unwrap_or_default();
    if wanted.is_empty() {
        return Err(wrong());
    }
    match wanted.iter().find(|number| !known.contains(number)) {
        Some(_) => {
            Err(format!("`{text}` asks for {what} that are not there; this machine has {}", there.trim()))
        }
        None => Ok(text.to_owned()),
    }
}

fn numbers(text: &str) -> Option<std::collections::BTreeSet<u32>> {
    const MOST: u32 = 8192;
    let mut all = std::collections::BTreeSet::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// Checks a host name: what the kernel and `/etc/hosts` can hold.
pub fn hostname(text: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !text.is_empty() && text.len() <= 64 && text.chars().all(legal) {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    Err(format!("`{shown}` is no host name; use at most 64 letters, digits, `.`, `_` and `-`"))
}

/// Reads `--expose`: a port or a range of them, with a protocol, as `80/tcp` each.
pub fn exposed(text: &str) -> Result<Vec<String>, String> {
    let error = || format!("`{text}` is no port; write it as 80, 53/udp or 8000-8010");
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(error());
    }
    let (first, last) = range(numbers).ok_or_else(error)?;
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Reads a published port or a range of them: `[[host-ip:][host-port]:]container-port[/protocol]`.
pub fn ports(text: &str) -> Result<Vec<PublishedPort>, String> {
    ports_choosing(text, &|_| false)
}

/// Reads the same, and a range of the host's ports for one of the container: the first that `is_free` is taken.
pub fn ports_choosing(
    text: &str,
    is_free: &dyn Fn(&PublishedPort) -> bool,
) -> Result<Vec<PublishedPort>, String> {
    let error = |why: &str| {
        format!("`{text}` is not a published port: {why}; write it as 8080:80, 127.0.0.1:53:53/udp")
    };
    let (rest, protocol) = match text.rsplit_once('/') {
        None => (text, Protocol::Tcp),
        Some((rest, "tcp")) => (rest, Protocol::Tcp),
        Some((rest, "udp")) => (rest, Protocol::Udp),
        Some((_, _)) => return Err(error("its protocol is neither tcp nor udp")),
    };
    let (rest, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (host_ip, host) = match rest.rsplit_once(':') {
        None => (None, rest),
        Some((ip, host)) => {
            let ip: IpAddr = ip
                .trim_start_matches('[')
                .trim_end_matches(']')
                .parse()
                .map_err(|_| error("its host part is no IP address"))?;
            (Some(ip), host)
        }
    };
    let container =
        range(container).ok_or_else(|| error("its container port is no number from 1 to 65535"))?;
    let host = if host.is_empty() {
        None
    } else {
        Some(range(host).ok_or_else(|| error("its host port is no number from 1 to 65535"))?)
    };
    let count = container.1 - container.0;
    if let (Some((first, last)), 0) = (host, count)
        && first < last
    {
        let port = |number| PublishedPort {
            host_ip,
            host_port: Some(number),
            container_port: container.0,
            protocol,
        };
        let found = (first..=last).map(port).find(is_free);
        return found
            .map(|port| vec![port])
            .ok_or_else(|| error(&format!("none of the ports {first} to {last} is free")));
    }
    match host {
        Some((first, last)) if last - first != count => {
            Err(error("the ranges of host and container differ in length"))
        }
        _ => Ok((0..=count)
            .map(|offset| PublishedPort {
                host_ip,
                host_port: host.map(|(first, _)| first + offset),
                container_port: container.0 + offset,
                protocol,
            })
            .collect()),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// Reads `-v`: `[source:]target[:options]`; a source with a slash is a path, any other a volume's name.
pub fn volume(text: &str, directory: &Path) -> Result<Mount, String> {
    let error = |why: &str| {
        format!("`{text}` is not a mount: {why}; write it as NAME:/path[:ro] or ./dir:/path[:ro]")
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(error("it has too many colons")),
    };
    if !target.starts_with('/') {
        return Err(error("the path inside the container is not absolute"));
    }
    let (mut read_only, mut no_copy, mut propagation) = (false, false, Propagation::default());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "nocopy" => no_copy = true,
            "rprivate" | "private" | "rslave" | "slave" => propagation = option.parse()?,
            // Labels of SELinux and hints for other systems' file sharing make no difference here.
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            other => return Err(error(&format!("unknown option `{other}`"))),
        }
    }
    let kind = if source.contains('/') || source == "." || source == ".." || source == "~" {
        let source = absolute(directory, source);
        let recursion = Recursion::default();
        MountKind::Bind { source, create_host_path: true, propagation, recursion, idmap: None }
    } else {
        if !source.is_empty() && !is_name(source) {
            return Err(error("a volume's name holds only letters, digits, `_`, `.` and `-`"));
        }
        MountKind::volume(source, no_copy)
    };
    Ok(Mount { kind, target: target.to_owned(), read_only })
}

/// Reads `--mount type=bind,source=...,target=...[,readonly]`.
pub fn mount(text: &str, directory: &Path) -> Result<Mount, String> {
    let error = |why: String| format!("`{text}` is not a mount: {why}");
    let (mut kind, mut source, mut target, mut read_only) = ("volume", "", "", false);
    let (mut no_copy, mut tmpfs_size, mut tmpfs_mode, mut subpath) = (false, None, None, None);
    let (mut propagation, mut recursion, mut idmap) = (Propagation::default(), Recursion::default(), None);
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        match key {
            "type" => kind = value,
            "source" | "src" => source = value,
            "target" | "dst" | "destination" => target = value,
            "readonly" | "ro" => read_only = matches!(value, "true" | "1"),
            "volume-nocopy" => no_copy = matches!(value, "true" | "1"),
            "tmpfs-size" => tmpfs_size = Some(bytes(value)?),
            "tmpfs-mode" => {
                let mode =
                    u32::from_str_radix(value, 8).map_err(|_| error("tmpfs-mode is not octal".to_owned()))?;
                tmpfs_mode = Some(mode);
            }
            "bind-propagation" => propagation = value.parse().map_err(error)?,
            "bind-recursive" => recursion = value.parse().map_err(error)?,
            "idmap" => idmap = Some(value.parse::<IdMap>().map_err(error)?),
            "volume-subpath" => subpath = Some(value.to_owned()),
            "consistency" => {}
            other => return Err(error(format!("unknown key `{other}`"))),
        }
    }
    if !target.starts_with('/') {
        return Err(error("target must be an absolute path".to_owned()));
    }
    let kind = match kind {
        "bind" if source.is_empty() => return Err(error("a bind mount needs a source".to_owned())),
        "bind" if matches!(propagation, Propagation::Shared | Propagation::RShared) => {
            return Err(error("what a container mounts cannot be shown to the host".to_owned()));
        }
        "bind" if recursion == Recursion::ReadOnly && !read_only => {
            return Err(error("bind-recursive=readonly is for mounts with readonly".to_owned()));
        }
        "bind" => {
            let source = absolute(directory, source);
            MountKind::Bind { source, create_host_path: false, propagation, recursion, idmap }
        }
        _ if idmap.is_some() => return Err(error("idmap is for bind mounts".to_owned())),
        "volume" => MountKind::Volume { name: source.to_owned(), no_copy, subpath },
        "tmpfs" => MountKind::tmpfs(tmpfs_size, tmpfs_mode),
        other => return Err(error(format!("type `{other}` is none of bind, volume, tmpfs"))),
    };
    Ok(Mount { kind, target: target.to_owned(), read_only })
}

/// Reads `--tmpfs /path[:size=64m,mode=1777]`.
pub fn tmpfs(text: &str) -> Result<Mount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(format!("`{text}` is not a tmpfs: the path is not absolute"));
    }
    let (mut size, mut mode, mut read_only, mut further) = (None, None, false, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => size = Some(bytes(value)?),
            Some(("mode", value)) => {
                mode =
                    Some(u32::from_str_radix(value, 8).map_err(|_| format!("mode `{value}` is not octal"))?);
            }
            None if option == "ro" => read_only = true,
            Some(("uid" | "gid" | "nr_inodes" | "nr_blocks", value)) if value.parse::<u64>().is_ok() => {
                further.push(option.to_owned());
            }
            None if matches!(option, "exec" | "suid" | "dev") => further.push(option.to_owned()),
            // As it is unless told otherwise.
            None if matches!(option, "rw" | "noexec" | "nosuid" | "nodev") => {}
            _ => return Err(format!("`{text}` is not a tmpfs: unknown option `{option}`")),
        }
    }
    Ok(Mount {
        kind: MountKind::Tmpfs { size, mode, options: further },
        target: target.to_owned(),
        read_only,
    })
}

/// Reads `--restart`: `no`, `always`, `unless-stopped`, `on-failure[:n]`.
pub fn restart(text: &str) -> Result<RestartPolicy, String> {
    let error =
        || format!("`{text}` is no restart policy; choose no, always, unless-stopped or on-failure[:N]");
    match text.split_once(':').unwrap_or((text, "")) {
        ("no" | "", "") => Ok(RestartPolicy::No),
        ("always", "") => Ok(RestartPolicy::Always),
        ("unless-stopped", "") => Ok(RestartPolicy::UnlessStopped),
        ("on-failure", "") => Ok(RestartPolicy::OnFailure { max_retries: None }),
        ("on-failure", count) => {
            Ok(RestartPolicy::OnFailure { max_retries: Some(count.parse().map_err(|_| error())?) })
        }
        _ => Err(error()),
    }
}

/// Reads `--ulimit nofile=1024[:2048]`; -1 is unlimited.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let error = || format!("`{text}` is no limit; write it as nofile=1024:2048");
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse::<u64>().map_err(|_| error()),
    };
    let (name, limits) = text.split_once('=').ok_or_else(error)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(format!("`{text}`: the soft limit is above the hard one"));
    }
    Ok(Ulimit { name: name.to_ascii_lowercase(), soft, hard })
}

/// Reads `KEY=value`, or `KEY` whose value comes from `environment`; `None` when it is not set there.
pub fn variable(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<(String, String)>, String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, environment(text)),
    };
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(format!("`{text}` is no variable; write it as NAME=value"));
    }
    Ok(value.map(|value| (key.to_owned(), value)))
}

/// Returns whether `text` is a legal name of a container, volume or network.
pub fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// Returns `path` as seen from `directory`, without `.` parts; `~` is left alone.
pub fn absolute(directory: &Path, path: &str) -> PathBuf {
    directory.join(path).components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(bytes("512m"), Ok(536_870_912));
        assert_eq!(bytes("1.5GiB"), Ok(1_610_612_736));
        assert_eq!(bytes("10"), Ok(10));
        assert!(bytes("ten").is_err());
        assert!(bytes("-5m").is_err());
        assert_eq!(milliseconds("1m30s"), Ok(90_000));
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert!(milliseconds("30").is_err());
        assert_eq!(millicpus("0.5"), Ok(500));
        assert!(millicpus("0").is_err());
    }

    fn chosen(host: u16, container_port: u16) -> PublishedPort {
        PublishedPort { host_ip: None, host_port: Some(host), container_port, protocol: Protocol::Tcp }
    }

    #[test]
    fn published_ports() {
        let port = |host_ip: Option<&str>, host_port, container_port, protocol| PublishedPort {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port,
            protocol,
        };
        assert_eq!(ports("80"), Ok(vec![port(None, None, 80, Protocol::Tcp)]));
        assert_eq!(ports("8080:80"), Ok(vec![port(None, Some(8080), 80, Protocol::Tcp)]));
        assert_eq!(ports("127.0.0.1::80"), Ok(vec![port(Some("127.0.0.1"), None, 80, Protocol::Tcp)]));
        assert_eq!(ports("[::1]:53:53/udp"), Ok(vec![port(Some("::1"), Some(53), 53, Protocol::Udp)]));
        assert_eq!(ports("7000-7002:8000-8002").unwrap().len(), 3);
        let found = ports_choosing("7000-7002:80", &|port| port.host_port == Some(7001));
        assert_eq!(found, Ok(vec![chosen(7001, 80)]));
        for text in ["", "0", "99999", "a:80", "80:", "1-2:3", "1.2.3:1:2", "80/sctp"] {
            assert!(ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes() {
        let here = Path::new("/project");
        let mounted = volume("./src:/app/src:ro", here).unwrap();
        assert!(mounted.read_only);
        let source = PathBuf::from("/project/src");
        assert_eq!(mounted.kind, MountKind::bind(source, true));
        let named = volume("data:/var/lib", here).unwrap();
        assert_eq!(named.kind, MountKind::volume("data", false));
        for text in ["a:b", "/a:/b:zz", "a b:/c", ""] {
            assert!(volume(text, here).is_err(), "{text}");
        }
        let long = mount("type=bind,src=a b,dst=/c,readonly", here).unwrap();
        assert_eq!(long.kind, MountKind::bind("/project/a b", false));
        assert!(mount("type=disk,dst=/c", here).is_err());
        let kind = MountKind::tmpfs(Some(1 << 20), Some(0o1777));
        assert_eq!(tmpfs("/t:size=1m,mode=1777").unwrap().kind, kind);
    }

    #[test]
    fn policies_limits_variables() {
        assert_eq!(restart("on-failure:3"), Ok(RestartPolicy::OnFailure { max_retries: Some(3) }));
        assert!(restart("sometimes").is_err());
        assert_eq!(ulimit("nofile=1:-1").unwrap().hard, u64::MAX);
        assert!(ulimit("nofile=2:1").is_err());
        let environment = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        assert_eq!(variable("A=b=c", environment), Ok(Some(("A".to_owned(), "b=c".to_owned()))));
        assert_eq!(variable("HOME", environment), Ok(Some(("HOME".to_owned(), "/root".to_owned()))));
        assert_eq!(variable("NONE", environment), Ok(None));
        assert!(variable("=x", environment).is_err());
    }
}

//! Instructions that change only the image's configuration, and the words of its history.

use coracle_dockerfile::{CommandForm, Healthcheck, HealthcheckProbe};
use coracle_oci::{Empty, HealthcheckConfig, RunConfig};

/// The shell of the shell form unless `SHELL` names another.
pub(crate) const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Returns the program and arguments of a command in a container of this configuration.
pub(crate) fn arguments(config: &RunConfig, form: &CommandForm) -> Vec<String> {
    match form {
        CommandForm::Exec(list) => list.clone(),
        CommandForm::Shell(text) => shell(config).into_iter().chain([text.clone()]).collect(),
    }
}

/// Returns the shell with its arguments.
pub(crate) fn shell(config: &RunConfig) -> Vec<String> {
    match &config.shell {
        Some(shell) if !shell.is_empty() => shell.clone(),
        _ => DEFAULT_SHELL.map(str::to_owned).to_vec(),
    }
}

/// Returns the health check as an image stores it.
pub(crate) fn health_check(check: &Healthcheck) -> HealthcheckConfig {
    let tagged = |tag: &str, rest: &[String]| [&[tag.to_owned()], rest].concat();
    let test = match &check.probe {
        HealthcheckProbe::None => vec!["NONE".to_owned()],
        HealthcheckProbe::Command(CommandForm::Exec(list)) => tagged("CMD", list),
        HealthcheckProbe::Command(CommandForm::Shell(text)) => {
            tagged("CMD-SHELL", std::slice::from_ref(text))
        }
    };
    HealthcheckConfig {
        test,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

/// Returns the ports that one word of `EXPOSE` opens, as `number/protocol`; the error says what is wrong. An address or
/// a host's port before them (`127.0.0.1:80:80`) is read and passed over, as BuildKit does; a check warns of it.
pub(crate) fn ports(word: &str) -> Result<Vec<String>, String> {
    let (host, container) = match word.rsplit_once(':') {
        None => (None, word),
        Some((host, container)) => (Some(host), container),
    };
    let (numbers, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_ascii_lowercase() };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{protocol}` is no protocol; it is tcp, udp or sctp"));
    }
    let (first, last) = port_range(numbers)?;
    if let Some(host) = host {
        let (address, port) = host.rsplit_once(':').unwrap_or(("", host));
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        if !bare.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("`{address}` is no address"));
        }
        if !port.is_empty() {
            let (host_first, host_last) = port_range(port)?;
            if first != last && last - first != host_last - host_first {
                return Err(format!("the ranges `{port}` and `{numbers}` differ in length"));
            }
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Reads `80` or `80-90`.
fn port_range(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| match text.parse::<u16>() {
        Ok(port) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(format!("`{text}` is no port; it is a number up to 65535")),
    };
    let (first, last) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    if first > last {
        return Err(format!("the range `{text}` is reversed"));
    }
    Ok((first, last))
}

/// Adds ports to a configuration.
pub(crate) fn expose(config: &mut RunConfig, ports: &[String]) {
    config.exposed_ports.extend(ports.iter().map(|port| (port.clone(), Empty {})));
}

/// Returns a list as history shows it: `["a" "b"]`.
pub(crate) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// Returns the health check as history shows it.
pub(crate) fn health_check_text(check: &HealthcheckConfig) -> String {
    let times = [check.interval, check.timeout, check.start_period, check.start_interval];
    let times: Vec<String> = times.iter().map(|time| format!("\"{}\"", go_duration(*time))).collect();
    format!("HEALTHCHECK &{{{} {} {}}}", quoted(&check.test), times.join(" "), go_rune(check.retries))
}

/// Returns whether Docker knows a signal: a name with or without `SIG`, in any case, or a number but 0.
pub(crate) fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 36] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
        "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
        "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
    ];
    if let Ok(number) = text.parse::<i32>() {
        return number != 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix: &str, most: u32| {
        let offset = name.strip_prefix(prefix).and_then(|rest| rest.parse::<u32>().ok());
        offset.is_some_and(|offset| (1..=most).contains(&offset))
    };
    NAMES.contains(&name) || offset("RTMIN+", 15) || offset("RTMAX-", 14)
}

/// Returns nanoseconds as Go prints a duration: `5m0s`, `1.5s`, `100ms`.
fn go_duration(nanoseconds: u64) -> String {
    let decimal = |unit: u64| {
        let (whole, rest) = (nanoseconds / unit, nanoseconds % unit);
        let digits = unit.ilog10() as usize;
        let fraction = format!("{rest:0digits$}");
        let fraction = fraction.trim_end_matches('0');
        if rest == 0 { whole.to_string() } else { format!("{whole}.{fraction}") }
    };
    match nanoseconds {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanoseconds}ns"),
        1_000..1_000_000 => return format!("{}µs", decimal(1_000)),
        1_000_000..1_000_000_000 => return format!("{}ms", decimal(1_000_000)),
        _ => {}
    }
    let minutes = nanoseconds / 60_000_000_000;
    let text = decimal(1_000_000_000);
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let seconds = whole.parse::<u64>().unwrap_or_default() % 60;
    let seconds = if fraction.is_empty() { format!("{seconds}s") } else { format!("{seconds}.{fraction}s") };
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// Returns a number as Go prints a quoted character: BuildKit's history writes the retries so.
fn go_rune(number: u64) -> String {
    match u32::try_from(number).ok().and_then(char::from_u32) {
        Some(character @ ('\'' | '\\')) => format!("'\\{character}'"),
        Some(character @ ' '..='~') => format!("'{character}'"),
        Some('\u{7}') => "'\\a'".to_owned(),
        Some('\u{8}') => "'\\b'".to_owned(),
        Some('\t') => "'\\t'".to_owned(),
        Some('\n') => "'\\n'".to_owned(),
        Some('\u{b}') => "'\\v'".to_owned(),
        Some('\u{c}') => "'\\f'".to_owned(),
        Some('\r') => "'\\r'".to_owned(),
        Some(_) if number < 0x80 => format!("'\\x{number:02x}'"),
        Some(_) if number < 0x1_0000 => format!("'\\u{number:04x}'"),
        Some(_) => format!("'\\U{number:08x}'"),
        None => "'\\ufffd'".to_owned(),
    }
}

/// Returns `text` on one line, runs of white space made one space, cut at `limit` characters.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if joined.chars().count() <= limit {
        return joined;
    }
    let cut: String = joined.chars().take(limit.saturating_sub(1)).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_words() {
        assert_eq!(ports("80").unwrap(), ["80/tcp"]);
        assert_eq!(ports("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(ports("8000-8002").unwrap(), ["8000/tcp", "8001/tcp", "8002/tcp"]);
        assert_eq!(ports("80:81").unwrap(), ["81/tcp"]);
        assert_eq!(ports("127.0.0.1::80/").unwrap(), ["80/tcp"]);
        assert_eq!(ports("[::1]:90-91:80-81").unwrap(), ["80/tcp", "81/tcp"]);
        for word in ["", "x", "65536", "9-8", "80:", "x:80:80", "x:80", "1-3:1-2", "80/icmp", "+80", "1-2-3"]
        {
            assert!(ports(word).is_err(), "{word}");
        }
    }

    #[test]
    fn history_shows_health_checks_as_go_prints_them() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (100_000_000, "100ms"),
            (1_500_000, "1.5ms"),
            (3_000_000_000, "3s"),
            (1_500_000_000, "1.5s"),
            (300_000_000_000, "5m0s"),
            (5_400_000_000_000, "1h30m0s"),
            (3_600_500_000_000, "1h0m0.5s"),
        ] {
            assert_eq!(go_duration(nanoseconds), expected);
        }
        let runes: Vec<String> = [0, 3, 9, 39, 48, 200, 70_000].map(go_rune).into();
        assert_eq!(runes, ["'\\x00'", "'\\x03'", "'\\t'", "'\\''", "'0'", "'\\u00c8'", "'\\U00011170'"]);
    }

    #[test]
    fn signals_are_those_that_docker_knows() {
        for text in ["SIGTERM", "term", "SIGRTMIN+3", "rtmax-14", "9", "99"] {
            assert!(is_signal(text), "{text}");
        }
        for text in ["", "SIG", "FOO", "0", "SIGRTMIN+16", "SIGRTMAX-0", "SIGSIGTERM"] {
            assert!(!is_signal(text), "{text}");
        }
    }

    #[test]
    fn lines_are_cut() {
        assert_eq!(one_line("a \n  b", 80), "a b");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}

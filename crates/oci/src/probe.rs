//! Probes of a container's health that need no program of its image: an HTTP request or a connection, and what follows
//! from a bad verdict.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is wrong with a written probe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no target of {kind} probe: {why}")]
pub struct ProbeError {
    text: String,
    kind: &'static str,
    why: &'static str,
}

/// A request that a probe makes: `:8080/healthz`, `8080`, `http://localhost:8080/healthz`, `[::1]:8080/`. Healthy is a status
/// from 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HttpProbe {
    /// The address in the container's network; `None` is `localhost`, both of them.
    pub host: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Path and query, with their slash.
    pub path: String,
}

/// A connection that a probe opens: `5432`, `:5432`, `127.0.0.1:5432`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TcpProbe {
    /// The address in the container's network; `None` is `localhost`, both of them.
    pub host: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// What follows when a container becomes unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnhealthy {
    /// Nothing: others see it.
    #[default]
    None,
    /// It is killed; the restart policy decides what follows.
    Kill,
    /// It is stopped and started again, whatever the restart policy says.
    Restart,
    /// It is stopped for good.
    Stop,
}

impl OnUnhealthy {
    /// All of them by their words.
    pub const WORDS: [(&str, Self); 4] =
        [("none", Self::None), ("kill", Self::Kill), ("restart", Self::Restart), ("stop", Self::Stop)];
}

impl FromStr for OnUnhealthy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::WORDS.into_iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| value).ok_or_else(|| format!("`{text}` is none of none, kill, restart, stop"))
    }
}

impl FromStr for HttpProbe {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        let error = |why| ProbeError { text: text.to_owned(), kind: "an HTTP", why };
        if text.starts_with("https:") {
            return Err(error("https is not probed; probe the port with tcp, or run a command"));
        }
        let (rest, default_port) = match text.strip_prefix("http://") {
            Some(rest) => (rest, Some(80)),
            None => (text, None),
        };
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (address, path) = rest.split_at(split);
        let (host, port) = self::address(address, default_port).map_err(error)?;
        if path.bytes().any(|byte| !(0x21..0x7f).contains(&byte)) {
            return Err(error("a path has neither blanks nor other than ASCII characters; encode them"));
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { host, port, path })
    }
}

impl FromStr for TcpProbe {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        let error = |why| ProbeError { text: text.to_owned(), kind: "a TCP", why };
        let rest = text.strip_prefix("tcp://").unwrap_or(text);
        let (host, port) = address(rest, None).map_err(error)?;
        Ok(Self { host, port })
    }
}

/// Reads `[HOST:]PORT`, or `HOST` alone where a port is known.
fn address(text: &str, default_port: Option<u16>) -> Result<(Option<IpAddr>, u16), &'static str> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("its port is no number from 1 to 65535"),
    };
    let bracket = text.rfind(']').unwrap_or(0);
    let (host, port) = match text[bracket..].rfind(':') {
        Some(colon) => (&text[..bracket + colon], port(&text[bracket + colon + 1..])?),
        None => match default_port {
            Some(port) => (text, port),
            None => ("", port(text)?),
        },
    };
    let host = match host {
        "" | "localhost" => None,
        host => {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let why = "its host is neither an address nor `localhost`: a probe looks no names up";
            Some(bare.parse().map_err(|_| why)?)
        }
    };
    Ok((host, port))
}

impl HttpProbe {
    /// Returns host and port as a `Host` header has them.
    pub fn authority(&self) -> String {
        format!("{}:{}", shown(self.host), self.port)
    }
}

fn shown(host: Option<IpAddr>) -> String {
    match host {
        None => "localhost".to_owned(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        Some(IpAddr::V4(address)) => address.to_string(),
    }
}

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

impl fmt::Display for TcpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", shown(self.host), self.port)
    }
}

impl From<HttpProbe> for String {
    fn from(probe: HttpProbe) -> Self {
        probe.to_string()
    }
}

impl From<TcpProbe> for String {
    fn from(probe: TcpProbe) -> Self {
        probe.to_string()
    }
}

impl TryFrom<String> for HttpProbe {
    type Error = ProbeError;

    fn try_from(text: String) -> Result<Self, ProbeError> {
        text.parse()
    }
}

impl TryFrom<String> for TcpProbe {
    type Error = ProbeError;

    fn try_from(text: String) -> Result<Self, ProbeError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (text, shown) in [
            ("8080", "http://localhost:8080/"),
            (":8080", "http://localhost:8080/"),
            (":8080/healthz", "http://localhost:8080/healthz"),
            ("localhost:8080/a?b=c#d", "http://localhost:8080/a?b=c"),
            ("http://localhost/x", "http://localhost:80/x"),
            ("http://127.0.0.1:5000?x", "http://127.0.0.1:5000/?x"),
            ("http://[::1]:81/x", "http://[::1]:81/x"),
            ("http://[::1]", "http://[::1]:80/"),
        ] {
            let probe: HttpProbe = text.parse().unwrap();
            assert_eq!(probe.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<HttpProbe>().unwrap(), probe);
        }
        for (text, shown) in
            [("5432", "localhost:5432"), (":5432", "localhost:5432"), ("tcp://[::1]:1", "[::1]:1")]
        {
            assert_eq!(text.parse::<TcpProbe>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "/x", "http://", "https://localhost/", "web:80/", ":0", ":99999", ":80/a b", ":80/ü", "::1"]
        {
            assert!(text.parse::<HttpProbe>().is_err() || text == "http://", "{text}");
        }
        for text in ["", "x", ":", "web:80", "1.2.3.4", "80/x"] {
            assert!(text.parse::<TcpProbe>().is_err(), "{text}");
        }
        assert!("always".parse::<OnUnhealthy>().is_err());
        assert_eq!("restart".parse(), Ok(OnUnhealthy::Restart));
    }
}

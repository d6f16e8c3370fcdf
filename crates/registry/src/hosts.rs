//! How registries are reached: other places that have the same images, and whom to trust.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// What is known of some registries; the rest is spoken to with TLS and the system's trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    by_name: BTreeMap<String, HostConfig>,
    /// Addresses whose registries need not prove who they are.
    insecure_networks: Vec<Network>,
    /// Why what was configured cannot be heeded; then nothing is asked of anybody.
    broken: Option<String>,
}

/// What is known of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Other places that have its images; they are asked first, in this order. Nothing is pushed there.
    pub mirrors: Vec<Mirror>,
    /// Whether it need not prove who it is, and may do without TLS.
    pub insecure: bool,
    /// Further certificate authorities, in PEM.
    pub authorities: Vec<u8>,
    /// The certificate that we show, and its key, in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A place that has another registry's images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Its host and port.
    pub host: String,
    /// Whether it is spoken to without TLS.
    pub plain: bool,
}

impl FromStr for Mirror {
    type Err = HostsError;

    /// Reads `https://HOST[:PORT]` or `http://HOST[:PORT]`; without a scheme it is `https`.
    fn from_str(text: &str) -> Result<Self, HostsError> {
        let (plain, rest) = match text.split_once("://") {
            Some(("http", rest)) => (true, rest),
            Some(("https", rest)) => (false, rest),
            None => (false, text),
            Some(_) => return Err(HostsError::Mirror(text.to_owned())),
        };
        let host = rest.trim_end_matches('/');
        let strange = |letter: char| letter.is_whitespace() || "/?#@".contains(letter);
        if host.is_empty() || host.contains(strange) {
            return Err(HostsError::Mirror(text.to_owned()));
        }
        Ok(Self { host: host.to_ascii_lowercase(), plain })
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    fn holds(&self, other: IpAddr) -> bool {
        let same = |own: u128, other: u128, width: u8| {
            let shift = u32::from(width - self.bits);
            shift >= 128 || own >> shift == other >> shift
        };
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// Why something is no configuration of registries.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostsError {
    /// A mirror that is no address.
    #[error("`{0}` is no mirror: write https://HOST[:PORT]")]
    Mirror(String),
    /// A configuration that cannot be read.
    #[error("{0}")]
    Configuration(String),
    /// A certificate or key that is none.
    #[error("the {what} for {host} is no PEM with a {what}")]
    Pem {
        /// The registry.
        host: String,
        /// Which of them.
        what: &'static str,
    },
}

impl Hosts {
    /// Returns what stands for a configuration that cannot be read: every request fails with `reason`.
    pub fn broken(reason: String) -> Self {
        Self { broken: Some(reason), ..Self::default() }
    }

    /// Returns what is said of a registry, for more to be said.
    pub fn entry(&mut self, registry: &str) -> &mut HostConfig {
        self.by_name.entry(name(registry)).or_default()
    }

    /// Says that a registry (`HOST[:PORT]`), or all at some addresses (`10.0.0.0/8`), need not prove who they are.
    pub fn allow_insecure(&mut self, text: &str) {
        match Network::parse(text) {
            Some(network) => self.insecure_networks.push(network),
            None => self.entry(text).insecure = true,
        }
    }

    /// Returns where a registry's images are looked for before it is asked itself.
    pub fn mirrors(&self, registry: &str) -> &[Mirror] {
        self.by_name.get(&name(registry)).map_or(&[], |host| &host.mirrors)
    }

    /// Returns whether a registry need not prove who it is.
    pub(crate) fn is_insecure(&self, registry: &str) -> bool {
        let listed = self.by_name.get(&name(registry)).is_some_and(|host| host.insecure);
        let address = host_of(registry).parse::<IpAddr>();
        listed
            || address
                .is_ok_and(|address| self.insecure_networks.iter().any(|network| network.holds(address)))
    }

    /// Returns whether a host is the mirror of some registry, spoken to without TLS.
    pub(crate) fn is_plain_mirror(&self, host: &str) -> bool {
        self.by_name
            .values()
            .flat_map(|config| &config.mirrors)
            .any(|mirror| mirror.plain && mirror.host == host)
    }

    /// Returns whether a registry is known to speak TLS with a trust of its own.
    pub(crate) fn has_tls(&self, registry: &str) -> bool {
        let config = self.by_name.get(&name(registry));
        config.is_some_and(|config| !config.authorities.is_empty() || config.identity.is_some())
    }

    /// Returns whom to trust as a registry; `None` is the system's choice.
    pub(crate) fn tls(&self, registry: &str) -> Result<Option<TlsConfig>, HostsError> {
        if let Some(reason) = &self.broken {
            return Err(HostsError::Configuration(reason.clone()));
        }
        let insecure = self.is_insecure(registry);
        let config = self.by_name.get(&name(registry));
        if !insecure && !self.has_tls(registry) {
            return Ok(None);
        }
        let mut tls = TlsConfig::builder().disable_verification(insecure);
        let wrong = |what| HostsError::Pem { host: registry.to_owned(), what };
        if let Some(config) = config.filter(|config| !config.authorities.is_empty()) {
            let mut trusted = certificates(&config.authorities).ok_or_else(|| wrong("certificate"))?;
            // A registry's own authority counts beside those of the system, as with Docker.
            let system = rustls_native_certs::load_native_certs().certs;
            trusted.extend(system.iter().map(|certificate| Certificate::from_der(certificate).to_owned()));
            tls = tls.root_certs(RootCerts::Specific(Arc::new(trusted)));
        } else {
            tls = tls.root_certs(RootCerts::PlatformVerifier);
        }
        if let Some((certificate, key)) = config.and_then(|config| config.identity.as_ref()) {
            let chain = certificates(certificate).ok_or_else(|| wrong("certificate"))?;
            let key = PrivateKey::from_pem(key).map_err(|_| wrong("key"))?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        Ok(Some(tls.build()))
    }
}

/// Returns the certificates of a PEM; `None` when it has none, or something is wrong with one.
fn certificates(pem: &[u8]) -> Option<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.ok()? {
            found.push(certificate);
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Returns the name that a registry is known by.
fn name(registry: &str) -> String {
    match registry {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

/// Returns a registry's host without its port.
pub(crate) fn host_of(registry: &str) -> &str {
    match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => registry.split(':').next().unwrap_or(registry),
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.plain { "http" } else { "https" }, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_and_what_is_none() {
        let read = |text: &str| text.parse::<Mirror>().map(|mirror| mirror.to_string());
        assert_eq!(read("https://Mirror.example:5000/").as_deref(), Ok("https://mirror.example:5000"));
        assert_eq!(read("http://10.0.0.1:5000").as_deref(), Ok("http://10.0.0.1:5000"));
        assert_eq!(read("mirror.example").as_deref(), Ok("https://mirror.example"));
        for text in ["", "ftp://x", "https://", "https://a/b", "https://user@a", "a b"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn insecure_by_name_and_by_address() {
        let mut hosts = Hosts::default();
        for text in ["lab.example:5000", "10.1.0.0/16", "fd00::/8"] {
            hosts.allow_insecure(text);
        }
        for (registry, insecure) in [
            ("lab.example:5000", true),
            ("lab.example", false),
            ("10.1.2.3:5000", true),
            ("10.2.2.3:5000", false),
            ("[fd12::1]:443", true),
            ("[2001:db8::1]", false),
            ("docker.io", false),
        ] {
            assert_eq!(hosts.is_insecure(registry), insecure, "{registry}");
        }
        hosts.allow_insecure("0.0.0.0/0");
        assert!(hosts.is_insecure("192.0.2.1"));
    }

    #[test]
    fn broken_certificates_are_named() {
        let mut hosts = Hosts::default();
        hosts.entry("lab.example").authorities = b"no certificate".to_vec();
        let error = hosts.tls("lab.example").unwrap_err().to_string();
        assert_eq!(error, "the certificate for lab.example is no PEM with a certificate");
        assert!(hosts.tls("docker.io").unwrap().is_none());
    }
}

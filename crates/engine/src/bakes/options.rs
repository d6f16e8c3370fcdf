//! A target as the builder takes it.

use coracle_bakefile::{Attribute, Entry, Target};
use coracle_build::{Entitlements, HostAddress, ProcessLimit};
use coracle_dockerfile::NetworkMode;
use coracle_oci::Platform;
use coracle_report::Diagnostic;

use super::{BakeRequest, results, sources};
use crate::builds::allow;
use crate::{AgentSource, BuildOptions, Failure, SecretPlace, SecretSource};

/// A target that is read, so that messages can say where its attributes are.
pub(super) struct Located<'t>(&'t Target);

impl Located<'_> {
    /// Returns the error that an attribute is wrong.
    pub(super) fn wrong(&self, attribute: Attribute, why: String) -> Diagnostic {
        self.place(attribute, Diagnostic::error("bake-attribute", why))
    }

    /// Says of an error which attribute it is about.
    pub(super) fn place(&self, attribute: Attribute, error: impl Into<Problem>) -> Diagnostic {
        let Problem(mut error) = error.into();
        error.message = format!("target `{}`: `{}`: {}", self.0.name, attribute.name(), error.message);
        if error.span.is_none() {
            error.span = self.0.places.get(&attribute).or(self.0.span.as_ref()).cloned();
        }
        error
    }
}

/// What can be wrong with an attribute.
pub(super) struct Problem(Diagnostic);

impl From<Diagnostic> for Problem {
    fn from(error: Diagnostic) -> Self {
        Self(error)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self(failure.first().clone())
    }
}

/// Says what a target takes to build; refuses what the builder cannot do, with its place.
pub(crate) fn options(target: &Target, request: &BakeRequest) -> Result<BuildOptions, Diagnostic> {
    let located = Located(target);
    let at = |attribute: Attribute, why: String| located.wrong(attribute, why);
    let mut options = BuildOptions::default();
    sources::fill(&mut options, target, request, &located)?;
    results::fill(&mut options, target, request, &located)?;
    options.target = target.text(Attribute::Target).map(str::to_owned);
    options.build_args =
        target.pairs(Attribute::Args).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    options.labels =
        target.pairs(Attribute::Labels).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    options.tags = target.texts(Attribute::Tags).to_vec();
    options.no_cache = target.flag(Attribute::NoCache);
    options.pull = target.flag(Attribute::Pull);
    options.solve.no_cache_stages = target.texts(Attribute::NoCacheFilter).to_vec();
    options.run.network = match target.text(Attribute::Network) {
        None | Some("" | "default") => NetworkMode::Default,
        Some("none") => NetworkMode::None,
        Some("host") => NetworkMode::Host,
        Some(other) => {
            return Err(at(Attribute::Network, format!("it is default, none or host, not `{other}`")));
        }
    };
    for text in target.texts(Attribute::Platforms) {
        let platform = if text == "local" { Ok(Platform::host()) } else { Platform::written(text) };
        options.run.platforms.push(platform.map_err(|why| at(Attribute::Platforms, why))?);
    }
    for secret in target.entries(Attribute::Secret) {
        options.run.secrets.push(secret_source(secret, request));
    }
    for agent in target.entries(Attribute::Ssh) {
        let paths = agent.get("paths").map(String::as_str).unwrap_or_default();
        let paths = paths.split(',').filter(|path| !path.is_empty()).map(|path| request.directory.join(path));
        let id = agent.get("id").cloned().unwrap_or_else(|| "default".to_owned());
        options.run.agents.push(AgentSource { id, paths: paths.collect() });
    }
    for (name, address) in target.pairs(Attribute::ExtraHosts) {
        for address in address.split(',') {
            let address = match address {
                "host-gateway" => HostAddress::HostGateway,
                address => HostAddress::Ip(
                    address
                        .parse()
                        .map_err(|_| at(Attribute::ExtraHosts, format!("`{address}` is not an address")))?,
                ),
            };
            options.run.sandbox.extra_hosts.push((name.to_owned(), address));
        }
    }
    for text in target.texts(Attribute::Ulimits) {
        let limit =
            limit(text).ok_or_else(|| at(Attribute::Ulimits, format!("`{text}` is not NAME=SOFT[:HARD]")))?;
        options.run.sandbox.ulimits.push(limit);
    }
    if let Some(text) = target.text(Attribute::ShmSize) {
        let size = size(text)
            .ok_or_else(|| at(Attribute::ShmSize, format!("`{text}` is not a size such as 128m")))?;
        options.run.sandbox.shm_size = Some(size);
    }
    let mut wanted = Entitlements::default();
    for text in target.texts(Attribute::Entitlements) {
        allow(text, &mut wanted).map_err(|why| at(Attribute::Entitlements, why))?;
    }
    for (name, wanted, allowed) in [
        ("network.host", wanted.network_host, request.allow.network_host),
        ("security.insecure", wanted.security_insecure, request.allow.security_insecure),
    ] {
        if wanted && !allowed {
            let error = at(Attribute::Entitlements, format!("{name} is wanted, and is not allowed"));
            return Err(error.with_hint(format!("if you trust the definition: --allow {name}")));
        }
    }
    options.run.allow = wanted;
    Ok(options)
}

fn secret_source(secret: &Entry, request: &BakeRequest) -> SecretSource {
    let place = match (secret.get("src"), secret.get("env")) {
        (Some(path), _) => SecretPlace::File(request.directory.join(path)),
        (None, Some(name)) => SecretPlace::Variable(name.clone()),
        (None, None) => SecretPlace::ByName,
    };
    SecretSource { id: secret.get("id").cloned().unwrap_or_default(), place }
}

fn limit(text: &str) -> Option<ProcessLimit> {
    let number = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        text => text.parse().ok(),
    };
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    (soft <= hard).then(|| ProcessLimit { name: name.to_ascii_lowercase(), soft, hard })
}

/// Reads a size: a number with `b`, `k`, `m`, `g` or none, in bytes.
fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|size| *size > 0)
}

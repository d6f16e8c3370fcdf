//! Image configuration and manifest documents (OCI image specification v1.1) with Docker's `Healthcheck`
//! and `OnBuild` extensions, which the specification's own types leave out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ChainId, Descriptor, DiffId, Digest, HttpProbe, ImageId, TcpProbe};

pub use oci_spec::image::MediaType;

/// A processor architecture in the specification's spelling (`amd64`, `arm64`, ...).
pub type Architecture = String;

/// What an image runs on: operating system, architecture and variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system, `linux`.
    pub os: String,
    /// Architecture, e.g. `amd64`.
    pub architecture: Architecture,
    /// Variant of the architecture, e.g. `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Returns the platform this binary was compiled for.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let (Some(os), Some(architecture), variant, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("`{text}` is not a platform of the form os/architecture[/variant]"));
        };
        if [Some(os), Some(architecture), variant].into_iter().flatten().any(str::is_empty) {
            return Err(format!("`{text}` is not a platform of the form os/architecture[/variant]"));
        }
        let variant = variant.map(str::to_owned);
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

/// The configuration of an image. Its serialised bytes' digest is the [`ImageId`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it (`MAINTAINER`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Architecture, e.g. `amd64`.
    pub architecture: Architecture,
    /// Operating system, `linux`.
    pub os: String,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container of the image runs unless told otherwise.
    #[serde(default)]
    pub config: RunConfig,
    /// The layers, lowest first.
    pub rootfs: RootFs,
    /// How each layer came about, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

impl ImageConfig {
    /// Returns a configuration without layers for the host's platform.
    pub fn scratch() -> Self {
        let platform = Platform::host();
        Self { architecture: platform.architecture, os: platform.os, ..Self::default() }
    }

    /// Returns the canonical bytes whose digest is the image's id.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an image configuration holds only strings, numbers, lists and maps")
    }

    /// Returns the image's id.
    pub fn id(&self) -> ImageId {
        ImageId::new(Digest::of(self.to_bytes()))
    }

    /// Returns the chain id of all layers; `None` when there is none.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::of_layers(&self.rootfs.diff_ids)
    }
}

/// How a container of an image runs unless told otherwise (specification: `config`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// User and group, by name or number: `user[:group]`; empty means root.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports the image listens on, e.g. `8000/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment as `NAME=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Program and leading arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments, or the program when there is no entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that get a volume of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory; empty means `/`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Free-form metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the container to end, e.g. `SIGQUIT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker's health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthcheckConfig>,
    /// Instructions that run when the image is a base (Docker's `OnBuild`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Shell of the shell form (Docker's `Shell`); `None` means `/bin/sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Docker's `ArgsEscaped`: the builder writes it beside each `CMD`; nothing on Linux reads it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// The empty object that stands as value in the specification's sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Docker's health check as an image stores it; durations in nanoseconds, 0 means inherit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthcheckConfig {
    /// `["NONE"]`, `["CMD", args...]` or `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// Time between probes, ns.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// Time one probe may take, ns.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// Time in which failures do not count, ns.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Time between probes within the start period, ns.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// Failures in a row that make a container unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a health check runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthCommand {
    /// Probing is turned off (`HEALTHCHECK NONE`).
    None,
    /// A program with arguments.
    Exec(Vec<String>),
    /// A text for the container's shell.
    Shell(String),
    /// Nothing of the container's: an HTTP request.
    Http(HttpProbe),
    /// Nothing of the container's: a connection.
    Tcp(TcpProbe),
}

impl HealthcheckConfig {
    /// Returns what the check runs; `None` when the field inherits or is malformed.
    pub fn command(&self) -> Option<HealthCommand> {
        match self.test.split_first() {
            Some((kind, [])) if kind == "NONE" => Some(HealthCommand::None),
            Some((kind, args)) if kind == "CMD" && !args.is_empty() => {
                Some(HealthCommand::Exec(args.to_vec()))
            }
            Some((kind, [text])) if kind == "CMD-SHELL" => Some(HealthCommand::Shell(text.clone())),
            _ => None,
        }
    }
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The layers' ids, lowest first.
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// How one layer came about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark of the builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the instruction made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// An image manifest: its configuration and layers by descriptor (OCI image specification, "Image Manifest").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// `application/vnd.oci.image.manifest.v1+json`, or Docker's equivalent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ImageManifest {
    /// Returns the canonical bytes whose digest names the manifest.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest holds only strings, numbers, lists and maps")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dockers_health_check() {
        let json = r#"{"Test":["CMD-SHELL","curl -f http://localhost/"],"Interval":30000000000,"Retries":3}"#;
        let check: HealthcheckConfig = serde_json::from_str(json).unwrap();
        assert_eq!(check.command(), Some(HealthCommand::Shell("curl -f http://localhost/".to_owned())));
        assert_eq!(check.interval, 30_000_000_000);
        assert_eq!(serde_json::to_string(&check).unwrap(), json);
    }

    #[test]
    fn platform_round_trips() {
        let platform: Platform = "linux/arm64/v8".parse().unwrap();
        assert_eq!(platform.to_string(), "linux/arm64/v8");
        assert!("linux".parse::<Platform>().is_err());
        assert!("linux//v8".parse::<Platform>().is_err());
    }

    #[test]
    fn unknown_fields_of_a_configuration_are_tolerated() {
        let json = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"ArgsEscaped":true},
            "rootfs":{"type":"layers","diff_ids":[]},"os.version":"1"}"#;
        let config: ImageConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.config.env, ["A=b"]);
        assert_eq!(config.chain_id(), None);
    }
}

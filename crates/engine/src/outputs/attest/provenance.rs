//! SLSA provenance, in the two forms that BuildKit writes.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use coracle_build::{GitSource, StepReport};
use coracle_oci::{Digest, Platform, Reference};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{ProvenanceMode, ProvenanceOptions, ProvenanceVersion};
use crate::outputs::content::{Attestation, image_purl};

/// Says what the fields below mean; part of the statement, so that a reader need not guess whose builder it was.
const BUILD_TYPE: &str = "https://coracle.run/build-types/dockerfile/v1";

/// Something that a build used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    /// What it is, as a URI.
    pub uri: String,
    /// The digest: algorithm and hexadecimal digits.
    pub digest: (String, String),
}

impl Material {
    /// Returns a base image.
    pub fn image(reference: &Reference, platform: &Platform, digest: &Digest) -> Self {
        Self { uri: image_purl(reference, Some(platform), None), digest: ("sha256".to_owned(), digest.hex()) }
    }

    /// Returns a file that was fetched.
    pub fn file(url: &str, digest: &Digest) -> Self {
        Self { uri: without_login(url), digest: ("sha256".to_owned(), digest.hex()) }
    }

    /// Returns a repository at a commit.
    pub fn repository(source: &GitSource, commit: &str) -> Self {
        let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
        Self { uri: without_login(&source.shown()), digest: (algorithm.to_owned(), commit.to_owned()) }
    }

    fn to_json(&self) -> Value {
        let mut digest = Map::new();
        digest.insert(self.digest.0.clone(), json!(self.digest.1));
        json!({"uri": self.uri, "digest": digest})
    }
}

/// Returns a URL without the name and password in it, each of which may be a secret.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        // The name of `ssh://git@host` is no secret, and nothing is found without it.
        Some(at) if scheme != "ssh" => format!("{scheme}://{}", &rest[at + 1..]),
        _ => url.to_owned(),
    }
}

/// What is known of a build when it is done.
pub struct BuildFacts<'a> {
    /// The Dockerfile.
    pub dockerfile: &'a Path,
    /// Its lines.
    pub lines: &'a [String],
    /// The stage that was asked for.
    pub target: Option<&'a str>,
    /// The caller's build arguments.
    pub build_args: &'a BTreeMap<String, String>,
    /// The caller's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Ids of the secrets that it was given.
    pub secrets: &'a [String],
    /// What it used.
    pub materials: Vec<Material>,
    /// What it did.
    pub steps: &'a [StepReport],
    /// When it began and ended.
    pub times: (Timestamp, Timestamp),
    /// `SOURCE_DATE_EPOCH`, in seconds: then no other time is told.
    pub epoch: Option<i64>,
    /// What the context is, when it was fetched.
    pub context: Option<&'a Material>,
    /// The image's first name.
    pub name: Option<&'a Reference>,
}

impl BuildFacts<'_> {
    fn entry_point(&self) -> String {
        self.dockerfile
            .file_name()
            .map_or_else(|| "Dockerfile".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    fn arguments(&self, mode: ProvenanceMode) -> Value {
        let mut arguments = Map::new();
        if let Some(target) = self.target {
            arguments.insert("target".to_owned(), json!(target));
        }
        if mode == ProvenanceMode::Max {
            for (name, value) in self.build_args {
                // A proxy's address may hold a password.
                if !name.to_ascii_lowercase().ends_with("_proxy") {
                    arguments.insert(format!("build-arg:{name}"), json!(value));
                }
            }
            for (name, value) in self.labels {
                arguments.insert(format!("label:{name}"), json!(value));
            }
        }
        Value::Object(arguments)
    }

    fn times(&self) -> (String, String) {
        match self.epoch.and_then(|epoch| Timestamp::from_second(epoch).ok()) {
            Some(time) => (time.to_string(), time.to_string()),
            None => (self.times.0.to_string(), self.times.1.to_string()),
        }
    }

    /// Returns where the Dockerfile is, its path under `path`.
    fn config_source(&self, path: &str) -> Value {
        let mut source = self.context.map_or_else(|| json!({}), Material::to_json);
        source[path] = json!(self.entry_point());
        source
    }

    fn steps(&self) -> Value {
        let step = |(index, step): (usize, &StepReport)| {
            let inputs: Vec<String> = step.inputs.iter().map(|input| format!("step{input}")).collect();
            json!({
                "id": format!("step{index}"),
                "name": step.name,
                "key": step.key.digest(),
                "line": step.span.start.line,
                "inputs": inputs,
            })
        };
        self.steps.iter().enumerate().map(step).collect()
    }

    fn source(&self) -> Value {
        let text: String = self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        json!({
            "filename": self.entry_point(),
            "language": "Dockerfile",
            "data": base64::engine::general_purpose::STANDARD.encode(text),
        })
    }
}

/// Makes a provenance. With `SOURCE_DATE_EPOCH` it is the same for the same build.
pub fn provenance(options: &ProvenanceOptions, facts: &BuildFacts<'_>, platform: &Platform) -> Attestation {
    let max = options.mode == ProvenanceMode::Max;
    let materials: Vec<Value> = facts.materials.iter().map(Material::to_json).collect();
    let (started, finished) = facts.times();
    let host = Platform::host().to_string();
    let secrets: Vec<Value> = facts.secrets.iter().map(|id| json!({"id": id})).collect();
    let mut request = json!({"frontend": "dockerfile.v0", "args": facts.arguments(options.mode)});
    if max && !secrets.is_empty() {
        request["secrets"] = json!(secrets);
    }
    let (predicate_type, predicate) = match options.version {
        ProvenanceVersion::V1 => {
            let mut internal = json!({"builderPlatform": host, "platform": platform.to_string()});
            if max {
                internal["buildConfig"] = json!({"steps": facts.steps()});
            }
            let mut metadata = json!({
                "startedOn": started,
                "finishedOn": finished,
                "buildkit_completeness": {"request": max, "resolvedDependencies": false},
                "buildkit_reproducible": false,
            });
            if max {
                metadata["buildkit_metadata"] = json!({"source": {"infos": [facts.source()]}});
            }
            let predicate = json!({
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {
                        "configSource": facts.config_source("path"),
                        "request": request,
                    },
                    "internalParameters": internal,
                    "resolvedDependencies": materials,
                },
                "runDetails": {"builder": {"id": options.builder_id}, "metadata": metadata},
            });
            ("https://slsa.dev/provenance/v1", predicate)
        }
        ProvenanceVersion::V02 => {
            let mut predicate = json!({
                "builder": {"id": options.builder_id},
                "buildType": BUILD_TYPE,
                "materials": materials,
                "invocation": {
                    "configSource": facts.config_source("entryPoint"),
                    "parameters": request,
                    "environment": {"platform": host},
                },
                "metadata": {
                    "buildStartedOn": started,
                    "buildFinishedOn": finished,
                    "completeness": {"parameters": max, "environment": true, "materials": false},
                    "reproducible": false,
                },
            });
            if max {
                predicate["buildConfig"] = json!({"steps": facts.steps()});
                predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"] =
                    json!({"source": {"infos": [facts.source()]}});
            }
            ("https://slsa.dev/provenance/v0.2", predicate)
        }
    };
    Attestation { file: "provenance.json".to_owned(), predicate_type: predicate_type.to_owned(), predicate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_login_is_told() {
        for (given, told) in [
            ("https://user:secret@host/x?y#z", "https://host/x?y#z"),
            ("https://token@host:8/x", "https://host:8/x"),
            ("https://host/a@b", "https://host/a@b"),
            ("ssh://git@host/x", "ssh://git@host/x"),
            ("git@host:x", "git@host:x"),
        ] {
            assert_eq!(without_login(given), told);
        }
    }
}

//! What is attested of a build: where it came from (SLSA provenance) and what is in it (SPDX).

mod provenance;
mod sbom;

use coracle_oci::Platform;
use coracle_report::{Diagnostic, Event};
use serde_json::Value;

use super::content::Attestation;
use super::finished::Finished;
use super::spec::fields;
use crate::{Engine, Result};

pub(crate) use provenance::{BuildFacts, Material};
pub use sbom::{Sbom, SbomFormat};

/// How much a provenance tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvenanceMode {
    /// What was used; no arguments, no Dockerfile.
    Min,
    /// Arguments, labels, names of secrets (never their values), the Dockerfile and all steps, too.
    Max,
}

/// The form of a provenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvenanceVersion {
    /// `https://slsa.dev/provenance/v0.2`
    V02,
    /// `https://slsa.dev/provenance/v1`
    V1,
}

/// What a provenance is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenanceOptions {
    /// How much it tells.
    pub mode: ProvenanceMode,
    /// Its form.
    pub version: ProvenanceVersion,
    /// Who says that it built; empty unless given.
    pub builder_id: String,
}

/// What is attested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttestOptions {
    /// Where it came from.
    pub provenance: Option<ProvenanceOptions>,
    /// What is in it.
    pub sbom: bool,
}

impl AttestOptions {
    /// Reads the texts of `--attest`, as in `type=provenance,mode=max`; later ones of a type replace earlier ones.
    pub fn parse(texts: &[String]) -> Result<Self, Diagnostic> {
        let mut options = Self::default();
        for text in texts {
            let bad = |why: String| {
                Diagnostic::error("bad-attest", format!("cannot read the attestation `{text}`: {why}"))
                    .with_hint("write for example `type=provenance,mode=max`, or `type=sbom`")
            };
            let mut kind = None;
            let mut disabled = false;
            let mut provenance = ProvenanceOptions {
                mode: ProvenanceMode::Min,
                version: ProvenanceVersion::V1,
                builder_id: String::new(),
            };
            for field in fields(text).map_err(&bad)? {
                let (key, value) =
                    field.split_once('=').ok_or_else(|| bad(format!("`{field}` is no key=value")))?;
                match (key, value) {
                    ("type", "provenance" | "sbom") => kind = Some(value.to_owned()),
                    ("mode", "min") => provenance.mode = ProvenanceMode::Min,
                    ("mode", "max") => provenance.mode = ProvenanceMode::Max,
                    ("version", "v1") => provenance.version = ProvenanceVersion::V1,
                    ("version", "v0.2") => provenance.version = ProvenanceVersion::V02,
                    ("builder-id", id) => id.clone_into(&mut provenance.builder_id),
                    ("disabled", "true") => disabled = true,
                    ("disabled", "false") | ("inline-only" | "reproducible" | "filename", _) => {}
                    ("generator", _) => {
                        let error = bad("images that list packages are not run".to_owned());
                        return Err(error.with_note("Coracle lists packages itself"));
                    }
                    _ => return Err(bad(format!("`{field}` is unknown"))),
                }
            }
            match kind.as_deref() {
                Some("provenance") => options.provenance = (!disabled).then_some(provenance),
                Some(_) => options.sbom = !disabled,
                None => return Err(bad("it has no type".to_owned())),
            }
        }
        Ok(options)
    }
}

/// Returns what is told of a build when nothing is to be attested of it: the smallest provenance.
pub(crate) fn smallest(facts: &BuildFacts<'_>, platform: &Platform) -> Value {
    let options = ProvenanceOptions {
        mode: ProvenanceMode::Min,
        version: ProvenanceVersion::V1,
        builder_id: String::new(),
    };
    provenance::provenance(&options, facts, platform).predicate
}

/// Makes the attestations of one image.
pub(crate) fn attest(
    engine: &Engine,
    options: &AttestOptions,
    image: &Finished,
    facts: &BuildFacts<'_>,
) -> Result<Vec<Attestation>> {
    let mut all = Vec::new();
    if let Some(provenance) = &options.provenance {
        all.push(provenance::provenance(provenance, facts, &image.platform()));
    }
    if options.sbom {
        let asked = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];
        if asked.iter().any(|name| facts.build_args.get(*name).is_some_and(|value| value != "false")) {
            let message = "only the result is listed: BUILDKIT_SBOM_SCAN_CONTEXT and _STAGE do nothing";
            engine.reporter.event(Event::Notice(Diagnostic::warning("sbom-scope", message)));
        }
        all.push(sbom::attestation(engine, image, facts)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<AttestOptions, Diagnostic> {
        AttestOptions::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn reads_buildx_forms() {
        let options = parse(&["type=provenance,mode=max,version=v0.2", "type=sbom"]).unwrap();
        let provenance = options.provenance.unwrap();
        assert_eq!((provenance.mode, provenance.version), (ProvenanceMode::Max, ProvenanceVersion::V02));
        assert!(options.sbom);
        assert_eq!(
            parse(&["type=provenance", "type=provenance,disabled=true"]).unwrap(),
            AttestOptions::default()
        );
        for text in
            ["", "type=x", "mode=max", "type=provenance,mode=most", "type=sbom,generator=x", "type=sbom,x"]
        {
            assert!(parse(&[text]).is_err(), "{text}");
        }
    }
}

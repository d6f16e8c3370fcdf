//! Options of `coracle build` that say what becomes of the result.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use coracle_engine::{
    Annotation, AttestOptions, BuiltImage, Failure, Flatten, Output, OutputOptions, Result, Stream,
};
use coracle_report::Diagnostic;

/// Options of `coracle build` that say what becomes of the result.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Outputs")]
pub struct OutputArgs {
    /// Where the result goes, for example `type=oci,dest=app.tar`, `type=local,dest=out`, a directory, or `-` for an
    /// archive of the files on standard output. May be given several times. The types are image, registry, oci, docker,
    /// local, tar and cacheonly.
    #[arg(short, long, value_name = "OUTPUT")]
    pub output: Vec<String>,
    /// Put the image into the store; that is the default, and goes with other outputs.
    #[arg(long)]
    pub load: bool,
    /// Push the image to the registries of its names.
    #[arg(long)]
    pub push: bool,
    /// Add metadata to the image: [KIND[PLATFORM]:]KEY=VALUE, KIND one of manifest, index, manifest-descriptor,
    /// index-descriptor.
    #[arg(long, value_name = "ANNOTATION")]
    pub annotation: Vec<String>,
    /// Make one layer of those above the base image, or of all.
    #[arg(long, alias = "squash", value_name = "WHAT", num_args = 0..=1, require_equals = true,
        default_missing_value = "build", value_parser = ["build", "all", "true", "false"])]
    pub flatten: Option<String>,
    /// Attest where the image came from: true, false, or options such as mode=max, version=v1.
    #[arg(long, value_name = "OPTIONS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub provenance: Option<String>,
    /// Attest what is in the image, as SPDX: true or false.
    #[arg(long, value_name = "OPTIONS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub sbom: Option<String>,
    /// Attest something of the image: type=provenance,mode=max or type=sbom.
    #[arg(long, value_name = "ATTESTATION")]
    pub attest: Vec<String>,
    /// Write what the build made to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Write the image's id to this file.
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
}

/// Returns standard output for an archive; a terminal is none.
pub fn stdout() -> io::Result<Stream> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return Err(io::Error::other("an archive is not for a terminal"));
    }
    stdout.as_fd().try_clone_to_owned().map(|file| Stream::new(file.into()))
}

impl OutputArgs {
    /// Reads the options.
    pub fn options(&self) -> Result<OutputOptions> {
        let mut outputs = Vec::new();
        for text in &self.output {
            outputs.push(Output::parse(text, &stdout)?);
        }
        let has_image = outputs.iter().any(|output| matches!(output, Output::Image(image) if image.store));
        if self.load && !has_image {
            outputs.push(Output::store());
        }
        if self.push {
            let mut pushed = false;
            for output in &mut outputs {
                if let Output::Image(image) = output {
                    image.push = true;
                    pushed = true;
                }
            }
            if !pushed {
                outputs.push(Output::parse("type=registry", &stdout)?);
            }
        }
        let mut annotations = Vec::new();
        for text in &self.annotation {
            annotations.extend(Annotation::parse(text)?);
        }
        if !annotations.is_empty() && outputs.is_empty() {
            outputs.push(Output::store());
        }
        outputs.iter_mut().for_each(|output| output.annotate(&annotations));
        let flatten = match self.flatten.as_deref() {
            None | Some("false") => None,
            Some("all") => Some(Flatten::All),
            Some(_) => Some(Flatten::Build),
        };
        let mut attest = self.attest.clone();
        for (kind, given) in [("provenance", &self.provenance), ("sbom", &self.sbom)] {
            match given.as_deref() {
                None => {}
                Some("true" | "1") => attest.push(format!("type={kind}")),
                Some("false" | "0") => attest.push(format!("type={kind},disabled=true")),
                Some(more) => attest.push(format!("type={kind},{more}")),
            }
        }
        let attest = AttestOptions::parse(&attest)?;
        Ok(OutputOptions { outputs, flatten, attest })
    }

    /// Returns whether standard output belongs to an archive, so that nothing else may be written to it.
    pub fn takes_stdout(options: &OutputOptions) -> bool {
        options.outputs.iter().any(Output::is_stream)
    }

    /// Writes the files about the image.
    pub fn write_files(&self, image: &BuiltImage) -> Result<()> {
        if let Some(path) = &self.iidfile {
            write(path, image.id.to_string().as_bytes())?;
        }
        if let Some(path) = &self.metadata_file {
            let mut text = serde_json::to_string_pretty(&image.metadata)
                .map_err(|error| Failure::ours("writing JSON", &error))?;
            text.push('\n');
            write(path, text.as_bytes())?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::user(Diagnostic::error("output", message))
    })
}

//! `coracle build --check` and `--call`: questions to a Dockerfile instead of a build.

use std::str::FromStr;

use coracle_engine::{BuildOptions, Engine, Failure, Result};
use coracle_report::Diagnostic;

use super::check_output as output;
use crate::commands::Done;
use crate::context::Context;
use crate::findings;

/// Asks the Dockerfile instead of building it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Checks")]
pub struct CheckArgs {
    /// Check the Dockerfile and build nothing; exits with 1 when something is found. Short for --call=check.
    #[arg(long)]
    pub check: bool,
    /// What to do: build, check (or lint), outline (arguments and secrets of a target), targets; METHOD,format=json too.
    #[arg(long, value_name = "METHOD", default_value = "build")]
    pub call: Call,
    /// How the answer of --check or --call is written.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
}

/// What is asked of the Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    method: Method,
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Build,
    Check,
    Outline,
    Targets,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For code scanners (checks only).
    Sarif,
    /// Annotations of GitHub Actions (checks only).
    Github,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut parts = text.split(',');
        let method = match parts.next().unwrap_or_default() {
            "build" => Method::Build,
            "check" | "lint" => Method::Check,
            "outline" => Method::Outline,
            "targets" => Method::Targets,
            other => return Err(format!("`{other}` is none of build, check, lint, outline and targets")),
        };
        let mut format = None;
        for part in parts {
            match part {
                "format=json" => format = Some(Format::Json),
                "format=text" => format = Some(Format::Text),
                other => return Err(format!("`{other}` is no option of a call; write `format=json`")),
            }
        }
        Ok(Self { method, format })
    }
}

impl CheckArgs {
    /// Says whether an image is built.
    pub fn builds(&self) -> bool {
        !self.check && self.call.method == Method::Build
    }

    /// Answers instead of building.
    pub fn answer(&self, context: &Context, engine: &Engine, options: &BuildOptions) -> Result<Done> {
        let builds = engine.builds();
        let format = self.format.or(self.call.format).unwrap_or(Format::Text);
        let method = if self.check { Method::Check } else { self.call.method };
        let data = |text: String| context.printer.data(text.trim_end());
        match (method, format) {
            (Method::Check | Method::Build, _) => {
                let checked = builds.check(options)?;
                for line in output::remarks(&checked) {
                    context.printer.status(line);
                }
                data(match format {
                    Format::Text => output::text(&checked),
                    Format::Json => output::json(&checked),
                    Format::Sarif => findings::sarif(&output::shown(&checked)),
                    Format::Github => findings::github(&output::shown(&checked)),
                });
                let clean = checked.report.findings.is_empty() && checked.report.fault.is_none();
                return Ok(if clean { Done::Ok } else { Done::Findings });
            }
            (_, Format::Sarif | Format::Github) => {
                let message = "only checks can be written as SARIF or for GitHub";
                return Err(Failure::user(Diagnostic::error("usage", message)));
            }
            (Method::Outline, Format::Text) => data(output::outline_text(&builds.outline(options)?)),
            (Method::Outline, Format::Json) => data(output::outline_json(&builds.outline(options)?)),
            (Method::Targets, Format::Text) => data(output::targets_text(&builds.targets(options)?)),
            (Method::Targets, Format::Json) => data(output::targets_json(&builds.targets(options)?)),
        }
        Ok(Done::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls() {
        let call = |text: &str| text.parse::<Call>();
        assert_eq!(call("lint"), Ok(Call { method: Method::Check, format: None }));
        assert_eq!(
            call("outline,format=json"),
            Ok(Call { method: Method::Outline, format: Some(Format::Json) })
        );
        assert!(call("outlines").is_err());
        assert!(call("targets,format=yaml").is_err());
    }
}

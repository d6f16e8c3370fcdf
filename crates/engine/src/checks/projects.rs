//! Checks of whole projects, and of files alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_check::{Build, Images, NoImages, ProjectReport, Selection, Subject, check_project, gather};
use coracle_report::Diagnostic;
use jiff::Timestamp;

use super::host;
use super::{DiskFiles, Look, StoredImages};
use crate::projects::read_project;
use crate::{Engine, LoadedProject, Result};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// How a project is checked.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// Which rules are wanted.
    pub rules: Selection,
    /// How closely the machine is looked at.
    pub look: Look,
    /// Whether images that are here are looked into, not only at their configurations.
    pub contents: bool,
}

/// What a check of a project came to.
#[derive(Clone, Debug, Default)]
pub struct CheckedProject {
    /// The environment.
    pub environment: Option<String>,
    /// The findings, their files by absolute paths.
    pub report: ProjectReport,
}

/// What a check of a file came to.
#[derive(Clone, Debug)]
pub struct CheckedFile {
    /// The file as it was named.
    pub path: PathBuf,
    /// The findings.
    pub report: ProjectReport,
}

/// Checks projects. Where there is no engine, because nothing was ever run here or this user may not look at it, what it
/// has is unknown.
#[derive(Clone, Copy)]
pub struct Checks<'a> {
    engine: Option<&'a Engine>,
    environment: &'a BTreeMap<String, String>,
}

impl<'a> Checks<'a> {
    /// Returns the checks of an engine, or without one. `environment` are the caller's variables.
    pub fn new(engine: Option<&'a Engine>, environment: &'a BTreeMap<String, String>) -> Self {
        Self { engine, environment }
    }

    /// Reads a project and checks it. A project that cannot be read is an error with all that is wrong with its files.
    pub fn project(&self, selection: &crate::Selection, options: &CheckOptions) -> Result<CheckedProject> {
        let loaded = read_project(selection, self.environment)?;
        let report = self.loaded(&loaded, options);
        Ok(CheckedProject { environment: selection.environment.clone(), report })
    }

    /// Checks a project that was read already.
    pub fn loaded(&self, loaded: &LoadedProject, options: &CheckOptions) -> ProjectReport {
        let project = loaded.project();
        let files = DiskFiles::of_project(&project.directory);
        let (builds, faulty) = gather(project, &files);
        let host = host::gather(self.engine, project, options.look);
        let stored = self.engine.map(|engine| {
            if options.contents { StoredImages::new(engine) } else { StoredImages::configurations(engine) }
        });
        let images: &dyn Images = match &stored {
            Some(stored) => stored,
            None => &NoImages,
        };
        let environment = loaded.environment();
        let subject = Subject {
            directory: &project.directory,
            environment,
            production: loaded.is_production(),
            loaded: Some(loaded.loaded()),
            builds: &builds,
            files: &files,
            images,
            host: host.as_ref(),
            today: today(),
        };
        check_project(&subject, faulty, &options.rules)
    }
}

/// Checks a Dockerfile alone: nothing is known of its context, its project, images or the machine. `text` is its text
/// where it is no file.
pub fn check_file(path: &Path, text: Option<String>, rules: &Selection) -> CheckedFile {
    let files = match text {
        Some(text) => DiskFiles::default().with_text(path, text),
        None => DiskFiles::default(),
    };
    let report = match Build::alone(path, None, &files) {
        Err(fault) => {
            let fault = match unreadable(path) {
                Some(reason) if fault.code == "no-dockerfile" => fault.with_note(reason),
                _ => with_line(fault, &files),
            };
            ProjectReport { faults: vec![fault], ..ProjectReport::default() }
        }
        Ok(build) => {
            let builds = [build];
            let subject = Subject {
                directory: path.parent().unwrap_or(Path::new("")),
                environment: None,
                production: false,
                loaded: None,
                builds: &builds,
                files: &files,
                images: &NoImages,
                host: None,
                today: today(),
            };
            check_project(&subject, Vec::new(), rules)
        }
    };
    CheckedFile { path: path.to_owned(), report }
}

/// Returns why rules are not given the text of a file.
fn unreadable(path: &Path) -> Option<String> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Some(error.to_string()),
    };
    if !metadata.is_file() {
        return Some("it is no regular file".to_owned());
    }
    if let Err(error) = std::fs::File::open(path) {
        return Some(error.to_string());
    }
    Some(if metadata.len() > super::files::LIMIT {
        "it is larger than 1 MiB".to_owned()
    } else {
        "it is not UTF-8 text".to_owned()
    })
}

/// Adds the line that a fault points into.
fn with_line(mut fault: Diagnostic, files: &DiskFiles) -> Diagnostic {
    use coracle_check::Files as _;
    if let (Some(span), None) = (&fault.span, &fault.source_line)
        && let Some(text) = files.text(&span.file)
    {
        let line = text.lines().nth((span.start.line as usize).saturating_sub(1));
        fault.source_line = line.map(str::to_owned);
    }
    fault
}

/// Returns the days since 1970-01-01.
fn today() -> i64 {
    Timestamp::now().as_second().div_euclid(DAY)
}

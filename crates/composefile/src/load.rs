//! From files to a [`Project`]: read, interpolate, merge, decode.

use std::path::{Path, PathBuf};

use coracle_report::{Diagnostic, Hint, Span};
use indexmap::IndexMap;

use crate::Loader;
use crate::canonical::{Composer, Steps, clean};
use crate::decode::{Decoder, environment::env_file_diagnostic};
use crate::dotenv;
use crate::interpolate::interpolate;
use crate::model::Project;
use crate::service_files;
use crate::service_variables;
use crate::settled;
use crate::source::Findings;
use crate::trace::Trace;
use crate::tree::Node;
use crate::view::View;
use crate::written::{EnvFile, EnvFileRole, Layer, Role, VariableOrigin, VariableSources, Written};

/// What to load.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// The compose files, lowest precedence first.
    pub files: Vec<PathBuf>,
    /// Where relative paths start; absolute.
    pub project_directory: PathBuf,
    /// Variables for interpolation: see [`combine_environment`].
    pub environment: IndexMap<String, String>,
    /// Active profiles; `*` is all. Those of `COMPOSE_PROFILES` are added.
    pub profiles: Vec<String>,
    /// The project's name when the user says it (`-p`); taken as it is.
    pub project_name: Option<String>,
    /// The environment that was chosen by name (`dev`): suffix of a name that the files or the directory give.
    pub environment_name: Option<String>,
}

/// A project and what its author should know.
#[derive(Debug)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// Findings that are no errors, in the order of the files.
    pub warnings: Vec<Diagnostic>,
    tree: Node,
    written: Written,
}

/// A project that could not be loaded, as far as it was read.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong, in the order of the files; at least one is an error.
    pub diagnostics: Vec<Diagnostic>,
    /// The files.
    pub written: Written,
}

impl Loaded {
    /// Returns the warnings about attributes that are read and have no effect, each with its place.
    pub fn not_honoured(&self) -> impl Iterator<Item = &Diagnostic> {
        self.warnings.iter().filter(|warning| warning.code == "not-honoured")
    }

    /// Returns the merged tree. Loaded by [`load_with_provenance`], it holds the variables of `env_file` in
    /// `environment`, those that the caller passes on, and the project's `name`.
    pub fn root(&self) -> View<'_> {
        View::new(&self.tree, &self.written)
    }

    /// Returns the files as they are written.
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Returns the compose files before the merge, in the order in which they were read; none unless the project
    /// was loaded by [`load_with_provenance`].
    pub fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        self.written.layers()
    }

    /// Returns where the value at `path` is written, e.g. `["services", "api", "environment", "DEBUG"]`.
    /// Items of lists are numbers.
    pub fn span_of(&self, path: &[&str]) -> Option<Span> {
        Some(self.root().get(path)?.key_span())
    }
}

impl LoadRequest {
    /// Returns the profiles that are active: those asked for, else those of `COMPOSE_PROFILES`.
    pub(crate) fn active_profiles(&self, environment: &IndexMap<String, String>) -> Vec<String> {
        if !self.profiles.is_empty() {
            return self.profiles.clone();
        }
        let named = environment.get("COMPOSE_PROFILES").map(String::as_str).unwrap_or_default();
        named.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }
}

/// A project's files as one tree in long forms.
pub(crate) struct Read {
    pub(crate) root: Node,
    pub(crate) name: String,
    pub(crate) environment: IndexMap<String, String>,
    pub(crate) directory: PathBuf,
    /// Values that are not what their attribute takes.
    pub(crate) unreadable: Vec<Diagnostic>,
}

impl Read {
    /// Reads the files; `None` when a finding is an error.
    pub(crate) fn new(
        request: &LoadRequest,
        steps: Steps,
        loader: &dyn Loader,
        findings: &mut Findings,
    ) -> Option<Self> {
        let mut composer = Composer::new(loader, findings, steps);
        let mut files = Vec::new();
        for path in &request.files {
            if let Some(documents) = composer.read(path, Role::Given) {
                files.push((path.clone(), documents));
            }
        }
        let documents: Vec<&Node> = files.iter().flat_map(|(_, documents)| documents).collect();
        if composer.findings.failed() {
            return None;
        }
        if documents.is_empty() {
            let diagnostic = match request.files.first() {
                Some(path) => Diagnostic::error("no-services", "the compose file is empty")
                    .with_span(Span::at(path, 1, 1)),
                None => Diagnostic::error("no-files", "no compose file was given"),
            };
            composer.findings.push(diagnostic);
            return None;
        }
        let mut environment = request.environment.clone();
        let none = IndexMap::new();
        // Without interpolation nothing is replaced by the caller's values, nor is the name (Docker Compose's rule).
        let known = steps.interpolate.then_some(&request.environment);
        let name = project_name(request, &documents, known, composer.findings);
        if environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone()).is_none()
            && let Some(trace) = &mut composer.findings.trace
        {
            trace.origins.insert("COMPOSE_PROJECT_NAME".to_owned(), VariableOrigin::ProjectName);
        }
        let directory = clean(&request.project_directory);
        let root =
            composer.project(files, &directory, if steps.interpolate { &environment } else { &none })?;
        let unreadable = composer.unreadable;
        Some(Self { root, name, environment, directory, unreadable })
    }
}

/// Loads a project; all errors that can be found in one go are returned together.
pub fn load(request: &LoadRequest, loader: &dyn Loader) -> Result<Loaded, Vec<Diagnostic>> {
    load_recording(request, None, loader).map_err(|refused| refused.diagnostics)
}

/// As [`load`], and records where every value comes from and what it beat; `variables` are the origins of the
/// request's environment, see [`combine_environment_with_origins`].
///
/// ```
/// # use std::{io, path::Path};
/// # struct Shop;
/// # impl coracle_composefile::Loader for Shop {
/// #     fn read(&self, path: &Path) -> io::Result<String> {
/// #         Ok(match path.file_name().and_then(|name| name.to_str()) {
/// #             Some("compose.yml") => "services:\n  web:\n    image: nginx:${TAG:-1.27}\n",
/// #             Some("compose.prod.yml") => "services:\n  web:\n    image: nginx:${TAG}\n",
/// #             Some(".env.prod") => "# production\nTAG=1.28\n",
/// #             _ => return Err(io::Error::from(io::ErrorKind::NotFound)),
/// #         }.to_owned())
/// #     }
/// #     fn exists(&self, path: &Path) -> bool { self.read(path).is_ok() }
/// #     fn list(&self, _: &Path) -> io::Result<Vec<String>> { Ok(Vec::new()) }
/// # }
/// use coracle_composefile::{
///     LoadRequest, Outcome, VariableOrigin, combine_environment_with_origins, load_with_provenance,
/// };
///
/// let env_files = ["/shop/.env.prod".into()];
/// let (environment, variables) =
///     combine_environment_with_origins(&Default::default(), &env_files, &Shop).unwrap();
/// let request = LoadRequest {
///     files: vec!["/shop/compose.yml".into(), "/shop/compose.prod.yml".into()],
///     project_directory: "/shop".into(),
///     environment,
///     ..LoadRequest::default()
/// };
/// let loaded = load_with_provenance(&request, variables, &Shop).unwrap();
///
/// // The merged tree, value by value.
/// for (name, service) in loaded.root().get(&["services"]).unwrap().entries() {
///     let image = service.get(&["image"]).unwrap();
///     assert_eq!((name, image.text()), ("web", Some("nginx:1.28")));
///     assert_eq!(image.span().to_string(), "/shop/compose.prod.yml:3:12");
/// }
///
/// // Where one value comes from.
/// let image = loaded.provenance(&["services", "web", "image"]).unwrap();
/// assert_eq!(image.written, Some("nginx:${TAG}"));
/// assert_eq!(image.beaten[0].shown, "nginx:1.28");
/// assert_eq!(image.beaten[0].span.to_string(), "/shop/compose.yml:3:12");
/// let Outcome::Value { origin: VariableOrigin::File(place), .. } = &image.uses[0].outcome else { panic!() };
/// assert_eq!(place.to_string(), "/shop/.env.prod:2:1");
///
/// // Each file by itself, and the variables that it refers to.
/// let base = loaded.layers().next().unwrap();
/// assert_eq!(base.root().unwrap().get(&["services", "web", "image"]).unwrap().text(), Some("nginx:${TAG:-1.27}"));
/// assert_eq!((base.references()[0].name.as_str(), base.references()[0].word.as_str()), ("TAG", "1.27"));
/// assert_eq!(loaded.written().env_files()[0].variables[0].name, "TAG");
/// ```
pub fn load_with_provenance(
    request: &LoadRequest,
    variables: VariableSources,
    loader: &dyn Loader,
) -> Result<Loaded, Refused> {
    load_recording(request, Some(Trace::new(variables)), loader)
}

fn load_recording(
    request: &LoadRequest,
    trace: Option<Trace>,
    loader: &dyn Loader,
) -> Result<Loaded, Refused> {
    let mut findings = Findings::new(trace);
    let refused = |mut findings: Findings| {
        let diagnostics = findings.take();
        Refused { diagnostics, written: Written::of(&mut findings) }
    };
    let steps = Steps { interpolate: true, resolve_paths: true };
    let Some(read) = Read::new(request, steps, loader, &mut findings) else {
        return Err(refused(findings));
    };
    let Read { mut root, name, environment, directory, unreadable } = read;
    let profiles = request.active_profiles(&environment);
    service_files::resolve_labels(&mut root, &profiles, &environment, loader, &mut findings);
    let mut root = settled::settle(root);
    let mut decoder = Decoder {
        findings: &mut findings,
        directory: &directory,
        environment: &environment,
        project_name: &name,
        profiles: &profiles,
        loader,
    };
    let project = decoder.project(&root, request.files.clone());
    findings.add_missing(unreadable);
    if findings.failed() {
        return Err(refused(findings));
    }
    if findings.trace.is_some() {
        service_variables::complete(&mut root, &name, &environment, loader, &mut findings);
    }
    let warnings = findings.take();
    let written = Written::of(&mut findings);
    Ok(Loaded { project, warnings, tree: root, written })
}

/// Returns the process environment over the variables of `files` (later files win over earlier ones).
pub fn combine_environment(
    process: &IndexMap<String, String>,
    files: &[PathBuf],
    loader: &dyn Loader,
) -> Result<IndexMap<String, String>, Diagnostic> {
    Ok(combine_environment_with_origins(process, files, loader)?.0)
}

/// As [`combine_environment`], with the origin of every variable and what the files hold.
pub fn combine_environment_with_origins(
    process: &IndexMap<String, String>,
    files: &[PathBuf],
    loader: &dyn Loader,
) -> Result<(IndexMap<String, String>, VariableSources), Diagnostic> {
    let mut environment: IndexMap<String, String> = IndexMap::new();
    let mut sources = VariableSources::default();
    for file in files {
        let text = loader.read(file).map_err(|error| {
            let message = format!("cannot read env file {}: {error}", file.display());
            Diagnostic::error("env-file", message)
        })?;
        let lookup = |name: &str| process.get(name).or_else(|| environment.get(name)).cloned();
        let assignments = dotenv::assignments(&text, &lookup, &|_| None)
            .map_err(|error| env_file_diagnostic(file, &text, &error))?;
        let file = EnvFile::of(file, EnvFileRole::Interpolation, assignments);
        sources.origins.extend(file.origins());
        environment.extend(file.values());
        sources.files.push(file);
    }
    sources.origins.retain(|name, _| !process.contains_key(name));
    environment.extend(process.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok((environment, sources))
}

/// Returns `text` as a project name: lower case, only letters, digits, `_` and `-`, beginning with no sign.
pub fn normalise_project_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let kept: String = lower
        .chars()
        .filter(|character| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || "_-".contains(*character)
        })
        .collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// Decides the project's name: said by the user, then the files, then the directory; the latter two are followed by
/// the chosen environment, so that `dev` and `staging` of one project can be up side by side.
fn project_name(
    request: &LoadRequest,
    documents: &[&Node],
    environment: Option<&IndexMap<String, String>>,
    findings: &mut Findings,
) -> String {
    let explicit = request
        .project_name
        .as_ref()
        .or_else(|| request.environment.get("COMPOSE_PROJECT_NAME"))
        .filter(|name| !name.is_empty());
    if let Some(name) = explicit {
        if *name != normalise_project_name(name) || name.is_empty() {
            let message = format!("`{name}` is no project name: lower-case letters, digits, `_` and `-`");
            let near = normalise_project_name(name);
            findings.push(Diagnostic::error("project-name", message).with_hint(format!("use `{near}`")));
        }
        return name.clone();
    }
    let given = documents.iter().rev().find_map(|document| document.get("name"));
    let base = if let Some((mark, text)) = given.and_then(|node| node.text().map(|text| (node.mark, text))) {
        // A fault in the interpolation is reported when all values are; the name is only peeked at here.
        let name = match environment {
            None => text.to_owned(),
            Some(environment) => {
                let lookup = |name: &str| environment.get(name).cloned();
                interpolate(text, &lookup, &mut Vec::new()).unwrap_or_default()
            }
        };
        if !name.is_empty() && name != normalise_project_name(&name) {
            let near = normalise_project_name(&name);
            let message = format!("`{name}` is no project name; `{near}` is used");
            let hint = Hint("a name is of lower-case letters, digits, `_` and `-`".to_owned());
            findings.warning("project-name", mark, message).hints.push(hint);
        }
        normalise_project_name(&name)
    } else {
        let directory = clean(&request.project_directory);
        let last = directory.file_name().map(|name| name.to_string_lossy().into_owned());
        normalise_project_name(&last.unwrap_or_default())
    };
    let base = if base.is_empty() { "default".to_owned() } else { base };
    match &request.environment_name {
        None => base,
        Some(environment) => format!("{base}-{}", normalise_project_name(environment)),
    }
}

/// Returns the directory that holds the first of `files`.
pub(crate) fn directory_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

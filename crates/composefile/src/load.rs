//! From files to a [`Project`]: read, interpolate, merge, decode.

use std::path::{Path, PathBuf};

use coracle_report::{Diagnostic, Hint, Position, Span};
use indexmap::IndexMap;

use crate::Loader;
use crate::decode::{Decoder, clean, environment::env_file_diagnostic};
use crate::dotenv;
use crate::interpolate::{InterpolationErrorKind, interpolate};
use crate::merge;
use crate::model::Project;
use crate::source::{Findings, Mark};
use crate::tree::{self, Entry, Mapping, Node, Style, Value};

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
    findings: Findings,
}

impl Loaded {
    /// Returns where the value at `path` is written, e.g. `["services", "api", "environment", "DEBUG"]`.
    /// Items of lists are numbers.
    pub fn span_of(&self, path: &[&str]) -> Option<Span> {
        let mut node = &self.tree;
        let mut mark = node.mark;
        for step in path {
            match &node.value {
                Value::Mapping(mapping) => {
                    let entry = mapping.get(*step)?;
                    (node, mark) = (&entry.node, entry.key);
                }
                Value::Sequence(items) => {
                    node = items.get(step.parse::<usize>().ok()?)?;
                    mark = node.mark;
                }
                Value::Null | Value::Scalar(_) => return None,
            }
        }
        Some(self.findings.sources.span(mark))
    }
}

/// Loads a project; all errors that can be found in one go are returned together.
pub fn load(request: &LoadRequest, loader: &dyn Loader) -> Result<Loaded, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let documents = read(request, loader, &mut findings);
    if findings.failed() {
        return Err(findings.take());
    }
    let mut environment = request.environment.clone();
    let name = project_name(request, &documents, &environment, &mut findings);
    environment.entry("COMPOSE_PROJECT_NAME".to_owned()).or_insert_with(|| name.clone());
    let mut variables = Variables { environment: &environment, findings: &mut findings, warned: Vec::new() };
    let documents: Vec<Node> = documents
        .into_iter()
        .map(|mut document| {
            variables.replace_in(&mut document);
            merge::normalise(document)
        })
        .collect();
    if findings.failed() {
        return Err(findings.take());
    }
    let Some(mut root) = documents.into_iter().reduce(merge::merge) else {
        return Err(vec![Diagnostic::error("no-files", "no compose file was given")]);
    };
    merge::drop_resets(&mut root);
    let mut profiles = request.profiles.clone();
    if let Some(more) = environment.get("COMPOSE_PROFILES") {
        profiles.extend(more.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    let directory = clean(&request.project_directory);
    let mut decoder = Decoder {
        findings: &mut findings,
        directory: &directory,
        environment: &environment,
        project_name: &name,
        profiles: &profiles,
        loader,
    };
    let project = decoder.project(&root, request.files.clone());
    if findings.failed() {
        return Err(findings.take());
    }
    let warnings = findings.take();
    Ok(Loaded { project, warnings, tree: root, findings })
}

/// Returns the process environment over the variables of `files` (later files win over earlier ones).
pub fn combine_environment(
    process: &IndexMap<String, String>,
    files: &[PathBuf],
    loader: &dyn Loader,
) -> Result<IndexMap<String, String>, Diagnostic> {
    let mut environment = IndexMap::new();
    for file in files {
        let text = loader.read(file).map_err(|error| {
            let message = format!("cannot read env file {}: {error}", file.display());
            Diagnostic::error("env-file", message)
        })?;
        let lookup = |name: &str| process.get(name).or_else(|| environment.get(name)).cloned();
        let variables =
            dotenv::parse(&text, &lookup).map_err(|error| env_file_diagnostic(file, &text, &error))?;
        environment
            .extend(variables.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    }
    environment.extend(process.iter().map(|(name, value)| (name.clone(), value.clone())));
    Ok(environment)
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

fn read(request: &LoadRequest, loader: &dyn Loader, findings: &mut Findings) -> Vec<Node> {
    let mut documents = Vec::new();
    for path in &request.files {
        match loader.read(path) {
            Ok(text) => {
                let file = findings.sources.add(path, &text);
                let found = tree::parse(&text, file, findings);
                // A file of comments only is an empty project part, as is an empty file.
                documents.extend(found.into_iter().filter(|node| !matches!(node.value, Value::Null)));
            }
            Err(error) => {
                let message = format!("cannot read compose file {}: {error}", path.display());
                findings.push(Diagnostic::error("compose-file", message));
            }
        }
    }
    if documents.is_empty()
        && !findings.failed()
        && let Some(path) = request.files.first()
    {
        let diagnostic = Diagnostic::error("no-services", "the compose file is empty");
        findings.push(diagnostic.with_span(Span::at(path, 1, 1)));
    }
    documents
}

/// Decides the project's name: said by the user, then the files, then the directory; the latter two are followed by
/// the chosen environment, so that `dev` and `staging` of one project can be up side by side.
fn project_name(
    request: &LoadRequest,
    documents: &[Node],
    environment: &IndexMap<String, String>,
    findings: &mut Findings,
) -> String {
    let explicit = request
        .project_name
        .as_ref()
        .or_else(|| environment.get("COMPOSE_PROJECT_NAME"))
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
        let lookup = |name: &str| environment.get(name).cloned();
        let name = interpolate(text, &lookup, &mut Vec::new()).unwrap_or_default();
        if !name.is_empty() && name != normalise_project_name(&name) {
            let message = format!("`{name}` is no project name: lower-case letters, digits, `_` and `-`");
            let hint = Hint(format!("use `{}`", normalise_project_name(&name)));
            findings.error("project-name", mark, message).hints.push(hint);
        }
        name
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

struct Variables<'a> {
    environment: &'a IndexMap<String, String>,
    findings: &'a mut Findings,
    warned: Vec<String>,
}

impl Variables<'_> {
    /// Replaces the variables in every value below `node`; keys stay as they are.
    fn replace_in(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.replace_in(item)),
            Value::Mapping(mapping) => self.replace_in_mapping(mapping),
            Value::Scalar(scalar) if scalar.text.contains('$') => {
                let lookup = |name: &str| self.environment.get(name).cloned();
                let mut missing = Vec::new();
                let result = interpolate(&scalar.text, &lookup, &mut missing);
                let (text, style) = (scalar.text.clone(), scalar.style);
                for missing in missing {
                    if self.warned.contains(&missing.name) {
                        continue;
                    }
                    let name = &missing.name;
                    let message = format!("variable `{name}` is not set; it is replaced by nothing");
                    let mark = place_in(node.mark, &text, style, missing.offset);
                    let warning = self.findings.warning("undefined-variable", mark, message);
                    let hint = format!("set it in the env file or write a default: `${{{name}:-value}}`");
                    warning.hints.push(Hint(hint));
                    self.warned.push(missing.name);
                }
                match result {
                    Ok(replaced) => {
                        scalar.text = replaced;
                        // What a variable brought is text, not a YAML null or number.
                        if scalar.style == Style::Plain && scalar.text.is_empty() {
                            scalar.style = Style::Quoted;
                        }
                    }
                    Err(error) => {
                        let mark = place_in(node.mark, &text, style, error.offset);
                        let (code, hint) = match &error.kind {
                            InterpolationErrorKind::Required { name, .. } => {
                                ("required-variable", format!("set `{name}` in the env file or the shell"))
                            }
                            InterpolationErrorKind::Stray
                            | InterpolationErrorKind::Unclosed
                            | InterpolationErrorKind::Malformed(_) => {
                                ("interpolation", "write `$$` for a dollar sign".to_owned())
                            }
                        };
                        self.findings.error(code, mark, error.to_string()).hints.push(Hint(hint));
                    }
                }
            }
            Value::Null | Value::Scalar(_) => {}
        }
    }

    fn replace_in_mapping(&mut self, mapping: &mut Mapping) {
        for Entry { node, .. } in mapping.values_mut() {
            self.replace_in(node);
        }
    }
}

/// Returns the place of byte `offset` of a scalar's text, as near as its style lets one tell.
fn place_in(mark: Mark, text: &str, style: Style, offset: usize) -> Mark {
    let one_line = mark.start.line == mark.end.line;
    let written = (mark.end.column.saturating_sub(mark.start.column)) as usize;
    let quotes = match style {
        Style::Plain => 0,
        Style::Quoted => 1,
        Style::Block => return mark,
    };
    // Escapes make the written form longer than the text; then only the beginning is certain.
    if !one_line || written != text.chars().count() + 2 * quotes {
        return mark;
    }
    let column = mark.start.column + (quotes + text[..offset].chars().count()) as u32;
    let start = Position::new(mark.start.line, column);
    Mark { start, ..mark }
}

/// Returns the directory that holds the first of `files`.
pub(crate) fn directory_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

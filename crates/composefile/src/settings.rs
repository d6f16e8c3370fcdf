//! `coracle.toml`: which files a project and its environments are made of, where their names do not say so.

use std::ops::Range;
use std::path::{Path, PathBuf};

use coracle_report::{Diagnostic, Position, Span};
use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::scalar;
use crate::source::shorten;

/// The file's name, in the project's directory.
pub(crate) const NAME: &str = "coracle.toml";

/// Bytes that the file may have.
const SIZE_LIMIT: usize = 1 << 20;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The compose files of every environment, lowest precedence first; none leaves it to their names.
    pub(crate) files: Vec<Named>,
    /// Where relative paths of values start, instead of beside the first file.
    pub(crate) directory: Option<Named>,
    /// What is said of each environment, by its name.
    pub(crate) environments: IndexMap<String, EnvironmentSettings>,
}

/// What the file says of one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnvironmentSettings {
    /// The compose files that are laid over the project's; `None` leaves it to their names.
    pub(crate) files: Option<Vec<Named>>,
    /// The files of variables, the last is strongest; `None` leaves it to their names.
    pub(crate) env_files: Option<Vec<Named>>,
    /// Profiles that are on.
    pub(crate) profiles: Vec<String>,
    /// Whether people depend on it; `None` leaves it to the environment's name.
    pub(crate) production: Option<bool>,
}

/// A path and where it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) path: PathBuf,
    pub(crate) at: Span,
    pub(crate) line: String,
}

/// Reads the text of the file `path`; all faults are returned together.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Settings, Vec<Diagnostic>> {
    let mut reader = Reader { path, text, faults: Vec::new() };
    if text.len() > SIZE_LIMIT {
        return Err(vec![
            Diagnostic::error("too-large", "the file is larger than 1 MiB").with_span(Span::at(path, 1, 1)),
        ]);
    }
    let settings = match DeTable::parse(text) {
        Ok(table) => reader.settings(table.get_ref()),
        Err(error) => {
            let place = error.span().unwrap_or_default();
            let message = format!("not valid TOML: {}", error.message().replace('\n', ", "));
            reader.fault("toml-syntax", place, message);
            Settings::default()
        }
    };
    reader.faults.iter_mut().for_each(shorten);
    if reader.faults.is_empty() { Ok(settings) } else { Err(reader.faults) }
}

struct Reader<'r> {
    path: &'r Path,
    text: &'r str,
    faults: Vec<Diagnostic>,
}

type Value<'v> = Spanned<DeValue<'v>>;

impl Reader<'_> {
    fn span(&self, place: Range<usize>) -> Span {
        let position = |offset: usize| {
            let before = self.text.get(..offset).unwrap_or(self.text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            Position::new(line as u32, column as u32)
        };
        Span::new(self.path, position(place.start), position(place.end))
    }

    fn line(&self, span: &Span) -> String {
        self.text.lines().nth(span.start.line as usize - 1).unwrap_or_default().to_owned()
    }

    fn fault(&mut self, code: &str, place: Range<usize>, message: String) -> &mut Diagnostic {
        let span = self.span(place);
        let line = self.line(&span);
        self.faults.push(Diagnostic::error(code, message).with_span(span).with_source_line(line));
        self.faults.last_mut().expect("one was pushed just now")
    }

    fn settings(&mut self, root: &DeTable<'_>) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in root {
            match key.get_ref().as_ref() {
                "project" => {
                    let Some(project) = self.table(value, "project") else { continue };
                    for (key, value) in project {
                        match key.get_ref().as_ref() {
                            "files" => settings.files = self.paths(value, "project.files"),
                            "directory" => settings.directory = self.path(value, "project.directory"),
                            other => self.unknown(key.span(), other, "[project]", &["files", "directory"]),
                        }
                    }
                }
                "environments" => {
                    let Some(environments) = self.table(value, "environments") else { continue };
                    for (name, value) in environments {
                        let environment = self.environment(name, value);
                        settings.environments.insert(name.get_ref().to_string(), environment);
                    }
                }
                other => self.unknown(key.span(), other, NAME, &["project", "environments"]),
            }
        }
        settings
    }

    fn environment(
        &mut self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Value<'_>,
    ) -> EnvironmentSettings {
        let mut environment = EnvironmentSettings::default();
        let path = format!("environments.{}", name.get_ref());
        let legal = |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
        if name.get_ref().is_empty() || !name.get_ref().chars().all(legal) {
            let message = format!("`{}` is no name of an environment", name.get_ref());
            self.fault("bad-value", name.span(), message)
                .hints
                .push(coracle_report::Hint("use letters, digits, `_`, `-` and `.`".to_owned()));
        }
        let Some(table) = self.table(value, &path) else { return environment };
        for (key, value) in table {
            let path = format!("{path}.{}", key.get_ref());
            match key.get_ref().as_ref() {
                "files" => environment.files = Some(self.paths(value, &path)),
                "env_files" => environment.env_files = Some(self.paths(value, &path)),
                "profiles" => {
                    let texts = self.texts(value, &path);
                    environment.profiles = texts.into_iter().map(|(text, _)| text).collect();
                }
                "production" => match value.get_ref() {
                    DeValue::Boolean(production) => environment.production = Some(*production),
                    other => {
                        let message = format!("{path} must be `true` or `false`, not {}", other.type_str());
                        self.fault("wrong-type", value.span(), message);
                    }
                },
                other => {
                    let within = format!("[environments.{}]", name.get_ref());
                    let known = ["files", "env_files", "profiles", "production"];
                    self.unknown(key.span(), other, &within, &known);
                }
            }
        }
        environment
    }

    fn unknown(&mut self, place: Range<usize>, key: &str, within: &str, known: &[&str]) {
        let near = scalar::nearest(key, known.iter().copied());
        let words = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let fault = self.fault("unknown-key", place, format!("unknown key `{key}` in {within}"));
        let hint = near.map_or_else(|| format!("it has {words}"), |near| format!("did you mean `{near}`?"));
        fault.hints.push(coracle_report::Hint(hint));
    }

    fn table<'v, 'i>(&mut self, value: &'v Value<'i>, path: &str) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let message = format!("{path} must be a table, not {}", value.get_ref().type_str());
            self.fault("wrong-type", value.span(), message);
        }
        table
    }

    fn texts(&mut self, value: &Value<'_>, path: &str) -> Vec<(String, Range<usize>)> {
        let Some(items) = value.get_ref().as_array() else {
            let message = format!("{path} must be a list of texts, not {}", value.get_ref().type_str());
            self.fault("wrong-type", value.span(), message);
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items {
            match item.get_ref().as_str() {
                Some(text) if !text.is_empty() => out.push((text.to_owned(), item.span())),
                _ => {
                    let message = format!("{path} must be a list of texts that are not empty");
                    self.fault("wrong-type", item.span(), message);
                }
            }
        }
        out
    }

    fn paths(&mut self, value: &Value<'_>, path: &str) -> Vec<Named> {
        self.texts(value, path).into_iter().map(|(text, place)| self.named(&text, place)).collect()
    }

    fn path(&mut self, value: &Value<'_>, path: &str) -> Option<Named> {
        if let Some(text) = value.get_ref().as_str().filter(|text| !text.is_empty()) {
            return Some(self.named(text, value.span()));
        }
        let message = format!("{path} must be a text that is not empty");
        self.fault("wrong-type", value.span(), message);
        None
    }

    fn named(&self, text: &str, place: Range<usize>) -> Named {
        let at = self.span(place);
        let line = self.line(&at);
        Named { path: PathBuf::from(text), at, line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let path = Path::new("coracle.toml");
        let Err(faults) = parse(path, text) else { return Vec::new() };
        let show = |fault: Diagnostic| {
            let hints: Vec<String> = fault.hints.iter().map(|hint| format!(" ({hint})")).collect();
            format!("{fault}{}", hints.concat())
        };
        faults.into_iter().map(show).collect()
    }

    #[test]
    fn settings_are_read() {
        let text = "[project]\nfiles = [\"deploy/base.yml\"]\ndirectory = \".\"\n\n[environments.prod]\nfiles = \
                    [\"deploy/prod.yml\"]\nenv_files = [\"deploy/prod.env\"]\nprofiles = [\"metrics\"]\nproduction = true\n";
        let settings = parse(Path::new("coracle.toml"), text).unwrap();
        assert_eq!(settings.files[0].path, Path::new("deploy/base.yml"));
        assert_eq!(settings.files[0].at.to_string(), "coracle.toml:2:10");
        let prod = &settings.environments["prod"];
        assert_eq!(prod.files.as_ref().map(Vec::len), Some(1));
        assert_eq!((prod.profiles.as_slice(), prod.production), (&["metrics".to_owned()][..], Some(true)));
        assert_eq!(parse(Path::new("coracle.toml"), ""), Ok(Settings::default()));
    }

    #[test]
    fn faults_have_places() {
        let table: &[(&str, &[&str])] = &[
            (
                "[projct]\n",
                &["coracle.toml:1:2: unknown key `projct` in coracle.toml (did you mean `project`?)"],
            ),
            (
                "[project]\n  file = []\n",
                &["coracle.toml:2:3: unknown key `file` in [project] (did you mean `files`?)"],
            ),
            (
                "[environments.a]\nx = 1\nenv_file = []\n",
                &[
                    "coracle.toml:3:1: unknown key `env_file` in [environments.a] (did you mean `env_files`?)",
                    "coracle.toml:2:1: unknown key `x` in [environments.a] (it has `files`, `env_files`, `profiles`, `production`)",
                ],
            ),
            ("project = 1\n", &["coracle.toml:1:11: project must be a table, not integer"]),
            (
                "[project]\nfiles = \"x\"\n",
                &["coracle.toml:2:9: project.files must be a list of texts, not string"],
            ),
            (
                "[environments.a]\nfiles = [\"x\", 1]\n",
                &["coracle.toml:2:15: environments.a.files must be a list of texts that are not empty"],
            ),
            (
                "[environments.a]\nproduction = \"yes\"\n",
                &["coracle.toml:2:14: environments.a.production must be `true` or `false`, not string"],
            ),
            (
                "[environments.\"a b\"]\n",
                &[
                    "coracle.toml:1:15: `a b` is no name of an environment (use letters, digits, `_`, `-` and `.`)",
                ],
            ),
        ];
        for (text, expected) in table {
            assert_eq!(faults(text), *expected, "{text}");
        }
        for text in ["[project", "[project]\nfiles = [\n", "a = 1\na = 2\n", "x = ?"] {
            let faults = faults(text);
            assert!(faults[0].contains("not valid TOML"), "{text}: {faults:?}");
        }
    }

    #[test]
    fn hostile_texts_are_refused() {
        let deep = format!("x = {}", "[".repeat(100_000));
        assert!(faults(&deep)[0].contains("not valid TOML"));
        assert!(faults(&"a".repeat(2 << 20))[0].contains("larger than 1 MiB"));
    }
}

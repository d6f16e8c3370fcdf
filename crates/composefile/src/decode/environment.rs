//! `environment` and `env_file`.

use coracle_report::{Diagnostic, Hint, Span};
use indexmap::IndexMap;

use crate::dotenv;
use crate::fields::{Field, Fields};
use crate::source::shorten;

use super::Decoder;

impl Decoder<'_> {
    /// Reads the files of `env_file` in order, then `environment` over them.
    pub(super) fn environment(&mut self, fields: &mut Fields<'_>) -> IndexMap<String, String> {
        let mut environment = IndexMap::new();
        if let Some(files) = fields.take("env_file") {
            for item in files.list(self.findings) {
                self.env_file(&item, &mut environment);
            }
        }
        if let Some(own) = fields.take("environment") {
            for (name, value) in own.pairs(self.findings) {
                if name.is_empty() {
                    own.bad(self.findings, "a variable has no name");
                    continue;
                }
                match value.or_else(|| self.environment.get(&name).cloned()) {
                    Some(value) => {
                        environment.insert(name, value);
                    }
                    // Named without a value, and the caller has none: not set, not even by an env file.
                    None => {
                        environment.shift_remove(&name);
                    }
                }
            }
        }
        environment
    }

    fn env_file(&mut self, item: &Field<'_>, environment: &mut IndexMap<String, String>) {
        let (path, required, raw) = if item.node.text().is_some() {
            (item.clone(), true, false)
        } else {
            let Some(mut fields) = item.mapping(self.findings) else { return };
            let path = fields.take("path");
            let required = fields.take("required").is_none_or(|required| required.boolean(self.findings));
            let raw = fields.text("format", self.findings).is_some_and(|format| format == "raw");
            fields.finish(&[], self.findings);
            let Some(path) = path else {
                let message = format!("{} has no `path`", item.path);
                self.findings.error("missing-key", item.node.mark, message);
                return;
            };
            (path, required, raw)
        };
        let Some(file) = self.path_of(&path) else { return };
        if self.findings.is_full() || (!required && !self.loader.exists(&file)) {
            return;
        }
        let text = match self.loader.read(&file) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("cannot read env file {}: {error}", file.display());
                let diagnostic = path.bad(self.findings, &reason);
                if error.kind() == std::io::ErrorKind::NotFound {
                    let hint = "create the file, or say `required: false` beside its `path`";
                    diagnostic.hints.push(Hint(hint.to_owned()));
                }
                return;
            }
        };
        let before = |name: &str| environment.get(name).cloned();
        let variables = if raw {
            dotenv::parse_raw(&text)
        } else {
            dotenv::parse_over(&text, &|name| self.environment.get(name).cloned(), &before).map(|variables| {
                variables.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
            })
        };
        match variables {
            Ok(variables) => {
                if self.findings.count_variables(&variables, item.node.mark) {
                    environment.extend(variables);
                }
            }
            Err(error) => {
                self.findings.push(env_file_diagnostic(&file, &text, &error));
            }
        }
    }
}

/// Returns the finding about a malformed env file.
pub(crate) fn env_file_diagnostic(
    file: &std::path::Path,
    text: &str,
    error: &dotenv::EnvFileError,
) -> Diagnostic {
    let position = error.position;
    let mut diagnostic = Diagnostic::error("env-file-syntax", error.reason.clone())
        .with_span(Span::new(file, position, position));
    // The line may hold a password; only its part up to the value is shown.
    let line = text.lines().nth(position.line.saturating_sub(1) as usize).unwrap_or_default();
    diagnostic.source_line = Some(match line.split_once('=') {
        Some((name, _)) => format!("{name}=..."),
        None => line.to_owned(),
    });
    diagnostic.hints.extend(error.hint.map(|hint| Hint(hint.to_owned())));
    shorten(&mut diagnostic);
    diagnostic
}

//! Replacing variables in a document's values, and giving the values their attribute's type.

use coracle_report::{Hint, Position};
use indexmap::IndexMap;

use crate::interpolate::{InterpolationErrorKind, interpolate};
use crate::kind::Kind;
use crate::source::Mark;
use crate::trace::{self, What};
use crate::tree::{Node, Scalar, Style, Value};
use crate::written::VariableOrigin;

use super::{Composer, Scope, cast};

/// Bytes that variables may bring to a project.
const REPLACED_LIMIT: usize = 64 << 20;

impl Composer<'_> {
    /// Replaces the variables in every value; keys stay as they are.
    pub(super) fn replace_variables(&mut self, root: &mut Node, scope: &Scope) {
        let mut path = Vec::new();
        let Some(mapping) = root.mapping_mut() else { return };
        for (key, entry) in mapping.iter_mut() {
            path.push(key.as_str());
            self.replace_below(&mut entry.node, &mut path, scope);
            path.pop();
        }
    }

    fn replace_below<'k>(&mut self, node: &'k mut Node, path: &mut Vec<&'k str>, scope: &Scope) {
        let mark = node.mark;
        match &mut node.value {
            Value::Sequence(items) => {
                path.push("[]");
                items.iter_mut().for_each(|item| self.replace_below(item, path, scope));
                path.pop();
            }
            Value::Mapping(mapping) => {
                for (key, entry) in mapping.iter_mut() {
                    path.push(key.as_str());
                    self.replace_below(&mut entry.node, path, scope);
                    path.pop();
                }
            }
            Value::Scalar(scalar) if scalar.kind == Kind::Text => {
                if scalar.text.contains('$') {
                    let written = self.findings.trace.is_some().then(|| (scalar.text.clone(), scalar.style));
                    self.replace_in(scalar, mark, &scope.environment);
                    if !self.findings.failed()
                        && let (Some((written, style)), Some(trace)) = (written, &mut self.findings.trace)
                    {
                        let place = |offset| place_in(mark, &written, style, offset);
                        let lookup = |name: &str| {
                            let value = scope.environment.get(name)?.clone();
                            let origin = scope.origins.get(name).cloned();
                            Some((value, origin.unwrap_or(VariableOrigin::Process)))
                        };
                        let uses = trace::uses(&written, &lookup, &place);
                        trace.add(&mut node.mark, What::Replaced { written, uses });
                    }
                }
                if !self.findings.failed()
                    && let Err(reason) = cast::cast(path, scalar)
                {
                    let message = format!("{}: {reason}", path.join("."));
                    self.unreadable.push(self.findings.fault("bad-value", mark, message));
                }
            }
            Value::Null | Value::Scalar(_) => {}
        }
    }

    fn replace_in(&mut self, scalar: &mut Scalar, mark: Mark, environment: &IndexMap<String, String>) {
        let lookup = |name: &str| environment.get(name).cloned();
        let mut missing = Vec::new();
        let result = interpolate(&scalar.text, &lookup, &mut missing);
        for missing in missing {
            if self.warned.contains(&missing.name) {
                continue;
            }
            let name = &missing.name;
            let message = format!("variable `{name}` is not set; it is replaced by nothing");
            let mark = place_in(mark, &scalar.text, scalar.style, missing.offset);
            let warning = self.findings.warning("undefined-variable", mark, message);
            let hint = format!("set it in the env file or write a default: `${{{name}:-value}}`");
            warning.hints.push(Hint(hint));
            self.warned.push(missing.name);
        }
        match result {
            Ok(replaced) => {
                self.replaced += replaced.len();
                if self.replaced > REPLACED_LIMIT {
                    self.findings.error("too-large", mark, "variables bring more than 64 MiB to the project");
                }
                scalar.text = replaced;
                // What a variable brought is text, not a YAML null or number.
                if scalar.style == Style::Plain && scalar.text.is_empty() {
                    scalar.style = Style::Quoted;
                }
            }
            Err(error) => {
                let mark = place_in(mark, &scalar.text, scalar.style, error.offset);
                let (code, hint) = match &error.kind {
                    InterpolationErrorKind::Required { name, .. } => {
                        ("required-variable", format!("set `{name}` in the env file or the shell"))
                    }
                    InterpolationErrorKind::TooLong => {
                        ("too-large", "look for variables that hold one another".to_owned())
                    }
                    InterpolationErrorKind::Unclosed | InterpolationErrorKind::Malformed(_) => {
                        ("interpolation", "write `$$` for a dollar sign".to_owned())
                    }
                };
                self.findings.error(code, mark, error.to_string()).hints.push(Hint(hint));
            }
        }
    }
}

/// Returns the place of byte `offset` of a scalar's text, as near as its style lets one tell.
pub(crate) fn place_in(mark: Mark, text: &str, style: Style, offset: usize) -> Mark {
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

//! Findings as workflow commands of GitHub Actions, which show them at their lines.

use std::fmt::Write as _;

use coracle_report::Severity;

use super::Shown;

/// Returns findings as workflow commands.
pub fn github(shown: &[Shown]) -> String {
    let mut out = String::new();
    for one in shown {
        let diagnostic = &one.diagnostic;
        let command = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let place = diagnostic.span.as_ref().map_or_else(String::new, |span| {
            let file = escaped(&span.file.display().to_string(), true);
            let (start, end) = (span.start, span.end);
            let columns = if start.line == end.line {
                format!(",col={},endColumn={}", start.column, end.column)
            } else {
                String::new()
            };
            format!("file={file},line={},endLine={}{columns},", start.line, end.line)
        });
        let hints = diagnostic.hints.iter().map(|hint| format!("\nhint: {hint}"));
        let message = diagnostic.message.clone() + &hints.collect::<String>();
        let _ = writeln!(
            out,
            "::{command} {place}title={}::{}",
            escaped(one.id(), true),
            escaped(&message, false)
        );
    }
    out
}

/// Escapes a workflow command's message, or one of its properties.
fn escaped(text: &str, property: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

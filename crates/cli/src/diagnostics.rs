//! Renders diagnostics: message, place with a caret, evidence, hints.

use std::fmt::Write as _;

use anstyle::Style;
use coracle_report::{Diagnostic, Severity, Span};

use crate::printer::{DIM, ERROR, HINT, Printer, WARNING, paint};
use crate::visible::{is_hostile, output, spelled};

/// Prints `diagnostic` to standard error.
pub fn print(printer: Printer, diagnostic: &Diagnostic) {
    printer.status(render(diagnostic).trim_end());
}

/// Returns the text of `diagnostic`, with a final line end.
pub fn render(diagnostic: &Diagnostic) -> String {
    let (style, word) = match diagnostic.severity {
        Severity::Error => (ERROR, "error"),
        Severity::Warning => (WARNING, "warning"),
        Severity::Note => (Style::new().bold(), "note"),
    };
    let mut text = format!("{} {}\n", paint(style, format_args!("{word}:")), spelled(&diagnostic.message));
    let own = diagnostic.span.iter().map(|span| margin(span, diagnostic.source_line.as_deref()));
    let further =
        diagnostic.related.iter().map(|related| margin(&related.span, related.source_line.as_deref()));
    let width = own.chain(further).max().unwrap_or(1);
    if let Some(span) = &diagnostic.span {
        place(&mut text, span, diagnostic.source_line.as_deref(), style, "", width);
    }
    for related in &diagnostic.related {
        place(&mut text, &related.span, related.source_line.as_deref(), HINT, &related.label, width);
    }
    for note in &diagnostic.notes {
        for line in output(note).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    for hint in &diagnostic.hints {
        let _ = writeln!(text, "{} {}", paint(HINT, "hint:"), spelled(&hint.0));
    }
    text
}

/// Returns how wide the numbers of a place's lines are.
fn margin(span: &Span, source: Option<&str>) -> usize {
    let more = source.map_or(0, |lines| lines.matches('\n').count());
    (span.start.line as usize + more).to_string().len()
}

/// Writes a place: its name, its lines, carets below the first of them and a label behind those. All places of a
/// diagnostic have the same `width` of numbers.
fn place(text: &mut String, span: &Span, source: Option<&str>, style: Style, label: &str, width: usize) {
    let number = span.start.line.to_string();
    let margin = " ".repeat(width);
    let arrow = if label.is_empty() { "-->" } else { ":::" };
    let _ = writeln!(text, "{margin}{} {}", paint(DIM, arrow), spelled(&span.to_string()));
    let label = spelled(label);
    let Some(lines) = source else {
        if !label.is_empty() {
            let _ = writeln!(text, "{margin} {} {label}", paint(DIM, "="));
        }
        return;
    };
    let bar = paint(DIM, "|");
    // One character for each, so that the caret stays under its word.
    let lines = lines.replace(|c| c != '\n' && is_hostile(c), "\u{fffd}");
    let (line, rest) =
        lines.split_once('\n').map_or((lines.as_str(), None), |(line, rest)| (line, Some(rest)));
    let start = span.start.column.max(1) as usize - 1;
    let length = line.chars().count();
    let end = if span.end.line == span.start.line && span.end.column > span.start.column {
        (span.end.column as usize - 1).min(length.max(start + 1))
    } else {
        length.max(start + 1)
    };
    let carets = "^".repeat(end.saturating_sub(start).max(1));
    // Tabs keep their width under the source line.
    let lead: String = line.chars().take(start).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let space = if label.is_empty() { "" } else { " " };
    let _ = writeln!(text, "{margin} {bar}");
    let _ = writeln!(text, "{} {bar} {line}", paint(DIM, format_args!("{number:>width$}")));
    let _ = writeln!(text, "{margin} {bar} {lead}{}{space}{}", paint(style, carets), paint(style, label));
    for (index, line) in rest.into_iter().flat_map(str::lines).enumerate() {
        let number = span.start.line as usize + 1 + index;
        let _ = writeln!(text, "{} {bar} {line}", paint(DIM, format_args!("{number:>width$}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_report::Position;

    fn plain(diagnostic: &Diagnostic) -> String {
        anstream::adapter::strip_str(&render(diagnostic)).to_string()
    }

    #[test]
    fn shows_the_line_with_a_caret() {
        let span = Span::new("docker-compose.yml", Position::new(12, 5), Position::new(12, 10));
        let diagnostic = Diagnostic::error("unknown-key", "unknown key `prots` in service `web`")
            .with_span(span)
            .with_source_line("    prots:")
            .with_note("seen twice")
            .with_hint("did you mean `ports`?");
        insta::assert_snapshot!(plain(&diagnostic), @r"
        error: unknown key `prots` in service `web`
          --> docker-compose.yml:12:5
           |
        12 |     prots:
           |     ^^^^^
          seen twice
        hint: did you mean `ports`?
        ");
    }

    #[test]
    fn shows_all_lines_that_are_meant() {
        let span = Span::new("Dockerfile", Position::new(9, 1), Position::new(11, 5));
        let diagnostic = Diagnostic::error("run-failed", "the command ended with exit code 1")
            .with_span(span)
            .with_source_line("RUN <<END\nfalse\nEND");
        insta::assert_snapshot!(plain(&diagnostic), @r"
        error: the command ended with exit code 1
          --> Dockerfile:9:1
           |
         9 | RUN <<END
           | ^^^^^^^^^
        10 | false
        11 | END
        ");
    }

    #[test]
    fn shows_a_second_place() {
        let mut diagnostic = Diagnostic::error("port-published-twice", "port 5173 is published twice")
            .with_span(Span::new("a.yml", Position::new(9, 3), Position::new(9, 7)))
            .with_source_line("  5173")
            .with_related(Span::new("b.yml", Position::new(12, 1), Position::new(12, 3)), "and here");
        diagnostic.related[0].source_line = Some("ab".to_owned());
        insta::assert_snapshot!(plain(&diagnostic));
    }

    #[test]
    fn survives_a_span_beyond_the_line() {
        let diagnostic = Diagnostic::warning("x", "m").with_span(Span::at("f", 1, 40)).with_source_line("ab");
        assert!(plain(&diagnostic).contains('^'));
    }

    #[test]
    fn nothing_in_it_steers_a_terminal() {
        let hostile = "a\u{1b}]0;owned\u{7}b\u{1b}[2Jc";
        let diagnostic = Diagnostic::error("x", hostile)
            .with_span(Span::at(hostile, 1, 1))
            .with_source_line(hostile)
            .with_note(format!("\u{1b}[31m{hostile}\u{1b}[0m"))
            .with_hint(hostile);
        let shown = plain(&diagnostic);
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        let styles = render(&diagnostic);
        assert_eq!(crate::visible::styled(&styles), styles, "only our own styles are left");
    }
}

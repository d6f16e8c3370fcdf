//! The one door to the terminal: data to standard output, everything else to standard error.
//!
//! Colour carries meaning but never alone; `anstream` strips it where the stream is no terminal or `NO_COLOR` is set.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};

use crate::visible;

/// Writes what commands have to say. Commands never print by other means.
#[derive(Clone, Copy, Debug)]
pub struct Printer;

/// Bold red: failures.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Bold yellow: warnings.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Bold cyan: advice.
pub const HINT: Style = AnsiColor::Cyan.on_default().bold();
/// Green: done, healthy.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Dim: context.
pub const DIM: Style = Style::new().dimmed();
/// Bold: names and headings.
pub const STRONG: Style = Style::new().bold();

impl Printer {
    /// Writes a line of data to standard output. A closed pipe ends the process quietly, as `head` expects.
    pub fn data(self, line: impl AsRef<str>) {
        let line = line.as_ref();
        // Whoever reads it by program gets it as it is.
        let shown = if std::io::stdout().is_terminal() { visible::styled(line) } else { line.into() };
        self.raw_data(format!("{shown}\n").as_bytes());
    }

    /// Writes bytes of data to standard output unchanged.
    pub fn raw_data(self, bytes: &[u8]) {
        let mut out = anstream::stdout().lock();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            broken_pipe();
        }
    }

    /// Writes bytes that are not ours to standard output, down to the last escape sequence.
    pub fn foreign(self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
            broken_pipe();
        }
    }

    /// Returns whether what goes to standard output may have colours.
    pub fn colours(self) -> bool {
        anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
    }

    /// Writes bytes to standard error unchanged, whatever the verbosity: a container's own error stream.
    pub fn raw_error(self, bytes: &[u8]) {
        let mut out = std::io::stderr().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// Writes a container's own error stream with colours of ours, which go where standard error is no terminal.
    pub fn painted_error(self, bytes: &[u8]) {
        let mut out = anstream::stderr().lock();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    /// Writes a line for people to standard error.
    pub fn status(self, line: impl AsRef<str>) {
        let mut out = anstream::stderr().lock();
        let _ = writeln!(out, "{}", visible::styled(line.as_ref()));
    }

    /// Returns whether standard error is a terminal.
    pub fn interactive(self) -> bool {
        std::io::stderr().is_terminal()
    }
}

/// Ends the process as a program does whose reader has gone.
#[expect(clippy::exit, reason = "the reader has gone; there is nobody to return an error to")]
fn broken_pipe() -> ! {
    std::process::exit(141)
}

/// Returns `text` in `style`.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

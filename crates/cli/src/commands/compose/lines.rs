//! Lines of several containers on one screen: `web-1  | hello`, each container in a colour of its own.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anstyle::Style;
use coracle_engine::{AttachEvent, LogLine, LogStream};

use crate::printer::{Printer, WARNING, paint};

/// Writes lines of containers.
pub struct Lines {
    printer: Printer,
    project: String,
    prefix: bool,
    colour: bool,
    times: bool,
    /// Prefixes by container, and the width of the longest.
    known: Mutex<(BTreeMap<String, usize>, usize)>,
}

impl Lines {
    /// Returns a writer for a project's containers.
    pub fn new(printer: Printer, project: &str) -> Self {
        Self {
            printer,
            project: project.to_owned(),
            prefix: true,
            colour: true,
            times: false,
            known: Mutex::default(),
        }
    }

    /// Sets whether lines begin with their container's name.
    pub fn with_prefix(mut self, prefix: bool) -> Self {
        self.prefix = prefix;
        self
    }

    /// Sets whether names are coloured.
    pub fn with_colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    /// Sets whether lines begin with their time.
    pub fn with_times(mut self, times: bool) -> Self {
        self.times = times;
        self
    }

    /// Makes containers known, so that all names are as wide as the longest.
    pub fn announce<'n>(&self, names: impl IntoIterator<Item = &'n String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let width = self.short(name).chars().count();
            let number = known.0.len();
            known.0.entry(name.clone()).or_insert(number);
            known.1 = known.1.max(width);
        }
    }

    /// Returns a container's name without the project's before it.
    pub fn short<'n>(&self, name: &'n str) -> &'n str {
        name.strip_prefix(&self.project).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name)
    }

    fn prefix(&self, name: &str) -> String {
        if !self.prefix {
            return String::new();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let short = self.short(name);
        let count = known.0.len();
        let number = *known.0.entry(name.to_owned()).or_insert(count);
        known.1 = known.1.max(short.chars().count());
        let width = known.1;
        let text = format!("{short:<width$}  | ");
        if self.colour { paint(colour(number), text) } else { text }
    }

    /// Writes a line.
    pub fn line(&self, name: &str, line: &LogLine) {
        let mut bytes = self.prefix(name).into_bytes();
        if self.times {
            bytes.extend(format!("{:.9} ", line.time).into_bytes());
        }
        bytes.extend_from_slice(&line.bytes);
        // A last line without its end must not run into another's.
        if !bytes.ends_with(b"\n") && (self.prefix || self.times) {
            bytes.push(b'\n');
        }
        match line.stream {
            LogStream::Stdout => self.printer.raw_data(&bytes),
            LogStream::Stderr => self.printer.painted_error(&bytes),
        }
    }

    /// Says what happens while an `up` is attached.
    pub fn event(&self, event: AttachEvent<'_>) {
        match event {
            AttachEvent::Attaching(names) => {
                self.announce(names);
                let names: Vec<&str> = names.iter().map(|name| self.short(name)).collect();
                self.printer.status(format!("Attaching to {}", names.join(", ")));
            }
            AttachEvent::Line(name, line) => self.line(name, &line),
            AttachEvent::Ended(name, code) => {
                self.printer.status(format!("{} exited with code {code}", self.short(name)));
            }
            AttachEvent::Aborting => self.printer.status(paint(WARNING, "Aborting on container exit...")),
            AttachEvent::Stopping => {
                self.printer.status("Gracefully Stopping... press Ctrl+C again to force");
            }
            AttachEvent::Killing => self.printer.status("Killing..."),
        }
    }
}

fn colour(number: usize) -> Style {
    use anstyle::AnsiColor::{Blue, BrightCyan, BrightGreen, BrightMagenta, Cyan, Green, Magenta, Yellow};
    [Cyan, Yellow, Green, Magenta, Blue, BrightCyan, BrightGreen, BrightMagenta][number % 8].on_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_wide_as_the_longest() {
        let lines = Lines::new(Printer, "shop").with_colour(false);
        lines.announce(&["shop-db-1".to_owned(), "shop-frontend-1".to_owned(), "mine".to_owned()]);
        assert_eq!(lines.prefix("shop-db-1"), "db-1        | ");
        assert_eq!(lines.prefix("mine"), "mine        | ");
        assert_eq!(Lines::new(Printer, "shop").with_prefix(false).prefix("x"), "");
    }
}

//! Lines of logs on their way to the screen: gathered, so that a million of them are not a million writes.

use std::cell::RefCell;

use coracle_engine::{LogLine, LogStream};

use crate::printer::Printer;

/// Bytes that are gathered at most.
const FULL: usize = 64 * 1024;

/// Writes the lines of one log.
pub struct LogLines<'a> {
    printer: Printer,
    prefix: &'a str,
    timestamps: bool,
    details: String,
    gathered: RefCell<(LogStream, Vec<u8>)>,
}

impl<'a> LogLines<'a> {
    /// Returns a writer that begins each line with `prefix`.
    pub fn new(printer: Printer, prefix: &'a str, timestamps: bool) -> Self {
        let gathered = RefCell::new((LogStream::Stdout, Vec::new()));
        Self { printer, prefix, timestamps, details: String::new(), gathered }
    }

    /// Shows this before each line's text.
    pub fn with_details(mut self, details: String) -> Self {
        self.details = details;
        self
    }

    /// Takes a line.
    pub fn line(&self, line: &LogLine) {
        // Lines of several services mix on one screen; alone, each stream keeps its own.
        let stream = if self.prefix.is_empty() { line.stream } else { LogStream::Stdout };
        if self.gathered.borrow().0 != stream {
            self.flush();
        }
        let full = {
            let mut gathered = self.gathered.borrow_mut();
            gathered.0 = stream;
            let bytes = &mut gathered.1;
            bytes.extend_from_slice(self.prefix.as_bytes());
            if self.timestamps {
                // As Docker: always nine digits.
                bytes.extend_from_slice(format!("{:.9} ", line.time).as_bytes());
            }
            bytes.extend_from_slice(self.details.as_bytes());
            bytes.extend_from_slice(&line.bytes);
            // A last line without its end must not run into another service's.
            if !self.prefix.is_empty() && !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
            bytes.len() >= FULL
        };
        if full {
            self.flush();
        }
    }

    /// Writes what was gathered.
    pub fn flush(&self) {
        let mut gathered = self.gathered.borrow_mut();
        let bytes = std::mem::take(&mut gathered.1);
        match gathered.0 {
            _ if bytes.is_empty() => {}
            LogStream::Stderr => self.printer.raw_error(&bytes),
            LogStream::Stdout => self.printer.foreign(&bytes),
        }
    }
}

impl Drop for LogLines<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

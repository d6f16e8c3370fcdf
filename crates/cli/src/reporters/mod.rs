//! Renderers of progress events: one event type, one renderer a mode.

mod json;
mod plain;
mod tree;
mod tty;

use std::sync::Arc;

use clap::ValueEnum;
use coracle_report::{Diagnostic, Event, Reporter};

use crate::printer::Printer;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Bars.
    Tty,
    /// One line an event.
    Plain,
    /// One JSON object a line.
    #[value(alias = "json")]
    Rawjson,
    /// Nothing but warnings and errors.
    Quiet,
}

/// Returns the renderer of `mode`.
pub fn reporter(mode: Progress, printer: Printer) -> Arc<dyn Reporter> {
    match mode {
        Progress::Auto if printer.interactive() => Arc::new(tty::Tty::new(printer)),
        Progress::Tty => Arc::new(tty::Tty::new(printer)),
        Progress::Auto | Progress::Plain => Arc::new(plain::Plain::new(printer)),
        Progress::Rawjson => Arc::new(json::Json::new(printer)),
        Progress::Quiet => Arc::new(Notices(printer)),
    }
}

/// Shows only notices.
struct Notices(Printer);

impl Reporter for Notices {
    fn event(&self, event: Event) {
        if let Event::Notice(diagnostic) = event {
            notice(self.0, &diagnostic);
        }
    }
}

fn notice(printer: Printer, diagnostic: &Diagnostic) {
    crate::diagnostics::print(printer, diagnostic);
}

/// Returns seconds with one decimal, e.g. `3.2s`.
fn seconds(duration: std::time::Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

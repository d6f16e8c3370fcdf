//! Renderers of progress events: one event type, one renderer a mode.

mod json;
mod plain;
mod tree;
mod tty;

use std::sync::Arc;

use clap::ValueEnum;
use coracle_report::{About, Diagnostic, Event, Outcome, Reporter};

use crate::printer::Printer;
use crate::visible::{output, spelled};

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
        Progress::Auto if printer.interactive() => Arc::new(Visible(tty::Tty::new(printer))),
        Progress::Tty => Arc::new(Visible(tty::Tty::new(printer))),
        Progress::Auto | Progress::Plain => Arc::new(Visible(plain::Plain::new(printer))),
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

/// Takes out of events what could steer a terminal. Notices are rendered fit for one (see [`crate::diagnostics`]); JSON
/// escapes what it must by itself.
struct Visible<R>(R);

impl<R: Reporter> Reporter for Visible<R> {
    fn event(&self, event: Event) {
        self.0.event(visible(event));
    }

    fn settle(&self) {
        self.0.settle();
    }
}

fn visible(event: Event) -> Event {
    let name = |text: String| spelled(&text).into_owned();
    match event {
        Event::Started { task, parent, label } => Event::Started { task, parent, label: name(label) },
        Event::State { task, state } => Event::State { task, state: output(&state).into_owned() },
        Event::About { task, about } => {
            let about = match about {
                About::Group(text) => About::Group(name(text)),
                About::Cause(text) => About::Cause(name(text)),
                other => other,
            };
            Event::About { task, about }
        }
        Event::Output { task, stream, line } => {
            Event::Output { task, stream, line: output(&line).into_owned() }
        }
        Event::Finished { task, outcome } => {
            let outcome = match outcome {
                Outcome::Skipped(why) => Outcome::Skipped(name(why)),
                Outcome::Failed(why) => Outcome::Failed(name(why)),
                other => other,
            };
            Event::Finished { task, outcome }
        }
        other => other,
    }
}

fn notice(printer: Printer, diagnostic: &Diagnostic) {
    crate::diagnostics::print(printer, diagnostic);
}

/// Returns seconds with one decimal, e.g. `3.2s`.
fn seconds(duration: std::time::Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use coracle_report::{Stream, TaskId};

    use super::*;

    struct Seen<'s>(&'s Mutex<Vec<Event>>);

    impl Reporter for Seen<'_> {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    #[test]
    fn reporters_see_nothing_that_steers_a_terminal() {
        let seen = Mutex::default();
        let reporter = Visible(Seen(&seen));
        let (task, text) = (TaskId::next(), || "\u{1b}]0;owned\u{7}\u{1b}[31mx\u{1b}[0m".to_owned());
        reporter.event(Event::Started { task, parent: None, label: text() });
        reporter.event(Event::State { task, state: text() });
        reporter.event(Event::About { task, about: About::Group(text()) });
        reporter.event(Event::About { task, about: About::Cause(text()) });
        reporter.event(Event::Output { task, stream: Stream::Stderr, line: text() });
        reporter.event(Event::Finished { task, outcome: Outcome::Failed(text()) });
        reporter.event(Event::Finished { task, outcome: Outcome::Skipped(text()) });
        let seen = format!("{:#?}", seen.lock().unwrap());
        // `Debug` doubles the backslash of what was spelled out, and would spell out what was not.
        assert!(!seen.replace("\\\\u{", "").contains("\\u{"), "{seen}");
        assert!(seen.contains("line: \"x\""), "{seen}");
    }
}

//! One JSON object a line on standard error, for programs.

use coracle_report::{About, Event, Outcome, Reporter, Stream, Unit};
use serde_json::{Value, json};

use crate::printer::Printer;

/// Writes each event as JSON.
pub struct Json {
    printer: Printer,
}

impl Json {
    /// Returns a renderer that writes through `printer`.
    pub fn new(printer: Printer) -> Self {
        Self { printer }
    }
}

impl Reporter for Json {
    fn event(&self, event: Event) {
        let time = jiff::Timestamp::now().to_string();
        let mut value = render(event);
        value["time"] = Value::String(time);
        self.printer.status(value.to_string());
    }
}

fn render(event: Event) -> Value {
    match event {
        Event::Started { task, parent, label } => {
            json!({"event": "started", "task": number(task), "parent": parent.map(number), "label": label})
        }
        Event::State { task, state } => json!({"event": "state", "task": number(task), "state": state}),
        Event::About { task, about } => {
            let (what, text) = match about {
                About::Group(group) => ("group", group),
                About::Key(key) => ("key", key),
                About::Cause(cause) => ("cause", cause),
                other => ("note", format!("{other:?}")),
            };
            json!({"event": "about", "task": number(task), what: text})
        }
        Event::Progress { task, done, total, unit } => {
            let unit = match unit {
                Unit::Bytes => "bytes",
                Unit::Items => "items",
            };
            json!({"event": "progress", "task": number(task), "done": done, "total": total, "unit": unit})
        }
        Event::Output { task, stream, line } => {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            json!({"event": "output", "task": number(task), "stream": stream, "line": line})
        }
        Event::Finished { task, outcome } => {
            let (word, why) = match outcome {
                Outcome::Done => ("done", None),
                Outcome::Cached => ("cached", None),
                Outcome::Skipped(why) => ("skipped", Some(why)),
                Outcome::Failed(why) => ("failed", Some(why)),
            };
            json!({"event": "finished", "task": number(task), "outcome": word, "why": why})
        }
        Event::Notice(diagnostic) => json!({"event": "notice", "diagnostic": diagnostic}),
    }
}

fn number(task: coracle_report::TaskId) -> u64 {
    task.number()
}

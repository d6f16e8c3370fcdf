//! Plain lines, numbered as BuildKit numbers them, for logs and pipes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use coracle_report::{About, Event, Outcome, Reporter, TaskId};

use super::{notice, seconds};
use crate::printer::Printer;

/// Writes one line for each event that says something new.
pub struct Plain {
    printer: Printer,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    count: usize,
    running: HashMap<TaskId, Running>,
}

struct Running {
    number: usize,
    label: String,
    started: Instant,
    state: String,
}

impl Plain {
    /// Returns a renderer that writes through `printer`.
    pub fn new(printer: Printer) -> Self {
        Self { printer, tasks: Mutex::default() }
    }
}

impl Reporter for Plain {
    fn event(&self, event: Event) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, label, .. } => {
                tasks.count += 1;
                let number = tasks.count;
                self.printer.status(format!("#{number} {label}"));
                let running = Running { number, label, started: Instant::now(), state: String::new() };
                tasks.running.insert(task, running);
            }
            Event::State { task, state } => {
                let Some(running) = tasks.running.get_mut(&task) else { return };
                if running.state != state {
                    self.printer.status(format!("#{} {}: {state}", running.number, running.label));
                    running.state = state;
                }
            }
            Event::About { task, about: About::Cause(cause) } => {
                let Some(running) = tasks.running.get(&task) else { return };
                self.printer.status(format!("#{} WHY {cause}", running.number));
            }
            Event::About { .. } | Event::Progress { .. } => {}
            Event::Output { task, line, .. } => {
                let Some(running) = tasks.running.get(&task) else { return };
                let elapsed = running.started.elapsed().as_secs_f64();
                self.printer.status(format!("#{} {elapsed:.3} {line}", running.number));
            }
            Event::Finished { task, outcome } => {
                let Some(running) = tasks.running.remove(&task) else { return };
                let number = running.number;
                let text = match outcome {
                    Outcome::Done => format!("DONE {}", seconds(running.started.elapsed())),
                    Outcome::Cached => "CACHED".to_owned(),
                    Outcome::Skipped(why) => format!("SKIPPED {}: {why}", running.label),
                    Outcome::Failed(why) => format!("ERROR {}: {why}", running.label),
                };
                self.printer.status(format!("#{number} {text}"));
            }
            Event::Notice(diagnostic) => notice(self.printer, &diagnostic),
        }
    }
}

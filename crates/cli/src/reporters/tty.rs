//! Live lines on a terminal: a spinner a running task with its state, time and last line of output.
//!
//! Nothing is drawn before a task is a quarter of a second old; what ends sooner only leaves its closing line.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coracle_report::{Event, Outcome, Reporter, TaskId, Unit};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use super::seconds;
use crate::diagnostics;
use crate::printer::{DIM, ERROR, GOOD, Printer, paint};

const TICK: Duration = Duration::from_millis(100);
/// Output lines kept of each task, to show when it fails.
const TAIL: usize = 20;

/// Draws the running tasks.
pub struct Tty {
    printer: Printer,
    lines: MultiProgress,
    tasks: Mutex<HashMap<TaskId, Running>>,
}

struct Running {
    bar: ProgressBar,
    label: String,
    started: Instant,
    tail: VecDeque<String>,
}

impl Tty {
    /// Returns a renderer for the terminal behind standard error.
    pub fn new(printer: Printer) -> Self {
        Self { printer, lines: MultiProgress::new(), tasks: Mutex::default() }
    }

    fn say(&self, text: &str) {
        if self.lines.println(text).is_err() {
            self.printer.status(text);
        }
    }
}

impl Reporter for Tty {
    fn event(&self, event: Event) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, label, .. } => {
                let bar = self.lines.add(ProgressBar::new_spinner());
                let style =
                    ProgressStyle::with_template("{spinner:.cyan} {prefix} {elapsed:.dim} {wide_msg:.dim}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.set_prefix(shorten(&label));
                bar.enable_steady_tick(TICK);
                tasks.insert(task, Running { bar, label, started: Instant::now(), tail: VecDeque::new() });
            }
            Event::State { task, state } => {
                if let Some(running) = tasks.get(&task) {
                    running.bar.set_message(state);
                }
            }
            Event::About { .. } => {}
            Event::Progress { task, done, total, unit } => {
                if let Some(running) = tasks.get(&task) {
                    let text = match (unit, total) {
                        (Unit::Bytes, Some(total)) => format!("{} / {}", HumanBytes(done), HumanBytes(total)),
                        (Unit::Bytes, None) => HumanBytes(done).to_string(),
                        (Unit::Items, Some(total)) => format!("{done} / {total}"),
                        (Unit::Items, None) => done.to_string(),
                    };
                    running.bar.set_message(text);
                }
            }
            Event::Output { task, line, .. } => {
                if let Some(running) = tasks.get_mut(&task) {
                    running.bar.set_message(line.clone());
                    if running.tail.len() == TAIL {
                        running.tail.pop_front();
                    }
                    running.tail.push_back(line);
                }
            }
            Event::Finished { task, outcome } => {
                let Some(running) = tasks.remove(&task) else { return };
                running.bar.finish_and_clear();
                self.lines.remove(&running.bar);
                let label = shorten(&running.label);
                let time = paint(DIM, seconds(running.started.elapsed()));
                match outcome {
                    Outcome::Done => self.say(&format!("{} {label} {time}", paint(GOOD, "✔"))),
                    Outcome::Cached => {
                        self.say(&format!("{} {label} {}", paint(GOOD, "✔"), paint(DIM, "cached")));
                    }
                    Outcome::Skipped(why) => self.say(&format!("{} {label} skipped: {why}", paint(DIM, "-"))),
                    Outcome::Failed(why) => {
                        self.say(&format!("{} {label} {why}", paint(ERROR, "✘")));
                        for line in &running.tail {
                            self.say(&format!("  {}", paint(DIM, line)));
                        }
                    }
                }
            }
            Event::Notice(diagnostic) => {
                let text = diagnostics::render(&diagnostic);
                self.say(text.trim_end());
            }
        }
    }
}

/// Returns a label's first line, cut to what fits beside the rest.
fn shorten(label: &str) -> String {
    const LONGEST: usize = 72;
    let line = label.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

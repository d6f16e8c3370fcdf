//! Live lines on a terminal: stages with their running steps and the last lines of output, and a total.
//!
//! What is over leaves a line; what runs is drawn again ten times a second, below it, in one write, so that nothing
//! flickers. Nothing is drawn before something is a quarter of a second old.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use coracle_report::{Event, Reporter};

use super::tree::{Tree, cut};
use crate::diagnostics;
use crate::printer::Printer;

const TICK: Duration = Duration::from_millis(100);
/// How long nothing is drawn at first.
const PATIENCE: Duration = Duration::from_millis(250);
/// Size of a terminal that does not say its own: columns and rows.
const USUAL: (usize, usize) = (80, 24);
/// Rows that are drawn at most: a tree that fills a large screen hides what was said before.
const MOST_ROWS: usize = 30;

/// Draws the running tasks.
pub struct Tty {
    screen: Arc<Mutex<Screen>>,
    /// Dropped to end the thread that draws.
    alive: Option<Sender<()>>,
    drawing: Option<JoinHandle<()>>,
}

struct Screen {
    tree: Tree,
    /// Widths of the lines that are drawn now.
    drawn: Vec<usize>,
    began: Instant,
    colour: bool,
}

impl Tty {
    /// Returns a renderer for the terminal behind standard error.
    pub fn new(_: Printer) -> Self {
        let now = Instant::now();
        let choice = anstream::AutoStream::choice(&std::io::stderr());
        let colour = choice != anstream::ColorChoice::Never;
        let screen = Screen { tree: Tree::new(now), drawn: Vec::new(), began: now, colour };
        let screen = Arc::new(Mutex::new(screen));
        let (alive, ended) = channel();
        let shared = Arc::clone(&screen);
        let drawing = std::thread::spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                lock(&shared).draw(&[], false);
            }
        });
        Self { screen, alive: Some(alive), drawing: Some(drawing) }
    }
}

fn lock(screen: &Mutex<Screen>) -> std::sync::MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Tty {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
        self.settle();
    }
}

impl Reporter for Tty {
    fn event(&self, event: Event) {
        let mut screen = lock(&self.screen);
        let lines = match &event {
            Event::Notice(diagnostic) => {
                diagnostics::render(diagnostic).trim_end().lines().map(str::to_owned).collect()
            }
            _ => screen.tree.event(event, Instant::now()),
        };
        // Lines that stay are written at once; the rest waits for the next tick.
        if !lines.is_empty() || !screen.tree.is_busy() {
            screen.draw(&lines, false);
        }
    }

    fn settle(&self) {
        let mut screen = lock(&self.screen);
        let lines = screen.tree.settle(Instant::now());
        screen.draw(&lines, true);
    }
}

impl Screen {
    /// Takes away what is drawn, writes lines that stay, and draws what runs.
    fn draw(&mut self, stay: &[String], last: bool) {
        let now = Instant::now();
        let (columns, rows) = size();
        let young = now.duration_since(self.began) < PATIENCE;
        let live = if last || young { Vec::new() } else { self.tree.draw(now, rows.min(MOST_ROWS)) };
        if stay.is_empty() && live.is_empty() && self.drawn.is_empty() {
            return;
        }
        // A terminal that became narrower has wrapped what was drawn.
        let above: usize = self.drawn.iter().map(|width| width.div_ceil(columns).max(1)).sum();
        let mut text = String::from("\u{1b}[?2026h");
        if above > 0 {
            let _ = write!(text, "\r\u{1b}[{above}A\u{1b}[J");
        }
        for line in stay {
            text.push_str(&self.styled(line));
            text.push('\n');
        }
        self.drawn.clear();
        for line in live {
            let line = cut(&line, columns.saturating_sub(1).max(1));
            self.drawn.push(anstream::adapter::strip_str(&line).to_string().chars().count());
            text.push_str(&self.styled(&line));
            text.push('\n');
        }
        text.push_str("\u{1b}[?2026l");
        let mut out = std::io::stderr().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn styled(&self, line: &str) -> String {
        if self.colour { line.to_owned() } else { anstream::adapter::strip_str(line).to_string() }
    }
}

/// Returns the terminal's columns and rows.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL,
    }
}

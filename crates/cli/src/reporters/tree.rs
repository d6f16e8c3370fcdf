//! The tasks that a terminal shows, as values: groups, their running tasks, the last lines of each. Draws lines of text
//! for a width and a height; writes nothing.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use coracle_report::{About, Event, Outcome, TaskId, Unit};
use indicatif::HumanBytes;

use super::seconds;
use crate::printer::{DIM, ERROR, GOOD, STRONG, paint};

/// Output lines kept of each task, to show when it fails.
const TAIL: usize = 20;
/// Output lines shown of a running task, at most.
const SHOWN: usize = 4;
/// The cause that says nothing to whoever builds for the first time.
const NEW: &str = "never built here";
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// How long a frame of the spinner stands.
const FRAME: Duration = Duration::from_millis(100);

/// All tasks of one command.
pub struct Tree {
    began: Instant,
    started: usize,
    finished: usize,
    running: HashMap<TaskId, Running>,
    /// Running tasks in the order in which they began.
    order: Vec<TaskId>,
    groups: Vec<Group>,
    settled: bool,
}

struct Running {
    label: String,
    parent: Option<TaskId>,
    group: Option<usize>,
    began: Instant,
    state: String,
    progress: String,
    cause: String,
    tail: VecDeque<String>,
}

struct Group {
    /// What people see.
    name: String,
    stage: String,
    parent: Option<TaskId>,
    began: Instant,
    started: usize,
    finished: usize,
    /// Cached tasks that no line tells of yet.
    cached: usize,
}

impl Tree {
    /// Returns a tree without tasks.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            started: 0,
            finished: 0,
            running: HashMap::new(),
            order: Vec::new(),
            groups: Vec::new(),
            settled: false,
        }
    }

    /// Returns whether something runs.
    pub fn is_busy(&self) -> bool {
        !self.order.is_empty()
    }

    /// Takes an event; returns lines that stay on the screen.
    pub fn event(&mut self, event: Event, now: Instant) -> Vec<String> {
        match event {
            Event::Started { task, parent, label } => {
                self.started += 1;
                self.order.push(task);
                let label = plain(label.lines().next().unwrap_or_default());
                let running = Running {
                    label,
                    parent,
                    group: None,
                    began: now,
                    state: String::new(),
                    progress: String::new(),
                    cause: String::new(),
                    tail: VecDeque::new(),
                };
                self.running.insert(task, running);
            }
            Event::About { task, about: About::Group(name) } => self.join(task, name, now),
            Event::About { task, about: About::Cause(cause) } => {
                self.with(task, |running| running.cause = cause);
            }
            Event::State { task, state } => self.with(task, |running| running.state = plain(&state)),
            Event::Progress { task, done, total, unit } => {
                let text = match (unit, total) {
                    (Unit::Bytes, Some(total)) => format!("{} / {}", HumanBytes(done), HumanBytes(total)),
                    (Unit::Bytes, None) => HumanBytes(done).to_string(),
                    (Unit::Items, Some(total)) => format!("{done} / {total}"),
                    (Unit::Items, None) => done.to_string(),
                };
                self.with(task, |running| running.progress = text);
            }
            Event::Output { task, line, .. } => self.with(task, |running| {
                if running.tail.len() == TAIL {
                    running.tail.pop_front();
                }
                running.tail.push_back(plain(&line));
            }),
            Event::Finished { task, outcome } => return self.finish(task, outcome, now),
            Event::About { .. } | Event::Notice(_) => {}
        }
        Vec::new()
    }

    fn with(&mut self, task: TaskId, change: impl FnOnce(&mut Running)) {
        if let Some(running) = self.running.get_mut(&task) {
            change(running);
        }
    }

    fn join(&mut self, task: TaskId, name: String, now: Instant) {
        // Builds at the same time may have stages of the same name.
        let parent = self.running.get(&task).and_then(|running| running.parent);
        let known = self.groups.iter().position(|group| group.stage == name && group.parent == parent);
        let at = known.unwrap_or_else(|| {
            let above = parent.and_then(|parent| self.running.get(&parent));
            let shown = above.map_or_else(|| name.clone(), |above| format!("{} {name}", above.label));
            let (name, stage) = (shown, name);
            self.groups.push(Group { name, stage, parent, began: now, started: 0, finished: 0, cached: 0 });
            self.groups.len() - 1
        });
        self.groups[at].started += 1;
        self.with(task, |running| running.group = Some(at));
    }

    fn finish(&mut self, task: TaskId, outcome: Outcome, now: Instant) -> Vec<String> {
        let Some(running) = self.running.remove(&task) else { return Vec::new() };
        self.order.retain(|other| *other != task);
        self.finished += 1;
        let mut lines = Vec::new();
        if let Some(group) = running.group {
            self.groups[group].finished += 1;
            if outcome == Outcome::Cached {
                // Told in one line when something else of the group is.
                self.groups[group].cached += 1;
                return lines;
            }
            lines.extend(self.groups[group].tell_cached());
        }
        let time = paint(DIM, seconds(now.duration_since(running.began)));
        let label = &running.label;
        match outcome {
            Outcome::Done => {
                lines.push(format!("{} {label} {time}", paint(GOOD, "✔")));
                if !running.cause.is_empty() && running.cause != NEW {
                    lines.push(format!("    {}", paint(DIM, &running.cause)));
                }
            }
            Outcome::Cached => lines.push(format!("{} {label} {}", paint(GOOD, "✔"), paint(DIM, "cached"))),
            Outcome::Skipped(why) => lines.push(format!("{} {label} skipped: {why}", paint(DIM, "-"))),
            Outcome::Failed(why) => {
                lines.push(format!("{} {label} {why}", paint(ERROR, "✘")));
                lines.extend(running.tail.iter().map(|line| format!("    {}", paint(DIM, line))));
            }
        }
        lines
    }

    /// Returns the closing lines, once nothing will come any more.
    pub fn settle(&mut self, now: Instant) -> Vec<String> {
        let mut lines: Vec<String> = self.groups.iter_mut().filter_map(Group::tell_cached).collect();
        if !self.settled && !self.groups.is_empty() {
            self.settled = true;
            lines.push(self.total(now));
        }
        lines
    }

    fn total(&self, now: Instant) -> String {
        let time = seconds(now.duration_since(self.began));
        paint(STRONG, format_args!("[+] {}/{} {time}", self.finished, self.started))
    }

    /// Returns what runs now, in at most `rows` lines. Lines may be wider than `columns`: cut them with [`cut`].
    pub fn draw(&self, now: Instant, rows: usize) -> Vec<String> {
        if !self.is_busy() {
            return Vec::new();
        }
        let busy: Vec<usize> = (0..self.groups.len())
            .filter(|at| self.running.values().any(|running| running.group == Some(*at)))
            .collect();
        let needed = self.order.len() + busy.len() + 1;
        let spare = rows.saturating_sub(needed) / self.order.len().max(1);
        let mut lines = Vec::new();
        for task in self.order.iter().filter(|task| self.running[task].group.is_none()) {
            self.running[task].draw("", now, spare, &mut lines);
        }
        for at in busy {
            let group = &self.groups[at];
            let time = paint(DIM, seconds(now.duration_since(group.began)));
            let count = format!("{}/{}", group.finished, group.started);
            lines.push(format!("{} {count} {time}", paint(STRONG, &group.name)));
            for task in self.order.iter().filter(|task| self.running[task].group == Some(at)) {
                self.running[task].draw("  ", now, spare, &mut lines);
            }
        }
        let room = rows.saturating_sub(1).max(1);
        if lines.len() > room {
            let left = lines.len() - room + 1;
            lines.truncate(room - 1);
            lines.push(paint(DIM, format_args!("  and {left} more lines")));
        }
        lines.push(self.total(now));
        lines
    }
}

impl Group {
    fn tell_cached(&mut self) -> Option<String> {
        let count = std::mem::take(&mut self.cached);
        let steps = if count == 1 { "step" } else { "steps" };
        (count > 0).then(|| {
            let text = paint(DIM, format_args!("{count} {steps} cached"));
            format!("{} {} {text}", paint(GOOD, "✔"), self.name)
        })
    }
}

impl Running {
    fn draw(&self, indent: &str, now: Instant, spare: usize, lines: &mut Vec<String>) {
        let age = now.duration_since(self.began);
        let frame = (age.as_millis() / FRAME.as_millis()) as usize % SPINNER.len();
        let mut said = vec![self.progress.as_str(), self.state.as_str()];
        if spare == 0 {
            said.extend(self.tail.back().map(String::as_str));
        }
        let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
        // The time first: what is too long is cut.
        let time = paint(DIM, format_args!("{:>5}", seconds(age)));
        let said = paint(DIM, said.join(" "));
        lines.push(format!("{indent}{} {time} {} {said}", SPINNER[frame], self.label));
        let shown = spare.min(SHOWN);
        for line in self.tail.iter().skip(self.tail.len().saturating_sub(shown)) {
            lines.push(format!("{indent}  {}", paint(DIM, format_args!("│ {line}"))));
        }
    }
}

/// Returns a line without control characters, which would move the cursor.
fn plain(line: &str) -> String {
    // What stands after the last carriage return is what a terminal would show.
    let shown = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    let text = anstream::adapter::strip_str(shown).to_string();
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect()
}

/// Returns a line cut to `columns` characters; styles do not count and are closed.
pub fn cut(line: &str, columns: usize) -> String {
    let mut text = String::new();
    let (mut width, mut in_style) = (0, false);
    let length = anstream::adapter::strip_str(line).to_string().chars().count();
    for character in line.chars() {
        if character == '\u{1b}' {
            in_style = true;
        }
        if in_style {
            text.push(character);
            in_style = character != 'm';
            continue;
        }
        width += 1;
        if length > columns && width == columns {
            text.push('…');
        } else if width <= columns {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use coracle_report::Stream;

    use super::*;

    fn text(lines: &[String], columns: usize) -> String {
        let lines = lines.iter().map(|line| anstream::adapter::strip_str(&cut(line, columns)).to_string());
        lines.fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }

    fn start(tree: &mut Tree, label: &str, group: &str, now: Instant) -> TaskId {
        let task = TaskId::next();
        tree.event(Event::Started { task, parent: None, label: label.to_owned() }, now);
        if !group.is_empty() {
            tree.event(Event::About { task, about: About::Group(group.to_owned()) }, now);
        }
        task
    }

    fn build() -> (Tree, Instant, [TaskId; 3]) {
        let began = Instant::now();
        let mut tree = Tree::new(began);
        let pull = start(&mut tree, "pull node:22", "", began);
        tree.event(Event::Progress { task: pull, done: 1024, total: Some(4096), unit: Unit::Bytes }, began);
        let cached = start(&mut tree, "[builder 2/4] WORKDIR /app", "builder", began);
        let quiet = tree.event(Event::Finished { task: cached, outcome: Outcome::Cached }, began);
        assert!(quiet.is_empty());
        let one = start(&mut tree, "[builder 3/4] RUN make all", "builder", began);
        let cause = "src/main.c changed: aaa -> bbb".to_owned();
        tree.event(Event::About { task: one, about: About::Cause(cause) }, began);
        let two = start(&mut tree, "[stage-1 2/2] RUN make docs", "stage-1", began);
        for number in 0..6 {
            let line = format!("\u{1b}[31mline\u{1b}[0m {number}\r");
            tree.event(Event::Output { task: one, stream: Stream::Stdout, line }, began);
        }
        (tree, began, [pull, one, two])
    }

    #[test]
    fn stages_are_drawn_with_their_steps_and_fit_the_terminal() {
        let (mut tree, began, [_, one, two]) = build();
        let later = began + Duration::from_millis(3400);
        let mut out = String::new();
        for (rows, columns) in [(40, 80), (8, 40), (4, 24)] {
            let lines = tree.draw(later, rows);
            assert!(lines.len() <= rows.max(2), "{lines:?}");
            let drawn = text(&lines, columns);
            assert!(drawn.lines().all(|line| line.chars().count() <= columns), "{drawn}");
            out = out + &format!("{rows}x{columns}\n") + &drawn;
        }
        out.push_str("closing\n");
        out.push_str(&text(&tree.event(Event::Finished { task: one, outcome: Outcome::Done }, later), 80));
        let failed = Outcome::Failed("the command ended with exit code 2".to_owned());
        out.push_str(&text(&tree.event(Event::Finished { task: two, outcome: failed }, later), 80));
        out.push_str(&text(&tree.settle(later), 80));
        assert!(tree.settle(later).is_empty());
        insta::assert_snapshot!(out);
    }
}

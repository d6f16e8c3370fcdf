//! One call of the binary, bounded in time, and what it answered.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{LONG, SOON};

/// Returns a call of the binary with these arguments.
pub fn coracle<I>(arguments: I) -> Call
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let program = std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
    Call::of(program).args(arguments)
}

/// A command line to be run.
#[derive(Debug)]
pub struct Call {
    words: Vec<OsString>,
    directory: Option<PathBuf>,
    variables: Vec<(String, String)>,
    input: Vec<u8>,
    bound: Duration,
}

impl Call {
    /// Returns a call of any program.
    pub fn of(program: impl Into<OsString>) -> Self {
        Self {
            words: vec![program.into()],
            directory: None,
            variables: Vec::new(),
            input: Vec::new(),
            bound: LONG,
        }
    }

    /// Adds arguments.
    pub fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.words.extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Runs it in a directory.
    pub fn dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it something to read.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Kills it and fails when it takes longer.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Starts it and goes on at once.
    #[track_caller]
    pub fn start(self) -> Started {
        let line = self.words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Answers are compared as text, and a caller's own settings are not a test's.
        command.env("NO_COLOR", "1").env_remove("COMPOSE_FILE").env_remove("COMPOSE_PROJECT_NAME");
        command.envs(self.variables);
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: cannot start: {error}"));
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        let input = self.input;
        thread::spawn(move || {
            // A program that does not read its input closes the pipe; that is its right.
            let _ = stdin.write_all(&input);
        });
        let stdout = Stream::read(child.stdout.take().expect("standard output is a pipe"));
        let stderr = Stream::read(child.stderr.take().expect("standard error is a pipe"));
        Started { child, line, stdout, stderr, end: Instant::now() + self.bound }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Outcome {
        self.start().finish()
    }

    /// Runs it to its end whatever comes of it: for cleaning up, where a failure must not hide another one.
    pub fn quietly(self) {
        let started = self.bound(Duration::from_mins(2)).start();
        let _ = started.end();
    }
}

/// A stream that a thread reads to its end.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Stream {
    fn read(source: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut source = BufReader::new(source);
            loop {
                let taken = match source.fill_buf() {
                    Ok(chunk) if !chunk.is_empty() => {
                        sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(chunk);
                        chunk.len()
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
                    Ok(_) | Err(_) => return,
                };
                source.consume(taken);
            }
        });
        Self { bytes, thread }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// A process that runs.
#[derive(Debug)]
pub struct Started {
    child: Child,
    line: String,
    stdout: Stream,
    stderr: Stream,
    end: Instant,
}

impl Started {
    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name, e.g. `INT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot signal {} with {name}", self.line);
    }

    /// Returns both streams as they are now, standard output first.
    pub fn so_far(&self) -> String {
        self.stdout.so_far() + &self.stderr.so_far()
    }

    /// Waits until one of its streams holds `text`; fails when it ends before.
    #[track_caller]
    pub fn says(&mut self, text: &str) {
        loop {
            let ended = self.child.try_wait().expect("a child can be waited for");
            let said = self.so_far();
            if said.contains(text) {
                return;
            }
            assert!(ended.is_none(), "{} ended before it said `{text}`; it said:\n{said}", self.line);
            if Instant::now() > self.end {
                let _ = self.child.kill();
                panic!("{} did not say `{text}` in time; it said:\n{said}", self.line);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(mut self) -> Result<Outcome, String> {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > self.end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(format!("{} did not end in time; it said:\n{}", self.line, self.so_far()));
            }
            thread::sleep(Duration::from_millis(5));
        };
        // Whatever outlives the command must not hold its streams: `id=$(coracle run -d ...)` would never return.
        let end = Instant::now() + SOON;
        while !(self.stdout.thread.is_finished() && self.stderr.thread.is_finished()) {
            if Instant::now() > end {
                let said = self.so_far();
                return Err(format!(
                    "something holds the streams of {} after its end; it said:\n{said}",
                    self.line
                ));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(Outcome { line: self.line, status, stdout: self.stdout.so_far(), stderr: self.stderr.so_far() })
    }

    /// Waits until it ends.
    #[track_caller]
    pub fn finish(self) -> Outcome {
        match self.end() {
            Ok(outcome) => outcome,
            Err(why) => panic!("{why}"),
        }
    }
}

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Outcome {
    line: String,
    status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Outcome {
    /// Returns its exit code; 128 and the signal's number when a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Fails unless it ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ended(0)
    }

    /// Fails unless it ended with `code`.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit code of {self}");
        self
    }

    /// Fails unless it ended with `code`, wrote no data, and told a person every one of `texts`.
    #[track_caller]
    pub fn refuses(self, code: i32, texts: &[&str]) -> Self {
        let outcome = self.ended(code);
        assert!(outcome.stdout.is_empty(), "a failure is no data: {outcome}");
        for text in texts {
            assert!(outcome.stderr.contains(text), "`{text}` is missing in {outcome}");
        }
        assert!(!outcome.stderr.contains("panicked at"), "{outcome}");
        outcome
    }

    /// Returns its standard output without surrounding space.
    pub fn line(&self) -> &str {
        self.stdout.trim()
    }

    /// Returns the first line of its standard output that holds `text`.
    #[track_caller]
    pub fn line_with(&self, text: &str) -> &str {
        let found = self.stdout.lines().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("no line has `{text}` in {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}`, which ended with {}\n--- standard output\n{}\n--- standard error\n{}\n---",
            self.line, self.status, self.stdout, self.stderr
        )
    }
}

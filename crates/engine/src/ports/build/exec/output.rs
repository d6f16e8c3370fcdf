//! A step's output: cut into bounded lines, with secrets blotted out.

use std::collections::VecDeque;

use coracle_build::OutputSink;
use coracle_report::Stream;

/// Longest line that is passed on, bytes.
const LONGEST_LINE: usize = 64 << 10;
/// How many lines are remembered, and how much of each, characters.
const LAST: usize = 20;
const LAST_WIDTH: usize = 400;
/// What stands where a secret stood.
const BLOT: &str = "****";

/// Cuts output into lines.
pub(super) struct Lines<'a> {
    output: OutputSink<'a>,
    secrets: Vec<String>,
    pending: [Vec<u8>; 2],
    last: VecDeque<String>,
}

impl<'a> Lines<'a> {
    /// Passes lines on to `output`, with every text of `secrets` replaced.
    pub(super) fn new(output: OutputSink<'a>, secrets: Vec<String>) -> Self {
        Self { output, secrets, pending: [Vec::new(), Vec::new()], last: VecDeque::new() }
    }

    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        for byte in bytes {
            let pending = &mut self.pending[usize::from(stream == Stream::Stderr)];
            if *byte == b'\n' || pending.len() >= LONGEST_LINE {
                self.pass(stream);
            }
            if *byte != b'\n' {
                self.pending[usize::from(stream == Stream::Stderr)].push(*byte);
            }
        }
    }

    pub(super) fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.pending[usize::from(stream == Stream::Stderr)].is_empty() {
                self.pass(stream);
            }
        }
    }

    /// Returns the last lines, cut short, for whoever explains a failure.
    pub(super) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    fn pass(&mut self, stream: Stream) {
        let line = std::mem::take(&mut self.pending[usize::from(stream == Stream::Stderr)]);
        let mut line = String::from_utf8_lossy(&line).into_owned();
        for secret in &self.secrets {
            if line.contains(secret) {
                line = line.replace(secret, BLOT);
            }
        }
        let line = line.trim_end_matches('\r');
        (self.output)(stream, line);
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line.chars().take(LAST_WIDTH).collect());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn output_is_cut_into_bounded_lines() {
        let seen = Mutex::new(Vec::new());
        let output = |stream: Stream, line: &str| seen.lock().unwrap().push((stream, line.to_owned()));
        let mut lines = Lines::new(&output, Vec::new());
        lines.take(Stream::Stdout, b"one\r\ntw");
        lines.take(Stream::Stderr, b"err");
        lines.take(Stream::Stdout, b"o\n\n");
        lines.take(Stream::Stdout, &vec![b'x'; LONGEST_LINE + 1]);
        lines.finish();
        let seen = seen.into_inner().unwrap();
        let short: Vec<_> =
            seen.iter().map(|(stream, line)| (*stream, line.len(), line.chars().next())).collect();
        assert_eq!(
            short,
            [
                (Stream::Stdout, 3, Some('o')),
                (Stream::Stdout, 3, Some('t')),
                (Stream::Stdout, 0, None),
                (Stream::Stdout, LONGEST_LINE, Some('x')),
                (Stream::Stdout, 1, Some('x')),
                (Stream::Stderr, 3, Some('e')),
            ]
        );
    }

    #[test]
    fn secrets_are_blotted_out() {
        let seen = Mutex::new(Vec::new());
        let output = |_: Stream, line: &str| seen.lock().unwrap().push(line.to_owned());
        let mut lines = Lines::new(&output, vec!["hunter22".to_owned()]);
        lines.take(Stream::Stdout, b"the password is hun");
        lines.take(Stream::Stdout, b"ter22, hunter22!\nfine\n");
        assert_eq!(seen.into_inner().unwrap(), ["the password is ****, ****!", "fine"]);
    }
}

//! One line of a log as it is written, and what it says.

use std::borrow::Cow;

use coracle_report::Stream;
use jiff::Timestamp;
use serde::Deserialize;

/// One line of a log, or a part of one that was long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// When it was read from the container.
    pub time: Timestamp,
    /// Which stream it came from.
    pub stream: Stream,
    /// The text, with its line feed if it has one.
    pub text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    stream: &'a str,
    time: &'a str,
}

const BEFORE: &[u8] = b"{\"log\":\"";
const STREAM: &[u8] = b"\",\"stream\":\"";
const TIME: &[u8] = b"\",\"time\":\"";
const AFTER: &[u8] = b"\"}";
/// Length of a time as our shims write it, and of a stream's name.
const TIME_LENGTH: usize = 30;
const NAME_LENGTH: usize = 6;

/// Reads entries; knows the last time, which many lines share.
#[derive(Debug, Default)]
pub(super) struct Parser {
    last: Option<([u8; TIME_LENGTH], Timestamp)>,
}

impl Parser {
    /// Reads an entry; `None` when it is none.
    pub fn parse<'a>(&mut self, line: &'a [u8]) -> Option<LogEntry<'a>> {
        if let Some(entry) = self.usual(line) {
            return Some(entry);
        }
        let line = serde_json::from_slice::<Line<'_>>(line).ok()?;
        let stream = stream(line.stream.as_bytes()).unwrap_or(Stream::Stdout);
        Some(LogEntry { time: line.time.parse().ok()?, stream, text: line.log })
    }

    /// Reads an entry in the very form that our shims write; `None` when it has another.
    fn usual<'a>(&mut self, line: &'a [u8]) -> Option<LogEntry<'a>> {
        let rest = line.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
        let (rest, time) = rest.split_at_checked(rest.len().checked_sub(TIME_LENGTH)?)?;
        let rest = rest.strip_suffix(TIME)?;
        let (rest, name) = rest.split_at_checked(rest.len().checked_sub(NAME_LENGTH)?)?;
        let stream = stream(name)?;
        let text = unescape(std::str::from_utf8(rest.strip_suffix(STREAM)?).ok()?)?;
        Some(LogEntry { time: self.time(time.try_into().ok()?)?, stream, text })
    }

    fn time(&mut self, text: [u8; TIME_LENGTH]) -> Option<Timestamp> {
        if let Some((last, time)) = self.last
            && last == text
        {
            return Some(time);
        }
        let time = std::str::from_utf8(&text).ok()?.parse().ok()?;
        self.last = Some((text, time));
        Some(time)
    }
}

fn stream(name: &[u8]) -> Option<Stream> {
    match name {
        b"stdout" => Some(Stream::Stdout),
        b"stderr" => Some(Stream::Stderr),
        _ => None,
    }
}

/// Returns what the inside of a JSON string means; `None` for escapes that our shims do not write.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    let Some(first) = text.find('\\') else { return Some(Cow::Borrowed(text)) };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(escaped) = rest.strip_prefix('\\') {
        let (character, length) = match escaped.as_bytes().first()? {
            b'n' => ('\n', 1),
            b'"' => ('"', 1),
            b'\\' => ('\\', 1),
            b't' => ('\t', 1),
            b'r' => ('\r', 1),
            b'u' => (char::from_u32(u32::from_str_radix(escaped.get(1..5)?, 16).ok()?)?, 5),
            _ => return None,
        };
        out.push(character);
        rest = &escaped[length..];
        let next = rest.find('\\').unwrap_or(rest.len());
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readers_agree() {
        let texts =
            [r"plain\n", r"", r#"q\"uo\\te\n"#, r"t\tr\r\u0001ü\n", r#"\",\"stream\":\"stderr\\"#, r"no end"];
        for text in texts {
            let line =
                format!(r#"{{"log":"{text}","stream":"stderr","time":"2026-11-24T05:41:33.123456789Z"}}"#);
            let mut parser = Parser::default();
            let usual = parser.usual(line.as_bytes()).unwrap();
            let whole: Line<'_> = serde_json::from_str(&line).unwrap();
            assert_eq!((usual.stream, usual.text), (Stream::Stderr, whole.log));
            assert_eq!(usual.time, whole.time.parse().unwrap());
        }
    }

    #[test]
    fn other_forms_are_read_and_torn_ones_are_not() {
        let parse =
            |line: &str| Parser::default().parse(line.as_bytes()).map(|entry| entry.text.into_owned());
        let other = r#"{"log":"a\/\ud83d\ude00\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-11-24T05:41:33Z"}"#;
        assert_eq!(parse(other), Some("a/😀\n".to_owned()));
        for torn in ["", "{", r#"{"log":"a"#, r#"{"log":"a","stream":"stdout","time":"x"}"#] {
            assert_eq!(parse(torn), None, "{torn}");
        }
    }
}

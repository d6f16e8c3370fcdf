//! JSON as Go's encoder writes it: keys of maps sorted by bytes, `<`, `>` and `&` as escapes.

use std::fmt::Write as _;

use crate::kind;

use super::value::{Out, Within};

/// Returns a value as JSON, indented by two blanks or on one line.
pub(super) fn write(out: &Out, indented: bool) -> String {
    let mut text = String::new();
    value(out, indented.then_some(0), &mut text);
    text
}

fn value(out: &Out, depth: Option<usize>, text: &mut String) {
    match out {
        Out::Null => text.push_str("null"),
        Out::Flag(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Out::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Out::Fraction(number) => text.push_str(&number_of(kind::single(*number, 21))),
        Out::Double(number) => text.push_str(&number_of(kind::float(*number, 21))),
        Out::Text(content) => string(content, text),
        Out::List(items) => {
            list('[', ']', items.iter(), depth, text, value);
        }
        Out::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            list('{', '}', entries.into_iter(), depth, text, |(name, item), depth, text| {
                pair(name, item, depth, text);
            });
        }
        Out::Struct(entries) => {
            let entries = entries.iter().filter(|entry| entry.within != Within::Yaml);
            list('{', '}', entries, depth, text, |entry, depth, text| {
                pair(entry.json, &entry.value, depth, text);
            });
        }
    }
}

/// Go's JSON has an exponent for small numbers from 1e-6 on, and without a leading zero.
fn number_of(text: String) -> String {
    text.replace("e-0", "e-")
}

fn pair(name: &str, item: &Out, depth: Option<usize>, text: &mut String) {
    string(name, text);
    text.push_str(if depth.is_some() { ": " } else { ":" });
    value(item, depth, text);
}

fn list<T>(
    open: char,
    close: char,
    items: impl Iterator<Item = T>,
    depth: Option<usize>,
    text: &mut String,
    mut one: impl FnMut(T, Option<usize>, &mut String),
) {
    text.push(open);
    let below = depth.map(|depth| depth + 1);
    let mut empty = true;
    for item in items {
        if !empty {
            text.push(',');
        }
        empty = false;
        line(below, text);
        one(item, below, text);
    }
    if !empty {
        line(depth, text);
    }
    text.push(close);
}

fn line(depth: Option<usize>, text: &mut String) {
    if let Some(depth) = depth {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    }
}

fn string(content: &str, text: &mut String) {
    text.push('"');
    for character in content.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

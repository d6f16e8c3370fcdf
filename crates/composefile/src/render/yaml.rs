//! YAML as Go's `yaml.v3` writes it with an indentation of two: keys of maps in natural order, text plain where it
//! reads back as text.

use std::cmp::Ordering;
use std::fmt::Write as _;

use crate::kind::{self, Kind};

use super::value::{Out, Within};

/// Returns a mapping as a YAML document.
pub(super) fn write(out: &Out) -> String {
    let mut text = String::new();
    block(out, 0, false, &mut text);
    text
}

fn entries(out: &Out) -> Vec<(&str, &Out)> {
    match out {
        Out::Map(entries) => {
            let mut sorted: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), value)).collect();
            sorted.sort_by(|a, b| natural(a.0, b.0));
            sorted
        }
        Out::Struct(entries) => {
            let shown = entries.iter().filter(|entry| entry.within != Within::Json);
            shown.map(|entry| (entry.name.as_str(), &entry.value)).collect()
        }
        _ => Vec::new(),
    }
}

/// Writes a collection; `continued` says that its first line stands behind a dash.
fn block(out: &Out, depth: usize, continued: bool, text: &mut String) {
    let indent = |text: &mut String, first: bool| {
        if !(first && continued) {
            text.extend(std::iter::repeat_n("  ", depth));
        }
    };
    if let Out::List(items) = out {
        for (index, item) in items.iter().enumerate() {
            indent(text, index == 0);
            text.push_str("- ");
            nested(item, depth, true, text);
        }
        return;
    }
    for (index, (name, value)) in entries(out).into_iter().enumerate() {
        indent(text, index == 0);
        text.push_str(&quoted(name, true));
        text.push(':');
        nested(value, depth, false, text);
    }
}

/// Writes what stands behind a dash or a colon.
fn nested(value: &Out, depth: usize, dash: bool, text: &mut String) {
    let empty = match value {
        Out::List(items) => items.is_empty(),
        Out::Map(_) | Out::Struct(_) => entries(value).is_empty(),
        _ => {
            if !dash {
                text.push(' ');
            }
            scalar(value, depth + 1, text);
            text.push('\n');
            return;
        }
    };
    if empty {
        text.push_str(if dash { "" } else { " " });
        text.push_str(if matches!(value, Out::List(_)) { "[]\n" } else { "{}\n" });
    } else if dash {
        block(value, depth + 1, true, text);
    } else {
        text.push('\n');
        block(value, depth + 1, false, text);
    }
}

fn scalar(value: &Out, depth: usize, text: &mut String) {
    match value {
        Out::Null => text.push_str("null"),
        Out::Flag(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Out::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Out::Fraction(number) => text.push_str(&kind::single(*number, 21)),
        Out::Double(number) => text.push_str(&kind::float(*number, 21)),
        Out::Text(content) if content.contains('\n') && is_literal(content) => literal(content, depth, text),
        Out::Text(content) => text.push_str(&quoted(content, false)),
        Out::List(_) | Out::Map(_) | Out::Struct(_) => {}
    }
}

/// Says whether a text of several lines can stand as a block.
fn is_literal(content: &str) -> bool {
    let printable =
        content.chars().all(|character| character == '\n' || is_printable(character) || character == '\t');
    printable
        && !content.starts_with(' ')
        && !content.lines().any(|line| line.ends_with(' '))
        && !content.starts_with('\n')
}

fn literal(content: &str, depth: usize, text: &mut String) {
    text.push('|');
    if !content.ends_with('\n') {
        text.push('-');
    } else if content.ends_with("\n\n") {
        text.push('+');
    }
    for line in content.strip_suffix('\n').unwrap_or(content).split('\n') {
        text.push('\n');
        if !line.is_empty() {
            text.extend(std::iter::repeat_n("  ", depth));
            text.push_str(line);
        }
    }
}

/// Returns a text plain, or quoted when it would not read back as that text.
fn quoted(content: &str, key: bool) -> String {
    if content.is_empty() {
        return "\"\"".to_owned();
    }
    let typed = Kind::of_plain(content) != Kind::Text
        || matches!(content, "~" | "null" | "Null" | "NULL" | "<<")
        || is_old_boolean(content)
        || is_sexagesimal(content)
        || is_date(content);
    if typed {
        return double(content);
    }
    let special = content.chars().any(|character| !is_printable(character));
    if special {
        return double(content);
    }
    if is_plain(content) && !(key && content.contains('\n')) {
        return content.to_owned();
    }
    format!("'{}'", content.replace('\'', "''"))
}

/// YAML 1.1 took these for booleans, and old readers still do.
fn is_old_boolean(content: &str) -> bool {
    let lower = content.to_ascii_lowercase();
    let words = ["y", "n", "yes", "no", "on", "off"];
    let upper = content.to_ascii_uppercase();
    let capital = {
        let mut characters = lower.chars();
        characters.next().map(|first| first.to_ascii_uppercase().to_string() + characters.as_str())
    };
    words.contains(&lower.as_str())
        && (content == lower || content == upper || Some(content) == capital.as_deref())
}

/// YAML 1.1 took `1:30` for a number in base 60.
fn is_sexagesimal(content: &str) -> bool {
    let digits = content.strip_prefix(['-', '+']).unwrap_or(content);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let is_number =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let sixty = |text: &&str| {
        (1..=2).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|number| number < 60)
    };
    !rest.is_empty()
        && is_number(first)
        && first.starts_with(|digit: char| digit.is_ascii_digit())
        && rest.iter().all(sixty)
        && fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// `2001-01-01`, with or without a time.
fn is_date(content: &str) -> bool {
    let bytes = content.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    digits(0..4)
        && bytes.get(4) == Some(&b'-')
        && (bytes.len() == 10 && digits(5..7) && digits(8..10)
            || (bytes.len() > 10 && matches!(bytes.get(10), Some(b'T' | b't' | b' '))))
}

fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}' | '\u{85}')
        && character != '\u{feff}'
}

/// Says whether a text of printable characters can stand without quotes, in a block.
fn is_plain(content: &str) -> bool {
    let bytes = content.as_bytes();
    if content.starts_with("---")
        || content.starts_with("...")
        || content.starts_with(' ')
        || content.ends_with(' ')
    {
        return false;
    }
    let first = bytes[0];
    if b"#,[]{}&*!|>'\"%@`".contains(&first) {
        return false;
    }
    if b"-?:".contains(&first) && bytes.get(1).is_none_or(|next| *next == b' ') {
        return false;
    }
    let colon = content.contains(": ") || content.ends_with(':');
    !colon && !content.contains(" #") && !content.contains('\n')
}

fn double(content: &str) -> String {
    let mut text = String::from('"');
    for character in content.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\0' => text.push_str("\\0"),
            '\u{7}' => text.push_str("\\a"),
            '\u{8}' => text.push_str("\\b"),
            '\u{b}' => text.push_str("\\v"),
            '\u{c}' => text.push_str("\\f"),
            '\u{1b}' => text.push_str("\\e"),
            '\u{feff}' => text.push_str("\\uFEFF"),
            other if is_printable(other) => text.push(other),
            other if u32::from(other) < 0x100 => {
                let _ = write!(text, "\\x{:02X}", u32::from(other));
            }
            other => {
                let _ = write!(text, "\\u{:04X}", u32::from(other));
            }
        }
    }
    text.push('"');
    text
}

/// Compares names so that `a2` stands before `a10`, and letters behind other characters.
fn natural(one: &str, other: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut digits = false;
    for index in 0..left.len().min(right.len()) {
        let (here, there) = (left[index], right[index]);
        if here == there {
            digits = here.is_ascii_digit();
            continue;
        }
        match (here.is_alphabetic(), there.is_alphabetic()) {
            (true, true) => return here.cmp(&there),
            (true, false) => return if digits { Ordering::Less } else { Ordering::Greater },
            (false, true) => return if digits { Ordering::Greater } else { Ordering::Less },
            (false, false) => {}
        }
        let run =
            |text: &[char]| text[index..].iter().take_while(|character| character.is_ascii_digit()).count();
        let (ours, theirs) = (run(&left), run(&right));
        if ours > 0 && theirs > 0 {
            let value = |text: &[char], length: usize| {
                let digits = &text[index..index + length];
                digits.iter().skip_while(|digit| **digit == '0').copied().collect::<String>()
            };
            let (ours, theirs) = (value(&left, ours), value(&right, theirs));
            let order = ours.len().cmp(&theirs.len()).then_with(|| ours.cmp(&theirs));
            if order != Ordering::Equal {
                return order;
            }
        }
        return here.cmp(&there);
    }
    left.len().cmp(&right.len())
}

//! Times, and where the user is at home.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Answer, Facts, count, number, text};
use crate::value::Value;

pub(super) fn call(name: &str, args: &[Value], facts: &Facts) -> Option<Answer> {
    Some(match name {
        "timestamp" => {
            count(args, 0, 0).map(|()| Value::text(facts.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
        }
        "timeadd" => add(args),
        "formatdate" => count(args, 2, 2).and_then(|()| formatted(&text(args, 0)?, time(&text(args, 1)?)?)),
        "formattimestamp" => count(args, 2, 2).and_then(|()| {
            let time = match &args[1] {
                Value::Number(seconds) => second(*seconds)?,
                _ => time(&text(args, 1)?)?,
            };
            formatted(&text(args, 0)?, time)
        }),
        "unixtimestampparse" => parts(args),
        "homedir" => count(args, 0, 0).map(|()| Value::text(&facts.home)),
        _ => return None,
    })
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error| format!("`{text}` is not a time such as 2026-01-31T12:00:00Z: {error}"))
}

fn second(seconds: f64) -> Result<Timestamp, String> {
    Timestamp::from_second(seconds as i64).map_err(|error| format!("not a time: {error}"))
}

/// Adds a duration as Go writes it: `1h30m`, `-10m`, `1.5s`.
fn add(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (start, text) = (time(&text(args, 0)?)?, text(args, 1)?);
    let wrong = || format!("`{text}` is not a duration such as 1h30m");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let amount: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += amount
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(wrong()),
            };
        rest = &rest[unit..];
    }
    let seconds = if negative { -total } else { total };
    let duration = jiff::SignedDuration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    let end = start.checked_add(duration).map_err(|_| "the time is beyond the calendar".to_owned())?;
    Ok(Value::text(end.to_string()))
}

/// Writes a time in the words of the format: `YYYY`, `MM`, `DD`, `hh`, `mm`, `ss`, `'text'` and so on.
fn formatted(format: &str, time: Timestamp) -> Answer {
    let mut out = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let inner = &rest[1..];
            let end = inner.find('\'').ok_or("a quoted part is not closed")?;
            out.push_str(&inner[..end]);
            rest = &inner[end + 1..];
            continue;
        }
        let length = rest.chars().take_while(|c| *c == first).map(char::len_utf8).sum();
        let (word, after) = rest.split_at(length);
        rest = after;
        if !first.is_ascii_alphabetic() {
            out.push_str(word);
            continue;
        }
        let verb = match word {
            "YYYY" => "%Y",
            "YY" => "%y",
            "MMMM" => "%B",
            "MMM" => "%b",
            "MM" => "%m",
            "M" => "%-m",
            "DD" => "%d",
            "D" => "%-d",
            "EEEE" => "%A",
            "EEE" => "%a",
            "hh" => "%H",
            "h" => "%-H",
            "HH" => "%I",
            "H" => "%-I",
            "AA" => "%p",
            "aa" => "%P",
            "mm" => "%M",
            "m" => "%-M",
            "ss" => "%S",
            "s" => "%-S",
            "ZZZZZ" | "ZZZZ" | "ZZZ" | "Z" => {
                out.push_str(match word {
                    "ZZZZZ" => "+00:00",
                    "ZZZZ" => "+0000",
                    "ZZZ" => "UTC",
                    _ => "Z",
                });
                continue;
            }
            other => {
                return Err(format!("`{other}` is not a word of a time's format; quote text with '...'"));
            }
        };
        out.push_str(&time.strftime(verb).to_string());
    }
    Ok(Value::String(out))
}

fn parts(args: &[Value]) -> Answer {
    count(args, 1, 1)?;
    let time = second(number(args, 0)?)?;
    let number = |verb: &str| Value::Number(time.strftime(verb).to_string().trim().parse().unwrap_or(0.0));
    Ok(Value::Map(BTreeMap::from([
        ("year".to_owned(), number("%Y")),
        ("year_day".to_owned(), number("%-j")),
        ("day".to_owned(), number("%-d")),
        ("month".to_owned(), number("%-m")),
        ("month_name".to_owned(), Value::text(time.strftime("%B").to_string())),
        ("weekday".to_owned(), number("%w")),
        ("weekday_name".to_owned(), Value::text(time.strftime("%A").to_string())),
        ("hour".to_owned(), number("%-H")),
        ("minute".to_owned(), number("%-M")),
        ("second".to_owned(), number("%-S")),
        ("rfc3339".to_owned(), Value::text(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
        ("iso_year".to_owned(), number("%G")),
        ("iso_week".to_owned(), number("%V")),
    ])))
}

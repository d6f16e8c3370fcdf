//! Functions on texts.

use regex::Regex;

use super::{Answer, bounded, count, items, text, whole};
use crate::value::Value;

pub(super) fn call(name: &str, args: &[Value]) -> Option<Answer> {
    Some(match name {
        "upper" => one(args, str::to_uppercase),
        "lower" => one(args, str::to_lowercase),
        "title" => one(args, title),
        "chomp" => one(args, |text| text.trim_end_matches(['\r', '\n']).to_owned()),
        "trimspace" => one(args, |text| text.trim().to_owned()),
        "sanitize" => one(args, |text| {
            text.chars()
                .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' })
                .collect()
        }),
        "basename" => one(args, basename),
        "dirname" => one(args, dirname),
        "trim" => two(args, |text, cut| text.trim_matches(|c| cut.contains(c)).to_owned()),
        "trimprefix" => two(args, |text, cut| text.strip_prefix(cut).unwrap_or(text).to_owned()),
        "trimsuffix" => two(args, |text, cut| text.strip_suffix(cut).unwrap_or(text).to_owned()),
        "strlen" => text(args, 0).map(|text| Value::Number(text.chars().count() as f64)),
        "byteslen" => text(args, 0).map(|text| Value::Number(text.len() as f64)),
        "substr" => substr(args),
        "bytesslice" => bytes_slice(args),
        "split" => split(args),
        "join" => join(args),
        "replace" => replace(args),
        "indent" => indent(args),
        "regex" => regex(args),
        "regexall" => regex_all(args),
        "regex_replace" => regex_replace(args),
        // A text is reversed, a list too.
        "reverse" if matches!(args, [Value::String(_)]) => one(args, |text| text.chars().rev().collect()),
        _ => return None,
    })
}

fn one(args: &[Value], change: impl Fn(&str) -> String) -> Answer {
    count(args, 1, 1)?;
    bounded(change(&text(args, 0)?))
}

fn two(args: &[Value], change: impl Fn(&str, &str) -> String) -> Answer {
    count(args, 2, 2)?;
    bounded(change(&text(args, 0)?, &text(args, 1)?))
}

fn title(text: &str) -> String {
    let mut begin = true;
    text.chars()
        .flat_map(|c| {
            let upper = begin && c.is_alphabetic();
            begin = !(c.is_alphanumeric() || c == '_' || c == '\'');
            if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

fn basename(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { "/".to_owned() } else { trimmed.rsplit('/').next().unwrap_or(trimmed).to_owned() }
}

fn dirname(path: &str) -> String {
    match path.rfind('/') {
        None => ".".to_owned(),
        Some(0) => "/".to_owned(),
        Some(at) => path[..at].trim_end_matches('/').to_owned(),
    }
}

fn substr(args: &[Value]) -> Answer {
    count(args, 3, 3)?;
    let (text, offset, length) = (text(args, 0)?, whole(args, 1)?, whole(args, 2)?);
    let total = text.chars().count() as i64;
    let start = if offset < 0 { (total + offset).max(0) } else { offset };
    let taken: String = text.chars().skip(start as usize).collect();
    let taken = if length < 0 { taken } else { taken.chars().take(length as usize).collect() };
    Ok(Value::String(taken))
}

fn bytes_slice(args: &[Value]) -> Answer {
    count(args, 3, 3)?;
    let (text, offset, length) = (text(args, 0)?, whole(args, 1)?, whole(args, 2)?);
    let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
    let slice = range.and_then(|(start, length)| text.get(start..start.checked_add(length)?));
    slice.map(Value::text).ok_or_else(|| "the slice is beyond the text, or divides a character".to_owned())
}

fn split(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (separator, text) = (text(args, 0)?, text(args, 1)?);
    let parts: Vec<Value> = if separator.is_empty() {
        text.chars().map(|c| Value::text(c.to_string())).collect()
    } else {
        text.split(&separator).map(Value::text).collect()
    };
    Ok(Value::List(parts))
}

fn join(args: &[Value]) -> Answer {
    count(args, 2, usize::MAX)?;
    let separator = text(args, 0)?;
    let mut parts = Vec::new();
    for at in 1..args.len() {
        for item in items(args, at)? {
            parts.push(item.as_text().ok_or_else(|| format!("{} cannot be joined", crate::eval::a(item)))?);
        }
    }
    bounded(parts.join(&separator))
}

fn replace(args: &[Value]) -> Answer {
    count(args, 3, 3)?;
    let (text, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let found = if from.is_empty() { text.chars().count() + 1 } else { text.matches(&from).count() };
    if text.len().saturating_add(found.saturating_mul(to.len())) > super::LARGEST {
        return Err("the result would be too large".to_owned());
    }
    bounded(text.replace(&from, &to))
}

fn indent(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let spaces =
        usize::try_from(whole(args, 0)?).map_err(|_| "spaces cannot be fewer than none".to_owned())?;
    let text = text(args, 1)?;
    if spaces.saturating_mul(text.matches('\n').count()) > super::LARGEST {
        return Err("the result would be too large".to_owned());
    }
    bounded(text.replace('\n', &format!("\n{}", " ".repeat(spaces))))
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| format!("not a regular expression: {}", error.to_string().replace('\n', " ")))
}

/// A match without groups is a text, with unnamed groups a list, with named ones a map.
fn matched(pattern: &Regex, found: &regex::Captures<'_>) -> Value {
    let group = |at: Option<regex::Match<'_>>| at.map_or(Value::Null, |at| Value::text(at.as_str()));
    let names: Vec<&str> = pattern.capture_names().flatten().collect();
    if !names.is_empty() {
        return Value::Map(names.iter().map(|name| ((*name).to_owned(), group(found.name(name)))).collect());
    }
    if found.len() > 1 {
        return Value::List((1..found.len()).map(|at| group(found.get(at))).collect());
    }
    group(found.get(0))
}

fn regex(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (pattern, text) = (compiled(&text(args, 0)?)?, text(args, 1)?);
    let found = pattern.captures(&text).ok_or_else(|| "the pattern does not match".to_owned())?;
    Ok(matched(&pattern, &found))
}

fn regex_all(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (pattern, text) = (compiled(&text(args, 0)?)?, text(args, 1)?);
    let all = pattern.captures_iter(&text).map(|found| matched(&pattern, &found));
    Ok(Value::List(all.collect()))
}

fn regex_replace(args: &[Value]) -> Answer {
    count(args, 3, 3)?;
    let (text, pattern, with) = (text(args, 0)?, compiled(&text(args, 1)?)?, text(args, 2)?);
    let groups = pattern.find_iter(&text).count().saturating_mul(with.len() + text.len());
    if groups > super::LARGEST * 64 {
        return Err("the result would be too large".to_owned());
    }
    bounded(pattern.replace_all(&text, with.as_str()).into_owned())
}

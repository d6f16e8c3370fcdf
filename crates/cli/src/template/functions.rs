//! The functions of templates: Go's own, and those that Docker adds.

use std::fmt::Write as _;

use serde_json::Value;

use super::eval::{shown, truth};

/// Calls a function.
pub(super) fn call(name: &str, arguments: Vec<Value>) -> Result<Value, String> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        other => shown(other),
    };
    let given = arguments.len();
    match (name, arguments.as_slice()) {
        ("json", [value]) => Ok(Value::String(value.to_string())),
        ("upper", [value]) => Ok(text(value).to_uppercase().into()),
        ("lower", [value]) => Ok(text(value).to_lowercase().into()),
        ("title", [value]) => Ok(title(&text(value)).into()),
        ("trim", [value]) => Ok(text(value).trim().into()),
        ("join", [Value::Array(list), separator]) => {
            Ok(list.iter().map(text).collect::<Vec<_>>().join(&text(separator)).into())
        }
        ("split", [value, separator]) => {
            let (value, separator) = (text(value), text(separator));
            Ok(value.split(separator.as_str()).map(Value::from).collect::<Vec<_>>().into())
        }
        ("pad", [value, before, after]) => {
            let blanks = |value: &Value| {
                " ".repeat(usize::try_from(value.as_u64().unwrap_or(0)).unwrap_or(0).min(1000))
            };
            Ok(format!("{}{}{}", blanks(before), text(value), blanks(after)).into())
        }
        ("truncate", [value, length]) => {
            let length = usize::try_from(length.as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
            Ok(text(value).chars().take(length).collect::<String>().into())
        }
        ("len", [value]) => match value {
            Value::String(text) => Ok(text.len().into()),
            Value::Array(list) => Ok(list.len().into()),
            Value::Object(fields) => Ok(fields.len().into()),
            Value::Null => Ok(0.into()),
            _ => Err(format!("`{}` has no length", shown(value))),
        },
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("not", [value]) => Ok((!truth(value)).into()),
        ("and", [_, ..]) => Ok(first(arguments, |value| !truth(value))),
        ("or", [_, ..]) => Ok(first(arguments, truth)),
        ("eq", [value, others @ ..]) if !others.is_empty() => {
            Ok(others.iter().any(|other| same(value, other)).into())
        }
        ("ne", [a, b]) => Ok((!same(a, b)).into()),
        ("lt", [a, b]) => ordered(a, b).map(|order| order.is_lt().into()),
        ("le", [a, b]) => ordered(a, b).map(|order| order.is_le().into()),
        ("gt", [a, b]) => ordered(a, b).map(|order| order.is_gt().into()),
        ("ge", [a, b]) => ordered(a, b).map(|order| order.is_ge().into()),
        ("print", values) => Ok(values.iter().map(shown).collect::<String>().into()),
        ("println", values) => {
            Ok(format!("{}\n", values.iter().map(shown).collect::<Vec<_>>().join(" ")).into())
        }
        ("printf", [format, values @ ..]) => printf(&text(format), values).map(Value::String),
        (
            "json" | "upper" | "lower" | "title" | "trim" | "join" | "split" | "pad" | "truncate" | "len"
            | "index" | "slice" | "not" | "and" | "or" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "printf",
            _,
        ) => Err(format!("`{name}` cannot take these {given} values")),
        _ => Err(format!("there is no function `{name}` for templates here")),
    }
}

/// Returns the first value that decides, or the last.
fn first(values: Vec<Value>, decides: impl Fn(&Value) -> bool) -> Value {
    let last = values.len().saturating_sub(1);
    let found = values.iter().position(decides).unwrap_or(last);
    values.into_iter().nth(found).unwrap_or(Value::Null)
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() < f64::EPSILON,
        _ => a == b,
    }
}

fn ordered(a: &Value, b: &Value) -> Result<std::cmp::Ordering, String> {
    let numbers = a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b));
    let texts = a.as_str().zip(b.as_str()).map(|(a, b)| a.cmp(b));
    numbers.or(texts).ok_or_else(|| format!("`{}` and `{}` have no order", shown(a), shown(b)))
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut value = value;
    for key in keys {
        value = match (value, key) {
            (Value::Object(fields), Value::String(name)) => fields.get(name).unwrap_or(&Value::Null),
            (Value::Array(list), Value::Number(number)) => {
                let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
                at.and_then(|at| list.get(at)).ok_or_else(|| format!("there is no member {number}"))?
            }
            (Value::Null, _) => return Ok(Value::Null),
            (other, key) => return Err(format!("`{}` has no member `{}`", shown(other), shown(key))),
        };
    }
    Ok(value.clone())
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let bound = |at: usize, default: usize| {
        bounds.get(at).map_or(Some(default), |bound| usize::try_from(bound.as_u64()?).ok())
    };
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        other => return Err(format!("`{}` cannot be cut", shown(other))),
    };
    let range = bound(0, 0).zip(bound(1, length)).filter(|(from, to)| from <= to && *to <= length);
    let (from, to) = range.ok_or_else(|| format!("a length of {length} has no such part"))?;
    match value {
        Value::String(text) => {
            text.get(from..to).map(Value::from).ok_or_else(|| "that cuts a character".to_owned())
        }
        Value::Array(list) => Ok(list[from..to].to_vec().into()),
        _ => unreachable!("anything else was refused"),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    let letter = |c: char| {
        let out: String = if start { c.to_uppercase().collect() } else { c.to_string() };
        start = !c.is_alphanumeric();
        out
    };
    text.chars().map(letter).collect()
}

/// Writes by a format of Go's, of which `%s %d %v %q %t %x %f %%` and widths are read.
fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut characters = format.chars().peekable();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut width = String::new();
        while let Some(next) =
            characters.peek().filter(|next| next.is_ascii_digit() || matches!(next, '-' | '.'))
        {
            width.push(*next);
            characters.next();
        }
        let verb = characters.next().ok_or("a `%` ends the format")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or("printf has fewer values than its format asks for")?;
        let text = match verb {
            's' | 'v' | 'd' | 't' => shown(value),
            'q' => format!("{:?}", shown(value)),
            'x' => value.as_i64().map_or_else(|| hex(&shown(value)), |number| format!("{number:x}")),
            'f' => {
                let places =
                    width.split_once('.').and_then(|(_, places)| places.parse().ok()).unwrap_or(6_usize);
                format!("{:.*}", places.min(20), value.as_f64().unwrap_or(0.0))
            }
            other => return Err(format!("`%{other}` is not read here")),
        };
        let whole = width.split('.').next().unwrap_or_default();
        let least = whole.trim_start_matches('-').parse::<usize>().unwrap_or(0).min(1000);
        let blanks = " ".repeat(least.saturating_sub(text.chars().count()));
        if whole.starts_with('-') { out += &(text + &blanks) } else { out += &(blanks + &text) }
    }
    Ok(out)
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

//! The functions that every bake file has.

mod collections;
mod encoding;
mod formats;
mod networks;
mod numbers;
mod texts;
mod times;

use crate::value::Value;

/// The result of a function; the text says what is wrong.
type Answer = Result<Value, String>;

/// What functions know of the world.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The time that `timestamp()` gives.
    pub now: jiff::Timestamp,
    /// The directory that `homedir()` gives.
    pub home: String,
}

/// No function makes a text or a list larger than this (bytes, elements).
const LARGEST: usize = 1 << 20;

/// The names of the functions, sorted.
pub(crate) const NAMES: &[&str] = &[
    "abs",
    "absolute",
    "add",
    "and",
    "base64decode",
    "base64encode",
    "basename",
    "bcrypt",
    "byteslen",
    "bytesslice",
    "can",
    "ceil",
    "chomp",
    "chunklist",
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "coalesce",
    "coalescelist",
    "compact",
    "concat",
    "contains",
    "convert",
    "csvdecode",
    "dirname",
    "distinct",
    "divide",
    "element",
    "equal",
    "flatten",
    "floor",
    "format",
    "formatdate",
    "formatlist",
    "formattimestamp",
    "greaterthan",
    "greaterthanorequalto",
    "hasindex",
    "homedir",
    "indent",
    "index",
    "index_of",
    "indexof",
    "int",
    "join",
    "jsondecode",
    "jsonencode",
    "keys",
    "length",
    "lessthan",
    "lessthanorequalto",
    "log",
    "lookup",
    "lower",
    "max",
    "md5",
    "merge",
    "min",
    "modulo",
    "multiply",
    "negate",
    "not",
    "notequal",
    "or",
    "parseint",
    "pow",
    "range",
    "regex",
    "regex_replace",
    "regexall",
    "replace",
    "reverse",
    "reverselist",
    "rsadecrypt",
    "sanitize",
    "semvercmp",
    "sethaselement",
    "setintersection",
    "setproduct",
    "setsubtract",
    "setsymmetricdifference",
    "setunion",
    "sha1",
    "sha256",
    "sha512",
    "signum",
    "slice",
    "sort",
    "split",
    "strlen",
    "substr",
    "subtract",
    "timeadd",
    "timestamp",
    "title",
    "trim",
    "trimprefix",
    "trimspace",
    "trimsuffix",
    "try",
    "unixtimestampparse",
    "upper",
    "urlencode",
    "uuidv4",
    "uuidv5",
    "values",
    "zipmap",
];

/// Calls a function; `None` when there is none of that name.
pub(crate) fn call(name: &str, args: &[Value], facts: &Facts) -> Option<Answer> {
    if matches!(name, "bcrypt" | "rsadecrypt") {
        return Some(Err(format!("`{name}` is not offered: a bake file is no place for passwords and keys")));
    }
    texts::call(name, args)
        .or_else(|| numbers::call(name, args))
        .or_else(|| collections::call(name, args))
        .or_else(|| encoding::call(name, args))
        .or_else(|| formats::call(name, args))
        .or_else(|| networks::call(name, args))
        .or_else(|| times::call(name, args, facts))
        .or_else(|| {
            NAMES.contains(&name).then(|| Err(format!("`{name}` cannot be called with these arguments")))
        })
}

/// Refuses a wrong number of arguments.
fn count(args: &[Value], least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&args.len()) {
        return Ok(());
    }
    let wanted = if least == most {
        least.to_string()
    } else if most == usize::MAX {
        format!("at least {least}")
    } else {
        format!("{least} to {most}")
    };
    Err(format!(
        "{wanted} argument{} needed, not {}",
        if wanted == "1" { " is" } else { "s are" },
        args.len()
    ))
}

fn nth(args: &[Value], at: usize) -> Result<&Value, String> {
    args.get(at).ok_or_else(|| format!("argument {} is missing", at + 1))
}

fn text(args: &[Value], at: usize) -> Result<String, String> {
    let value = nth(args, at)?;
    value.as_text().ok_or_else(|| format!("argument {} is a string, not {}", at + 1, crate::eval::a(value)))
}

fn number(args: &[Value], at: usize) -> Result<f64, String> {
    let value = nth(args, at)?;
    value.as_number().ok_or_else(|| format!("argument {} is a number, not {}", at + 1, crate::eval::a(value)))
}

fn whole(args: &[Value], at: usize) -> Result<i64, String> {
    let number = number(args, at)?;
    if crate::value::is_whole(number) {
        Ok(number as i64)
    } else {
        Err(format!("argument {} is a whole number, not {number}", at + 1))
    }
}

fn truth(args: &[Value], at: usize) -> Result<bool, String> {
    let value = nth(args, at)?;
    value.as_bool().ok_or_else(|| format!("argument {} is a bool, not {}", at + 1, crate::eval::a(value)))
}

fn items(args: &[Value], at: usize) -> Result<&[Value], String> {
    let value = nth(args, at)?;
    value.as_items().ok_or_else(|| format!("argument {} is a list, not {}", at + 1, crate::eval::a(value)))
}

fn map(args: &[Value], at: usize) -> Result<&std::collections::BTreeMap<String, Value>, String> {
    match nth(args, at)? {
        Value::Map(map) => Ok(map),
        other => Err(format!("argument {} is a map, not {}", at + 1, crate::eval::a(other))),
    }
}

/// Refuses a text that has grown too large.
fn bounded(text: String) -> Answer {
    if text.len() > LARGEST {
        return Err(format!("the result would be larger than {LARGEST} bytes"));
    }
    Ok(Value::String(text))
}

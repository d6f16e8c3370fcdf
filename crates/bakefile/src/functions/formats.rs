//! `format` and `formatlist`: texts with verbs.

use super::{Answer, bounded, text};
use crate::value::{Value, number_text};

/// No field is padded wider than this.
const WIDEST: usize = 1024;

pub(super) fn call(name: &str, args: &[Value]) -> Option<Answer> {
    match name {
        "format" => Some(text(args, 0).and_then(|format| bounded(written(&format, &args[1..])?))),
        "formatlist" => Some(list(args)),
        _ => None,
    }
}

fn list(args: &[Value]) -> Answer {
    let format = text(args, 0)?;
    let lengths: Vec<usize> = args[1..].iter().filter_map(|arg| arg.as_items().map(<[Value]>::len)).collect();
    let length = lengths.first().copied().unwrap_or(1);
    if lengths.iter().any(|other| *other != length) {
        return Err("the lists differ in length".to_owned());
    }
    let mut out = Vec::with_capacity(length);
    let mut size = 0;
    for at in 0..length {
        let row: Vec<Value> = args[1..]
            .iter()
            .map(|arg| arg.as_items().map_or_else(|| arg.clone(), |items| items[at].clone()))
            .collect();
        let text = written(&format, &row)?;
        size += text.len();
        if size > super::LARGEST {
            return Err("the result would be too large".to_owned());
        }
        out.push(Value::String(text));
    }
    Ok(Value::List(out))
}

#[derive(Default)]
struct Verb {
    zero: bool,
    left: bool,
    plus: bool,
    blank: bool,
    alternate: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn written(format: &str, args: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut next = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| "0-+ #".contains(*c)) {
            match flag {
                '0' => verb.zero = true,
                '-' => verb.left = true,
                '+' => verb.plus = true,
                ' ' => verb.blank = true,
                _ => verb.alternate = true,
            }
        }
        verb.width = digits(&mut chars)?;
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(digits(&mut chars)?.unwrap_or(0));
        }
        if chars.next_if_eq(&'[').is_some() {
            let number = digits(&mut chars)?.filter(|number| *number > 0).ok_or("`%[` needs a number")?;
            next = number - 1;
            chars.next_if_eq(&']').ok_or("`%[` is not closed")?;
        }
        let kind = chars.next().ok_or("the format ends within a verb")?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = args
            .get(next)
            .ok_or_else(|| format!("the format wants argument {}, which is not given", next + 1))?;
        next += 1;
        out.push_str(&field(&verb, kind, value)?);
        if out.len() > super::LARGEST {
            return Err("the result would be too large".to_owned());
        }
    }
    let indexed = format.contains("%[");
    if next < args.len() && !indexed {
        return Err(format!("{} arguments are given, the format uses {next}", args.len()));
    }
    Ok(out)
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<usize>, String> {
    let mut number = None;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        let value = number.unwrap_or(0) * 10 + digit.to_digit(10).unwrap_or(0) as usize;
        if value > WIDEST {
            return Err(format!("a field is at most {WIDEST} wide"));
        }
        number = Some(value);
    }
    Ok(number)
}

fn field(verb: &Verb, kind: char, value: &Value) -> Result<String, String> {
    let number =
        || value.as_number().ok_or_else(|| format!("%{kind} takes a number, not {}", crate::eval::a(value)));
    let whole = || number().map(|number| number.trunc() as i64);
    let signed = |negative: bool, digits: String| {
        let sign = if negative {
            "-"
        } else if verb.plus {
            "+"
        } else if verb.blank {
            " "
        } else {
            ""
        };
        (sign.to_owned(), digits)
    };
    let radix = |text: String, prefix: &str| if verb.alternate { format!("{prefix}{text}") } else { text };
    let (sign, body, numeric) = match kind {
        'v' => (
            String::new(),
            match value {
                Value::String(text) if !verb.alternate => text.clone(),
                Value::Number(number) if !verb.alternate => number_text(*number),
                other => other.to_json().to_string(),
            },
            matches!(value, Value::Number(_)),
        ),
        's' | 'q' => {
            let text = value
                .as_text()
                .ok_or_else(|| format!("%{kind} takes a string, not {}", crate::eval::a(value)))?;
            let text = match verb.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text,
            };
            let text = if kind == 'q' { serde_json::Value::from(text).to_string() } else { text };
            (String::new(), text, false)
        }
        't' => {
            let truth =
                value.as_bool().ok_or_else(|| format!("%t takes a bool, not {}", crate::eval::a(value)))?;
            (String::new(), truth.to_string(), false)
        }
        'd' => {
            let number = whole()?;
            let (sign, body) = signed(number < 0, number.unsigned_abs().to_string());
            (sign, body, true)
        }
        'b' | 'o' | 'x' | 'X' => {
            let number = whole()?;
            let size = number.unsigned_abs();
            let body = match kind {
                'b' => radix(format!("{size:b}"), "0b"),
                'o' => radix(format!("{size:o}"), "0"),
                'x' => radix(format!("{size:x}"), "0x"),
                _ => radix(format!("{size:X}"), "0X"),
            };
            let (sign, body) = signed(number < 0, body);
            (sign, body, true)
        }
        'f' | 'g' | 'G' | 'e' | 'E' => {
            let number = number()?;
            let size = number.abs();
            let body = match (kind, verb.precision) {
                ('f', precision) => format!("{size:.*}", precision.unwrap_or(6)),
                ('e' | 'E', precision) => exponent(&format!("{size:.*e}", precision.unwrap_or(6)), kind),
                _ => number_text(size),
            };
            let (sign, body) = signed(number < 0.0, body);
            (sign, body, true)
        }
        other => return Err(format!("there is no verb %{other}")),
    };
    let length = sign.chars().count() + body.chars().count();
    let missing = verb.width.unwrap_or(0).saturating_sub(length);
    Ok(if verb.left {
        format!("{sign}{body}{}", " ".repeat(missing))
    } else if verb.zero && numeric {
        format!("{sign}{}{body}", "0".repeat(missing))
    } else {
        format!("{}{sign}{body}", " ".repeat(missing))
    })
}

/// Writes an exponent with its sign and two digits.
fn exponent(text: &str, kind: char) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}{kind}{sign}{digits:0>2}")
}

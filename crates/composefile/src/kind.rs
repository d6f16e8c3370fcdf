//! What YAML takes a plain scalar for (YAML 1.2 core schema, with the numbers of 1.1 as Go's reader knows them).

use std::borrow::Cow;

/// The type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Text: quoted, a block, or nothing else.
    Text,
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A number that came from text where the attribute has single precision.
    Single(f32),
    /// `true` or `false`.
    Boolean(bool),
}

impl Kind {
    /// Returns what a plain scalar is.
    pub(crate) fn of_plain(text: &str) -> Self {
        match text {
            "true" | "True" | "TRUE" => return Self::Boolean(true),
            "false" | "False" | "FALSE" => return Self::Boolean(false),
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Self::Float(f64::NEG_INFINITY),
            _ => {}
        }
        if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) || text.len() > 64
        {
            return Self::Text;
        }
        let digits = text.replace('_', "");
        if let Some(number) = integer(&digits) {
            return Self::Integer(number);
        }
        if is_float(&digits)
            && let Ok(number) = digits.parse()
        {
            return Self::Float(number);
        }
        Self::Text
    }

    /// Returns how a scalar of this kind prints; `text` is how it is written.
    pub(crate) fn shown(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Text => Cow::Borrowed(text),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(truth) => Cow::Borrowed(if truth { "true" } else { "false" }),
            Self::Float(number) => Cow::Owned(float(number, 21)),
            Self::Single(number) => Cow::Owned(single(number, 21)),
        }
    }
}

/// Reads a whole number in any base that a prefix may name: `0x`, `0o`, `0b`, and octal by a leading zero.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, base).ok()?;
    i64::try_from(if negative { -number } else { number }).ok()
}

fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (number, exponent) = match text.find(['e', 'E']) {
        None => (text, None),
        Some(at) => (&text[..at], Some(&text[at + 1..])),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    all_digits(whole) && all_digits(fraction) && (!whole.is_empty() || !fraction.is_empty()) && exponent
}

/// Returns a number in the shortest form that reads back the same; `limit` is the power of ten from which it has an
/// exponent.
pub(crate) fn float(number: f64, limit: i32) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    exponent(&format!("{number:e}"), number == 0.0, &number.to_string(), limit)
}

/// As [`float`], with single precision.
pub(crate) fn single(number: f32, limit: i32) -> String {
    if !number.is_finite() {
        return float(f64::from(number), limit);
    }
    exponent(&format!("{number:e}"), number == 0.0, &number.to_string(), limit)
}

fn exponent(scientific: &str, zero: bool, plain: &str, limit: i32) -> String {
    let Some((mantissa, power)) = scientific.split_once('e') else { return plain.to_owned() };
    let power: i32 = power.parse().unwrap_or_default();
    if zero || (-4..limit).contains(&power) {
        return plain.to_owned();
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", power.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_kinds() {
        let table = [
            ("80", Kind::Integer(80)),
            ("0440", Kind::Integer(288)),
            ("0x10", Kind::Integer(16)),
            ("0o17", Kind::Integer(15)),
            ("1_000", Kind::Integer(1000)),
            ("-5", Kind::Integer(-5)),
            ("08", Kind::Float(8.0)),
            ("1.50", Kind::Float(1.5)),
            (".5", Kind::Float(0.5)),
            ("1e3", Kind::Float(1000.0)),
            ("true", Kind::Boolean(true)),
            ("yes", Kind::Text),
            ("80:80", Kind::Text),
            ("1.2.3", Kind::Text),
            ("-", Kind::Text),
            (".", Kind::Text),
            ("9x", Kind::Text),
        ];
        for (text, kind) in table {
            assert_eq!(Kind::of_plain(text), kind, "{text}");
        }
    }

    #[test]
    fn numbers_print_as_go_prints_them() {
        let table = [("1.10", "1.1"), ("1e3", "1000"), ("1e21", "1e+21"), ("0.00001", "1e-05"), ("010", "8")];
        for (text, shown) in table {
            assert_eq!(Kind::of_plain(text).shown(text), shown, "{text}");
        }
    }
}

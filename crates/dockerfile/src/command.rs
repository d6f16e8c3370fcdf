//! Exec form, shell form and durations.

use crate::CommandForm;

/// Why a list in brackets is no exec form.
pub(crate) enum JsonList {
    /// A list of strings.
    List(Vec<String>),
    /// A shell text that happens to begin with `[`, such as `[ -f x ]`.
    Shell,
    /// Surely meant as a list; the text says what is wrong.
    Broken(String),
}

/// Reads a text that begins with `[`.
pub(crate) fn json_list(text: &str) -> JsonList {
    let reason = match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Ok(values) => {
            let strings: Option<Vec<String>> =
                values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
            match strings {
                Some(list) => return JsonList::List(list),
                None => "its items must all be strings in double quotes".to_owned(),
            }
        }
        Err(_) if text.starts_with("['") => "strings need double quotes, not single ones".to_owned(),
        Err(error) => {
            let text = error.to_string();
            // The position counts from the list's beginning, which is not the file's; drop it.
            text.split(" at line ").next().unwrap_or(&text).to_owned()
        }
    };
    // `["` and `['` begin no shell command that could ever work: there is no program of such a name.
    if text.starts_with("[\"") || text.starts_with("['") { JsonList::Broken(reason) } else { JsonList::Shell }
}

/// Returns the form of a command's text, or what is wrong with its list.
pub(crate) fn command_form(text: &str) -> Result<CommandForm, String> {
    if !text.starts_with('[') {
        return Ok(CommandForm::Shell(text.to_owned()));
    }
    match json_list(text) {
        JsonList::List(list) => Ok(CommandForm::Exec(list)),
        JsonList::Shell => Ok(CommandForm::Shell(text.to_owned())),
        JsonList::Broken(reason) => Err(reason),
    }
}

/// Reads a duration as Go writes it (`1h30m`, `1.5s`, `100ms`) in nanoseconds.
pub(crate) fn duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        rest = &rest[number_end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit: u64 = match &rest[..unit_end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        rest = &rest[unit_end..];
        let nanoseconds = number * unit as f64;
        if nanoseconds > i64::MAX as f64 {
            return None;
        }
        total =
            total.checked_add(nanoseconds.round() as u64).filter(|total| i64::try_from(*total).is_ok())?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("30s", Some(30_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("100ms", Some(100_000_000)),
            ("0", Some(0)),
            ("30", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1x", None),
            ("999999999h", None),
            ("1..2s", None),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn forms() {
        let exec = |items: &[&str]| Ok(CommandForm::Exec(items.iter().map(|i| (*i).to_owned()).collect()));
        let shell = |text: &str| Ok(CommandForm::Shell(text.to_owned()));
        assert_eq!(command_form(r#"["a", "b"]"#), exec(&["a", "b"]));
        assert_eq!(command_form("[]"), exec(&[]));
        assert_eq!(command_form("[ -f x ] && y"), shell("[ -f x ] && y"));
        assert_eq!(command_form("echo [\"a\"]"), shell("echo [\"a\"]"));
        assert!(command_form("['a']").unwrap_err().contains("double quotes"));
        assert!(command_form(r#"["a",]"#).is_err());
        assert!(command_form(r#"["a", 1]"#).unwrap_err().contains("strings"));
    }
}

//! Exec form, shell form and durations.

use crate::CommandForm;

/// Reads a text that may be a JSON list of strings: `Ok(None)` when it is no list of JSON, and so a text for the
/// shell; an error when it is a list of something else.
pub(crate) fn json_list(text: &str) -> Result<Option<Vec<String>>, String> {
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let strings: Option<Vec<String>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
    strings.map(Some).ok_or_else(|| "its items must all be strings in double quotes".to_owned())
}

/// Returns what keeps `text` from being the JSON list that it was surely meant as, and hands it to the shell instead;
/// `None` for what was never meant as one, such as `[ -f x ] && y`.
pub fn list_fault(text: &str) -> Option<String> {
    // No shell command begins so: there is no program of such a name.
    if !text.starts_with("[\"") && !text.starts_with("['") {
        return None;
    }
    let error = serde_json::from_str::<Vec<String>>(text).err()?;
    if text.starts_with("['") {
        return Some("strings need double quotes, not single ones".to_owned());
    }
    let text = error.to_string();
    // The position counts from the list's beginning, which is not the file's; drop it.
    Some(text.split(" at line ").next().unwrap_or(&text).to_owned())
}

/// Returns the form of a command's text, or what is wrong with its list.
pub(crate) fn command_form(text: &str) -> Result<CommandForm, String> {
    Ok(match json_list(text)? {
        Some(list) => CommandForm::Exec(list),
        None => CommandForm::Shell(text.to_owned()),
    })
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
        assert_eq!(command_form("['a']"), shell("['a']"));
        assert_eq!(command_form(r#"["a",]"#), shell(r#"["a",]"#));
        assert_eq!(command_form(r#"["a" "b"]"#), shell(r#"["a" "b"]"#));
        assert_eq!(command_form(r#"["a"] b"#), shell(r#"["a"] b"#));
        assert_eq!(command_form("[ ]"), exec(&[]));
        assert!(command_form("[1]").is_err());
        assert!(command_form(r#"[["a"]]"#).is_err());
        assert!(command_form(r#"["a", 1]"#).unwrap_err().contains("strings"));
    }

    #[test]
    fn faults_of_lists() {
        assert_eq!(list_fault("['a']").as_deref(), Some("strings need double quotes, not single ones"));
        assert_eq!(list_fault(r#"["a",]"#).as_deref(), Some("trailing comma"));
        for fine in [r#"["a"]"#, "[ -f x ]", "echo [\"a\",]", "[[ x ]]"] {
            assert_eq!(list_fault(fine), None, "{fine}");
        }
    }
}

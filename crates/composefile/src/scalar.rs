//! Texts to numbers: durations, byte sizes, processors, booleans, and the words of a command line.

use std::time::Duration;

/// Reads a duration such as `1m30s`, `250ms`, `1.5h`, `2d` (Go's syntax, with days and weeks); `0` needs no unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let fail = || format!("`{text}` is not a duration such as `30s` or `1m30s`");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0f64;
    if rest.is_empty() {
        return Err(fail());
    }
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.');
        let (number, behind) = rest.split_at(digits.ok_or_else(fail)?);
        let length = behind.find(|character: char| character.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(length);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return Err(fail()),
        };
        total += number.parse::<f64>().map_err(|_| fail())? * seconds;
        rest = behind;
    }
    Duration::try_from_secs_f64(total).map_err(|_| fail())
}

/// Reads a size in bytes such as `512M`, `1.5gb`, `64kib`; units are powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let fail = || format!("`{text}` is not a size such as `512m` or `2g`");
    let lower = text.trim().to_ascii_lowercase();
    let split = lower.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, unit) = lower.split_at(split.unwrap_or(lower.len()));
    let power = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(fail()),
    };
    let factor = 1024u64.pow(power);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(fail);
    }
    let size = number.parse::<f64>().map_err(|_| fail())? * factor as f64;
    if size.is_finite() && size < 9e18 { Ok(size as u64) } else { Err(fail()) }
}

/// Reads a number of processors such as `0.5` to thousandths.
pub(crate) fn millicpus(text: &str) -> Result<u64, String> {
    let fail = || format!("`{text}` is not a number of processors such as `0.5`");
    let number: f64 = text.trim().parse().map_err(|_| fail())?;
    if (0.0..=1e6).contains(&number) { Ok((number * 1000.0).round() as u64) } else { Err(fail()) }
}

/// Reads a boolean as YAML 1.1 spells it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Ok(true),
        "false" | "no" | "off" | "n" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

/// Splits a command line into words as a shell does: quotes and backslashes, no variables. An error says what is not
/// closed.
pub fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(other) => word.push(other),
                        None => return Err("a single quote is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') if matches!(characters.peek(), Some('"' | '\\' | '$' | '`')) => {
                            word.extend(characters.next());
                        }
                        Some(other) => word.push(other),
                        None => return Err("a double quote is not closed".to_owned()),
                    }
                }
            }
            '\\' => match characters.next() {
                Some('\n') | None => {}
                Some(other) => word.get_or_insert_default().push(other),
            },
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Returns the candidate that `name` was probably meant to be.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        // No more than three edits are forgiven, and a hostile name may have megabytes.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= 12)
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3) / 3).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        let table = [
            ("0", 0),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
            ("1h1m1s1ms", 3_661_001),
        ];
        for (text, milliseconds) in table {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "30", "s", "-1s", "1x", "1..2s", "30 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        let table = [
            ("0", 0),
            ("512", 512),
            ("100b", 100),
            ("1k", 1024),
            ("64KiB", 65_536),
            ("512M", 536_870_912),
            ("1G", 1_073_741_824),
            ("1.5gb", 1_610_612_736),
            ("2 g", 2_147_483_648),
        ];
        for (text, size) in table {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "m", "-1", "1x", "99999999999999999999g", "1e3"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_processors() {
        assert_eq!(millicpus("0.5"), Ok(500));
        assert_eq!(millicpus("2"), Ok(2000));
        for text in ["", "-1", "NaN", "all"] {
            assert!(millicpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn splits_words() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("a b  c", &["a", "b", "c"]),
            ("sh -c 'a b' \"c \\\" d\" e\\ f", &["sh", "-c", "a b", "c \" d", "e f"]),
            ("''", &[""]),
            ("a'b'\"c\"", &["abc"]),
        ];
        for (text, expected) in table {
            assert_eq!(words(text).unwrap(), *expected, "{text}");
        }
        assert!(words("a 'b").is_err());
    }

    #[test]
    fn finds_near_names() {
        assert_eq!(nearest("prots", ["ports", "image"]), Some("ports"));
        assert_eq!(nearest("enviroment", ["environment", "env_file"]), Some("environment"));
        assert_eq!(nearest("zzz", ["ports", "image"]), None);
    }

    proptest! {
        #[test]
        fn numbers_never_panic(text in "\\PC{0,20}") {
            let _ = (duration(&text), bytes(&text), millicpus(&text), words(&text));
        }
    }
}

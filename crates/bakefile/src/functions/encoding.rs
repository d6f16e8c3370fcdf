//! Encodings, hashes and names made of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Digest as _;

use super::{Answer, bounded, count, nth, text};
use crate::value::Value;

/// What stands for itself in the query of a URL; a blank becomes `+`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

pub(super) fn call(name: &str, args: &[Value]) -> Option<Answer> {
    Some(match name {
        "md5" => hashed(args, |bytes| hex::encode(md5::Md5::digest(bytes))),
        "sha1" => hashed(args, |bytes| hex::encode(sha1::Sha1::digest(bytes))),
        "sha256" => hashed(args, |bytes| hex::encode(sha2::Sha256::digest(bytes))),
        "sha512" => hashed(args, |bytes| hex::encode(sha2::Sha512::digest(bytes))),
        "base64encode" => hashed(args, |bytes| STANDARD.encode(bytes)),
        "base64decode" => base64_decode(args),
        "urlencode" => text(args, 0)
            .and_then(|text| bounded(utf8_percent_encode(&text, QUERY).to_string().replace(' ', "+"))),
        "jsonencode" => nth(args, 0).and_then(|value| bounded(value.to_json().to_string())),
        "jsondecode" => json_decode(args),
        "csvdecode" => csv_decode(args),
        "uuidv4" => count(args, 0, 0).map(|()| Value::text(uuid::Uuid::new_v4().to_string())),
        "uuidv5" => uuid_v5(args),
        "semvercmp" => semver_compare(args),
        _ => return None,
    })
}

fn hashed(args: &[Value], make: impl Fn(&[u8]) -> String) -> Answer {
    count(args, 1, 1)?;
    bounded(make(text(args, 0)?.as_bytes()))
}

fn base64_decode(args: &[Value]) -> Answer {
    count(args, 1, 1)?;
    let bytes = STANDARD.decode(text(args, 0)?).map_err(|error| format!("not base64: {error}"))?;
    String::from_utf8(bytes).map(Value::String).map_err(|_| "the result is not text".to_owned())
}

fn json_decode(args: &[Value]) -> Answer {
    count(args, 1, 1)?;
    let json = serde_json::from_str(&text(args, 0)?).map_err(|error| format!("not JSON: {error}"))?;
    Ok(Value::from_json(&json))
}

fn csv_decode(args: &[Value]) -> Answer {
    count(args, 1, 1)?;
    let text = text(args, 0)?;
    let wrong = |error: csv::Error| format!("not comma-separated values: {error}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let pairs = names.iter().cloned().zip(record.iter().map(Value::text));
        rows.push(Value::Map(pairs.collect()));
    }
    Ok(Value::List(rows))
}

fn uuid_v5(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let namespace = match text(args, 0)?.as_str() {
        "dns" => uuid::Uuid::NAMESPACE_DNS,
        "url" => uuid::Uuid::NAMESPACE_URL,
        "oid" => uuid::Uuid::NAMESPACE_OID,
        "x500" => uuid::Uuid::NAMESPACE_X500,
        other => other.parse().map_err(|_| "a namespace is dns, url, oid, x500 or a UUID".to_owned())?,
    };
    Ok(Value::text(uuid::Uuid::new_v5(&namespace, text(args, 1)?.as_bytes()).to_string()))
}

/// Whether a version satisfies constraints: comparisons, joined by commas or blanks; alternatives by `||`.
fn semver_compare(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (version, constraint) = (text(args, 0)?, text(args, 1)?);
    let padded = |text: &str| {
        let text = text.trim().trim_start_matches('v');
        let cut = text.find(['-', '+']).unwrap_or(text.len());
        let missing = 2usize.saturating_sub(text[..cut].matches('.').count());
        format!("{}{}{}", &text[..cut], ".0".repeat(missing), &text[cut..])
    };
    let version: semver::Version =
        padded(&version).parse().map_err(|error| format!("`{version}` is not a version: {error}"))?;
    for alternative in constraint.split("||") {
        let mut words: Vec<String> = Vec::new();
        for word in alternative.replace(',', " ").split_whitespace() {
            match words.last_mut() {
                // An operator may stand apart from its version.
                Some(last) if last.chars().all(|c| "<>=!~^".contains(c)) => last.push_str(word),
                _ => words.push(word.to_owned()),
            }
        }
        let mut all = true;
        for word in words {
            let start = word.find(|c: char| !"<>=!~^".contains(c)).unwrap_or(word.len());
            let (operator, rest) = word.split_at(start);
            let (operator, negated) = match operator {
                "!=" => ("=", true),
                "" => ("=", false),
                other => (other, false),
            };
            let wrong = |error| format!("`{word}` is not a constraint: {error}");
            let rest = rest.trim_start_matches('v');
            let wanted: semver::VersionReq = match rest {
                "*" | "x" => semver::VersionReq::STAR,
                _ => format!("{operator}{}", rest.replace(".x", "")).parse().map_err(wrong)?,
            };
            all &= wanted.matches(&version) != negated;
        }
        if all {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

//! The header `WWW-Authenticate` (RFC 9110, section 11.6.1), by which a registry says how to authenticate.

use std::collections::BTreeMap;

/// How a registry wants us to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from another server (distribution specification, "Token authentication").
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// Returns the strongest challenge of a header that we can answer.
pub(crate) fn parse(header: &str) -> Option<Challenge> {
    let mut basic = false;
    for (scheme, parameters) in schemes(header) {
        if scheme.eq_ignore_ascii_case("bearer") {
            let get = |name: &str| parameters.get(name).cloned();
            if let Some(realm) = get("realm") {
                return Some(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
            }
        }
        basic |= scheme.eq_ignore_ascii_case("basic");
    }
    basic.then_some(Challenge::Basic)
}

/// Splits a header into schemes, each with its parameters.
fn schemes(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        if let Some(value) = after.strip_prefix('=') {
            let (value, remaining) = take_value(value.trim_start_matches([' ', '\t']));
            if let Some((_, parameters)) = found.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = remaining;
        } else {
            if !word.is_empty() {
                found.push((word.to_owned(), BTreeMap::new()));
            }
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    found
}

/// Takes a token or a quoted text from the beginning.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_challenges() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull,push""#;
        assert_eq!(
            parse(hub),
            Some(Challenge::Bearer {
                realm: "https://auth.docker.io/token".to_owned(),
                service: Some("registry.docker.io".to_owned()),
                scope: Some("repository:library/a:pull,push".to_owned()),
            })
        );
        let two = r#"Basic realm="a \"b\", c", bearer Realm=https://x/y , error="x""#;
        assert_eq!(
            parse(two),
            Some(Challenge::Bearer { realm: "https://x/y".to_owned(), service: None, scope: None })
        );
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), Some(Challenge::Basic));
        for text in ["", "Negotiate", "Bearer", "Bearer service=x", r#"Digest realm="x"#, ",,=,", "=\"", "é"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

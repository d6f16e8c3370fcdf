//! What looks like a secret: by the name of its variable, by its form, by chance.
//!
//! Nothing here is certain, so each answer leans to no: placeholders, paths, switches and words are no secrets.

/// Words of names that say that the value is to be kept from others.
const WORDS: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "PASS",
    "PWD",
    "PASSPHRASE",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "APIKEY",
    "CREDENTIAL",
    "CREDENTIALS",
    "PW",
];
/// Words before `KEY` that say so.
const KEYS: &[&str] =
    &["API", "ACCESS", "PRIVATE", "SECRET", "ENCRYPTION", "SIGNING", "MASTER", "AUTH", "SERVICE", "LICENSE"];
/// Words at the end of a name that say that it is something about a secret.
const ABOUT: &[&str] = &[
    "FILE",
    "PATH",
    "DIR",
    "DIRECTORY",
    "URL",
    "URI",
    "ENDPOINT",
    "HOST",
    "NAME",
    "ID",
    "TTL",
    "EXPIRE",
    "EXPIRES",
    "EXPIRY",
    "EXPIRATION",
    "LIFETIME",
    "MINUTES",
    "HOURS",
    "DAYS",
    "SECONDS",
    "LENGTH",
    "SIZE",
    "MIN",
    "MAX",
    "ALGORITHM",
    "POLICY",
    "RESET",
    "ENABLED",
    "DISABLED",
    "HEADER",
    "TYPE",
    "ISSUER",
    "AUDIENCE",
    "PROVIDER",
    "COUNT",
    "LIMIT",
    "FORMAT",
    "VERSION",
    "MODE",
    "REQUIRED",
    "INTERVAL",
    "ROTATION",
    "PREFIX",
    "FIELD",
];

/// Says whether a variable of this name holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let parts: Vec<&str> = upper.split(['_', '-', '.']).filter(|part| !part.is_empty()).collect();
    let Some(last) = parts.last() else { return false };
    if ABOUT.contains(last) || parts.contains(&"PUBLIC") || upper == "PWD" || upper == "OLDPWD" {
        return false;
    }
    parts.iter().any(|part| WORDS.contains(part))
        || parts.windows(2).any(|pair| KEYS.contains(&pair[0]) && pair[1] == "KEY")
}

/// Says whether a value stands for one that is still to be written.
pub(crate) fn is_placeholder(value: &str) -> bool {
    let lower = value.to_lowercase();
    let words = [
        "change",
        "example",
        "dummy",
        "placeholder",
        "your",
        "xxx",
        "todo",
        "replace",
        "insert",
        "fixme",
        "sample",
        "redacted",
        "fake",
        "...",
        "***",
        "not-a-",
        "none",
        "null",
        "undefined",
    ];
    let switch = matches!(lower.as_str(), "" | "true" | "false" | "yes" | "no" | "on" | "off" | "0" | "1");
    let same = value.chars().all(|character| value.starts_with(character));
    switch
        || same
        || value.contains("${")
        || value.contains("$(")
        || (value.starts_with('<') && value.ends_with('>'))
        || value.starts_with("/run/secrets")
        || words.iter().any(|word| lower.contains(word))
}

/// Says whether anybody who tries passwords tries this one early.
pub(crate) fn is_guessable(value: &str) -> bool {
    const FIRST: &[&str] = &[
        "postgres",
        "password",
        "passwd",
        "pass",
        "passw0rd",
        "p@ssw0rd",
        "root",
        "toor",
        "admin",
        "administrator",
        "secret",
        "supersecret",
        "topsecret",
        "test",
        "testing",
        "guest",
        "user",
        "mysql",
        "mariadb",
        "mongo",
        "mongodb",
        "redis",
        "rabbitmq",
        "rabbit",
        "minioadmin",
        "minio",
        "grafana",
        "elastic",
        "changeme",
        "changeit",
        "change-me",
        "change_me",
        "letmein",
        "welcome",
        "qwerty",
        "default",
        "example",
        "dev",
        "devpassword",
        "development",
        "local",
        "demo",
        "docker",
        "database",
        "db",
        "app",
        "s3cr3t",
        "abc123",
        "dev-secret",
        "dev_secret",
        "devsecret",
        "insecure",
        "please-change-me",
        "secret-key",
        "secretkey",
        "mysecretpassword",
    ];
    let lower = value.to_lowercase();
    let bare =
        lower.trim_end_matches(|character: char| character.is_ascii_digit() || "!._-".contains(character));
    let counted = value.len() <= 9 && !value.is_empty() && "1234567890".starts_with(value);
    counted
        || FIRST.contains(&lower.as_str())
        || (bare.len() >= 4 && lower.len() - bare.len() <= 4 && FIRST.contains(&bare))
}

/// Returns what a value is by its form alone: a key or token that some service gave out.
pub(crate) fn known_token(value: &str) -> Option<&'static str> {
    if value.contains("EXAMPLE") || value.contains("example") || value.contains("${") {
        return None;
    }
    if value.contains("-----BEGIN") && value.contains("PRIVATE KEY") {
        return Some("a private key");
    }
    let word = |rest: &str, least: usize| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        rest.len() >= least && rest.bytes().all(legal) && !is_placeholder(rest)
    };
    const FORMS: &[(&str, usize, &str)] = &[
        ("ghp_", 30, "a GitHub token"),
        ("gho_", 30, "a GitHub token"),
        ("ghs_", 30, "a GitHub token"),
        ("ghu_", 30, "a GitHub token"),
        ("github_pat_", 30, "a GitHub token"),
        ("glpat-", 18, "a GitLab token"),
        ("xoxb-", 20, "a Slack token"),
        ("xoxp-", 20, "a Slack token"),
        ("xapp-", 20, "a Slack token"),
        ("sk_live_", 16, "a Stripe key"),
        ("rk_live_", 16, "a Stripe key"),
        ("sk-ant-", 30, "an Anthropic key"),
        ("sk-proj-", 30, "an OpenAI key"),
        ("AIza", 35, "a Google key"),
        ("SG.", 40, "a SendGrid key"),
        ("npm_", 36, "an npm token"),
        ("dckr_pat_", 20, "a Docker Hub token"),
        ("hf_", 30, "a Hugging Face token"),
        ("dapi", 32, "a Databricks token"),
        ("pypi-AgE", 40, "a PyPI token"),
        ("AGE-SECRET-KEY-", 40, "an age key"),
        ("hvs.", 20, "a Vault token"),
    ];
    let aws = ["AKIA", "ASIA"].iter().any(|prefix| {
        value.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        })
    });
    if aws {
        return Some("an AWS access key");
    }
    FORMS
        .iter()
        .find(|(prefix, least, _)| value.strip_prefix(prefix).is_some_and(|rest| word(rest, *least)))
        .map(|(_, _, what)| *what)
}

/// Says whether a value looks as if it were made by chance: nobody would type it.
pub(crate) fn is_random(value: &str) -> bool {
    let length = value.chars().count();
    if length < 12 || is_placeholder(value) || is_guessable(value) || value.contains([' ', '$', '{']) {
        return false;
    }
    // Addresses, paths and sentences with signs in between are none.
    if value.contains("://") || value.starts_with(['/', '.', '~']) {
        return false;
    }
    let letters = value.chars().any(|character| character.is_ascii_alphabetic());
    let others = value.chars().any(|character| character.is_ascii_digit());
    let mixed = value.chars().any(char::is_uppercase) && value.chars().any(char::is_lowercase);
    letters && (others || mixed) && entropy(value) >= 3.0
}

/// Returns the bits that one character of a text tells, by how often each occurs in it.
fn entropy(text: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    for character in text.chars() {
        *counts.entry(character).or_insert(0_u32) += 1;
    }
    let length = f64::from(counts.values().sum::<u32>());
    counts.values().map(|count| f64::from(*count) / length).map(|share| -share * share.log2()).sum()
}

/// Returns the password in an address such as `postgresql://me:password@db/shop`.
pub(crate) fn password_of_address(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
}

/// Returns what is secret about a value, in a few words.
pub(crate) fn secret_in(name: &str, value: &str) -> Option<&'static str> {
    if let Some(token) = known_token(value) {
        return Some(token);
    }
    if let Some(password) = password_of_address(value) {
        return is_random(password).then_some("an address with a password");
    }
    (is_secret_name(name) && is_random(value)).then_some("a secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in
            ["POSTGRES_PASSWORD", "db_pass", "JWT_SECRET", "API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "POSTGRES_PASSWORD_FILE",
            "PWD",
            "TOKEN_TTL",
            "ACCESS_TOKEN_EXPIRE_MINUTES",
            "MAX_TOKENS",
            "KEY",
            "PUBLIC_KEY",
            "COMPASS",
            "SECRET_NAME",
            "PASSENGER",
            "STRIPE_PUBLIC_TOKEN",
            "PRIMARY_KEY",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn values() {
        for value in ["postgres", "Password123", "admin", "123456", "changeme", "secret!"] {
            assert!(is_guessable(value), "{value}");
        }
        for value in ["", "hunter2", "correct-horse", "9fQ2", "application"] {
            assert!(!is_guessable(value), "{value}");
        }
        for value in ["9fQ2mXw7Lr0Zt5", "kJ8-x2pQ-99aa-Zz", "c0ffee1234567890abcd"] {
            assert!(is_random(value), "{value}");
        }
        for value in [
            "postgres",
            "change-me-please-1",
            "your-token-here-123",
            "/run/secrets/key1",
            "http://a.example/12345",
            "${SECRET_1234567}",
            "aaaaaaaaaaaaaaaa",
            "insert-password-0",
            "orchestrator",
        ] {
            assert!(!is_random(value), "{value}");
        }
    }

    #[test]
    fn tokens() {
        assert_eq!(known_token("AKIAABCDEFGHIJKLMNOP"), Some("an AWS access key"));
        assert_eq!(known_token("AKIAIOSFODNN7EXAMPLE"), None);
        assert_eq!(known_token("xoxb-123456789012-abcdefABCDEF12"), Some("a Slack token"));
        assert_eq!(known_token("ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), None);
        assert_eq!(known_token("-----BEGIN RSA PRIVATE KEY-----\nx"), Some("a private key"));
        assert_eq!(known_token("sk_live_ation"), None);
        assert_eq!(password_of_address("postgresql://me:pw@db/shop"), Some("pw"));
        assert_eq!(password_of_address("postgresql://me@db/shop?a=b:c@d"), None);
    }
}

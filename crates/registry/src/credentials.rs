//! Who we are to which registry, in the form of Docker's `config.json`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::helper::{self, HelperError};

/// How to prove who we are. Its `Debug` form shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Name and password.
    Basic {
        /// Name.
        username: String,
        /// Password or access token.
        password: String,
    },
    /// A token that the authorisation server exchanges for short-lived ones (`identitytoken`).
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

impl Credentials {
    /// Returns the value of an `Authorization` header, when there is one.
    pub(crate) fn basic_header(&self) -> Option<String> {
        match self {
            Self::Basic { username, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
            }
            Self::IdentityToken(_) => None,
        }
    }
}

/// Credentials for several registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialStore {
    by_host: BTreeMap<String, Credentials>,
    /// Registries whose credentials are kept by a helper program.
    helpers: BTreeMap<String, String>,
    default_helper: Option<String>,
}

/// Why a text is no `config.json`.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No JSON of the right form.
    #[error("the credentials file cannot be read")]
    Json(#[from] serde_json::Error),
    /// An `auth` that is no base64 of `name:password`.
    #[error("the entry `auth` of {0} is not base64 of name:password")]
    Auth(String),
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    default_helper: Option<String>,
}

#[derive(Deserialize)]
struct AuthEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

impl CredentialStore {
    /// Reads the content of Docker's `config.json`.
    pub fn from_docker_config(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let file: ConfigFile = serde_json::from_slice(bytes)?;
        let mut store = Self { default_helper: file.default_helper, ..Self::default() };
        for (key, entry) in file.auths {
            let credentials = if !entry.identity_token.is_empty() {
                Credentials::IdentityToken(entry.identity_token)
            } else if !entry.auth.is_empty() {
                let decoded = STANDARD.decode(entry.auth.trim()).ok();
                let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                let (username, password) = text
                    .as_deref()
                    .and_then(|text| text.split_once(':'))
                    .ok_or_else(|| CredentialsError::Auth(key.clone()))?;
                // Old versions of Docker filled up with zero bytes.
                let password = password.trim_end_matches('\0');
                Credentials::Basic { username: username.to_owned(), password: password.to_owned() }
            } else if !entry.username.is_empty() {
                Credentials::Basic { username: entry.username, password: entry.password }
            } else {
                // The mark of a login whose secret a helper keeps.
                continue;
            };
            store.by_host.insert(host(&key), credentials);
        }
        store.helpers = file.helpers.into_iter().map(|(key, helper)| (host(&key), helper)).collect();
        Ok(store)
    }

    /// Adds or replaces the credentials for a registry.
    pub fn set(&mut self, registry: &str, credentials: Credentials) {
        self.by_host.insert(host(registry), credentials);
    }

    /// Returns the credentials for a registry.
    pub fn get(&self, registry: &str) -> Option<&Credentials> {
        self.by_host.get(&host(registry))
    }

    /// Finds the credentials for a registry: those of the file, or what the helper program says that keeps them.
    pub(crate) fn find(&self, registry: &str) -> Result<Option<Credentials>, HelperError> {
        if let Some(known) = self.get(registry) {
            return Ok(Some(known.clone()));
        }
        let Some(helper) = self.helper(registry) else { return Ok(None) };
        // Docker keeps its own registry under this name.
        let host = host(registry);
        let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { &host };
        helper::get(helper, server)
    }

    /// Returns the helper program that keeps a registry's credentials, for a hint when access is denied.
    pub fn helper(&self, registry: &str) -> Option<&str> {
        self.helpers.get(&host(registry)).or(self.default_helper.as_ref()).map(String::as_str)
    }
}

/// Returns the host of a key, which may be a URL; Docker Hub has several.
fn host(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = key.split('/').next().unwrap_or(key);
    match host {
        "index.docker.io" | "registry-1.docker.io" | "docker.io" => "docker.io".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dockers_file() {
        let json = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjOnJldA=="},
            "localhost:5000": {"username": "u", "password": "p"},
            "ghcr.io": {"identitytoken": "t"},
            "kept.example": {}
        }, "credsStore": "pass", "credHelpers": {"aws.example": "ecr"}, "HttpHeaders": {}}"#;
        let store = CredentialStore::from_docker_config(json.as_bytes()).unwrap();
        let basic = |username: &str, password: &str| Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        assert_eq!(store.get("docker.io"), Some(&basic("me", "sec:ret")));
        assert_eq!(store.get("localhost:5000"), Some(&basic("u", "p")));
        assert_eq!(store.get("ghcr.io"), Some(&Credentials::IdentityToken("t".to_owned())));
        assert_eq!(store.get("kept.example"), None);
        assert_eq!(store.helper("kept.example"), Some("pass"));
        assert_eq!(store.helper("aws.example"), Some("ecr"));
        assert!(!format!("{store:?}").contains("sec:ret"));
    }

    #[test]
    fn refuses_broken_files() {
        assert!(CredentialStore::from_docker_config(b"{").is_err());
        for auth in ["***", "bm9jb2xvbg=="] {
            let json = format!(r#"{{"auths": {{"a": {{"auth": "{auth}"}}}}}}"#);
            let error = CredentialStore::from_docker_config(json.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains(auth));
        }
        assert_eq!(CredentialStore::from_docker_config(b"{}").unwrap(), CredentialStore::default());
    }
}

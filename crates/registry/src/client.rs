//! Requests to registries: addresses, authentication, and errors by kind.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::challenge::{self, Challenge};
use crate::credentials::{CredentialStore, Credentials};
use crate::error::{RegistryError, Result};
use crate::hosts::{Hosts, host_of};

/// How the client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Time for finding and reaching a host; short, because a stand-in may serve where none can be reached.
    pub connect_timeout: Duration,
    /// Time without a byte after which a transfer counts as broken off.
    pub stall_timeout: Duration,
    /// How often a transfer that broke off is gone on with.
    pub retries: u32,
    /// Time before the first of these; it doubles each time.
    pub retry_pause: Duration,
    /// How many layers are transferred at once.
    pub parallel: usize,
    /// How registries are reached.
    pub hosts: Hosts,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            stall_timeout: Duration::from_secs(30),
            retries: 4,
            retry_pause: Duration::from_millis(250),
            parallel: 4,
            hosts: Hosts::default(),
        }
    }
}

/// A client of any number of registries. Use one for a whole command: it remembers tokens, connections, and which
/// registries could not be reached.
pub struct Client {
    agent: Agent,
    /// Agents with a trust of their own, by registry.
    agents: Mutex<HashMap<String, Agent>>,
    /// Whether a registry that may do without TLS does so.
    plain: Mutex<HashMap<String, bool>>,
    /// What helper programs said, by registry.
    asked: Mutex<HashMap<String, Option<Credentials>>>,
    credentials: CredentialStore,
    pub(crate) options: Options,
    /// `Authorization` headers by registry and scope.
    pub(crate) tokens: Mutex<HashMap<(String, String), String>>,
    /// Registries that could not be reached, with the reason; `None` for those that answered once.
    contacts: Mutex<HashMap<String, Option<String>>>,
}

/// One request to a registry.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub registry: &'a str,
    pub repository: &'a str,
    /// Path after `/v2/`.
    pub path: &'a str,
    pub accept: &'a [&'a str],
    /// First byte wanted.
    pub from: u64,
    /// What is asked for, for messages.
    pub subject: &'a str,
}

impl Client {
    /// Returns a client that proves with `credentials` who we are.
    pub fn new(credentials: CredentialStore, options: Options) -> Self {
        // The platform's verifier: a company's own certificate authority counts.
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        Self {
            agent: agent(&options, tls),
            agents: Mutex::default(),
            plain: Mutex::default(),
            asked: Mutex::default(),
            credentials,
            options,
            tokens: Mutex::default(),
            contacts: Mutex::default(),
        }
    }

    /// Returns the agent that speaks to a registry, with the trust that is meant for it.
    pub(crate) fn agent(&self, registry: &str) -> Result<Agent> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = agents.get(registry) {
            return Ok(known.clone());
        }
        let tls = self.options.hosts.tls(registry).map_err(RegistryError::Hosts)?;
        let agent = tls.map_or_else(|| self.agent.clone(), |tls| agent(&self.options, tls));
        agents.insert(registry.to_owned(), agent.clone());
        Ok(agent)
    }

    /// Returns who we are to a registry.
    fn credentials_for(&self, registry: &str) -> Result<Option<Credentials>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = asked.get(registry) {
            return Ok(known.clone());
        }
        let found = self.credentials.find(registry).map_err(RegistryError::Helper)?;
        asked.insert(registry.to_owned(), found.clone());
        Ok(found)
    }

    /// Returns the credentials that the client uses.
    pub fn credentials(&self) -> &CredentialStore {
        &self.credentials
    }

    /// Sees whether a registry can be reached and speaks the protocol. Does not log in.
    pub fn ping(&self, registry: &str) -> Result<()> {
        let response = self.send(registry, &self.url(registry, "")?, &[], 0, None)?;
        match response.status() {
            StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(()),
            _ => Err(status_error(registry, "the protocol's version", response)),
        }
    }

    /// Sends a request, to the registry's mirrors first. Returns answers with status 2xx and 416.
    pub(crate) fn get(&self, request: Request<'_>) -> Result<Response<Body>> {
        for mirror in self.options.hosts.mirrors(request.registry) {
            // Whatever is wrong with a mirror, the registry itself is asked then.
            if let Ok(response) = self.get_from(Request { registry: &mirror.host, ..request })
                && response.status().is_success()
            {
                return Ok(response);
            }
        }
        self.get_from(request)
    }

    /// Sends a request, authenticating when the registry asks for it.
    fn get_from(&self, request: Request<'_>) -> Result<Response<Body>> {
        let Request { registry, repository, accept, from, subject, .. } = request;
        let url = self.url(registry, request.path)?;
        let scope = format!("repository:{repository}:pull");
        let key = (registry.to_owned(), scope.clone());
        let known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let mut response = self.send(registry, &url, accept, from, known.as_deref())?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(challenge) = challenge_of(&response)
        {
            let header = self.authorize(registry, &challenge, &[scope], subject)?;
            response = self.send(registry, &url, accept, from, Some(&header))?;
            if response.status() != StatusCode::UNAUTHORIZED {
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, header);
            }
        }
        if response.status().is_success() || response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(response);
        }
        Err(status_error(registry, subject, response))
    }

    /// Returns the `Authorization` header that answers a challenge.
    pub(crate) fn authorize(
        &self,
        registry: &str,
        challenge: &Challenge,
        scopes: &[String],
        subject: &str,
    ) -> Result<String> {
        let denied = |message: &str| RegistryError::Unauthorized {
            registry: registry.to_owned(),
            subject: subject.to_owned(),
            message: message.to_owned(),
        };
        let credentials = self.credentials_for(registry)?;
        let credentials = credentials.as_ref();
        let (realm, service, wanted) = match challenge {
            Challenge::Basic => {
                return credentials
                    .and_then(Credentials::basic_header)
                    .ok_or_else(|| denied("it wants a name and a password"));
            }
            Challenge::Bearer { realm, service, scope } => (realm, service, scope),
        };
        // A registry that is spoken to with TLS must not make us send a password without.
        let safe = realm.starts_with("https://") || self.is_plain(registry)? && realm.starts_with("http://");
        if !safe {
            return Err(denied("it names an unsafe place to log in"));
        }
        // What we know of the request is finer than what some registries ask for: a push with a mount has two scopes.
        let mut scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        if let [_] = scopes[..]
            && let Some(wanted) = wanted
        {
            scopes = vec![wanted];
        }
        let realm_host =
            realm.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(rest));
        let mut response = match credentials {
            Some(Credentials::IdentityToken(token)) => {
                // OAuth 2 (distribution specification, "Using OAuth2").
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", service.as_deref().unwrap_or("")),
                    ("client_id", "coracle"),
                    ("scope", &scopes.join(" ")),
                    ("refresh_token", token),
                ];
                self.agent(realm_host)?.post(realm).send_form(form)
            }
            other => {
                let mut request = self.agent(realm_host)?.get(realm);
                for scope in scopes {
                    request = request.query("scope", scope);
                }
                if let Some(service) = service {
                    request = request.query("service", service);
                }
                if let Some(header) = other.and_then(Credentials::basic_header) {
                    request = request.header("authorization", header);
                }
                request.call()
            }
        }
        .map_err(|error| self.transport_error(registry, &error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                return Err(denied(&message_of(&mut response)));
            }
            _ => return Err(status_error(registry, "a token", response)),
        }
        let token = response
            .body_mut()
            .with_config()
            .limit(1 << 20)
            .read_json::<Token>()
            .ok()
            .and_then(|token| token.token.or(token.access_token))
            .ok_or_else(|| denied("its authorisation server gave no token"))?;
        Ok(format!("Bearer {token}"))
    }

    fn send(
        &self,
        registry: &str,
        url: &str,
        accept: &[&str],
        from: u64,
        authorization: Option<&str>,
    ) -> Result<Response<Body>> {
        self.contact(registry)?;
        let mut request = self.agent(registry)?.get(url);
        for accepted in accept {
            request = request.header("accept", *accepted);
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let response = request.call().map_err(|error| self.transport_error(registry, &error))?;
        self.reached(registry);
        Ok(response)
    }

    /// Fails at once for a registry that could not be reached before.
    pub(crate) fn contact(&self, registry: &str) -> Result<()> {
        let known = self.contacts.lock().unwrap_or_else(PoisonError::into_inner).get(registry).cloned();
        match known {
            Some(Some(reason)) => Err(RegistryError::Unreachable { registry: registry.to_owned(), reason }),
            _ => Ok(()),
        }
    }

    /// Remembers that a registry answers.
    pub(crate) fn reached(&self, registry: &str) {
        self.contacts.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.to_owned(), None);
    }

    /// Remembers that a registry cannot be reached, so that the next question takes no time.
    pub(crate) fn transport_error(&self, registry: &str, error: &ureq::Error) -> RegistryError {
        let reason = reason(error);
        let never_there = matches!(
            error,
            ureq::Error::HostNotFound
                | ureq::Error::ConnectionFailed
                | ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect)
        ) || matches!(error, ureq::Error::Io(io) if matches!(
            io.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
        ));
        if never_there {
            // One that answered before may answer again: it is asked anew.
            let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
            contacts.entry(registry.to_owned()).or_insert_with(|| Some(reason.clone()));
        }
        RegistryError::Unreachable { registry: registry.to_owned(), reason }
    }

    pub(crate) fn url(&self, registry: &str, path: &str) -> Result<String> {
        let scheme = if self.is_plain(registry)? { "http" } else { "https" };
        // Docker Hub's name and its registry's differ.
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        Ok(format!("{scheme}://{host}/v2/{path}"))
    }

    /// Returns whether a registry is spoken to without TLS: on this machine nobody listens on the way, and of an insecure one it is
    /// found out.
    fn is_plain(&self, registry: &str) -> Result<bool> {
        let hosts = &self.options.hosts;
        if hosts.is_plain_mirror(registry) {
            return Ok(true);
        }
        let host = host_of(registry);
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if hosts.has_tls(registry) || !(here || hosts.is_insecure(registry)) {
            return Ok(false);
        }
        if let Some(known) = self.plain.lock().unwrap_or_else(PoisonError::into_inner).get(registry) {
            return Ok(*known);
        }
        if !hosts.is_insecure(registry) {
            return Ok(true);
        }
        // TLS is better, even when nobody proves anything by it.
        let spoken = self.agent(registry)?.get(format!("https://{registry}/v2/")).call().is_ok();
        self.plain.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.to_owned(), !spoken);
        Ok(!spoken)
    }
}

/// Returns an agent with a trust.
fn agent(options: &Options, tls: TlsConfig) -> Agent {
    let config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_per_read(Some(options.stall_timeout))
        .timeout_per_write(Some(options.stall_timeout))
        .max_idle_connections_per_host(options.parallel)
        .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

/// Returns the strongest challenge of an answer that we can meet.
pub(crate) fn challenge_of(response: &Response<Body>) -> Option<Challenge> {
    let headers = response.headers().get_all("www-authenticate");
    let mut challenges: Vec<_> =
        headers.iter().filter_map(|value| challenge::parse(value.to_str().ok()?)).collect();
    challenges.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    challenges.into_iter().next()
}

/// Returns the error that an answer's status stands for.
pub(crate) fn status_error(registry: &str, subject: &str, mut response: Response<Body>) -> RegistryError {
    let status = response.status();
    let retry_after =
        response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let message = message_of(&mut response);
    let (registry, subject) = (registry.to_owned(), subject.to_owned());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            RegistryError::Unauthorized { registry, subject, message }
        }
        StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited { registry, retry_after, message },
        _ => RegistryError::Status { registry, status: status.as_u16(), subject, message },
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Returns a registry's own words about a failure, on one line of bounded length and without control characters.
fn message_of(response: &mut Response<Body>) -> String {
    let Ok(text) = response.body_mut().with_config().limit(64 << 10).lossy_utf8(true).read_to_string() else {
        return String::new();
    };
    let text = match serde_json::from_str::<Errors>(&text) {
        Ok(errors) => {
            let said = |error: OneError| if error.message.is_empty() { error.code } else { error.message };
            errors.errors.into_iter().map(said).collect::<Vec<_>>().join("; ")
        }
        // A page for a browser says nothing here.
        Err(_) if text.trim_start().starts_with('<') => {
            return "a web page, as if it were no registry".to_owned();
        }
        Err(_) => text,
    };
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// Returns what went wrong with a connection, in one line.
pub(crate) fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "no such host".to_owned(),
        ureq::Error::ConnectionFailed => "the connection was refused".to_owned(),
        ureq::Error::Timeout(kind) => format!("no answer in time ({kind})"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        let mut hosts = Hosts::default();
        hosts.entry("docker.io").mirrors = vec!["http://lab:5000".parse().unwrap()];
        let options = Options { hosts, ..Options::default() };
        let client = Client::new(CredentialStore::default(), options);
        for (registry, url) in [
            ("docker.io", "https://registry-1.docker.io/v2/x"),
            ("ghcr.io", "https://ghcr.io/v2/x"),
            ("localhost:5000", "http://localhost:5000/v2/x"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/x"),
            ("127.9.9.9", "http://127.9.9.9/v2/x"),
            ("[::1]:5000", "http://[::1]:5000/v2/x"),
            ("localhost.example.com", "https://localhost.example.com/v2/x"),
            ("127.0.0.1.example.com", "https://127.0.0.1.example.com/v2/x"),
            ("lab:5000", "http://lab:5000/v2/x"),
            ("lab:5001", "https://lab:5001/v2/x"),
        ] {
            assert_eq!(client.url(registry, "x").unwrap(), url);
        }
    }
}

//! Requests that change something in a registry: with a method, a body and a scope of their own.

use std::io::Read;
use std::sync::PoisonError;
use std::time::Duration;

use ureq::http::{Method, Request, Response, StatusCode, Uri};
use ureq::{Body, RequestExt, SendBody};

use crate::client::{Client, challenge_of, status_error};
use crate::error::{RegistryError, Result};

/// Time in which a registry may be silent while it puts a large blob into its storage.
const SETTLE: Duration = Duration::from_mins(5);

/// What a request carries.
pub(crate) enum Load<'a> {
    /// Nothing.
    Empty,
    /// A whole document.
    Bytes(&'a [u8]),
    /// Bytes that can be read once; their number, when it is known.
    Stream(&'a mut dyn Read, Option<u64>),
}

/// One request that changes something.
pub(crate) struct Call<'a, 'b> {
    pub method: Method,
    pub registry: &'a str,
    /// Scopes in the words of token authentication, e.g. `repository:a:pull,push`.
    pub scopes: &'a [String],
    pub url: &'a str,
    pub headers: &'a [(&'static str, String)],
    pub load: Load<'b>,
    /// What is done, for messages.
    pub subject: &'a str,
}

impl Client {
    /// Sends a request and authenticates when that is asked for. Returns answers of any status but those that deny,
    /// limit or fail.
    pub(crate) fn call(&self, call: Call<'_, '_>) -> Result<Response<Body>> {
        let Call { method, registry, scopes, url, headers, mut load, subject } = call;
        let key = (registry.to_owned(), scopes.join(" "));
        let known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        // A token is for the registry: an upload may lie elsewhere, and then its address holds what is needed.
        let ours = same_host(url, &self.url(registry, "")?);
        let streams = matches!(load, Load::Stream(..));
        let header = known.as_deref().filter(|_| ours);
        let mut response = self.send_load(&method, registry, url, headers, &mut load, header)?;
        if response.status() == StatusCode::UNAUTHORIZED
            && ours
            && let Some(challenge) = challenge_of(&response)
        {
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            let header = self.authorize(registry, &challenge, scopes, subject)?;
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), header.clone());
            if streams {
                // What was read of the stream is gone: the caller begins where the registry's copy ends.
                return Err(RegistryError::Broken {
                    registry: registry.to_owned(),
                    subject: subject.to_owned(),
                    reason: "the token had run out".to_owned(),
                });
            }
            response = self.send_load(&method, registry, url, headers, &mut load, Some(&header))?;
            if response.status() == StatusCode::UNAUTHORIZED {
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
        }
        let status = response.status();
        let refused = matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        );
        if refused || status.is_server_error() {
            return Err(status_error(registry, subject, response));
        }
        Ok(response)
    }

    fn send_load(
        &self,
        method: &Method,
        registry: &str,
        url: &str,
        headers: &[(&'static str, String)],
        load: &mut Load<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>> {
        self.contact(registry)?;
        let mut request = Request::builder().method(method.clone()).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let agent = self.agent(registry)?;
        let patience = Some(SETTLE.max(self.options.stall_timeout));
        let broken = |error: ureq::http::Error| RegistryError::Broken {
            registry: registry.to_owned(),
            subject: url.to_owned(),
            reason: error.to_string(),
        };
        macro_rules! run {
            ($body:expr) => {{
                let request = request.body($body).map_err(broken)?;
                request.with_agent(&agent).configure().timeout_per_read(patience).run()
            }};
        }
        let answer = match load {
            Load::Empty if *method == Method::GET || *method == Method::HEAD => run!(()),
            Load::Empty => {
                request = request.header("content-length", "0");
                run!(())
            }
            Load::Bytes(bytes) => run!(*bytes),
            Load::Stream(reader, length) => {
                if let Some(length) = length {
                    request = request.header("content-length", length.to_string());
                }
                run!(SendBody::from_reader(reader))
            }
        };
        let response = answer.map_err(|error| self.transport_error(registry, &error))?;
        self.reached(registry);
        Ok(response)
    }
}

/// Returns the address that a `Location` names, seen from the request's own.
pub(crate) fn locate(base: &str, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        // What was asked for with TLS is not answered without.
        if base.starts_with("https://") && location.starts_with("http://") {
            return None;
        }
        return location.parse::<Uri>().ok().map(|_| location.to_owned());
    }
    let base: Uri = base.parse().ok()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    location.starts_with('/').then(|| format!("{scheme}://{authority}{location}"))
}

fn same_host(one: &str, other: &str) -> bool {
    let authority = |url: &str| {
        let uri = url.parse::<Uri>().ok()?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_ascii_lowercase()))
    };
    authority(one).is_some_and(|one| Some(one) == authority(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_their_request() {
        let base = "https://r.example:5000/v2/a/blobs/uploads/";
        assert_eq!(locate(base, "/v2/a/u?x=1").as_deref(), Some("https://r.example:5000/v2/a/u?x=1"));
        assert_eq!(locate(base, "https://s.example/u").as_deref(), Some("https://s.example/u"));
        for refused in ["http://s.example/u", "u", "", "//s.example"] {
            assert!(locate(base, refused).is_none_or(|url| same_host(&url, base)), "{refused}");
        }
        assert!(same_host(base, "https://R.example:5000/other"));
        assert!(!same_host(base, "http://r.example:5000/"));
        assert!(!same_host(base, "https://r.example/"));
    }
}

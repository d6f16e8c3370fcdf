//! Requests over real HTTP and HTTPS, made by curl.

use std::fmt;

use serde_json::Value;

use super::Call;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code; 0 when no answer came.
    pub status: u16,
    /// Header lines.
    pub head: String,
    /// Body, or curl's words when no answer came.
    pub body: String,
}

impl Answer {
    /// Returns the body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// Returns a header's value by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Fails unless the status is `status`.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}\n{}\n{}", self.status, self.head, self.body)
    }
}

/// Gets a page.
#[track_caller]
pub fn get(url: &str) -> Answer {
    request("GET", url, None)
}

/// Asks a server; certificates are not checked, redirects not followed.
#[track_caller]
pub fn request(method: &str, url: &str, body: Option<&Value>) -> Answer {
    let mut call = Call::of("curl")
        .args(["-sS", "-k", "-i", "--noproxy", "*", "--http1.1", "--max-time", "20", "-X", method])
        .args(["-H", "Expect:"]);
    if let Some(body) = body {
        call = call.args(["-H", "content-type: application/json", "-d", &body.to_string()]);
    }
    let outcome = call.args([url]).run();
    if outcome.code() != 0 {
        return Answer { status: 0, head: String::new(), body: outcome.stderr };
    }
    let (head, body) = outcome.stdout.split_once("\r\n\r\n").unwrap_or((&outcome.stdout, ""));
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

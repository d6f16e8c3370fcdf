//! How far the clock is from that of the registry that the project's images come from.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use coracle_composefile::Project;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(300);

/// A question under way.
pub(crate) struct Asked {
    answer: Receiver<i64>,
    until: Instant,
}

/// Asks the registry of the first image that is not built here. The thread that asks owns nothing but its connection.
pub(super) fn ask(project: &Project) -> Option<Asked> {
    let service = project.services.values().find(|service| service.build.is_none())?;
    let registry = match service.image.registry() {
        "docker.io" => "registry-1.docker.io",
        other => other,
    };
    // A registry on this machine has its clock.
    if registry.starts_with("localhost") || registry.starts_with("127.") {
        return None;
    }
    ask_registry(registry)
}

/// As [`ask`], of a registry of one's choice.
pub(crate) fn ask_registry(registry: &str) -> Option<Asked> {
    let url = format!("https://{registry}/v2/");
    let (sender, answer) = mpsc::channel();
    let asking = std::thread::Builder::new().name("clock".to_owned());
    asking
        .spawn(move || {
            if let Some(skew) = skew(&url) {
                // Nobody may wait any more.
                let _ = sender.send(skew);
            }
        })
        .ok()?;
    Some(Asked { answer, until: Instant::now() + PATIENCE })
}

impl Asked {
    /// Returns how many seconds this machine is ahead, if the answer came in time.
    pub(crate) fn answer(self) -> Option<i64> {
        self.answer.recv_timeout(self.until.saturating_duration_since(Instant::now())).ok()
    }
}

fn skew(url: &str) -> Option<i64> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .build();
    let answer = ureq::Agent::new_with_config(config).head(url).call().ok()?;
    ahead(answer.headers().get("date")?.to_str().ok()?, Timestamp::now())
}

/// Returns how many seconds `now` is after the time of a `Date` header.
fn ahead(date: &str, now: Timestamp) -> Option<i64> {
    // HTTP's dates end with GMT, which RFC 2822 knows as an obsolete zone.
    let there = rfc2822::parse(date.trim()).ok()?.timestamp();
    Some(now.as_second() - there.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_compared() {
        let now: Timestamp = "2026-11-24T12:10:00Z".parse().unwrap();
        assert_eq!(ahead("Tue, 24 Nov 2026 12:00:00 GMT", now), Some(600));
        assert_eq!(ahead("yesterday", now), None);
    }
}

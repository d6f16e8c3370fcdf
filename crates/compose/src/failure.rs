//! What the user is told when a step fails.

use coracle_report::Diagnostic;

use crate::host::{Evidence, RESTART_LIMIT, WaitOutcome};
use crate::plan::Condition;

/// Lines of a log that are shown.
const LOG_LINES: usize = 12;

/// Returns the finding about a container that did not get where others need it; `None` when it did.
pub(crate) fn of_wait(
    service: &str,
    container: &str,
    condition: Condition,
    outcome: WaitOutcome,
    evidence: impl FnOnce() -> Evidence,
) -> Option<Diagnostic> {
    let goal = match condition {
        Condition::Started => "it was up",
        Condition::Healthy => "it was healthy",
        Condition::Completed => "it had completed",
    };
    let (code, message) = match outcome {
        WaitOutcome::Met => return None,
        WaitOutcome::Unhealthy => {
            ("unhealthy", format!("service `{service}` is unhealthy: its health check fails"))
        }
        WaitOutcome::Exited { out_of_memory: true, .. } => {
            ("out-of-memory", format!("service `{service}` ran out of memory and was ended before {goal}"))
        }
        WaitOutcome::Exited { code: 0, .. } => {
            ("exited", format!("service `{service}` ended (exit code 0) before {goal}"))
        }
        WaitOutcome::Exited { code, .. } if condition == Condition::Completed => {
            ("exited", format!("service `{service}` failed with exit code {code}"))
        }
        WaitOutcome::Exited { code, .. } => {
            ("exited", format!("service `{service}` ended with exit code {code} before {goal}"))
        }
        WaitOutcome::Restarting { code } => (
            "restarting",
            format!(
                "service `{service}` was started {RESTART_LIMIT} times and ended each time (exit code {code})"
            ),
        ),
        WaitOutcome::Paused => ("paused", format!("service `{service}` is paused")),
        WaitOutcome::Cancelled => return Some(cancelled()),
    };
    let mut diagnostic = Diagnostic::error(code, message);
    let evidence = evidence();
    if let Some(probe) = evidence.probe.filter(|_| outcome == WaitOutcome::Unhealthy) {
        diagnostic.notes.push(format!("last probe: {}", probe.trim_end()));
    }
    let skipped = evidence.log.len().saturating_sub(LOG_LINES);
    if evidence.log.is_empty() {
        diagnostic.notes.push("its log is empty".to_owned());
    }
    diagnostic.notes.extend(evidence.log.into_iter().skip(skipped).map(|line| format!("{service} | {line}")));
    let diagnostic =
        match outcome {
            WaitOutcome::Exited { out_of_memory: true, .. } => {
                diagnostic.with_hint("raise its limit: `deploy.resources.limits.memory`")
            }
            WaitOutcome::Exited { code: 127, .. } | WaitOutcome::Restarting { code: 127 } => diagnostic
                .with_hint("its command was not found in the image: check `command` and `entrypoint`"),
            WaitOutcome::Exited { code: 126, .. } | WaitOutcome::Restarting { code: 126 } => diagnostic
                .with_hint("its command cannot be executed: check its file mode and its interpreter"),
            WaitOutcome::Paused => {
                return Some(diagnostic.with_hint(format!("thaw it: coracle unpause {container}")));
            }
            WaitOutcome::Met
            | WaitOutcome::Unhealthy
            | WaitOutcome::Exited { .. }
            | WaitOutcome::Restarting { .. }
            | WaitOutcome::Cancelled => diagnostic,
        };
    Some(diagnostic.with_hint(format!("read its whole log: coracle logs {container}")))
}

/// Returns the finding about a command that the user ended.
pub(crate) fn cancelled() -> Diagnostic {
    Diagnostic::error("cancelled", "interrupted")
        .with_note("what was started keeps running")
        .with_hint("run the same command again to go on, or `coracle down` to remove it all")
}

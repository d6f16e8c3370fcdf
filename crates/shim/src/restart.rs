//! When an ended container starts again: a pure decision with Docker's back-off.

use std::time::Duration;

use crate::config::Restart;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_mins(1);
/// A run of at least this long counts as a success: the next delay is the first again.
const STEADY: Duration = Duration::from_secs(10);

/// How restarts follow one another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Time between end and start; `None` doubles it.
    pub delay: Option<Duration>,
    /// How long a run must last to count as a success.
    pub steady: Option<Duration>,
}

/// Remembers how the last runs went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    delay: Option<Duration>,
    /// Starts by policy since the user's start.
    pub restarts: u32,
    /// Failed starts in a row, which `on-failure` counts.
    failures: u32,
}

impl Backoff {
    /// Returns how long to wait before the next start after a run of length `ran` that ended with `code`; `None` when
    /// there is no next start.
    pub fn next(&mut self, policy: Restart, pace: Pace, code: i32, ran: Duration) -> Option<Duration> {
        if ran >= pace.steady.unwrap_or(STEADY) {
            self.delay = None;
            // Docker counts on over long runs; a window says that they are successes.
            if pace.steady.is_some() {
                self.failures = 0;
            }
        }
        match policy {
            Restart::No => return None,
            Restart::OnFailure { .. } if code == 0 => return None,
            // Docker: 0 is without bound.
            Restart::OnFailure { max_retries: Some(max) } if max > 0 && self.failures >= max => return None,
            Restart::Always | Restart::OnFailure { .. } => {}
        }
        let doubled = self.delay.map_or(FIRST_DELAY, |delay| (delay * 2).min(LONGEST_DELAY));
        let delay = pace.delay.unwrap_or(doubled);
        self.delay = Some(delay);
        self.failures += 1;
        self.restarts += 1;
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn delays_double_up_to_a_minute_and_start_over_after_a_steady_run() {
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..12 {
            delays.push(backoff.next(Restart::Always, Pace::default(), 0, SHORT).unwrap().as_millis());
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        assert_eq!(backoff.next(Restart::Always, Pace::default(), 1, STEADY), Some(FIRST_DELAY));
        assert_eq!(backoff.restarts, 13);
    }

    #[test]
    fn policies() {
        assert_eq!(Backoff::default().next(Restart::No, Pace::default(), 1, SHORT), None);
        let policy = Restart::OnFailure { max_retries: Some(2) };
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(policy, Pace::default(), 0, SHORT), None);
        assert!(backoff.next(policy, Pace::default(), 1, SHORT).is_some());
        assert!(backoff.next(policy, Pace::default(), 137, SHORT).is_some());
        assert_eq!(backoff.next(policy, Pace::default(), 1, SHORT), None);
        // A long run starts the delays over, not the count.
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(policy, Pace::default(), 1, SHORT), Some(FIRST_DELAY));
        assert_eq!(backoff.next(policy, Pace::default(), 1, STEADY), Some(FIRST_DELAY));
        assert_eq!(backoff.next(policy, Pace::default(), 1, STEADY), None);
        for max_retries in [None, Some(0)] {
            let policy = Restart::OnFailure { max_retries };
            let mut backoff = Backoff::default();
            assert!((0..50).all(|_| backoff.next(policy, Pace::default(), 1, SHORT).is_some()));
        }
    }

    #[test]
    fn a_pace_of_ones_own() {
        let (delay, steady) = (Some(Duration::from_secs(3)), Some(Duration::from_millis(20)));
        let pace = Pace { delay, steady };
        let policy = Restart::OnFailure { max_retries: Some(1) };
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(policy, pace, 1, SHORT), delay);
        assert_eq!(backoff.next(policy, pace, 1, SHORT), None);
        // A run as long as the window is a success, after which failures are counted anew.
        assert_eq!(backoff.next(policy, pace, 1, Duration::from_millis(20)), delay);
    }
}

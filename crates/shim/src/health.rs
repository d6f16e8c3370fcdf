//! The verdict on a container's health: a pure machine fed with probe results, by Docker's rules.
//!
//! ```text
//! Starting --success--> Healthy --`retries` failures in a row--> Unhealthy --success--> Healthy
//!    `----`retries` failures in a row after the start period----------^
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::HealthCheck;
use crate::state::{Health, HealthStatus, ProbeResult};

/// Number of probe results kept.
const KEPT: usize = 5;

/// Decides when to probe and what the results mean, for one run of a container.
#[derive(Clone, Debug)]
pub(crate) struct HealthMachine {
    check: HealthCheck,
    health: Health,
}

impl HealthMachine {
    pub fn new(check: HealthCheck) -> Self {
        let health = Health { status: HealthStatus::Starting, failing_streak: 0, log: VecDeque::new() };
        Self { check, health }
    }

    pub const fn check(&self) -> &HealthCheck {
        &self.check
    }

    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Returns how long to wait before the next probe, at `age` after the start.
    pub fn delay(&self, age: Duration) -> Duration {
        let starting = self.health.status == HealthStatus::Starting && age < self.start_period();
        let wanted = if starting { self.check.start_interval } else { self.check.interval };
        // An interval of zero would probe without rest.
        Duration::from_millis(wanted.max(1))
    }

    /// Takes a probe's result, at `age` after the start. Returns whether the verdict changed.
    pub fn take(&mut self, result: ProbeResult, age: Duration) -> bool {
        let before = self.health.status;
        if result.exit_code == 0 {
            self.health.failing_streak = 0;
            self.health.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || age >= self.start_period() {
            self.health.failing_streak += 1;
            if self.health.failing_streak >= self.check.retries.max(1) {
                self.health.status = HealthStatus::Unhealthy;
            }
        }
        if self.health.log.len() == KEPT {
            self.health.log.pop_front();
        }
        self.health.log.push_back(result);
        self.health.status != before
    }

    const fn start_period(&self) -> Duration {
        Duration::from_millis(self.check.start_period)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::OnUnhealthy;

    fn machine() -> HealthMachine {
        HealthMachine::new(HealthCheck {
            args: vec!["true".to_owned()],
            network: None,
            on_unhealthy: OnUnhealthy::None,
            interval: 30_000,
            timeout: 1000,
            start_period: 10_000,
            start_interval: 500,
            retries: 2,
        })
    }

    fn take(machine: &mut HealthMachine, code: i32, age: u64) -> HealthStatus {
        let result = ProbeResult {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code: code,
            output: String::new(),
        };
        machine.take(result, Duration::from_secs(age));
        machine.health().status
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let mut machine = machine();
        for age in 0..10 {
            assert_eq!(take(&mut machine, 1, age), HealthStatus::Starting);
        }
        assert_eq!(machine.delay(Duration::from_secs(9)), Duration::from_millis(500));
        assert_eq!(machine.delay(Duration::from_secs(10)), Duration::from_secs(30));
        assert_eq!(take(&mut machine, 1, 10), HealthStatus::Starting);
        assert_eq!(take(&mut machine, 1, 11), HealthStatus::Unhealthy);
        assert_eq!(machine.health().log.len(), KEPT);
    }

    #[test]
    fn the_first_success_ends_the_start_period() {
        let mut machine = machine();
        assert_eq!(take(&mut machine, 0, 1), HealthStatus::Healthy);
        assert_eq!(machine.delay(Duration::from_secs(1)), Duration::from_secs(30));
        assert_eq!(take(&mut machine, 1, 2), HealthStatus::Healthy);
        assert_eq!(take(&mut machine, -1, 3), HealthStatus::Unhealthy);
        assert_eq!(take(&mut machine, 0, 4), HealthStatus::Healthy);
        assert_eq!(machine.health().failing_streak, 0);
    }
}

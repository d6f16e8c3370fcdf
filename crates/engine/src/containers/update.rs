//! Other limits and another restart policy for a container, while it runs if it does.

use coracle_container::{ContainerId, Resources, RestartPolicy};
use coracle_report::Diagnostic;
use coracle_runtime::Limits;
use coracle_store::FileLock;

use super::Containers;
use super::create::limits;
use super::launch::gone;
use crate::{During, Failure, Result, stored};

/// Length of the period in which processor time is counted, microseconds.
const CPU_PERIOD: u64 = 100_000;

/// What is to be changed; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateRequest {
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, bytes; -1 is without bound.
    pub memory_swap: Option<i64>,
    /// Soft limit of memory, bytes.
    pub memory_reservation: Option<u64>,
    /// Processors' worth of time, in thousandths.
    pub millicpus: Option<u64>,
    /// Relative weight of processor time.
    pub cpu_shares: Option<u64>,
    /// Length of the period of `cpu_quota`, microseconds.
    pub cpu_period: Option<u64>,
    /// Processor time in a period, microseconds.
    pub cpu_quota: Option<i64>,
    /// Length of the period of `cpu_rt_runtime`, microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Real-time processor time in a period, microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// Processors, e.g. `0-1`.
    pub cpuset: Option<String>,
    /// Memory nodes, e.g. `0`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 and -1 are without bound.
    pub pids: Option<i64>,
    /// Weight of block devices.
    pub block_weight: Option<u16>,
    /// The restart policy.
    pub restart: Option<RestartPolicy>,
}

impl Containers<'_> {
    /// Changes a container. Returns what was left out because this kernel cannot do it, in words for the user.
    pub fn update(&self, id: &ContainerId, request: &UpdateRequest) -> Result<Vec<String>> {
        // Two at once: the second sees what the first wrote.
        let _lock = FileLock::exclusive(&self.engine.layout.container(id.as_str()).join("reap.lock"))
            .during("locking the container")?;
        let mut record = self.record(id)?.ok_or_else(|| gone(id))?;
        let old = record.spec.resources.clone();
        record.spec.resources = merged(&old, request);
        if let Some(restart) = request.restart {
            if record.spec.auto_remove && restart != RestartPolicy::No {
                let message =
                    format!("container `{}` goes when it ends, so it cannot be restarted", record.spec.name);
                return Err(Failure::user(
                    Diagnostic::error("bad-value", message).with_hint("make it without --rm"),
                ));
            }
            record.spec.restart = restart;
        }
        limits(&record.spec.resources)?;
        let name = record.spec.name.clone();
        let mut notes = Vec::new();
        let state = self.state(id)?;
        if state.is_running() {
            let wanted = changed(request, &record.spec.resources);
            match self.engine.runtime.set_limits(id, &wanted) {
                Ok(left_out) => notes.extend(
                    left_out.iter().map(|file| format!("this kernel has no {file}: that limit is left out")),
                ),
                Err(error) => {
                    // What was set before the kernel refused goes back as far as it can.
                    let _ = self.engine.runtime.set_limits(id, &back(request, &old));
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    let message = format!(
                        "the kernel refuses this limit for container `{name}`: {}",
                        cause.unwrap_or_else(|| error.to_string())
                    );
                    return Err(Failure::user(
                        Diagnostic::error("limit-refused", message)
                            .with_hint(format!("see what it uses now: coracle stats --no-stream {name}")),
                    ));
                }
            }
        }
        if let Some(restart) = request.restart.filter(|_| state.has_shim()) {
            self.engine
                .runtime
                .set_restart(id, restart)
                .during(format_args!("changing the restart policy of container {name}"))?;
        }
        stored::write(&self.engine.layout.container_record(id.as_str()), &record)
            .during(format_args!("recording container {name}"))?;
        self.engine.events().container(&record, "update", &[]);
        Ok(notes)
    }
}

/// Returns all limits that a container has afterwards.
fn merged(old: &Resources, request: &UpdateRequest) -> Resources {
    let mut new = old.clone();
    new.memory = request.memory.or(old.memory);
    new.memory_swap = request.memory_swap.or(old.memory_swap);
    new.memory_reservation = request.memory_reservation.or(old.memory_reservation);
    new.cpu_shares = request.cpu_shares.or(old.cpu_shares);
    new.cpu_rt_period = request.cpu_rt_period.or(old.cpu_rt_period);
    new.cpu_rt_runtime = request.cpu_rt_runtime.or(old.cpu_rt_runtime);
    new.cpuset = request.cpuset.clone().or_else(|| old.cpuset.clone());
    new.cpuset_mems = request.cpuset_mems.clone().or_else(|| old.cpuset_mems.clone());
    new.pids = request.pids.map_or(old.pids, |count| u64::try_from(count).ok().filter(|count| *count > 0));
    new.block_io.weight = request.block_weight.or(old.block_io.weight);
    // One way of saying it takes the place of the other.
    if request.cpu_quota.is_some() || request.cpu_period.is_some() {
        new.millicpus = request.millicpus;
        new.cpu_quota = request.cpu_quota.or(old.cpu_quota);
        new.cpu_period = request.cpu_period.or(old.cpu_period);
    } else if request.millicpus.is_some() {
        (new.millicpus, new.cpu_quota, new.cpu_period) = (request.millicpus, None, None);
    }
    new
}

/// Returns what the control group is told of the limits that changed.
fn changed(request: &UpdateRequest, new: &Resources) -> Limits {
    let twice = |limit: u64| i64::try_from(limit).ok().and_then(|limit| limit.checked_mul(2)).unwrap_or(-1);
    let quota_of =
        |millicpus: u64| i64::try_from((millicpus * CPU_PERIOD / 1000).max(1000)).unwrap_or(i64::MAX);
    Limits {
        memory: request.memory,
        // The sum that nobody named follows the memory, as when the container is made.
        memory_swap: match (request.memory_swap, request.memory, new.memory_swap) {
            (Some(sum), ..) => Some(sum),
            (None, Some(memory), None) => Some(twice(memory)),
            (None, ..) => None,
        },
        memory_reservation: request.memory_reservation,
        cpu_shares: request.cpu_shares,
        cpu_quota: request.millicpus.map(quota_of).or(request.cpu_quota),
        cpu_period: request.millicpus.map(|_| CPU_PERIOD).or(request.cpu_period),
        cpu_rt_runtime: request.cpu_rt_runtime,
        cpu_rt_period: request.cpu_rt_period,
        cpuset: request.cpuset.clone(),
        cpuset_mems: request.cpuset_mems.clone(),
        pids: request.pids.map(|count| if count > 0 { count } else { -1 }),
        block_weight: request.block_weight,
    }
}

/// Returns the same limits as they were before, those that there were.
fn back(request: &UpdateRequest, old: &Resources) -> Limits {
    let was = UpdateRequest {
        memory: request.memory.and(old.memory),
        memory_swap: request.memory_swap.and(old.memory_swap),
        memory_reservation: request.memory_reservation.and(old.memory_reservation),
        millicpus: request.millicpus.and(old.millicpus),
        cpu_shares: request.cpu_shares.and(old.cpu_shares),
        cpu_period: request.cpu_period.and(old.cpu_period),
        cpu_quota: request.cpu_quota.and(old.cpu_quota),
        cpu_rt_period: request.cpu_rt_period.and(old.cpu_rt_period),
        cpu_rt_runtime: request.cpu_rt_runtime.and(old.cpu_rt_runtime),
        cpuset: request.cpuset.as_ref().and(old.cpuset.clone()),
        cpuset_mems: request.cpuset_mems.as_ref().and(old.cpuset_mems.clone()),
        pids: request.pids.map(|_| old.pids.and_then(|count| i64::try_from(count).ok()).unwrap_or(-1)),
        block_weight: request.block_weight.and(old.block_io.weight),
        restart: None,
    };
    changed(&was, old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_of_bounding_the_processor_takes_the_place_of_the_other() {
        let old = Resources { millicpus: Some(500), memory: Some(1 << 30), ..Resources::default() };
        let quota = UpdateRequest { cpu_quota: Some(20_000), ..UpdateRequest::default() };
        let new = merged(&old, &quota);
        assert_eq!((new.millicpus, new.cpu_quota, new.memory), (None, Some(20_000), Some(1 << 30)));
        let cpus = UpdateRequest { millicpus: Some(1500), ..UpdateRequest::default() };
        let limits = changed(&cpus, &merged(&new, &cpus));
        assert_eq!((limits.cpu_quota, limits.cpu_period), (Some(150_000), Some(100_000)));
    }

    #[test]
    fn swap_that_nobody_named_follows_the_memory() {
        let request = UpdateRequest { memory: Some(64 << 20), ..UpdateRequest::default() };
        let new = merged(&Resources::default(), &request);
        assert_eq!(changed(&request, &new).memory_swap, Some(128 << 20));
        let named = Resources { memory_swap: Some(-1), ..Resources::default() };
        assert_eq!(changed(&request, &merged(&named, &request)).memory_swap, None);
    }
}

//! `coracle update`: other limits and another restart policy, also while it runs.

use coracle_container::RestartPolicy;
use coracle_engine::{Failure, Result, UpdateRequest};
use coracle_report::Diagnostic;

use super::flag_error::name_flags;
use super::{Done, each};
use crate::context::Context;
use crate::{diagnostics, values};

const EXAMPLES: &str = "\
Examples:
  coracle update -m 512m web
  coracle update --cpus 1.5 --restart unless-stopped web db
";

/// Options of `coracle update`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Relative weight of block devices: 10 to 1000.
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Length of the period of --cpu-quota, microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_period: Option<u64>,
    /// Processor time in a period, microseconds; -1 is without bound.
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// Length of the period of --cpu-rt-runtime, microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_rt_period: Option<u64>,
    /// Real-time processor time in a period, microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_rt_runtime: Option<i64>,
    /// Relative share of processor time.
    #[arg(short, long)]
    pub cpu_shares: Option<u64>,
    /// Number of processors.
    #[arg(long, value_name = "NUMBER", value_parser = values::millicpus)]
    pub cpus: Option<u64>,
    /// Processors it may run on.
    #[arg(long, value_name = "LIST", value_parser = values::processors)]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use.
    #[arg(long, value_name = "LIST", value_parser = values::memory_nodes)]
    pub cpuset_mems: Option<String>,
    /// Memory limit.
    #[arg(short, long, value_name = "SIZE", value_parser = values::bytes)]
    pub memory: Option<u64>,
    /// Soft memory limit.
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    pub memory_reservation: Option<u64>,
    /// Limit of memory and swap together; -1 is none.
    #[arg(long, value_name = "SIZE", value_parser = values::swap, allow_negative_numbers = true)]
    pub memory_swap: Option<i64>,
    /// Number of processes and threads; -1 is without bound.
    #[arg(long, value_name = "NUMBER", value_parser = values::count_or_endless, allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// What happens when it ends: no, always, unless-stopped, on-failure[:N].
    #[arg(long, value_parser = values::restart)]
    pub restart: Option<RestartPolicy>,
    /// Containers, by name or the beginning of an id.
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let request = UpdateRequest {
        memory: args.memory,
        memory_swap: args.memory_swap,
        memory_reservation: args.memory_reservation,
        millicpus: args.cpus,
        cpu_shares: args.cpu_shares,
        cpu_period: args.cpu_period,
        cpu_quota: args.cpu_quota,
        cpu_rt_period: args.cpu_rt_period,
        cpu_rt_runtime: args.cpu_rt_runtime,
        cpuset: args.cpuset_cpus,
        cpuset_mems: args.cpuset_mems,
        pids: args.pids_limit,
        block_weight: args.blkio_weight,
        restart: args.restart,
    };
    if request == UpdateRequest::default() {
        return Err(Failure::user(
            Diagnostic::error("usage", "nothing is to be changed").with_hint("coracle update --help"),
        ));
    }
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    Ok(each(context, &args.containers, |name| {
        let id = containers.find(name)?.record.id;
        let notes = containers.update(&id, &request).map_err(name_flags)?;
        for note in notes {
            let message = format!("container `{name}`: {note}");
            diagnostics::print(context.printer, &Diagnostic::warning("not-honoured", message));
        }
        Ok(())
    }))
}

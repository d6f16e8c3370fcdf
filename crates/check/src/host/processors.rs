//! Limits of processors against what the machine has.

use coracle_report::Severity;

use super::place;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&CPU_LIMIT_ABOVE_MACHINE, &CPUSET_ABOVE_MACHINE], run: Run::Subject(run) };

static CPU_LIMIT_ABOVE_MACHINE: Rule = Rule {
    id: "CpuLimitAboveMachine",
    family: Family::Host,
    severity: Severity::Warning,
    title: "a service should not be allowed more processors than there are",
    explanation: "A limit above the number of processors limits nothing, and Docker refuses to start such a container: `range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available`. Set it to what the machine has, or less.",
    example: Some(("cpus: 8    # the machine has 4", "cpus: 2")),
    ..Rule::PLAIN
};

static CPUSET_ABOVE_MACHINE: Rule = Rule {
    id: "CpusetAboveMachine",
    family: Family::Host,
    severity: Severity::Error,
    title: "`cpuset` must name processors that the machine has",
    explanation: "The kernel refuses a control group with processors that do not exist, and the container does not start. Processors are counted from 0: with four of them, `cpuset: \"0-3\"` names all. Where the number of processors differs between machines, use `cpus`, which limits time and not places.",
    example: Some(("cpuset: \"0-7\"    # the machine has 4", "cpuset: \"0-3\"")),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(cpus) = subject.host.and_then(|host| host.cpus) else { return };
    let processors = if cpus == 1 { "1 processor".to_owned() } else { format!("{cpus} processors") };
    for service in subject.services() {
        if let Some(limit) = service.resources.millicpus.filter(|limit| *limit > u64::from(cpus) * 1000) {
            let span = place(
                subject,
                service,
                &[&["deploy", "resources", "limits", "cpus"], &["cpus"], &["cpu_quota"]],
            );
            let message = format!(
                "service `{}` may use {} processors, and the machine has {cpus}",
                service.name,
                limit as f64 / 1000.0
            );
            findings.add(&CPU_LIMIT_ABOVE_MACHINE, &span, message).of(&service.name);
        }
        let highest = service.resources.cpuset.as_deref().and_then(highest);
        if let Some(number) = highest.filter(|number| *number >= cpus) {
            let span = place(subject, service, &[&["cpuset"]]);
            let message =
                format!("there is no processor {number}: the machine has {processors}, counted from 0");
            findings.add(&CPUSET_ABOVE_MACHINE, &span, message).of(&service.name);
        }
    }
}

/// Returns the highest number of a list such as `0-3,7`; `None` when it cannot be read.
fn highest(list: &str) -> Option<u32> {
    let last = |part: &str| part.rsplit('-').next()?.trim().parse::<u32>().ok();
    list.split(',').map(last).collect::<Option<Vec<_>>>()?.into_iter().max()
}

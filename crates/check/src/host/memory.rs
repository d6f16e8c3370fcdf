//! Limits and reservations of memory against what the machine has.

use coracle_composefile::Service;
use coracle_report::Severity;

use super::{place, size};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&MEMORY_LIMIT_ABOVE_MACHINE, &MEMORY_OVERCOMMITTED, &MEMORY_RESERVED_ABOVE_MACHINE],
    run: Run::Subject(run),
};

static MEMORY_LIMIT_ABOVE_MACHINE: Rule = Rule {
    id: "MemoryLimitAboveMachine",
    family: Family::Host,
    severity: Severity::Warning,
    title: "a memory limit above what the machine has limits nothing",
    explanation: "A limit is there so that one service cannot take the memory of the others. One that is larger than the machine's memory never applies: the kernel's out-of-memory killer chooses a victim among all processes instead. Set a limit that leaves room for the others.",
    example: Some(("mem_limit: 64g    # the machine has 16 GiB", "mem_limit: 4g")),
    ..Rule::PLAIN
};

static MEMORY_OVERCOMMITTED: Rule = Rule {
    id: "MemoryOvercommitted",
    family: Family::Host,
    severity: Severity::Warning,
    title: "the memory limits of all services together should fit the machine",
    explanation: "When all services use what they are allowed, and that is more than there is, the kernel ends one of them without asking. In production make the limits, times the replicas, add up to less than the machine's memory. Elsewhere services seldom reach their limits at once, so that this is a note.",
    ..Rule::PLAIN
};

static MEMORY_RESERVED_ABOVE_MACHINE: Rule = Rule {
    id: "MemoryReservedAboveMachine",
    family: Family::Host,
    severity: Severity::Warning,
    title: "the memory reservations of all services together must fit the machine",
    explanation: "A reservation says what a service needs in order to work. When they add up to more than the machine has, they cannot all be kept, and services are slowed down by swapping or ended.",
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(total) = subject.host.and_then(|host| host.memory_total) else { return };
    let mut fits = true;
    for service in subject.services() {
        let Some(limit) = service.resources.memory.filter(|limit| *limit > total) else { continue };
        fits = false;
        let message = format!(
            "service `{}` may use {}, and the machine has {}",
            service.name,
            size(limit),
            size(total)
        );
        findings.add(&MEMORY_LIMIT_ABOVE_MACHINE, &limit_of(subject, service), message).of(&service.name);
    }
    let limits = Sum::of(subject, |service| service.resources.memory);
    if fits && limits.bytes > total {
        let message = format!(
            "the services may use {} together, and the machine has {}",
            size(limits.bytes),
            size(total)
        );
        if let Some(largest) = limits.largest {
            let span = limit_of(subject, largest);
            let finding = findings.add(&MEMORY_OVERCOMMITTED, &span, message);
            finding.note(limits.list());
            if !subject.production {
                finding.severity(Severity::Note);
            }
        }
    }
    let reserved = Sum::of(subject, |service| service.resources.memory_reservation);
    if reserved.bytes > total
        && let Some(largest) = reserved.largest
    {
        let span = place(
            subject,
            largest,
            &[&["deploy", "resources", "reservations", "memory"], &["mem_reservation"]],
        );
        let message = format!(
            "the services reserve {} together, and the machine has {}",
            size(reserved.bytes),
            size(total)
        );
        findings.add(&MEMORY_RESERVED_ABOVE_MACHINE, &span, message).note(reserved.list());
    }
}

fn limit_of(subject: &Subject<'_>, service: &Service) -> coracle_report::Span {
    place(subject, service, &[&["deploy", "resources", "limits", "memory"], &["mem_limit"]])
}

/// What all services come to.
struct Sum<'a> {
    bytes: u64,
    largest: Option<&'a Service>,
    parts: Vec<(u64, &'a Service)>,
}

impl<'a> Sum<'a> {
    fn of(subject: &Subject<'a>, amount: fn(&Service) -> Option<u64>) -> Self {
        let parts = subject.services().filter_map(|service| {
            Some((amount(service)?.saturating_mul(u64::from(service.replicas)), service))
        });
        let mut parts: Vec<(u64, &Service)> = parts.collect();
        parts.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let bytes = parts.iter().fold(0_u64, |sum, (bytes, _)| sum.saturating_add(*bytes));
        Self { bytes, largest: parts.first().map(|(_, service)| *service), parts }
    }

    fn list(&self) -> String {
        let part = |(bytes, service): &(u64, &Service)| {
            let times =
                if service.replicas > 1 { format!(" (x{})", service.replicas) } else { String::new() };
            format!("{}{times}: {}", service.name, size(*bytes))
        };
        self.parts.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

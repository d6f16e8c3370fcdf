//! The machine's clock.

use coracle_report::Severity;

use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&CLOCK_SKEW], run: Run::Subject(run) };

static CLOCK_SKEW: Rule = Rule {
    id: "ClockSkew",
    family: Family::Host,
    severity: Severity::Warning,
    title: "the machine's clock should be right",
    explanation: "With a clock that is minutes off, tokens are refused (`token used before issued`), certificates are not valid yet or any more, `apt-get update` ends with `Release file is not valid yet`, and logs of several machines cannot be compared. Containers have the machine's clock. Switch time synchronisation on: `timedatectl set-ntp true`. The time is compared with that of the registry which the project's images come from, when it answers at once.",
    ..Rule::PLAIN
};

/// Less than this is a slow answer, or nothing that hurts, seconds.
const TOLERATED: u64 = 60;

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let skew = subject.host.and_then(|host| host.clock_skew);
    let Some(skew) = skew.filter(|skew| skew.unsigned_abs() > TOLERATED) else { return };
    let direction = if skew > 0 { "ahead" } else { "behind" };
    let message = format!("the machine's clock is {} {direction}", duration(skew.unsigned_abs()));
    findings.add_unplaced(&CLOCK_SKEW, message).hint("sudo timedatectl set-ntp true");
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

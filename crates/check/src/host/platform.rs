//! Images for another kind of machine.

use coracle_report::Severity;

use super::place;
use crate::project::{Check, Findings, HostFacts, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&FOREIGN_PLATFORM], run: Run::Subject(run) };

static FOREIGN_PLATFORM: Rule = Rule {
    id: "ForeignPlatform",
    family: Family::Host,
    severity: Severity::Error,
    title: "an image must be for this kind of machine",
    explanation: "A program for another kind of processor ends at once with `exec format error`, unless an emulator is registered for it. Leave `platform` out where the image exists for several machines, or register the emulators (Debian: `apt install qemu-user-static`). Emulated programs run several times slower, which is said as a note.",
    example: Some(("platform: linux/arm64    # on amd64", "# no platform: the machine's own is taken")),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(host) = subject.host.filter(|host| !host.architecture.is_empty()) else { return };
    for service in subject.services() {
        let (system, architecture, span) = match &service.platform {
            Some(wanted) => {
                (wanted.os.clone(), wanted.architecture.clone(), place(subject, service, &[&["platform"]]))
            }
            None if service.build.is_some() => continue,
            None => match subject.images.base(&service.image.familiar(), None) {
                Some(facts) => (facts.platform.0, facts.platform.1, place(subject, service, &[&["image"]])),
                None => continue,
            },
        };
        if system.is_empty() || architecture.is_empty() || system == "linux" && runs(host, &architecture) {
            continue;
        }
        let message = format!(
            "service `{}` is for {system}/{architecture}, and this machine is linux/{}",
            service.name, host.architecture
        );
        let finding = findings.add(&FOREIGN_PLATFORM, &span, message);
        finding.of(&service.name);
        if system == "linux" && host.emulated.contains(&architecture) {
            finding.severity(Severity::Note).note("an emulator runs it, several times slower");
        } else if system == "linux" {
            finding.hint("sudo apt install qemu-user-static");
        }
    }
}

/// Says whether the machine runs programs of an architecture by itself.
fn runs(host: &HostFacts, architecture: &str) -> bool {
    match host.architecture.as_str() {
        own if own == architecture => true,
        "amd64" => architecture == "386",
        // Most such processors run 32-bit programs; the few that do not cannot be told here.
        "arm64" => architecture == "arm",
        _ => false,
    }
}

//! Rules about the machine that a project is to run on. Nothing is said of what is not known of it.

mod clock;
mod disks;
mod kernel;
mod memory;
mod objects;
mod platform;
mod ports;
mod processors;
mod subnets;
mod tuning;

use coracle_composefile::Service;
use coracle_report::Span;

use crate::project::{Check, Subject};

pub(crate) static CHECKS: &[Check] = &[
    ports::BUSY,
    ports::PRIVILEGED,
    disks::CHECK,
    memory::CHECK,
    processors::CHECK,
    kernel::CHECK,
    platform::CHECK,
    subnets::CHECK,
    objects::CHECK,
    tuning::CHECK,
    clock::CHECK,
];

/// Returns where the first of some attributes of a service is written that it has, or else where the service is.
fn place(subject: &Subject<'_>, service: &Service, paths: &[&[&str]]) -> Span {
    let written = paths.iter().find_map(|path| {
        let whole: Vec<&str> = ["services", service.name.as_str()].iter().chain(*path).copied().collect();
        subject.loaded?.span_of(&whole)
    });
    written.unwrap_or_else(|| service.span.clone())
}

/// Returns bytes as people read them: `1.5 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value.fract() < 0.05 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Returns a kernel parameter that is a number.
fn parameter(host: &crate::project::HostFacts, name: &str) -> Option<u64> {
    host.sysctls.iter().find(|(own, _)| own == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(512 << 20), "512 MiB");
        assert_eq!(size(3 << 29), "1.5 GiB");
        assert_eq!(size(u64::MAX), "16777216 TiB");
    }
}

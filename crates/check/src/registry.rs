//! Every rule, by family.

use crate::project::Check;
use crate::{BUILDKIT, Rule, across, compose, dockerfile, environment, host, shell};

/// The tests of projects, family by family.
pub(crate) static CHECKS: &[&[Check]] =
    &[dockerfile::CHECKS, shell::CHECKS, compose::CHECKS, environment::CHECKS, across::CHECKS, host::CHECKS];

/// Returns every rule, family by family.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let of_projects = CHECKS.iter().copied().flatten().flat_map(|check| check.rules.iter().copied());
    BUILDKIT.iter().copied().chain(of_projects)
}

/// Returns the rule of this name, or that has it for an alias, in any case.
pub fn find_any(name: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id.eq_ignore_ascii_case(name)).or_else(|| all().find(|rule| rule.is_called(name)))
}

/// Returns the rule of `build --check` that has this name, in any case.
pub fn find(id: &str) -> Option<&'static Rule> {
    BUILDKIT.iter().copied().find(|rule| rule.id.eq_ignore_ascii_case(id))
}

//! A rule as a value.

use coracle_report::Severity;

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// BuildKit's build checks, under their names and conditions.
    BuildKit,
    /// Our own.
    Coracle,
}

/// One thing that files are checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, as in `# check=skip=NAME`.
    pub id: &'static str,
    /// Where it comes from.
    pub family: Family,
    /// How bad a finding is.
    pub severity: Severity,
    /// What it asks for, in one sentence.
    pub title: &'static str,
    /// Why, and what to write instead.
    pub explanation: &'static str,
    /// The page that documents it.
    pub url: Option<&'static str>,
    /// Whether it is asked for only by `# check=experimental=NAME`.
    pub experimental: bool,
}

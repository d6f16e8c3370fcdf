//! A rule as a value.

use coracle_report::Severity;

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// BuildKit's build checks, under their names and conditions.
    BuildKit,
    /// Dockerfiles: hadolint's rules under their numbers, and our own.
    Dockerfile,
    /// Shell text: `RUN` instructions, commands, scripts of the project.
    Shell,
    /// Compose files, alone and merged.
    Compose,
    /// Variables, `.env` files and secrets.
    Environment,
    /// What only several files together show.
    Across,
    /// The machine that it is to run on.
    Host,
}

impl Family {
    /// Every family, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::BuildKit,
        Self::Dockerfile,
        Self::Shell,
        Self::Compose,
        Self::Environment,
        Self::Across,
        Self::Host,
    ];

    /// Returns its name, as `--allow` and `--deny` take it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuildKit => "buildkit",
            Self::Dockerfile => "dockerfile",
            Self::Shell => "shell",
            Self::Compose => "compose",
            Self::Environment => "environment",
            Self::Across => "across",
            Self::Host => "host",
        }
    }
}

/// One thing that files are checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, as in `# coracle: allow(NAME) reason`; for rules that hadolint has, its number (`DL3008`).
    pub id: &'static str,
    /// Other names it is known by: hadolint's or ShellCheck's number.
    pub aliases: &'static [&'static str],
    /// What it looks at.
    pub family: Family,
    /// How bad a finding is.
    pub severity: Severity,
    /// What it asks for, in one sentence.
    pub title: &'static str,
    /// Why, and what to write instead. Markdown.
    pub explanation: &'static str,
    /// What it finds, and what to write instead: two snippets for `coracle explain`.
    pub example: Option<(&'static str, &'static str)>,
    /// The page that documents it elsewhere.
    pub url: Option<&'static str>,
    /// Whether it is asked for only by `# check=experimental=NAME`.
    pub experimental: bool,
    /// Whether `--fix` can write what it asks for.
    pub fixable: bool,
}

impl Rule {
    /// A rule with nothing said, for `..Rule::PLAIN`.
    pub const PLAIN: Self = Self {
        id: "",
        aliases: &[],
        family: Family::Dockerfile,
        severity: Severity::Warning,
        title: "",
        explanation: "",
        example: None,
        url: None,
        experimental: false,
        fixable: false,
    };

    /// Says whether `name` is its id or one of its aliases, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        self.id.eq_ignore_ascii_case(name)
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }
}

//! The instructions of the Dockerfile reference as values. Words are kept as written; expansion comes later,
//! when the environment is known.

use coracle_report::Span;

use crate::{Mount, Spanned, Word};

/// One instruction with its place and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The instruction.
    pub instruction: Instruction,
    /// From the keyword to the end of its last line, heredocs included.
    pub span: Span,
    /// The logical line: continuations joined, heredoc bodies left out.
    pub text: String,
    /// The keyword as written.
    pub keyword: Word,
    /// The comments between the instruction before and this one, without their `#`; those before an empty comment
    /// are not among them.
    pub comments: Vec<Word>,
}

/// An instruction other than `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `ARG name[=default]...`
    Arg(Vec<Argument>),
    /// `ENV name=value...`
    Env(Vec<EnvPair>),
    /// `RUN`
    Run(Run),
    /// `COPY`
    Copy(CopyFiles),
    /// `ADD`
    Add(AddFiles),
    /// `WORKDIR path`
    Workdir(Word),
    /// `USER user[:group]`
    User(Word),
    /// `EXPOSE port[/protocol]...`; one word may expand to several.
    Expose(Vec<Word>),
    /// `VOLUME path...`
    Volume(Vec<Word>),
    /// `CMD`
    Cmd(CommandForm),
    /// `ENTRYPOINT`
    Entrypoint(CommandForm),
    /// `LABEL name=value...`
    Label(Vec<EnvPair>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `SHELL ["program", "argument"...]`
    Shell(Vec<String>),
    /// `STOPSIGNAL signal`
    StopSignal(Word),
    /// `ONBUILD instruction`
    OnBuild(OnBuild),
    /// `MAINTAINER text` (deprecated)
    Maintainer(Word),
}

impl Instruction {
    /// Returns the keyword in upper case.
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Arg(_) => "ARG",
            Self::Env(_) => "ENV",
            Self::Run(_) => "RUN",
            Self::Copy(_) => "COPY",
            Self::Add(_) => "ADD",
            Self::Workdir(_) => "WORKDIR",
            Self::User(_) => "USER",
            Self::Expose(_) => "EXPOSE",
            Self::Volume(_) => "VOLUME",
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Label(_) => "LABEL",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::OnBuild(_) => "ONBUILD",
            Self::Maintainer(_) => "MAINTAINER",
        }
    }
}

/// One name that `ARG` declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: Word,
    /// The default, before expansion.
    pub default: Option<Word>,
}

/// One name and value of `ENV` or `LABEL`, before expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvPair {
    /// The name.
    pub name: Word,
    /// The value.
    pub value: Word,
    /// Whether it was written `name=value`, or in the old form `name value`.
    pub form: PairForm,
}

/// How a name and its value are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairForm {
    /// `name=value`
    Equals,
    /// `name value`, the only pair of its instruction.
    Space,
}

/// What `RUN`, `CMD`, `ENTRYPOINT` and `HEALTHCHECK CMD` run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandForm {
    /// A JSON list: program and arguments, run without a shell.
    Exec(Vec<String>),
    /// A text for the shell.
    Shell(String),
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: NetworkMode,
    /// `--security`.
    pub security: Security,
    /// Where `--network` or `--security` stands, for refusals.
    pub granted: Option<Span>,
    /// What is run. Never expanded by the builder: the shell does it.
    pub command: CommandForm,
    /// Heredocs of the shell form, in order.
    pub heredocs: Vec<Heredoc>,
}

/// `RUN --network`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkMode {
    /// The builder's network.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

impl NetworkMode {
    /// Returns the word as written in a Dockerfile.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// `RUN --security`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Security {
    /// As any container: few capabilities, a system call filter.
    #[default]
    Sandbox,
    /// All capabilities and devices, no filter.
    Insecure,
}

impl Security {
    /// Returns the word as written in a Dockerfile.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Insecure => "insecure",
        }
    }
}

/// A heredoc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, unquoted; also the file's name in `COPY`.
    pub name: String,
    /// The redirection word as written, e.g. `<<-"EOF"`.
    pub word: Word,
    /// The lines with their line ends; leading tabs are gone for `<<-`.
    pub content: String,
    /// Whether variables in it are replaced: the terminator was not quoted.
    pub expand: bool,
    /// Whether it was `<<-`.
    pub chomp: bool,
}

/// One source of `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path, a pattern, or for `ADD` a URL.
    Path(Word),
    /// A file given in place.
    Heredoc(Heredoc),
}

/// The flags that `COPY` and `ADD` share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// `--chown=user[:group]`
    pub chown: Option<Word>,
    /// `--chmod`: octal, or after expansion.
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<Word>,
}

/// `COPY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFiles {
    /// `--from`: a stage, its number, or an image.
    pub from: Option<Word>,
    /// The sources; never empty.
    pub sources: Vec<CopySource>,
    /// The destination.
    pub dest: Word,
    /// Ownership, mode and such.
    pub options: FileOptions,
    /// `--parents`: keep the sources' directories.
    pub parents: bool,
}

/// `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddFiles {
    /// The sources; never empty.
    pub sources: Vec<CopySource>,
    /// The destination.
    pub dest: Word,
    /// Ownership, mode and such.
    pub options: FileOptions,
    /// `--checksum` of a URL's content.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`
    pub keep_git_dir: bool,
    /// `--unpack`; `None` means local archives are unpacked and downloaded ones are not.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK`; durations in nanoseconds, `None` and 0 mean inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// What is run, if anything.
    pub probe: HealthcheckProbe,
    /// `--interval`, ns.
    pub interval: u64,
    /// `--timeout`, ns.
    pub timeout: u64,
    /// `--start-period`, ns.
    pub start_period: u64,
    /// `--start-interval`, ns.
    pub start_interval: u64,
    /// `--retries`.
    pub retries: u64,
}

/// What a health check runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthcheckProbe {
    /// `HEALTHCHECK NONE`: the base's check is turned off.
    None,
    /// `HEALTHCHECK CMD`.
    Command(CommandForm),
}

/// `ONBUILD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnBuild {
    /// The trigger as the image stores it.
    pub text: Word,
    /// The trigger, parsed, so that a fault shows now and not in the next build.
    pub trigger: Box<Spanned<Instruction>>,
}

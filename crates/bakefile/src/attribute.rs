//! The attributes of a target, what they hold and how they are merged: one table for reading, overriding and printing.

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// True or false.
    Flag,
    /// Texts in order.
    Texts,
    /// Texts by name.
    Pairs,
    /// Entries of named fields, each written as `type=...,key=value` or as an object.
    Entries,
}

/// How an attribute of a later definition meets that of an earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    Replace,
    Append,
}

macro_rules! attributes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $shape:ident $merge:ident;)*) => {
        /// An attribute of a target. The order is that of `--print`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Attribute { $($(#[$doc])* $variant,)* }

        impl Attribute {
            /// Every attribute.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns its name in bake files.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns what it holds.
            pub fn shape(self) -> Shape {
                match self { $(Self::$variant => Shape::$shape,)* }
            }

            pub(crate) fn merge(self) -> Merge {
                match self { $(Self::$variant => Merge::$merge,)* }
            }
        }
    };
}

attributes! {
    /// What the target is for.
    Description "description" Text Replace;
    /// Annotations of the image.
    Annotations "annotations" Texts Append;
    /// Attestations: `type=provenance|sbom`.
    Attest "attest" Entries Append;
    /// The context.
    Context "context" Text Replace;
    /// Named contexts.
    Contexts "contexts" Pairs Append;
    /// The Dockerfile, relative to the context.
    Dockerfile "dockerfile" Text Replace;
    /// The text of a Dockerfile.
    DockerfileInline "dockerfile-inline" Text Replace;
    /// Build arguments.
    Args "args" Pairs Append;
    /// Labels of the image.
    Labels "labels" Pairs Append;
    /// Names of the image.
    Tags "tags" Texts Replace;
    /// Where cached steps come from.
    CacheFrom "cache-from" Entries Append;
    /// Where cached steps go to.
    CacheTo "cache-to" Entries Replace;
    /// The stage.
    Target "target" Text Replace;
    /// Secrets.
    Secret "secret" Entries Append;
    /// Agents and keys of SSH.
    Ssh "ssh" Entries Append;
    /// Platforms.
    Platforms "platforms" Texts Replace;
    /// Where the result goes.
    Output "output" Entries Replace;
    /// Look up base images anew.
    Pull "pull" Flag Replace;
    /// Use no cached step.
    NoCache "no-cache" Flag Replace;
    /// The network of `RUN` steps.
    Network "network" Text Replace;
    /// Stages whose steps are done again.
    NoCacheFilter "no-cache-filter" Texts Append;
    /// Size of `/dev/shm` of `RUN` steps.
    ShmSize "shm-size" Text Replace;
    /// Limits of `RUN` steps.
    Ulimits "ulimits" Texts Append;
    /// What is evaluated: `build`, `check`, `outline`, `targets`.
    Call "call" Text Replace;
    /// What the build may ask for: `network.host`, `security.insecure`.
    Entitlements "entitlements" Texts Append;
    /// Hosts of `RUN` steps by name.
    ExtraHosts "extra-hosts" Pairs Append;
}

impl Attribute {
    /// Returns the attribute of a name in a bake file.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|attribute| attribute.name() == name)
    }

    /// Returns the attribute that `--set` means: some have another name there.
    pub(crate) fn of_override(name: &str) -> Option<Self> {
        match name {
            "platform" => Some(Self::Platforms),
            "secrets" => Some(Self::Secret),
            "description" => None,
            other => Self::of_name(other),
        }
    }
}

//! What a user may say about an `up`.

/// Which containers are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recreate {
    /// Those whose configuration or image changed.
    #[default]
    Changed,
    /// All.
    Always,
    /// None.
    Never,
}

/// Whether services that the named ones depend on are brought up too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependencies {
    /// They are.
    #[default]
    Included,
    /// They are left as they are, and nobody waits for them.
    LeftAlone,
}

/// What happens to containers whose service no file names any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// They stay, and the plan lists them.
    #[default]
    Kept,
    /// They are removed.
    Removed,
}

/// How far an `up` goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// Containers are made and not started.
    Created,
    /// Containers are started, each when what it depends on is as it needs it.
    Started,
    /// All are as they should be: healthy, completed, running.
    #[default]
    Ready,
}

/// What happens to jobs that ended with 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finished {
    /// Their work is done.
    #[default]
    Kept,
    /// They are started again, as Docker Compose does.
    Again,
}

/// What happens to volumes that no file names when their container is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnonymousVolumes {
    /// The new container gets them.
    #[default]
    Kept,
    /// They are removed, and it gets new ones.
    Renewed,
}

/// What a user may say about an `up`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Services to bring up; none means all.
    pub services: Vec<String>,
    /// Which containers are replaced.
    pub recreate: Recreate,
    /// Which containers of services are replaced that are not named and come as dependencies.
    pub recreate_dependencies: Recreate,
    /// How far it goes.
    pub goal: Goal,
    /// What happens to jobs that are done.
    pub finished: Finished,
    /// What happens to the anonymous volumes of replaced containers.
    pub anonymous_volumes: AnonymousVolumes,
    /// Whether dependencies are included.
    pub dependencies: Dependencies,
    /// What happens to orphans.
    pub orphans: Orphans,
}

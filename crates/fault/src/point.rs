//! The list of all points.

/// Which process passes a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The command itself.
    Command,
    /// The shim of a container.
    Shim,
    /// The keeper of a scope.
    Keeper,
}

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal of $owner:ident,)*) => {
        /// A place where something may be made to happen. The suite of faults goes through all of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point { $($(#[$doc])* $variant,)* }

        impl Point {
            /// All points, in the order in which a life passes them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name by which it is armed.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the process that passes it.
            pub const fn owner(self) -> Owner {
                match self { $(Self::$variant => Owner::$owner,)* }
            }
        }
    };
}

points! {
    /// A file of a record is written under its temporary name.
    StoreRecordWritten = "store.record-written" of Command,
    /// A blob is written under its temporary name.
    StoreBlobWritten = "store.blob-written" of Command,
    /// A snapshot's directory is made, its record not.
    SnapshotMade = "snapshot.made" of Command,
    /// A snapshot's record says that it is committed, its chain is not indexed.
    SnapshotCommitted = "snapshot.committed" of Command,
    /// A snapshot's directory is renamed out of sight, not erased.
    SnapshotDetached = "snapshot.detached" of Command,

    /// A build is about to solve its graph.
    BuildBegun = "build.begun" of Command,
    /// A step of a build has its snapshot and directory.
    BuildStepPrepared = "build.step-prepared" of Command,
    /// The shim of a step is spawned, its network is not attached.
    BuildStepSpawned = "build.step-spawned" of Command,
    /// A step's command has ended, its snapshot is not committed.
    BuildStepRan = "build.step-ran" of Command,
    /// A step's snapshot is committed, the cache does not know it.
    BuildStepCommitted = "build.step-committed" of Command,
    /// All steps are done, no image is stored.
    BuildSolved = "build.solved" of Command,
    /// The image is stored, it has no name.
    BuildStored = "build.stored" of Command,

    /// A container's name is claimed.
    CreateNamed = "create.named" of Command,
    /// A container's volumes are made.
    CreateVolumes = "create.volumes" of Command,
    /// A container's snapshot is held.
    CreateHeld = "create.held" of Command,
    /// A container's record is written.
    CreateRecorded = "create.recorded" of Command,
    /// A volume's directory is made, its record not.
    VolumeMade = "volume.made" of Command,

    /// A container that starts says who starts it.
    StartOwned = "start.owned" of Command,
    /// All that its start needs is prepared.
    StartPrepared = "start.prepared" of Command,
    /// Its shim is spawned.
    StartSpawned = "start.spawned" of Command,
    /// Its addresses are recorded, no rule knows them.
    StartAllocated = "start.allocated" of Command,
    /// The rules of the packet filter are applied, no link is made.
    StartFiltered = "start.filtered" of Command,
    /// Its links are made.
    StartAttached = "start.attached" of Command,
    /// Its `/etc` is written, no keeper knows it.
    StartWritten = "start.written" of Command,
    /// Its names and ports are served.
    StartServed = "start.served" of Command,
    /// Its first process waits.
    StartCreated = "start.created" of Command,
    /// Its first process runs, it still says who starts it.
    StartRunning = "start.running" of Command,
    /// A container that ran in the foreground has ended, nothing is freed.
    RunEnded = "run.ended" of Command,

    /// A container that is to be stopped was not asked yet.
    StopBegun = "stop.begun" of Command,
    /// Who frees what a container had holds its lock.
    ReapLocked = "reap.locked" of Command,
    /// Its addresses, names and ports are freed.
    ReapReleased = "reap.released" of Command,
    /// Its control group is removed.
    ReapUngrouped = "reap.ungrouped" of Command,
    /// Its run directory is removed.
    ReapForgotten = "reap.forgotten" of Command,
    /// Addresses are forgotten, rules are not.
    ReleaseForgotten = "release.forgotten" of Command,

    /// A container that is removed has ended.
    RemoveStopped = "rm.stopped" of Command,
    /// What it had beyond its files is freed.
    RemoveReleased = "rm.released" of Command,
    /// Its record is removed.
    RemoveUnrecorded = "rm.unrecorded" of Command,
    /// Its name is free.
    RemoveUnnamed = "rm.unnamed" of Command,
    /// Its snapshot is removed, its directory is not.
    RemoveErased = "rm.erased" of Command,

    /// A project is locked.
    UpLocked = "up.locked" of Command,
    /// Its images are there.
    UpImages = "up.images" of Command,
    /// What is to be done is decided.
    UpPlanned = "up.planned" of Command,
    /// Files of configurations are written.
    UpGenerated = "up.generated" of Command,
    /// A network is recorded, its bridge is not made.
    NetworkRecorded = "network.recorded" of Command,
    /// A network's bridge is made.
    NetworkRaised = "network.raised" of Command,
    /// A service's container is made, not started.
    UpCreated = "up.created" of Command,
    /// A service's container runs.
    UpStarted = "up.started" of Command,

    /// A project that goes is locked.
    DownLocked = "down.locked" of Command,
    /// A service's container has ended.
    DownStopped = "down.stopped" of Command,
    /// A service's container is removed.
    DownRemoved = "down.removed" of Command,
    /// A network's rules are removed, its bridge is not.
    NetworkUnfiltered = "network.unfiltered" of Command,
    /// A network's bridge is removed, its record is not.
    NetworkUnlinked = "network.unlinked" of Command,
    /// All of a project's plan is done, its directory is there.
    DownExecuted = "down.executed" of Command,
    /// A volume's record is removed, its content is not.
    VolumeUnrecorded = "volume.unrecorded" of Command,

    /// A shim holds its lock.
    ShimLocked = "shim.locked" of Shim,
    /// A shim has its namespaces and root file system.
    ShimEntered = "shim.entered" of Shim,
    /// A shim listens, nobody was told.
    ShimListening = "shim.listening" of Shim,
    /// The container's first process is made, nobody was told.
    ShimCreated = "shim.created" of Shim,
    /// The container's first process runs, nothing says so.
    ShimStarted = "shim.started" of Shim,
    /// The state of a container that runs is recorded.
    ShimRecorded = "shim.recorded" of Shim,
    /// The container's first process has ended and is reaped.
    ShimReaped = "shim.reaped" of Shim,
    /// Its output is complete, its control group is removed.
    ShimDrained = "shim.drained" of Shim,
    /// The root file system is unmounted, no end is recorded.
    ShimUnmounted = "shim.unmounted" of Shim,
    /// The end is recorded, nobody was told.
    ShimConcluded = "shim.concluded" of Shim,
    /// Who waited was told, nobody cleans up.
    ShimTold = "shim.told" of Shim,

    /// A keeper holds its lock.
    KeeperLocked = "keeper.locked" of Keeper,
    /// A keeper holds its ports, nobody can ask it.
    KeeperBound = "keeper.bound" of Keeper,
    /// A keeper listens, nobody was told.
    KeeperListening = "keeper.listening" of Keeper,
    /// A keeper serves something new, nobody was told.
    KeeperReloaded = "keeper.reloaded" of Keeper,
    /// A keeper is to end.
    KeeperEnding = "keeper.ending" of Keeper,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_another() {
        let mut names: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
    }
}

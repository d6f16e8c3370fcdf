//! What is being done when a point acts, and how order is restored after it.

use std::fs;
use std::path::PathBuf;

use coracle_fault::Point;

use crate::support::{Call, coracle, unique};
use crate::world::{IMAGE, World};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// An image is built.
    Build,
    /// A container with a port and an anonymous volume is started in the background.
    Start,
    /// A container is run to its end, and goes.
    Run,
    /// A container that runs is stopped.
    Stop,
    /// A container that runs is removed.
    RemoveRunning,
    /// A container that ended is removed.
    Remove,
    /// A project is brought up.
    Up,
    /// A project goes with its volumes.
    Down,
    /// A project is brought up, and goes; only what was started by the first command is armed.
    UpAndDown,
}

impl Doing {
    /// Returns what passes a point.
    pub const fn that_passes(point: Point) -> Self {
        match point {
            Point::StoreRecordWritten
            | Point::StoreBlobWritten
            | Point::SnapshotMade
            | Point::SnapshotCommitted
            | Point::BuildBegun
            | Point::BuildStepPrepared
            | Point::BuildStepSpawned
            | Point::BuildStepRan
            | Point::BuildStepCommitted
            | Point::BuildSolved
            | Point::BuildStored => Self::Build,
            Point::CreateNamed
            | Point::CreateVolumes
            | Point::CreateHeld
            | Point::CreateRecorded
            | Point::VolumeMade
            | Point::StartOwned
            | Point::StartPrepared
            | Point::StartSpawned
            | Point::StartAllocated
            | Point::StartFiltered
            | Point::StartAttached
            | Point::StartWritten
            | Point::StartServed
            | Point::StartCreated
            | Point::StartRunning
            | Point::ShimLocked
            | Point::ShimEntered
            | Point::ShimListening
            | Point::ShimCreated
            | Point::ShimStarted
            | Point::ShimRecorded => Self::Start,
            Point::RunEnded
            | Point::ReapLocked
            | Point::ReapReleased
            | Point::ReapUngrouped
            | Point::ReapForgotten
            | Point::ReleaseForgotten
            | Point::ShimReaped
            | Point::ShimDrained
            | Point::ShimUnmounted
            | Point::ShimConcluded
            | Point::ShimTold => Self::Run,
            Point::StopBegun => Self::Stop,
            Point::RemoveStopped => Self::RemoveRunning,
            Point::RemoveReleased
            | Point::RemoveUnrecorded
            | Point::RemoveUnnamed
            | Point::RemoveErased
            | Point::SnapshotDetached => Self::Remove,
            Point::UpLocked
            | Point::UpImages
            | Point::UpPlanned
            | Point::UpGenerated
            | Point::NetworkRecorded
            | Point::NetworkRaised
            | Point::UpCreated
            | Point::UpStarted
            | Point::KeeperLocked
            | Point::KeeperBound
            | Point::KeeperListening
            | Point::KeeperReloaded => Self::Up,
            Point::DownLocked
            | Point::DownStopped
            | Point::DownRemoved
            | Point::DownExecuted
            | Point::NetworkUnfiltered
            | Point::NetworkUnlinked
            | Point::VolumeUnrecorded => Self::Down,
            Point::KeeperEnding => Self::UpAndDown,
        }
    }
}

/// One thing that is done, once.
#[derive(Debug)]
pub struct Scenario {
    doing: Doing,
    name: String,
    directory: PathBuf,
}

const PROJECT: &str = "
services:
  web:
    image: IMAGE
    command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.1; done\"]
    ports: ['127.0.0.1:7171:80']
    volumes: ['data:/data']
    configs: [{source: words, target: /words}]
  worker:
    image: IMAGE
    command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.1; done\"]
    depends_on: [web]
configs:
  words: {content: hello}
volumes: {data: {}}
";

impl Scenario {
    /// Prepares what the doing needs; nothing of it is armed.
    pub fn new(world: &World, doing: Doing) -> Self {
        let name = unique("fault");
        let directory = world.root().join(&name);
        fs::create_dir(&directory).expect("a directory can be made");
        let scenario = Self { doing, name, directory };
        scenario.lay_out();
        match doing {
            Doing::Stop | Doing::RemoveRunning => {
                scenario.background().run().ok();
            }
            Doing::Remove => {
                coracle(["run", "--name", &scenario.name, "-v", "/data", IMAGE, "true"]).run().ok();
            }
            Doing::Down => {
                scenario.compose(&["up", "-d"]).run().ok();
            }
            Doing::Build | Doing::Start | Doing::Run | Doing::Up | Doing::UpAndDown => {}
        }
        scenario
    }

    fn lay_out(&self) {
        let write = |file: &str, text: String| {
            fs::write(self.directory.join(file), text).expect("a file can be written");
        };
        write("Dockerfile", format!("FROM {IMAGE}\nCOPY words /words\nRUN cp /words /more\n"));
        write("words", format!("{}\n", self.name));
        write("compose.yaml", format!("name: {}\n{}", self.name, PROJECT.replace("IMAGE", IMAGE)));
    }

    fn compose(&self, words: &[&str]) -> Call {
        coracle(["compose"]).args(words).dir(&self.directory)
    }

    fn background(&self) -> Call {
        coracle(["run", "-d", "--name", &self.name, "-v", "/data", "-p", "127.0.0.1:7272:80", IMAGE]).args([
            "sh",
            "-c",
            "trap 'exit 0' TERM; while :; do sleep 0.1; done",
        ])
    }

    /// Returns the command that passes the point.
    pub fn command(&self) -> Call {
        match self.doing {
            Doing::Build => coracle(["build", "-t", &self.name, "."]).dir(&self.directory),
            Doing::Start => self.background(),
            Doing::Run => {
                let options = ["run", "--rm", "--name", &self.name, "-v", "/data", "-p", "127.0.0.1:7272:80"];
                coracle(options).args([IMAGE, "true"])
            }
            Doing::Stop => coracle(["stop", "-t", "2", &self.name]),
            Doing::RemoveRunning => coracle(["rm", "-f", "-v", &self.name]),
            Doing::Remove => coracle(["rm", "-v", &self.name]),
            Doing::Up | Doing::UpAndDown => self.compose(&["up", "-d"]),
            Doing::Down => self.compose(&["down", "-v", "-t", "2"]),
        }
    }

    /// Returns the second command of the doing, if there is one; it is not armed.
    pub fn then(&self) -> Option<Call> {
        (self.doing == Doing::UpAndDown).then(|| self.compose(&["down", "-v", "-t", "2"]))
    }

    /// Does what a user would do next: the same again, which works, and takes it away.
    #[track_caller]
    pub fn restore(&self, world: &World) {
        let name = self.name.as_str();
        match self.doing {
            Doing::Build => {
                coracle(["build", "-t", name, "."]).dir(&self.directory).run().ok();
                coracle(["run", "--rm", name, "cat", "/more"]).run().ok();
                coracle(["rmi", name]).run().ok();
                coracle(["builder", "prune", "-af"]).run().ok();
            }
            Doing::Start | Doing::Run | Doing::Stop | Doing::RemoveRunning | Doing::Remove => {
                // The next command clears up by itself; it knows nothing of what happened.
                coracle(["run", "--rm", IMAGE, "true"]).run().ok();
                let left = coracle(["ps", "-aq", "--no-trunc"]).run().ok().stdout;
                assert!(left.lines().count() <= 2, "only the bystander and the container itself: {left}");
                let removed = coracle(["rm", "-f", "-v", name]).run();
                assert!(
                    removed.code() == 0 || removed.stderr.contains("no such container"),
                    "a container can be removed or is gone: {removed}"
                );
                // Its name and its port are free again.
                coracle(["run", "--rm", "--name", name, "-p", "127.0.0.1:7272:80", IMAGE, "true"]).run().ok();
            }
            Doing::Up | Doing::Down | Doing::UpAndDown => {
                self.compose(&["up", "-d"]).run().ok();
                let listed = self.compose(&["ps", "--format", "{{.Name}} {{.State}}"]).run().ok();
                assert_eq!(listed.stdout.matches("running").count(), 2, "{listed}");
                self.compose(&["down", "-v", "-t", "2"]).run().ok();
            }
        }
        let _ = world;
        fs::remove_dir_all(&self.directory).expect("a directory can be removed");
    }
}

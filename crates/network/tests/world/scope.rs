//! A keeper as a process of its own: the test's binary run again.

use std::path::Path;
use std::process::Command;

use coracle_network::keeper::{Home, HomeError, KeeperState};
use coracle_testkit::NetworkNamespace;

use super::World;

/// Names the directory to the test `keeper_process` of each binary that uses this.
pub const DIRECTORY: &str = "CORACLE_TEST_KEEPER";

pub struct Scope {
    pub home: Home,
}

impl Scope {
    pub fn new(world: &World) -> Self {
        Self { home: Home::new(world.dir.path().join("keepers/scope")) }
    }

    pub fn launch(directory: &Path) -> Command {
        let mut command = Command::new("sh");
        let script =
            "exec \"$0\" keeper_process --exact --ignored --nocapture --test-threads 1 3>&1 >/dev/null";
        command.arg("-c").arg(script).arg(std::env::current_exe().unwrap()).env(DIRECTORY, directory);
        command
    }

    pub fn change(
        &self,
        host: &NetworkNamespace,
        edit: impl FnOnce(&mut KeeperState) + Send,
    ) -> Result<(), HomeError> {
        host.run(|| self.home.change(|| Self::launch(self.home.directory()), edit))
    }

    pub fn pid(&self) -> Option<u32> {
        self.home.status().unwrap().map(|status| status.pid)
    }

    pub fn kill(&self) {
        let pid = self.pid().unwrap();
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        // Our own child: gone for good once its status is taken.
        while rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
            .is_err_and(|e| e == rustix::io::Errno::INTR)
        {}
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.home.directory().exists() {
            let _ended = self.home.change(|| Command::new("false"), |state| *state = KeeperState::default());
        }
    }
}

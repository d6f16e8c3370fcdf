//! What the end-to-end tests share: the binary and what it answered, bounded waiting, things that clean up after
//! themselves.
//!
//! The binary is the one that the variable `CORACLE_BIN` names, else the one that cargo built beside the tests. It
//! works on the default roots as a user's would; every name is unique and every thing made is removed again.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of this module")]

mod application;
mod browser;
mod command;
mod host;
mod http;
mod parts;
mod snapshot;
mod stack;
mod user;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use application::{Application, runs_of};
pub use browser::Browser;
pub use command::{Call, Outcome, Started, coracle};
pub use host::{Cgroup, connects_from, default_route_of, free_port, own_address, parent_of, user_of};
pub use http::{Answer, get, request};
pub use parts::Parts;
pub use snapshot::{Files, Snapshot};
pub use stack::{Stack, copy_tree, repository};
pub use user::User;

/// How long something may take that happens on its own soon. Never reached when things work; not a measurement.
pub const SOON: Duration = Duration::from_secs(30);
/// The same for what downloads, builds or brings a stack up.
pub const LONG: Duration = Duration::from_mins(10);

/// Returns whether the end-to-end tests can run here, and says so if not (and fails where `CI` is set).
pub fn ready() -> bool {
    coracle_testkit::privileged()
}

/// Returns a name that nothing else has.
pub fn unique(noun: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("e2e-{noun}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Asks `probe` until it returns something; after `bound`, fails with the last thing it said.
#[track_caller]
pub fn eventually<T>(what: &str, bound: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + bound;
    loop {
        match probe() {
            Ok(found) => return found,
            Err(why) if Instant::now() > end => panic!("{what}: still not so after {bound:?}: {why}"),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Returns `Ok` where `holds`, else the words of `why`: the shape that [`eventually`] asks for.
pub fn holds(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// Returns what `coracle inspect` knows about a container, image, volume or network.
#[track_caller]
pub fn inspect(name: &str) -> Value {
    let mut found: Value =
        serde_json::from_str(&coracle(["inspect", name]).run().ok().stdout).expect("inspect prints JSON");
    found[0].take()
}

/// Returns the value at a path of keys such as `State.Health.Status`; fails where there is none.
#[track_caller]
pub fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, key| {
        value.get(key).unwrap_or_else(|| panic!("no `{key}` of `{path}` in {value:#}"))
    })
}

/// Returns the text at a path of keys.
#[track_caller]
pub fn text_at<'v>(value: &'v Value, path: &str) -> &'v str {
    at(value, path).as_str().unwrap_or_else(|| panic!("`{path}` is no text in {value:#}"))
}

/// Returns the whole number at a path of keys.
#[track_caller]
pub fn number_at(value: &Value, path: &str) -> i64 {
    at(value, path).as_i64().unwrap_or_else(|| panic!("`{path}` is no number in {value:#}"))
}

/// Returns a time as `inspect` writes it in a form that sorts: seconds, then nine digits of their fraction.
#[track_caller]
pub fn instant(text: &str) -> String {
    let utc = text.strip_suffix('Z').unwrap_or_else(|| panic!("`{text}` is no UTC time"));
    let (seconds, fraction) = utc.split_once('.').unwrap_or((utc, ""));
    format!("{seconds}.{fraction:0<9}")
}

/// A container that is removed with this value.
#[derive(Debug)]
pub struct Container(pub String);

impl Container {
    /// Starts one in the background. `arguments` go after `run -d --name NAME`.
    #[track_caller]
    pub fn start<'a>(noun: &str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let name = unique(noun);
        let container = Self(name.clone());
        coracle(["run", "-d", "--name", &name]).args(arguments).run().ok();
        container
    }

    /// Returns a name for one that the test makes in its own way.
    pub fn named(noun: &str) -> Self {
        Self(unique(noun))
    }

    /// Returns what is known about it.
    #[track_caller]
    pub fn inspect(&self) -> Value {
        inspect(&self.0)
    }

    /// Returns `created`, `running`, `restarting` or `exited`.
    #[track_caller]
    pub fn status(&self) -> String {
        text_at(&self.inspect(), "State.Status").to_owned()
    }

    /// Returns its control group.
    #[track_caller]
    pub fn cgroup(&self) -> Cgroup {
        Cgroup::of(text_at(&self.inspect(), "Id"))
    }

    /// Returns its first process as the host numbers it.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        i32::try_from(number_at(&self.inspect(), "State.Pid")).expect("a pid fits")
    }

    /// Waits until its log holds `text`.
    #[track_caller]
    pub fn logs(&self, text: &str) {
        eventually(&format!("log of {} says `{text}`", self.0), SOON, || {
            let outcome = coracle(["logs", &self.0]).run();
            let log = outcome.stdout.clone() + &outcome.stderr;
            holds(log.contains(text), || {
                format!("its log is: {log}\nits state is: {:#}", self.inspect()["State"])
            })
        });
    }

    /// Waits until it has ended for good, and returns its exit code.
    #[track_caller]
    pub fn ended(&self) -> i64 {
        eventually(&format!("{} ends", self.0), SOON, || {
            let found = self.inspect();
            match text_at(&found, "State.Status") {
                "exited" => Ok(number_at(&found, "State.ExitCode")),
                _ => Err(format!("its state is {:#}", found["State"])),
            }
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        coracle(["rm", "-f", "-v", &self.0]).quietly();
    }
}

/// Anything else that is removed with this value, by a command line.
#[derive(Debug)]
pub struct Removed(Vec<String>);

impl Removed {
    /// Returns a guard over an image.
    pub fn image(name: &str) -> Self {
        Self(["rmi", name].map(str::to_owned).to_vec())
    }

    /// Returns a guard over a volume.
    pub fn volume(name: &str) -> Self {
        Self(["volume", "rm", "-f", name].map(str::to_owned).to_vec())
    }

    /// Returns a guard over a network.
    pub fn network(name: &str) -> Self {
        Self(["network", "rm", name].map(str::to_owned).to_vec())
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        coracle(self.0.iter().map(String::as_str)).quietly();
    }
}

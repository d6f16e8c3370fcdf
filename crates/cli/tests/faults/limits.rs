//! What runs out: the disk, inodes, the run root's memory, processes, memory.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Call, Outcome, coracle, unique};
use crate::world::{IMAGE, Shape, World, in_world};

/// A file system that is full as long as this value lives.
struct Full(PathBuf);

impl Full {
    /// Takes every byte of the file system that holds `place`.
    fn of_bytes(place: &Path) -> Self {
        let path = place.join("filler");
        let mut file = fs::File::create(&path).expect("a file can be made");
        let mut chunk = vec![b'x'; 1 << 20];
        while !chunk.is_empty() {
            if file.write_all(&chunk).is_err() {
                chunk.truncate(chunk.len() / 2);
            }
        }
        Self(path)
    }

    /// Takes every inode of the file system that holds `place`.
    fn of_inodes(place: &Path) -> Self {
        let path = place.join("filler");
        fs::create_dir(&path).expect("a directory can be made");
        let made =
            (0..1_000_000).take_while(|number| fs::File::create(path.join(number.to_string())).is_ok());
        assert!(made.count() < 1_000_000, "the file system has a limit");
        Self(path)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Fails unless a command that lacks something said so in words, or did without.
#[track_caller]
fn fails_in_words(outcome: &Outcome) {
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
    if outcome.code() != 0 {
        assert!(outcome.stderr.contains("error:"), "a failure is told: {outcome}");
    }
}

/// Starts, builds and removes while `full` fills something, and sees that nothing suffers.
#[track_caller]
fn while_full(world: &World, full: impl FnOnce() -> Full) {
    let before = world.look();
    let name = unique("full");
    let options = ["run", "--name", &name, "-v", "/data", IMAGE];
    coracle(options).args(["sh", "-c", "echo words > /data/words"]).run().ok();
    let talker = unique("talker");
    coracle(["run", "-d", "--name", &talker, IMAGE])
        .args(["sh", "-c", "while :; do echo a line of some length that fills a log; sleep 0.01; done"])
        .run()
        .ok();
    let full = full();
    let directory = world.root().join(unique("context"));
    fs::create_dir(&directory).expect("a directory can be made");
    fs::write(
        directory.join("Dockerfile"),
        format!("FROM {IMAGE}\nRUN dd if=/dev/zero of=/big bs=1k count=64\n"),
    )
    .expect("a file can be written");
    for call in [
        coracle(["run", "--rm", IMAGE, "sh", "-c", "echo x > /x"]),
        coracle([
            "run",
            "-d",
            "--name",
            &format!("{name}-2"),
            "-p",
            "127.0.0.1:7373:80",
            IMAGE,
            "sleep",
            "100",
        ]),
        coracle(["build", "-t", &name, "."]).dir(&directory),
        coracle(["volume", "create", &name]),
        coracle(["start", &name]),
    ] {
        fails_in_words(&call.bound(Duration::from_secs(40)).run());
    }
    // A command inside is described to the shim in a file of the run root.
    fails_in_words(&world.bystander_obeys());
    world.bystander_answers();
    world.commands_answer();
    let listed = coracle(["ps"]).run().ok();
    assert!(listed.line_with(&talker).contains("Up "), "a full disk ends no container: {listed}");
    coracle(["logs", "-n", "1", &talker]).run().ok();
    // What is removed makes room: that must not need any.
    coracle(["rm", "-f", "-v", &name]).run().ok();
    drop(full);
    world.bystander_lives();
    for words in [&["rm", "-f", &talker][..], &["run", "--rm", IMAGE, "true"]] {
        coracle(words).run().ok();
    }
    let _ = coracle(["rm", "-f", "-v", &format!("{name}-2")]).run();
    let _ = coracle(["rmi", &name]).run();
    let _ = coracle(["volume", "rm", &name]).run();
    coracle(["builder", "prune", "-af"]).run().ok();
    fs::remove_dir_all(&directory).expect("a directory can be removed");
    before.nothing_is_left();
    world.nothing_is_half_written();
    // That a disk of this size is small is another finding.
    let examined = coracle(["doctor"]).run();
    assert!(examined.stdout.contains("nothing is damaged, and nothing was left behind"), "{examined}");
}

#[test]
fn a_full_disk_stops_nothing_that_runs() {
    let shape = Shape { data: "size=24m", ..Shape::default() };
    in_world("limits::a_full_disk_stops_nothing_that_runs", shape, |world| {
        while_full(world, || Full::of_bytes(&world.data()));
    });
}

#[test]
fn no_inode_left_stops_nothing_that_runs() {
    let shape = Shape { data: "size=64m,nr_inodes=3000", ..Shape::default() };
    in_world("limits::no_inode_left_stops_nothing_that_runs", shape, |world| {
        while_full(world, || Full::of_inodes(&world.data()));
    });
}

#[test]
fn a_full_run_root_stops_nothing_that_runs() {
    in_world("limits::a_full_run_root_stops_nothing_that_runs", Shape::default(), |world| {
        while_full(world, || Full::of_bytes(&world.root().join("run")));
    });
}

/// Runs `call` in a control group of its own with a limit.
fn limited(controller: &str, file: &str, limit: u64, words: &[&str]) -> Outcome {
    let program = std::env::var("CORACLE_BIN").expect("a world knows its binary");
    let script = format!(
        "group=/sys/fs/cgroup/{controller}/limited
         mkdir -p $group; echo {limit} > $group/{file}; echo $$ > $group/cgroup.procs
         exec \"$@\""
    );
    Call::of("bash").args(["-euc", &script, "bash", &program]).args(words).bound(Duration::from_mins(1)).run()
}

#[test]
fn neither_processes_nor_memory_that_run_out_leave_anything() {
    let test = "limits::neither_processes_nor_memory_that_run_out_leave_anything";
    in_world(test, Shape { worlds: 2, ..Shape::default() }, |world| {
        let pids = [1, 2, 3, 4, 6, 9].map(|limit| ("pids", "pids.max", limit));
        let memory = [2, 4, 6, 8, 12].map(|limit| ("memory", "memory.limit_in_bytes", limit << 20));
        for (number, (controller, file, limit)) in pids.into_iter().chain(memory).enumerate() {
            if !world.does(number) {
                continue;
            }
            let before = world.look();
            let name = unique("limited");
            let port = "127.0.0.1:7474:80";
            let outcome = limited(
                controller,
                file,
                limit,
                &["run", "-d", "--name", &name, "-p", port, IMAGE, "sleep", "100"],
            );
            assert!(!outcome.stderr.contains("panicked"), "{controller} {limit}: {outcome}");
            world.bystander_lives();
            world.commands_answer();
            coracle(["run", "--rm", IMAGE, "true"]).run().ok();
            let removed = coracle(["rm", "-f", &name]).run();
            assert!(removed.code() == 0 || removed.stderr.contains("no such container"), "{removed}");
            before.nothing_is_left();
        }
    });
}

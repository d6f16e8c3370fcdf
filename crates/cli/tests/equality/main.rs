//! Images that our builder makes are those that BuildKit makes: for each case of `tests/equality/cases`, build it
//! and compare configuration, history and every layer's entries with what Docker 28 made when it was recorded.
//!
//! `CORACLE_EQUALITY_PEER='COMMAND'` records anew instead: COMMAND is put before `docker ...` and must see the
//! directory in `CORACLE_EQUALITY_SHARE` (`HERE:THERE`); `make equality` does it with the peer lab.

mod case;
mod image;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use case::{Case, cases};
use image::image;
use serde_json::{Value, json};
use server::Servers;
use support::{coracle, ready, repository};

/// The image that most cases build upon, made by each builder itself from the same files.
const BASE: &str = "equality-base:1";
const BASE_DOCKERFILE: &str = "FROM scratch\nCOPY . /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nCMD [\"sh\"]\n";
const TAG: &str = "equality-case:1";
const BASE_LAYERS: usize = 1;

/// One of the two that build.
enum Builder {
    Ours,
    /// Words before `docker`, and where it sees the shared directory.
    Peer(Vec<String>, PathBuf),
}

impl Builder {
    /// Builds `place` under `tag`; the error is what was said.
    fn build(&self, place: &Path, tag: &str, words: &[String]) -> Result<(), String> {
        let (program, there) = match self {
            Self::Ours => (vec![coracle_binary()], place.to_owned()),
            Self::Peer(words, share) => {
                let there = share.join(place.file_name().expect("a name"));
                ([words.as_slice(), &["docker".to_owned()]].concat(), there)
            }
        };
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).args(["build", "--progress", "plain", "-t", tag]);
        if !words.iter().any(|word| word.starts_with("--file") || word == "-f") {
            command.arg("-f").arg(there.join("Dockerfile"));
        }
        let words = words.iter().map(|word| word.replace("{{case}}", &there.to_string_lossy()));
        let own_context = words.clone().any(|word| word.starts_with("context="));
        command.args(words.filter(|word| !word.starts_with("context=")));
        if !own_context {
            command.arg(there.join("context"));
        }
        let output = command.stdin(Stdio::null()).output().expect("the builder starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    fn save(&self, tag: &str) -> Vec<u8> {
        let mut command = match self {
            Self::Ours => Command::new(coracle_binary()),
            Self::Peer(words, _) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).arg("docker");
                command
            }
        };
        let output = command.args(["save", tag]).output().expect("save starts");
        assert!(output.status.success(), "save {tag}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Returns what the case comes to.
    fn result(&self, case: &Case, place: &Path, servers: &Servers) -> (Value, String) {
        let words: Vec<String> = case.words.iter().map(|word| servers.fill(word)).collect();
        if let Err(said) = self.build(place, TAG, &words) {
            return (json!({"fails": true}), said);
        }
        let upon_base = fs::read_to_string(place.join("Dockerfile")).is_ok_and(|text| {
            text.lines()
                .rfind(|line| line.to_uppercase().starts_with("FROM "))
                .is_some_and(|line| !line.contains("scratch"))
        });
        let image = image(&self.save(TAG), if upon_base { BASE_LAYERS } else { 0 });
        let text = servers.hide(&image.to_string());
        (serde_json::from_str(&text).expect("JSON stays JSON"), String::new())
    }
}

fn coracle_binary() -> String {
    std::env::var("CORACLE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_coracle").to_owned())
}

/// A difference that is meant, with its reason in `docs/dockerfile.md`.
type Meant = BTreeSet<String>;

/// Reads the table of differences: rows `| case | line | reason |` of the documentation.
fn meant() -> Meant {
    let text = fs::read_to_string(repository().join("docs/dockerfile.md")).expect("the documentation");
    let section = text.split("## Differences from BuildKit").nth(1).expect("a section on differences");
    let section = section.split("\n## ").next().expect("split yields one");
    let mut meant = Meant::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert!(cells.len() >= 5 && !cells[3].is_empty(), "a difference without a reason: {line}");
        for case in cells[1].split(',') {
            meant.insert(case.trim().trim_matches('`').to_owned());
        }
    }
    meant
}

fn lay_out_base(place: &Path) {
    let context = place.join("context");
    for directory in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin", "usr/local/bin", "var"] {
        fs::create_dir_all(context.join(directory)).expect("a directory can be made");
    }
    let busybox = coracle_testkit::program("busybox").expect("busybox is installed by scripts/setup.sh");
    fs::copy(&busybox, context.join("bin/busybox")).expect("busybox can be copied");
    let list = Command::new(&busybox).arg("--list").output().expect("busybox starts");
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|applet| *applet != "busybox") {
        std::os::unix::fs::symlink("busybox", context.join("bin").join(applet)).expect("a link");
    }
    fs::write(
        context.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n",
    )
    .expect("a file can be written");
    fs::write(context.join("etc/group"), "root:x:0:\napp:x:1001:\nextra:x:2000:app\n")
        .expect("a file can be written");
    let script = "chmod 1777 tmp; chmod 0700 root; chmod 0755 bin dev etc proc sys usr usr/bin usr/local usr/local/bin var .; find . -depth -exec touch -h -d @981173106 {} +";
    let status = Command::new("sh").args(["-c", script]).current_dir(&context).status();
    assert!(status.is_ok_and(|status| status.success()), "the base cannot be laid out");
    fs::write(place.join("Dockerfile"), BASE_DOCKERFILE).expect("a file can be written");
}

#[test]
fn images_equal_those_of_buildkit() {
    if !ready() {
        return;
    }
    let peer = std::env::var("CORACLE_EQUALITY_PEER").ok();
    let (builder, share) = match &peer {
        None => (Builder::Ours, tempfile::tempdir()),
        Some(words) => {
            let share = std::env::var("CORACLE_EQUALITY_SHARE").expect("HERE:THERE");
            let (here, there) = share.split_once(':').expect("HERE:THERE");
            let words = words.split(' ').map(str::to_owned).collect();
            let place = tempfile::tempdir_in(here);
            let there = Path::new(there)
                .join(place.as_ref().expect("a directory").path().file_name().expect("a name"));
            (Builder::Peer(words, there), place)
        }
    };
    let share = share.expect("a directory");
    let base = share.path().join("base");
    lay_out_base(&base);
    builder.build(&base, BASE, &[]).unwrap_or_else(|said| panic!("the base cannot be built: {said}"));

    let servers = Servers::start();
    let recorded = repository().join("tests/equality/recorded");
    let meant = if peer.is_some() { Meant::new() } else { meant() };
    let mut faults = Vec::new();
    let mut failures = 0;
    for case in cases() {
        let place = share.path().join(&case.name);
        case.lay_out(&place, &servers);
        let (result, said) = builder.result(&case, &place, &servers);
        let path = recorded.join(format!("{}.json", case.name));
        if peer.is_some() {
            if result["fails"] == true {
                failures += 1;
                println!(
                    "{}: fails: {}",
                    case.name,
                    said.lines().rev().take(4).collect::<Vec<_>>().join(" / ")
                );
            }
            fs::write(path, serde_json::to_string_pretty(&result).expect("JSON") + "\n").expect("a record");
            continue;
        }
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; record it with `make equality`", path.display()));
        let wanted: Value = serde_json::from_str(&text).expect("a record is JSON");
        let excused = meant.contains(&case.name);
        match (result == wanted, excused) {
            (true, false) | (false, true) => {}
            (true, true) => {
                faults.push(format!("{}: is equal; take it out of docs/dockerfile.md", case.name));
            }
            (false, false) => {
                let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON");
                faults.push(format!(
                    "{}:\n{}{said}",
                    case.name,
                    difference(&pretty(&wanted), &pretty(&result))
                ));
            }
        }
    }
    if peer.is_some() {
        println!("recorded; {failures} fail on the peer");
        return;
    }
    for tag in [TAG, BASE] {
        coracle(["rmi", "-f", tag]).quietly();
    }
    assert!(
        faults.is_empty(),
        "{} of the cases differ from BuildKit (-) :\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Returns the lines that only one of two texts has, `-` the first's, `+` the second's.
fn difference(first: &str, second: &str) -> String {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    first.lines().for_each(|line| *counts.entry(line).or_default() += 1);
    second.lines().for_each(|line| *counts.entry(line).or_default() -= 1);
    let mut text = String::new();
    for (line, count) in counts.iter().filter(|(_, count)| **count != 0) {
        text.push_str(if *count > 0 { "  - " } else { "  + " });
        text.push_str(line.trim_start());
        text.push('\n');
    }
    if text.is_empty() { "  the order differs\n".to_owned() } else { text }
}

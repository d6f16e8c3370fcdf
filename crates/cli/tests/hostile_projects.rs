//! Projects made to do harm: every command that reads one ends with a clear error, within 200 MB of memory.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::{Call, Outcome};

/// Kilobytes of private memory that a command may have.
const MEMORY: usize = 200 * 1024;
/// The commands that read a project; the first as `compose` does, the others with the origin of every value.
const COMMANDS: [&[&str]; 3] = [&["compose", "config"], &["config", "--why", "services"], &["env", "show"]];

/// Runs a command under the limit: allocations beyond it fail, which ends the process by a signal.
fn bounded(directory: &Path, words: &[&str]) -> Outcome {
    let program = std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
    let script = format!("ulimit -d {MEMORY} && exec \"$@\"");
    Call::of("env")
        .args([
            "-i",
            "NO_COLOR=1",
            "CORACLE_DATA_ROOT=/nonexistent/data",
            "CORACLE_RUN_ROOT=/nonexistent/run",
        ])
        .args(["sh", "-c", &script, "sh"])
        .args([program])
        .args(words)
        .dir(directory)
        .run()
}

/// Lays files out and holds every command against what it must say.
#[track_caller]
fn refused(files: &[(&str, Vec<u8>)], expected: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).expect("a file can be written");
    }
    refused_in(directory.path(), expected);
}

#[track_caller]
fn refused_in(directory: &Path, expected: &str) {
    // Docker Compose's commands know nothing of `coracle.toml`.
    let first = usize::from(directory.join("coracle.toml").exists());
    for words in &COMMANDS[first..] {
        let outcome = bounded(directory, words).refuses(1, &[expected]);
        let length = outcome.stderr.len() + outcome.stdout.len();
        assert!(length < 64 << 10, "{words:?} says {length} bytes");
    }
}

fn compose(text: impl Into<Vec<u8>>) -> Vec<(&'static str, Vec<u8>)> {
    vec![("compose.yml", text.into())]
}

/// A good project beside a file.
fn beside(name: &'static str, bytes: impl Into<Vec<u8>>) -> Vec<(&'static str, Vec<u8>)> {
    let text = "services: {web: {image: \"w:${A:-1}\", env_file: web.env}}\n";
    let mut files = vec![("compose.yml", text.into()), (name, bytes.into())];
    if name != "web.env" {
        files.push(("web.env", b"X=1\n".to_vec()));
    }
    files
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = "x-a0: &a0 [lol]\n".to_owned();
    for level in 1..12 {
        let _ = writeln!(text, "x-a{level}: &a{level} [{}]", vec![format!("*a{}", level - 1); 10].join(", "));
    }
    refused(&compose(text), "aliases expand to more than");
}

#[test]
fn deep_nesting_is_refused() {
    refused(&compose(format!("x: {}", "[".repeat(1 << 20))), "recursion limit");
    let block: String = (0..3000).fold(String::new(), |mut text, depth| {
        let _ = writeln!(text, "{}a:", " ".repeat(depth));
        text
    });
    refused(&compose(block), "nested more than");
    refused(&beside("coracle.toml", format!("x = {}", "[".repeat(900_000))), "not valid TOML");
    refused(&beside(".env", format!("A={}", "${A:-".repeat(1 << 20))), "no matching `}`");
    let value = format!("services: {{web: {{image: \"{}\"}}}}", "${A:-".repeat(1 << 20));
    refused(&compose(value), "no matching `}`");
}

#[test]
fn large_files_are_refused() {
    let fifty = "#".repeat(50 << 20);
    refused(&compose(fifty.as_str()), "larger than 16 MiB");
    refused(&beside(".env", fifty.as_str()), "larger than 16 MiB");
    refused(&beside("web.env", fifty.as_str()), "larger than 16 MiB");
    refused(&beside("coracle.toml", fifty.as_str()), "larger than");
    let many = |item: &str| item.repeat((15 << 20) / item.len());
    refused(&compose(format!("x: [{}]", many("1,"))), "aliases expand to more than");
    refused(&compose(many("a:\n")), "given twice");
    refused(&compose(format!("services: {{web: {{imag{}: x}}}}", many("e"))), "unknown key");
    refused(&beside(".env", many("A=\n")), "more than 100000 variables");
    refused(&beside("web.env", many("A=\n")), "more than 100000 variables");
    refused(&beside(".env", format!("A='{}", many("x"))), "has no closing '");
}

#[test]
fn endless_files_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "services: {web: {image: w, env_file: web.env}}\n";
    fs::write(directory.path().join("compose.yml"), text).expect("a file can be written");
    symlink("/dev/zero", directory.path().join("web.env")).expect("a link can be made");
    refused_in(directory.path(), "larger than 16 MiB");
    refused(&compose("include: [/dev/zero]\nservices: {web: {image: w}}\n"), "larger than 16 MiB");
    refused(&compose("services: {web: {extends: {file: /dev/zero, service: web}}}\n"), "larger than 16 MiB");
}

#[test]
fn variables_that_hold_one_another_are_refused() {
    let mut env = format!("A0={}\n", "x".repeat(1 << 10));
    for level in 1..64 {
        let _ = writeln!(env, "A{level}=$A{before}$A{before}", before = level - 1);
    }
    refused(&beside(".env", env), "MiB");
    let mut env = format!("A={}\n", "x".repeat(1 << 20));
    (0..1000).for_each(|index| {
        let _ = writeln!(env, "B{index}=$A");
    });
    refused(&beside(".env", env.as_str()), "more than 32 MiB");
    refused(&beside("web.env", env), "more than 32 MiB");
    let text = format!("services: {{web: {{image: w, labels: [{}]}}}}", "\"$A\", ".repeat(100));
    refused(
        &[("compose.yml", text.into()), (".env", format!("A={}\n", "x".repeat(1 << 20)).into())],
        "more than 64 MiB",
    );
}

#[test]
fn files_that_many_services_read_are_counted() {
    let env: String = (0..90_000).fold(String::new(), |mut text, index| {
        let _ = writeln!(text, "V{index}=1");
        text
    });
    let mut text = "services:\n".to_owned();
    (0..500).for_each(|index| {
        let _ = writeln!(text, "  s{index}: {{image: w, env_file: web.env}}");
    });
    let files = [("compose.yml", text.into_bytes()), ("web.env", env.into_bytes())];
    refused(&files, "env files bring more than");
}

#[test]
fn circles_are_refused() {
    refused(
        &compose("services: {a: {extends: {service: b}}, b: {extends: {service: a}}}"),
        "extend one another in a circle",
    );
    refused(&compose("include: [compose.yml]\nservices: {a: {image: a}}"), "include one another in a circle");
    refused(&compose("services: {a: {image: a, depends_on: [b]}, b: {image: b, depends_on: [a]}}"), "circle");
}

#[test]
fn what_is_no_text_is_refused() {
    let bytes = b"services: {web: {image: w}}\n# \xff\xfe\n".to_vec();
    refused(&compose(bytes.clone()), "line 2 is not UTF-8");
    refused(&beside(".env", b"A=1\nB=\xff\n".to_vec()), "line 2 is not UTF-8");
    refused(&beside("web.env", b"A=1\nB=\xff\n".to_vec()), "line 2 is not UTF-8");
    for words in [&["config"][..], &["env", "ls"]] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("compose.yml"), "services: {web: {image: w}}\n")
            .expect("it is written");
        fs::write(directory.path().join("coracle.toml"), b"# \xff\n").expect("it is written");
        bounded(directory.path(), words).refuses(1, &["coracle.toml", "line 1 is not UTF-8"]);
    }
}

#[test]
fn what_is_given_twice_is_refused() {
    refused(&compose("services: {a: {image: a, image: b}}"), "key `image` is given twice");
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("compose.yml"), "services: {web: {image: w}}\n").expect("it is written");
    fs::write(directory.path().join("coracle.toml"), "[project]\n[project]\n").expect("it is written");
    bounded(directory.path(), &["env", "ls"]).refuses(1, &["not valid TOML", "coracle.toml:2:2"]);
}

//! Builds from the command line: what they make, what they reuse, how they fail and what they leave.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{
    Call, Container, Files, Outcome, Removed, SOON, Snapshot, at, coracle, eventually, holds, inspect, ready,
    unique,
};

/// A build context that ends with the test, and the image that is built from it.
struct Context {
    directory: tempfile::TempDir,
    tag: String,
    _image: Removed,
}

impl Context {
    /// Lays files out. `SALT` in a Dockerfile becomes a name of this run, so that nothing is cached before.
    fn of(files: &[(&str, &str)]) -> Self {
        let tag = unique("build");
        let context =
            Self { directory: tempfile::tempdir().expect("a directory"), _image: Removed::image(&tag), tag };
        for (name, text) in files {
            context.write(name, &text.replace("SALT", &context.tag));
        }
        context
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory can be made");
        fs::write(path, text).expect("a file can be written");
    }

    fn call(&self, words: &[&str]) -> Call {
        coracle(["build", "--progress", "plain", "-t", &self.tag])
            .args(words)
            .args(["."])
            .dir(self.directory.path())
    }

    #[track_caller]
    fn build(&self, words: &[&str]) -> Outcome {
        self.call(words).run().ok()
    }

    #[track_caller]
    fn run(&self, command: &[&str]) -> String {
        coracle(["run", "--rm", &self.tag]).args(command).run().ok().stdout
    }
}

/// Returns how each step of a build ended, by its label as plain progress shows it: `CACHED`, `DONE`, ...
fn steps(outcome: &Outcome) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for line in outcome.stderr.lines() {
        let Some((number, rest)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let word = rest.split(' ').next().unwrap_or_default();
        if matches!(word, "CACHED" | "DONE" | "ERROR" | "SKIPPED") {
            let label: &String = labels.get(number).unwrap_or_else(|| panic!("no step {number}: {outcome}"));
            ends.insert(label.clone(), word.to_owned());
        } else {
            labels.entry(number.to_owned()).or_insert_with(|| rest.to_owned());
        }
    }
    ends
}

/// Fails unless the step whose label holds `text` ended with `end`.
#[track_caller]
fn step_ended(outcome: &Outcome, text: &str, end: &str) {
    let steps = steps(outcome);
    let found = steps.iter().find(|(label, _)| label.contains(text));
    assert_eq!(
        found.map(|(_, end)| end.as_str()),
        Some(end),
        "the step `{text}` of {steps:#?}\nof {outcome}"
    );
}

#[test]
fn only_needed_stages_are_built_and_then_cached() {
    if !ready() {
        return;
    }
    let context = Context::of(&[(
        "Dockerfile",
        "FROM busybox AS unused\n\
         RUN echo never-run && exit 9\n\
         FROM busybox AS maker\n\
         RUN echo SALT > /made\n\
         FROM busybox AS final\n\
         COPY --from=maker /made /from/maker\n\
         RUN cat /from/maker > /copied\n\
         CMD [\"cat\", \"/copied\"]\n",
    )]);
    let first = context.build(&[]);
    assert!(!first.stderr.contains("never-run"), "{first}");
    step_ended(&first, "> /made", "DONE");
    assert_eq!(context.run(&[]), format!("{}\n", context.tag));

    let second = context.build(&[]);
    assert_eq!(first.line(), second.line(), "the same input gives the same image");
    for text in ["> /made", "COPY --from=maker", "> /copied"] {
        step_ended(&second, text, "CACHED");
    }
    let fresh = context.build(&["--no-cache"]);
    step_ended(&fresh, "> /copied", "DONE");
    let stage = context.build(&["--target", "maker"]);
    step_ended(&stage, "> /made", "CACHED");
    assert_eq!(context.run(&["ls", "/made"]), "/made\n");
}

#[test]
fn a_changed_file_runs_only_what_follows_it() {
    if !ready() {
        return;
    }
    let context = Context::of(&[
        ("a.txt", "a of SALT\n"),
        ("b/b.txt", "b\n"),
        (
            "Dockerfile",
            "FROM busybox\nCOPY a.txt /\nRUN cat a.txt > /one\nCOPY b /b\nRUN cat /one /b/b.txt > /two\n",
        ),
    ]);
    context.build(&[]);
    // A file that nothing copies, and new times, change nothing.
    context.write("other.txt", "x");
    Command::new("touch")
        .args(["-d", "2001-01-01"])
        .arg(context.directory.path().join("b/b.txt"))
        .status()
        .unwrap();
    step_ended(&context.build(&[]), "> /two", "CACHED");
    context.write("b/b.txt", "changed\n");
    let outcome = context.build(&[]);
    step_ended(&outcome, "> /one", "CACHED");
    step_ended(&outcome, "> /two", "DONE");
    assert_eq!(context.run(&["cat", "/two"]), format!("a of {}\nchanged\n", context.tag));
}

#[test]
fn arguments_environment_and_properties_reach_the_image() {
    if !ready() {
        return;
    }
    let context = Context::of(&[
        ("start.sh", "#!/bin/sh\necho \"$@ $COLOUR $(id -u) $(pwd)\"\n"),
        (
            "Dockerfile",
            "ARG BASE=nowhere\n\
             FROM ${BASE}\n\
             ARG VERSION=0\n\
             ENV COLOUR=red VERSION=$VERSION\n\
             RUN echo \"$COLOUR $VERSION\" > /seen\n\
             RUN --mount=type=cache,target=/kept,id=SALT echo x >> /kept/count && wc -l < /kept/count > /count\n\
             WORKDIR /srv/app\n\
             COPY --chown=1001:1002 --chmod=755 start.sh .\n\
             RUN <<END\n\
             stat -c '%u:%g %a' start.sh > /owner\n\
             END\n\
             LABEL maker=SALT\n\
             EXPOSE 8080\n\
             USER 1001\n\
             HEALTHCHECK --interval=7s --retries=4 CMD test -e /srv/app\n\
             ENTRYPOINT [\"./start.sh\"]\n\
             CMD [\"default\"]\n",
        ),
    ]);
    let words = ["--build-arg", "BASE=busybox", "--build-arg", "VERSION=7"];
    context.build(&words);
    assert_eq!(context.run(&[]), "default red 1001 /srv/app\n");
    assert_eq!(context.run(&["given"]), "given red 1001 /srv/app\n");
    let files =
        coracle(["run", "--rm", "--entrypoint", "cat", &context.tag, "/seen", "/owner", "/count"]).run().ok();
    assert_eq!(files.stdout, "red 7\n1001:1002 755\n1\n");
    let found = inspect(&context.tag);
    let config = at(&found, "Config");
    assert_eq!(config["Healthcheck"]["Retries"], 4, "{config:#}");
    assert!(config["Healthcheck"]["Test"].to_string().contains("test -e /srv/app"), "{config:#}");
    assert!(config["Env"].to_string().contains("\"VERSION=7\""), "{config:#}");
    assert_eq!((&config["User"], &config["Labels"]["maker"]), (&"1001".into(), &context.tag.as_str().into()));
    assert!(config["ExposedPorts"].to_string().contains("8080/tcp"), "{config:#}");
    // What a cache mount held is there for the next build, and in no image.
    context.write("start.sh", "#!/bin/sh\necho changed\n");
    context.build(&[&words[..], &["--no-cache"]].concat());
    let files = coracle([
        "run",
        "--rm",
        "--entrypoint",
        "sh",
        &context.tag,
        "-c",
        "cat /count; test ! -e /kept/count",
    ]);
    assert_eq!(files.run().ok().stdout, "2\n");
}

#[test]
fn dockerignore_hides_files() {
    if !ready() {
        return;
    }
    let context = Context::of(&[
        (".dockerignore", "# logs\n*.log\n!keep.log\nhidden\n**/*.tmp\n"),
        ("a.log", ""),
        ("keep.log", ""),
        ("hidden/x", ""),
        ("deep/er/y.tmp", ""),
        ("deep/er/z", "SALT"),
        ("Dockerfile", "FROM busybox\nCOPY . /context\nWORKDIR /context\nCMD find . -type f | sort\n"),
    ]);
    context.build(&[]);
    assert_eq!(context.run(&[]), "./.dockerignore\n./Dockerfile\n./deep/er/z\n./keep.log\n");

    context.write("Dockerfile", "FROM busybox\nCOPY keep.log /\nCOPY a.log /\n");
    context.call(&[]).run().refuses(1, &["Dockerfile:3", "a.log", ".dockerignore:2", "*.log"]);
    context.write("Dockerfile", "FROM busybox\nCOPY nowhere.txt /\n");
    let missing = context.call(&[]).run().refuses(1, &["Dockerfile:2", "nowhere.txt"]);
    assert!(!missing.stderr.contains(".dockerignore:"), "no line hides it: {missing}");
}

#[test]
fn a_failing_step_says_where_how_and_what_it_said() {
    if !ready() {
        return;
    }
    let context = Context::of(&[(
        "Dockerfile",
        "FROM busybox\n\n# a comment\nRUN echo SALT; echo last-words-of-the-step >&2; exit 42\n",
    )]);
    let before = Snapshot::take(Files::Records);
    context.call(&[]).run().refuses(1, &["Dockerfile:4", "42", "last-words-of-the-step"]);
    let quiet = coracle(["build", "-q", "."]).dir(context.directory.path()).run();
    quiet.refuses(1, &["Dockerfile:4", "42", "last-words-of-the-step"]);
    before.nothing_is_left();
    assert!(!coracle(["images"]).run().ok().stdout.contains(&context.tag));

    context.write("Dockerfile", "FROM busybox\nRUM true\n");
    context.call(&[]).run().refuses(1, &["Dockerfile:2:1", "RUM", "RUN"]);
    context.write("Dockerfile", "FROM busybox AS production\nFROM busybox AS development\n");
    context.call(&["--target", "prodution"]).run().refuses(1, &["prodution", "did you mean `production`"]);
    fs::remove_file(context.directory.path().join("Dockerfile")).unwrap();
    context.call(&[]).run().refuses(1, &["Dockerfile", "hint:"]);
    context.call(&["-f", "docker/Dockerfile"]).run().refuses(1, &["docker/Dockerfile"]);
    coracle(["build", "no-such-directory"])
        .dir(context.directory.path())
        .run()
        .refuses(1, &["no-such-directory"]);
}

#[test]
fn no_layer_holds_the_host_s_authorities() {
    if !ready() {
        return;
    }
    let context = Context::of(&[(
        "Dockerfile",
        "FROM busybox\nRUN test -s \"$SSL_CERT_FILE\" && grep -q CERTIFICATE \"$SSL_CERT_FILE\" && echo SALT > /marker\n",
    )]);
    context.build(&["--host-ca", "always"]);
    let container = Container::named("export");
    let listing = |image: &str| {
        coracle(["create", "--name", &container.0, image]).run().ok();
        let archive = context.directory.path().join("root.tar");
        coracle(["export", "-o", archive.to_str().expect("a plain path"), &container.0]).run().ok();
        coracle(["rm", &container.0]).run().ok();
        let listed = Call::of("tar").args(["-tf"]).args([&archive]).run().ok();
        let mut paths: Vec<String> =
            listed.stdout.lines().map(|line| line.trim_end_matches('/').to_owned()).collect();
        paths.sort();
        paths
    };
    let base = listing("busybox");
    let added: Vec<String> = listing(&context.tag).into_iter().filter(|path| !base.contains(path)).collect();
    assert!(matches!(added.as_slice(), [path] if path.ends_with("marker")), "{added:?}");
    let config = at(&inspect(&context.tag), "Config").to_string();
    assert!(!config.contains("CERT"), "{config}");
    let environment = context.run(&["env"]);
    assert!(!environment.contains("CERT"), "{environment}");
}

#[test]
fn an_interrupted_build_leaves_nothing_and_the_next_one_works() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let slow = "FROM busybox\nRUN echo SALT; echo now-it-runs; sleep 1000\n";
    let context = Context::of(&[("Dockerfile", slow)]);
    let before = Snapshot::take(Files::Records);
    for (signal, code) in [("INT", None), ("TERM", None), ("KILL", Some(137))] {
        context.write("Dockerfile", &slow.replace("SALT", &context.tag));
        let mut build = context.call(&[]).start();
        build.says("now-it-runs");
        build.signal(signal);
        let outcome = build.finish();
        assert!(code.map_or(outcome.code() != 0, |code| outcome.code() == code), "{outcome}");
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
        context.write("Dockerfile", &slow.replace("SALT", &context.tag).replace("sleep 1000", "true"));
        context.build(&[]);
        before.nothing_is_left();
    }
}

#[test]
fn two_builds_of_the_same_run_side_by_side() {
    if !ready() {
        return;
    }
    let context =
        Context::of(&[("Dockerfile", "FROM busybox\nRUN echo SALT > /a\nRUN cat /a > /b\nCMD cat /b\n")]);
    let other = context.call(&[]).start();
    let first = context.build(&[]);
    let second = other.finish().ok();
    assert_eq!(first.line(), second.line());
    assert_eq!(context.run(&[]), format!("{}\n", context.tag));
}

/// A small file system, gone with this value.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn of(size: &str) -> Self {
        let tmpfs = Self(tempfile::tempdir().expect("a directory"));
        let options = format!("size={size}");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(tmpfs.0.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "a tmpfs can be mounted");
        tmpfs
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        eventually("the small disk can be taken away", SOON, || {
            let status = Command::new("umount").arg(self.0.path()).status();
            holds(status.is_ok_and(|status| status.success()), || "it is busy".to_owned())
        });
    }
}

#[test]
fn a_full_disk_is_said_clearly() {
    if !ready() {
        return;
    }
    let disk = Tmpfs::of("16m");
    let context = Context::of(&[("Dockerfile", "FROM scratch\nCOPY big /big\n"), ("small", "x")]);
    context.write("big", &"0123456789abcdef".repeat(3 << 20));
    let (data, run) = (disk.path().join("data"), disk.path().join("run"));
    let call = |words: &[&str]| {
        let roots =
            coracle(["--data-root".as_ref(), data.as_os_str(), "--run-root".as_ref(), run.as_os_str()]);
        roots
            .args(["build", "--progress", "plain", "-t", "small"])
            .args(words)
            .args(["."])
            .dir(context.directory.path())
    };
    let full = call(&[]).run();
    assert!(matches!(full.code(), 1 | 2), "{full}");
    let said = full.stderr.to_lowercase();
    assert!(said.contains("no space left") && said.contains("hint:"), "{full}");
    assert!(full.stderr.contains(data.to_str().expect("a plain path")), "it says which disk: {full}");
    // What did not fit was taken away again, so that what fits still does.
    context.write("Dockerfile", "FROM scratch\nCOPY small /small\n");
    call(&[]).run().ok();
}

//! The solver over a host in memory: what is run, what is not, what is said.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[allow(dead_code, reason = "the other tests use the rest")]
mod memory;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_build::NamedContext;
use coracle_build::{BuildRequest, BuiltImage, CachePolicy, StepOrigin, build};
use coracle_dockerfile::{IgnoreFile, parse};
use coracle_report::{Diagnostic, Quiet};
use memory::{MemoryHost, Recorder};

fn request(text: &str) -> BuildRequest {
    BuildRequest::new(parse(Path::new("Dockerfile"), text).unwrap())
}

fn run(host: &MemoryHost, request: &BuildRequest) -> Result<BuiltImage, Diagnostic> {
    build(request, host, &Quiet, None, &AtomicBool::new(false))
}

/// Builds and returns the work done, sorted, without resolving and hashing.
fn work(host: &MemoryHost, request: &BuildRequest) -> Vec<String> {
    run(host, request).unwrap();
    let mut log = host.take_log();
    log.retain(|line| line.starts_with("exec") || line.starts_with("copy") || line.starts_with("mkdir"));
    log.sort();
    log
}

const TWO_STAGES: &str = "\
FROM base AS builder
WORKDIR /app
COPY deps.txt .
RUN keep /deps /app/deps.txt
COPY src/ ./src/
RUN put /out fixed
FROM base
COPY --from=builder /out /final/out
RUN put /done yes
";

#[test]
fn a_second_build_runs_nothing() {
    let host = MemoryHost::new(&[("deps.txt", "a"), ("src/main", "1")]);
    let request = request(TWO_STAGES);
    let first = run(&host, &request).unwrap();
    assert_eq!(host.files(first.snapshot.as_ref().unwrap())["/final/out"], "fixed");
    assert!(first.steps.iter().filter(|step| step.origin == StepOrigin::Made).count() >= 7);
    host.take_log();
    let second = run(&host, &request).unwrap();
    assert_eq!(second.config, first.config);
    assert_eq!(second.layers, first.layers);
    assert!(second.steps.iter().all(|step| step.origin != StepOrigin::Made));
    let log = host.take_log();
    // Not even the builder's files are read again.
    assert!(log.iter().all(|line| line.starts_with("resolve") || line == "diff id"), "{log:?}");
}

#[test]
fn a_change_reruns_only_its_dependents() {
    let host = MemoryHost::new(&[("deps.txt", "a"), ("src/main", "1")]);
    let request = request(TWO_STAGES);
    assert_eq!(work(&host, &request).len(), 7);
    host.write("src/main", "2");
    // `/out` came out the same, so what is built upon it is not done again.
    assert_eq!(work(&host, &request), ["copy to /app/src/", "exec put /out fixed"]);
    assert_eq!(work(&host, &request), [""; 0]);
    host.write("deps.txt", "b");
    assert_eq!(
        work(&host, &request),
        ["copy to /app/", "copy to /app/src/", "exec keep /deps /app/deps.txt", "exec put /out fixed"]
    );
    host.write("unrelated", "x");
    assert_eq!(work(&host, &request), [""; 0]);
}

#[test]
fn unused_stages_are_not_built() {
    let host = MemoryHost::new(&[]);
    let text = "FROM base AS a\nRUN put /a 1\nFROM missing AS b\nRUN fail 1\nFROM base AS c\nCOPY --from=a /a /c\nFROM b\n";
    let mut request = request(text);
    request.target = Some("c".to_owned());
    let built = run(&host, &request).unwrap();
    assert_eq!(built.layers.len(), 1);
    let log = host.take_log();
    assert!(!log.iter().any(|line| line.contains("missing") || line.contains("fail")), "{log:?}");
    request.target = None;
    let error = run(&host, &request).unwrap_err();
    assert_eq!(error.to_string(), "Dockerfile:3:6: there is no image missing:latest");
}

#[test]
fn a_diamond_is_built_once() {
    let host = MemoryHost::new(&[]);
    let text = "\
FROM base AS root
RUN put /r 1
FROM root AS left
RUN meet && put /l 1
FROM root AS right
RUN meet && put /x 1
FROM scratch
COPY --from=left /l /l
COPY --from=right /x /x
COPY --from=right /r /r
";
    let built = run(&host, &request(text)).unwrap();
    // `meet` proves that both sides ran at the same time.
    let log = host.take_log();
    assert_eq!(log.iter().filter(|line| *line == "exec put /r 1").count(), 1);
    assert_eq!(built.layers.len(), 3);
    assert_eq!(host.files(&built.snapshot.unwrap()).len(), 3);
}

#[test]
fn identical_steps_of_two_stages_are_one() {
    let host = MemoryHost::new(&[("f", "1")]);
    let text = "\
FROM base AS a
COPY f /f
RUN put /same 1
FROM base AS b
COPY f /f
RUN put /same 1
RUN put /other 1
FROM scratch
COPY --from=a /same /a
COPY --from=b /other /b
";
    run(&host, &request(text)).unwrap();
    let log = host.take_log();
    assert_eq!(log.iter().filter(|line| *line == "exec put /same 1").count(), 1, "{log:?}");
}

#[test]
fn two_builds_at_once_share_the_work() {
    let host = MemoryHost::new(&[]);
    // `meet` holds the first build until the second waits for its lock.
    let request = request("FROM base\nRUN meet && put /x 1\n");
    let images: Vec<BuiltImage> = std::thread::scope(|scope| {
        let builds: Vec<_> = (0..2).map(|_| scope.spawn(|| run(&host, &request).unwrap())).collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    assert_eq!(images[0].config, images[1].config);
    let log = host.take_log();
    assert_eq!(log.iter().filter(|line| line.starts_with("exec")).count(), 1, "{log:?}");
}

#[test]
fn no_cache_does_all_again() {
    let host = MemoryHost::new(&[("deps.txt", "a"), ("src/main", "1")]);
    let mut request = request(TWO_STAGES);
    run(&host, &request).unwrap();
    host.take_log();
    request.cache = CachePolicy::Ignore;
    assert_eq!(work(&host, &request).len(), 7);
    request.cache = CachePolicy::Use;
    assert_eq!(work(&host, &request).len(), 0);
}

#[test]
fn a_step_is_never_served_upon_another_parent() {
    let host = MemoryHost::new(&[]);
    let common = "FROM base AS common\nRUN put /common 1\nFROM common AS one\nRUN put /one 1\n";
    let text = format!("{common}FROM common AS two\nRUN put /two 1\n");
    let mut request = request(&text);
    request.target = Some("one".to_owned());
    let before = run(&host, &request).unwrap();
    // Another target does the common step again; `one` must follow it, or its layers would not fit.
    request.target = Some("two".to_owned());
    request.cache = CachePolicy::Ignore;
    let two = run(&host, &request).unwrap();
    request.target = Some("one".to_owned());
    request.cache = CachePolicy::Use;
    let after = run(&host, &request).unwrap();
    assert_ne!(before.layers[0].snapshot, after.layers[0].snapshot);
    assert_eq!(two.layers[0].snapshot, after.layers[0].snapshot);
    assert_ne!(before.layers[1].snapshot, after.layers[1].snapshot);
}

#[test]
fn arguments_and_environment_decide_but_proxies_do_not() {
    let host = MemoryHost::new(&[]);
    let text = "FROM base\nRUN put /first 1\nARG V=1\nENV E=x\nRUN env V && env E && env HTTP_PROXY\n";
    let mut request = request(text);
    let recorder = Recorder::default();
    request.build_args.insert("HTTP_PROXY".to_owned(), "http://proxy".to_owned());
    build(&request, &host, &recorder, None, &AtomicBool::new(false)).unwrap();
    let said: Vec<_> = recorder.take().into_iter().filter(|line| line.starts_with('>')).collect();
    assert_eq!(said, ["> 1", "> x", "> http://proxy"]);
    host.take_log();
    request.build_args.insert("HTTP_PROXY".to_owned(), "http://other".to_owned());
    assert_eq!(work(&host, &request).len(), 0);
    request.build_args.insert("V".to_owned(), "2".to_owned());
    assert_eq!(work(&host, &request), ["exec env V && env E && env HTTP_PROXY"]);
}

#[test]
fn bind_mounts_count_by_content() {
    let host = MemoryHost::new(&[("r.txt", "1"), ("other", "1")]);
    let text = "FROM base\nRUN --mount=source=r.txt,target=/m keep /kept /m/r.txt\n";
    let request = request(text);
    let built = run(&host, &request).unwrap();
    let files = host.files(&built.snapshot.unwrap());
    assert_eq!((files["/kept"].as_str(), files.contains_key("/m/r.txt")), ("1", false));
    host.take_log();
    host.write("other", "2");
    assert_eq!(work(&host, &request).len(), 0);
    host.write("r.txt", "2");
    assert_eq!(work(&host, &request).len(), 1);
}

#[test]
fn names_and_outcomes() {
    let host = MemoryHost::new(&[("deps.txt", "a"), ("src/main", "1")]);
    let recorder = Recorder::default();
    let mut request = request(TWO_STAGES);
    request.jobs = NonZeroUsize::MIN;
    build(&request, &host, &recorder, None, &AtomicBool::new(false)).unwrap();
    host.write("src/main", "2");
    build(&request, &host, &recorder, None, &AtomicBool::new(false)).unwrap();
    insta::assert_snapshot!(recorder.take().join("\n"));
}

fn explain(error: &Diagnostic) -> String {
    let mut out = vec![format!("{} {error}", error.code)];
    out.extend(error.source_line.iter().map(|line| format!("| {line}")));
    out.extend(error.notes.iter().map(|note| format!("note: {note}")));
    out.extend(error.hints.iter().map(|hint| format!("hint: {hint}")));
    out.join("\n")
}

#[test]
fn failures() {
    let mut host = MemoryHost::new(&[("src/main.py", "1"), ("README.md", "1"), ("secret/key", "1")]);
    host.ignore = IgnoreFile::parse(Path::new(".dockerignore"), "# x\n*.md\nsecret\n").unwrap();
    let talk = (1..=25).map(|n| format!("say line {n}")).collect::<Vec<_>>().join(" && ");
    let long = format!("FROM base AS app\nRUN {talk} && fail 3\n");
    let files = [
        long.as_str(),
        "FROM base AS front\nRUN say /bin/sh: 1: tsc: not found && fail 127\n",
        "FROM base\nUSER app\nRUN say mkdir: cannot create directory: Permission denied && fail 1\n",
        "FROM base\nRUN fail 137\n",
        "FROM base\nCOPY README.md /\n",
        "FROM base\nCOPY secret/key /\n",
        "FROM base\nCOPY src/mian.py /\n",
        "FROM base\nCOPY ../up /\n",
        "FROM base AS a\nFROM base\nCOPY --from=a /nothing /\n",
        "FROM base AS a\nFROM base\nCOPY --from=scratch /nothing /\n",
        "FROM base AS builder\nFROM buidler\nRUN x\n",
    ];
    let mut out = String::new();
    for text in files {
        let error = run(&host, &request(text)).expect_err(text);
        out += &explain(&error);
        out += "\n\n";
    }
    host.elsewhere = Some("..".to_owned());
    let error = run(&host, &request("FROM base\nCOPY docker/nginx.conf /\n")).unwrap_err();
    out += &explain(&error);
    insta::assert_snapshot!(out);
}

#[test]
fn the_first_failure_stops_the_rest() {
    let host = MemoryHost::new(&[]);
    let text = "\
FROM base AS a
RUN hang
RUN put /never 1
FROM base AS b
RUN meet && fail 9
FROM scratch
COPY --from=a /x /x
COPY --from=b /y /y
";
    let recorder = Recorder::default();
    let error = build(&request(text), &host, &recorder, None, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.to_string(), "Dockerfile:5:1: the command ended with exit code 9");
    let log = host.take_log();
    assert!(!log.iter().any(|line| line.contains("never") || line.contains("copy")), "{log:?}");
    let lines = recorder.take();
    assert!(lines.contains(&"[a 2/3] RUN hang: skipped: cancelled".to_owned()), "{lines:?}");
}

#[test]
fn cancelling_kills_what_runs() {
    let host = MemoryHost::new(&[]);
    let cancel = AtomicBool::new(false);
    let request = request("FROM base\nRUN hang\nRUN put /never 1\n");
    let error = std::thread::scope(|scope| {
        let building = scope.spawn(|| build(&request, &host, &Quiet, None, &cancel));
        host.wait_for(2);
        cancel.store(true, Ordering::Relaxed);
        building.join().unwrap().unwrap_err()
    });
    assert_eq!(error.code, "cancelled");
    assert!(!host.take_log().iter().any(|line| line.contains("never")));
    // Nothing was kept of it, and a build that is cancelled beforehand does nothing.
    assert_eq!(build(&request, &host, &Quiet, None, &cancel).unwrap_err().code, "cancelled");
    assert_eq!(host.take_log(), [""; 0]);
}

#[test]
fn a_directory_that_exists_makes_no_layer() {
    let host = MemoryHost::new(&[]).with_image("has", &[("/app/", "")], |_| {});
    let built = run(&host, &request("FROM has\nWORKDIR /app\nRUN put /app/x 1\nCMD [\"x\"]\n")).unwrap();
    assert_eq!(built.layers.len(), 1);
    assert_eq!(built.config.rootfs.diff_ids.len(), 2);
    let empty: Vec<bool> = built.config.history.iter().map(|entry| entry.empty_layer).collect();
    assert_eq!(empty, [true, false, true]);
}

#[test]
fn equal_input_gives_an_equal_image() {
    let text = "FROM base\nARG A=1\nRUN put /x 1\nCOPY f /f\n";
    let mut request = request(text);
    request.created = Some("2026-01-01T00:00:00Z".to_owned());
    let one = run(&MemoryHost::new(&[("f", "1")]), &request).unwrap();
    let two = run(&MemoryHost::new(&[("f", "1")]), &request).unwrap();
    assert_eq!(one.config.id(), two.config.id());
    assert_eq!(one.config.created.as_deref(), Some("2026-01-01T00:00:00Z"));
    assert_eq!(one.config.history[0].created.as_deref(), Some("2026-01-01T00:00:00Z"));
}

#[test]
fn triggers_of_the_base_run_first() {
    let host = MemoryHost::new(&[("app", "1")]).with_image("onb", &[], |config| {
        config.config.on_build =
            ["COPY app /app", "ENV READY=1", "COPY --from=tools /t /t", "RUN keep /ran /app"]
                .map(str::to_owned)
                .to_vec();
    });
    let host = host.with_image("tools", &[("/t", "tool")], |_| {});
    let built = run(&host, &request("FROM onb AS x\nRUN env READY\n")).unwrap();
    let files = host.files(&built.snapshot.unwrap());
    assert_eq!((files["/ran"].as_str(), files["/t"].as_str()), ("1", "tool"));
    assert!(built.config.config.on_build.is_empty());
    assert_eq!(built.steps.iter().filter(|step| step.name.contains("4/5")).count(), 1);
    let log = host.take_log();
    assert_eq!(log.iter().filter(|line| line.starts_with("resolve")).count(), 2);
}

#[test]
fn downloads_count_by_content_and_checksum() {
    let host = MemoryHost::new(&[]);
    let url = "https://example.org/x.tgz";
    let built = run(&host, &request(&format!("FROM base\nADD {url} /opt/\n"))).unwrap();
    assert_eq!(host.files(&built.snapshot.unwrap())["/opt/x.tgz"], url);
    let digest = coracle_oci::Digest::of(url);
    run(&host, &request(&format!("FROM base\nADD --checksum={digest} {url} /opt/\n"))).unwrap();
    let wrong = coracle_oci::Digest::of("other");
    let error =
        run(&host, &request(&format!("FROM base\nADD --checksum={wrong} {url} /opt/\n"))).unwrap_err();
    assert_eq!(error.code, "checksum-mismatch");
    assert_eq!(error.span.unwrap().start.line, 2);
}

#[test]
fn warnings_are_events() {
    let host = MemoryHost::new(&[]);
    let mut request = request("FROM base as x\nARG VERSION\nRUN put /x 1\n");
    request.build_args.insert("VERSOIN".to_owned(), "1".to_owned());
    let recorder = Recorder::default();
    build(&request, &host, &recorder, None, &AtomicBool::new(false)).unwrap();
    let notices: Vec<_> = recorder.take().into_iter().filter(|line| line.starts_with('!')).collect();
    assert_eq!(notices, ["! build argument `VERSOIN` is declared nowhere in the Dockerfile"]);
}

#[test]
fn a_linked_layer_is_made_once_for_all_bases() {
    let text = "FROM base\nRUN put /a 1\nCOPY --link deps.txt /app/\nRUN put /b 1\n";
    let host = MemoryHost::new(&[("deps.txt", "a")]);
    let log = |text: &str| {
        let built = run(&host, &request(text)).unwrap();
        let mut log = host.take_log();
        log.retain(|line| ["exec", "copy", "stack"].iter().any(|word| line.starts_with(word)));
        (built, log.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let (built, words) = log(text);
    assert_eq!(words.iter().filter(|word| *word == "copy").count(), 1);
    assert_eq!(words.iter().filter(|word| *word == "stack").count(), 1);
    let files = host.files(built.snapshot.as_ref().unwrap());
    assert_eq!(
        (files["/app/deps.txt"].as_str(), files["/a"].as_str(), files["/b"].as_str()),
        ("a", "1", "1")
    );
    assert!(files.contains_key("/etc/os-release"));
    assert_eq!(log(text).1, [""; 0]);
    // Another layer below: the linked one is only put on top of it.
    assert_eq!(log(&text.replace("/a 1", "/a 2")).1, ["exec", "stack", "exec"]);
    // An owner's name is looked up in the parent, a mode is as in BuildKit: these layers are made anew.
    for flag in ["--chown=app", "--chmod=0700"] {
        let text = text.replace("--link", &format!("--link {flag}"));
        assert_eq!(log(&text).1.iter().filter(|word| *word == "copy").count(), 1);
        assert!(log(&text.replace("/a 1", "/a 2")).1.contains(&"copy".to_owned()), "{flag}");
    }
}

#[test]
fn named_contexts_stand_in_place_of_stages_and_images() {
    let text = "FROM base AS tools\nRUN fail 9\nFROM base\nCOPY --from=tools file /a\nCOPY --from=assets file /b\n\
                RUN --mount=from=assets,target=/m keep /c /m/file\nCOPY --from=0 file /d\n";
    let host = MemoryHost::new(&[]);
    let mut request = request(text);
    request.contexts = vec![
        ("Tools".to_owned(), NamedContext::Files),
        ("assets".to_owned(), NamedContext::Files),
        ("unused".to_owned(), NamedContext::Files),
    ];
    let recorder = Recorder::default();
    let built = build(&request, &host, &recorder, None, &AtomicBool::new(false)).unwrap();
    let files = host.files(&built.snapshot.unwrap());
    for (path, text) in
        [("/a", "of context 0"), ("/b", "of context 1"), ("/c", "of context 1"), ("/d", "of context 0")]
    {
        assert_eq!(files[path], text, "{path}");
    }
    let notices: Vec<_> = recorder.take().into_iter().filter(|line| line.starts_with('!')).collect();
    assert_eq!(notices, ["! the named context `unused` is used by nothing that is built"]);
}

#[test]
fn a_base_may_be_a_named_context() {
    let host = MemoryHost::new(&[]).with_image("other", &[("/o", "other")], |_| {});
    let mut request =
        request("FROM alpine:3 AS x\nCOPY --from=files file /f\nFROM files\nCOPY --from=x /o /o\n");
    request.contexts = vec![
        ("docker.io/library/alpine:3".to_owned(), NamedContext::Image("other".parse().unwrap())),
        ("files".to_owned(), NamedContext::Files),
    ];
    let built = run(&host, &request).unwrap();
    let files = host.files(&built.snapshot.unwrap());
    assert_eq!((files["/file"].as_str(), files["/o"].as_str()), ("of context 1", "other"));
    let log = host.take_log();
    assert!(
        log.contains(&"resolve other:latest".to_owned()) && !log.iter().any(|line| line.contains("alpine")),
        "{log:?}"
    );
}

#[test]
fn repositories_count_by_commit_and_files_wait_until_they_are_copied() {
    let host = MemoryHost::new(&[]);
    let text = "FROM base\nADD https://h/r.git#v1:docs /opt/\n";
    let built = run(&host, &request(text)).unwrap();
    let text_of = format!("https://h/r.git#v1:docs at {}", "0".repeat(40));
    assert_eq!(host.files(&built.snapshot.unwrap())["/opt/README"], text_of);
    host.take_log();
    // Another name of the same commit: nothing is fetched.
    run(&host, &request("FROM base\nADD https://h/r.git#v2:docs /opt/\n")).unwrap();
    let log = host.take_log();
    assert!(!log.iter().any(|line| line.starts_with("copy")), "{log:?}");
    assert!(log.contains(&"resolve https://h/r.git#v2:docs".to_owned()), "{log:?}");
    for (flag, code) in [("--checksum=sha256:1", "bad-flag"), ("--keep-git-dir=true", "")] {
        let text = format!("FROM base\nADD {flag} https://h/r.git#v1:docs /opt/\n");
        match run(&host, &request(&text)) {
            Ok(_) => assert_eq!(code, ""),
            Err(error) => assert_eq!(error.code, code),
        }
    }
    let error = run(&host, &request("FROM base\nADD https://h/r.git#--x /opt/\n")).unwrap_err();
    assert_eq!((error.code.as_str(), error.span.unwrap().start.line), ("bad-url", 2));
}

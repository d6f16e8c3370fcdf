//! Why steps are done again, over a host in memory: each kind of change is named, and nothing else is.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

#[allow(dead_code, reason = "the other tests use the rest")]
mod memory;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use coracle_build::{BuildRequest, CachePolicy, Examined, StepState, build, examine};
use coracle_dockerfile::parse;
use coracle_report::Quiet;
use memory::MemoryHost;

fn request(text: &str) -> BuildRequest {
    BuildRequest::new(parse(Path::new("Dockerfile"), text).unwrap())
}

fn run(host: &MemoryHost, request: &BuildRequest) -> Examined {
    build(request, host, &Quiet, None, &AtomicBool::new(false)).unwrap().examined
}

fn look(host: &MemoryHost, request: &BuildRequest) -> Examined {
    examine(request, host, &Quiet, None, &AtomicBool::new(false)).unwrap()
}

/// Returns the steps that are not cached with their causes, one a line.
fn told(examined: &Examined) -> String {
    let mut text = String::new();
    for step in &examined.steps {
        if matches!(step.state, StepState::Base | StepState::Cached) {
            assert_eq!(step.causes, [], "{}", step.name);
            continue;
        }
        let causes: Vec<String> = step.causes.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "{:?} {}: {}", step.state, step.name, causes.join("; "));
    }
    text
}

const TWO_STAGES: &str = "\
FROM base AS builder
ARG VERSION=1
ENV MODE=fast
WORKDIR /app
COPY deps.txt .
RUN keep /deps /app/deps.txt
COPY src/ ./src/
RUN put /out fixed
FROM base
COPY --from=builder /out /final/out
RUN put /done yes
";

fn host() -> MemoryHost {
    MemoryHost::new(&[("deps.txt", "a"), ("src/main", "1"), ("src/other", "1")])
}

#[test]
fn a_first_build_was_never_built_and_a_second_is_cached() {
    let host = host();
    let request = request(TWO_STAGES);
    let first = run(&host, &request);
    let made: Vec<_> = first.steps.iter().filter(|step| step.state == StepState::Made).collect();
    assert_eq!(made.len(), 7);
    assert!(made.iter().all(|step| step.causes == [coracle_build::Cause::NeverBuilt]), "{made:?}");
    assert_eq!(told(&run(&host, &request)), "");
    assert_eq!(told(&look(&host, &request)), "");
    // Times of the steps are known from when they were made.
    let second = run(&host, &request);
    assert!(second.steps.iter().all(|s| s.state == StepState::Base || s.milliseconds.is_some()));
    let paths: Vec<&str> = second.selections.iter().map(|selection| &*selection.paths[0].path).collect();
    assert_eq!(paths, ["deps.txt", "src"]);
}

#[test]
fn each_change_is_named() {
    let mut out = String::new();
    let mut case = |title: &str, change: &dyn Fn(&MemoryHost, &mut String, &mut BuildRequest)| {
        let host = host();
        run(&host, &request(TWO_STAGES));
        let mut text = TWO_STAGES.to_owned();
        let mut next = request(TWO_STAGES);
        change(&host, &mut text, &mut next);
        next.dockerfile = parse(Path::new("Dockerfile"), &text).unwrap();
        host.take_log();
        let looked = told(&look(&host, &next));
        let log = host.take_log();
        assert!(!log.iter().any(|line| line.starts_with("exec") || line.starts_with("copy")), "{log:?}");
        let _ = writeln!(out, "## {title}\nlook:\n{looked}build:\n{}", told(&run(&host, &next)));
    };
    case("a file", &|host, _, _| host.write("src/main", "2"));
    case("files", &|host, _, _| {
        host.write("src/new", "1");
        host.context.lock().unwrap().remove("src/other");
    });
    case("an early file", &|host, _, _| host.write("deps.txt", "b"));
    case("an argument", &|_, _, next| {
        next.build_args.insert("VERSION".to_owned(), "2".to_owned());
    });
    case("a variable", &|_, text, _| *text = text.replace("MODE=fast", "MODE=slow"));
    case("the text", &|_, text, _| *text = text.replace("put /done yes", "put /done no"));
    case("an inserted step", &|_, text, _| {
        *text = text.replace("COPY src/", "RUN put /inserted 1\nCOPY src/");
    });
    case("an option", &|_, text, _| *text = text.replace("COPY src/", "COPY --chown=5:5 src/"));
    case("asked", &|_, _, next| next.cache = CachePolicy::Ignore);
    case("asked for a stage", &|_, _, next| next.no_cache_stages.push("builder".to_owned()));
    case("collected", &|host, _, _| host.collect());
    case("forgotten", &|host, _, _| {
        host.write("deps.txt", "b");
        host.memories.lock().unwrap().retain(|name, _| name.starts_with("Build"));
    });
    insta::assert_snapshot!(out);
}

#[test]
fn a_base_is_named() {
    let text = "FROM base\nRUN put /a 1\nRUN put /b 1\n";
    let host = host();
    run(&host, &request(text));
    let memories = std::mem::take(&mut *host.memories.lock().unwrap());
    let host = MemoryHost::new(&[]).with_image("base", &[], |config| config.author = Some("new".to_owned()));
    *host.memories.lock().unwrap() = memories;
    let causes = told(&run(&host, &request(text)));
    let lines: Vec<&str> = causes.lines().collect();
    assert!(lines[0].starts_with("Made [2/3] RUN put /a 1: base base:latest changed: "), "{causes}");
    assert_eq!(lines[1], "Made [3/3] RUN put /b 1: after [2/3] RUN put /a 1");
}

#[test]
fn a_failed_build_is_compared_with_what_it_got_done() {
    let host = host();
    let text = "FROM base\nCOPY deps.txt /\nRUN fail 1\n";
    build(&request(text), &host, &Quiet, None, &AtomicBool::new(false)).unwrap_err();
    let fixed = request("FROM base\nCOPY deps.txt /\nRUN put /x 1\n");
    assert_eq!(told(&run(&host, &fixed)), "Made [3/3] RUN put /x 1: never built here\n");
    host.write("deps.txt", "b");
    assert!(told(&run(&host, &fixed)).contains("deps.txt changed: "));
}

#[test]
fn a_stage_to_filter_must_exist() {
    let mut request = request(TWO_STAGES);
    request.no_cache_stages.push("bulider".to_owned());
    let error = build(&request, &host(), &Quiet, None, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.hints[0].0, "did you mean `--no-cache-filter builder`?");
}

//! `coracle env` and `coracle config --why`, on the reference stack and on other layouts. Nothing runs here.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Call, coracle, repository};

/// Returns a call in a directory whose only variables are these, on a machine where nothing was ever run.
fn alone(directory: &Path, variables: &[&str], words: &[&str]) -> Call {
    let program = std::env::var_os("CORACLE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_coracle").into());
    Call::of("env")
        .args([
            "-i",
            "NO_COLOR=1",
            "CORACLE_DATA_ROOT=/nonexistent/data",
            "CORACLE_RUN_ROOT=/nonexistent/run",
        ])
        .args(variables)
        .args([program])
        .args(words)
        .dir(directory)
}

/// Calls in the reference stack.
fn stack(words: &[&str]) -> Call {
    alone(&repository().join("stacks/databricks_orchestrator"), &[], words)
}

fn json(call: Call) -> Value {
    let outcome = call.run().ok();
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {}", outcome.stdout))
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a directory can be made");
        fs::write(path, text).expect("a file can be written");
    }
}

/// Takes the numbers out of `file:line:column`, which change whenever the stack's files do.
fn without_lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut parts = line.split(':');
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let names_a_file =
                Path::new(&out).extension().is_some_and(|kind| kind == "yml") || out.ends_with(":LINE") || {
                    let word = out.rsplit([' ', '(']).next().unwrap_or_default();
                    word.starts_with(".env.")
                };
            let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            out.push(':');
            if names_a_file && digits > 0 {
                out.push_str("LINE");
                out.push_str(&part[digits..]);
            } else {
                out.push_str(part);
            }
        }
        out.push('\n');
    }
    // Columns of places are as wide as the widest, whose numbers may have had more digits.
    let squeezed = out.lines().map(|line| {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> =
            line.trim_start().split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        format!("{}{}", &line[..indent], words.join("  "))
    });
    squeezed.collect::<Vec<_>>().join("\n")
}

/// Returns the number of the first line of a file of the reference stack that holds `text`.
fn line_of(file: &str, text: &str) -> usize {
    let path = repository().join("stacks/databricks_orchestrator").join(file);
    let lines = fs::read_to_string(path).expect("the stack has the file");
    lines.lines().position(|line| line.contains(text)).expect("the file has the line") + 1
}

#[test]
fn environments_are_listed() {
    insta::assert_snapshot!("list", stack(&["env", "ls"]).run().ok().stdout);
    let listed = stack(&["env", "ls", "--format", "json"]).run().ok().stdout;
    let lines: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let names: Vec<&str> = lines.iter().filter_map(|line| line["Environment"].as_str()).collect();
    assert_eq!(names, ["dev", "prod", "staging"]);
    assert_eq!(lines[1]["Production"], true);
    assert_eq!(stack(&["env", "ls", "-q"]).run().ok().stdout, "dev\nprod\nstaging\n");
}

#[test]
fn two_environments_are_compared() {
    let compared =
        |left: &str, right: &str| without_lines(&stack(&["env", "diff", left, right]).run().ok().stdout);
    insta::assert_snapshot!("diff_dev_prod", compared("dev", "prod"));
    insta::assert_snapshot!("diff_staging_prod", compared("staging", "prod"));
    let document = json(stack(&["env", "diff", "dev", "prod", "--format", "json"]));
    let differences = document["differences"].as_array().expect("a list");
    let image = differences
        .iter()
        .find(|difference| difference["path"] == "services.backend.image")
        .expect("the images are different");
    assert_eq!(image["service"], "backend");
    assert_eq!(image["left"]["value"], "orchestrator-backend:dev");
    assert_eq!(image["right"]["at"]["file"], "docker-compose.prod.yml");
    let line = line_of("docker-compose.prod.yml", "image: orchestrator-backend:latest");
    assert_eq!(image["right"]["at"]["line"], line);
    assert_eq!(image["right"]["beaten"][0]["at"]["file"], "docker-compose.yml");
    stack(&["env", "diff", "dev", "prod", "--exit-code"]).run().ended(1);
    let same = stack(&["env", "diff", "dev", "dev", "--exit-code"]).run().ok();
    assert!(same.stdout.contains("Nothing is different."), "{}", same.stdout);
}

#[test]
fn an_environment_is_shown() {
    let shown = stack(&["env", "show", "staging"]).run().ok().stdout;
    // The directory is this checkout's.
    let lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with("directory")).collect();
    insta::assert_snapshot!("show_staging", without_lines(&lines.join("\n")));
    let document = json(stack(&["env", "show", "staging", "--format", "json"]));
    let port = &document["variables"]["HTTP_PORT"];
    assert_eq!(port["value"], "8080");
    assert_eq!(port["origin"]["at"]["file"], ".env.staging");
    assert_eq!(port["origin"]["at"]["line"], line_of(".env.staging", "HTTP_PORT="));
    assert_eq!(document["services"]["nginx"]["ports[80/tcp]"]["value"], "8080:80");
}

#[test]
fn a_value_says_why() {
    let why = |path: &str| stack(&["config", "prod", "--why", path]).run().ok().stdout;
    let name = why("services.backend.environment.DATABASE_NAME");
    let set = line_of("docker-compose.prod.yml", "DATABASE_NAME:");
    let (with, beat) =
        (line_of(".env.prod", "DATABASE_NAME="), line_of("docker-compose.yml", "DATABASE_NAME:"));
    for place in [
        format!("set     docker-compose.prod.yml:{set}:22"),
        format!("with    .env.prod:{with}:1"),
        format!("beat    docker-compose.yml:{beat}:22"),
    ] {
        assert!(name.contains(&place), "{place} is not in {name}");
    }
    let paths = [
        "services.backend.environment.DATABASE_NAME",
        "nginx.ports",
        "services.nginx.volumes[/etc/nginx/conf.d/default.conf]",
        "backend.depends_on.migrate.required",
        "name",
    ];
    let stories: Vec<String> = paths.iter().map(|path| without_lines(&why(path))).collect();
    insta::assert_snapshot!("why", stories.join("\n"));
    let document =
        json(stack(&["config", "prod", "--why", "backend.environment.LOG_LEVEL", "--format", "json"]));
    assert_eq!(document["value"], "warning");
    assert_eq!(document["written"], "${LOG_LEVEL:-info}");
    assert_eq!(document["variables"][0]["origin"]["at"]["file"], ".env.prod");
    let directory = repository().join("stacks/databricks_orchestrator");
    let words = ["config", "prod", "--why", "backend.environment.LOG_LEVEL"];
    let shell = alone(&directory, &["LOG_LEVEL=debug"], &words).run().ok().stdout;
    insta::assert_snapshot!("why_of_the_shell", without_lines(&shell));
}

#[test]
fn a_wrong_path_gets_the_near_one() {
    stack(&["config", "prod", "--why", "services.backend.enviroment.DATABASE_NAME"]).run().refuses(
        1,
        &[
            "services.backend has no `enviroment`",
            "hint: did you mean `services.backend.environment.DATABASE_NAME`?",
        ],
    );
    stack(&["config", "prod", "--why", "services..x"]).run().refuses(1, &["a name is empty"]);
    stack(&["env", "diff", "dev", "pord"])
        .run()
        .refuses(1, &["unknown environment `pord`", "hint: did you mean `prod`?"]);
}

const BASE: &str = "services:\n  web:\n    image: nginx:${TAG:-1.27}\n    env_file: web.env\n    user: me\n    \
                    environment:\n      DATABASE_URL: postgres://app:${DB_PASSWORD:-dev-only}@db/app\n      API_KEY: \
                    ${API_KEY:?set it}\n      PASSWORD_FILE: /run/secrets/x\n";

/// Lays out a project whose files have names of their own.
fn other_layout(directory: &Path) {
    write(
        directory,
        &[
            (
                "coracle.toml",
                "[project]\nfiles = [\"deploy/compose.yml\"]\n\n[environments.test]\nenv_files = [\"deploy/base.env\"]\n\n\
                 [environments.live]\nfiles = [\"deploy/live.yml\"]\nenv_files = [\"deploy/base.env\", \
                 \"deploy/live.env\"]\nproduction = true\n",
            ),
            ("deploy/compose.yml", BASE),
            (
                "deploy/live.yml",
                "services:\n  web:\n    user: !reset null\n    environment: {LEVEL: warn}\n    ports: ['443:443']\n",
            ),
            ("deploy/web.env", "LEVEL=debug\nTOKEN=secret-token\n"),
            ("deploy/base.env", "TAG=1.28\nAPI_KEY=key-of-base\n"),
            ("deploy/live.env", "DB_PASSWORD=hunter2\nAPI_KEY=key-of-live\n"),
        ],
    );
}

#[test]
fn settings_name_the_files_of_other_layouts() {
    let directory = tempfile::tempdir().expect("a directory");
    other_layout(directory.path());
    let call = |words: &[&str]| alone(directory.path(), &[], words).run();
    let listed = call(&["env", "ls"]).ok().stdout.replace(' ', "");
    assert!(listed.contains("live(production)deploy-livedeploy/compose.yml,deploy/live.yml"), "{listed}");
    insta::assert_snapshot!("diff_of_settings", call(&["env", "diff", "test", "live"]).ok().stdout);
    let why = call(&["config", "live", "--why", "web.environment"]).ok().stdout;
    insta::assert_snapshot!("why_of_settings", why);
    call(&["config", "live", "--why", "web.user"])
        .refuses(1, &["services.web.user was removed by `!reset`", "deploy/live.yml:3:11", "it was me"]);
    // From below, the project is the same one.
    let below = alone(&directory.path().join("deploy"), &[], &["env", "ls", "-q"]).run().ok();
    assert_eq!(below.stdout, "live\ntest\n");
}

#[test]
fn secrets_are_shown_to_who_asks() {
    let directory = tempfile::tempdir().expect("a directory");
    other_layout(directory.path());
    let commands: [&[&str]; 6] = [
        &["env", "show", "live"],
        &["env", "show", "live", "--format", "json"],
        &["env", "diff", "test", "live"],
        &["env", "diff", "test", "live", "--format", "json"],
        &["config", "live", "--why", "services"],
        &["config", "live", "--why", "services", "--format", "json"],
    ];
    for words in commands {
        let hidden = alone(directory.path(), &[], words).run().ok().stdout;
        for secret in ["hunter2", "key-of", "secret-token", "dev-only"] {
            assert!(!hidden.contains(secret), "{words:?} shows {secret}: {hidden}");
        }
        assert!(hidden.contains("***"), "{words:?}: {hidden}");
        let revealed = alone(directory.path(), &[], words).args(["--reveal"]).run().ok().stdout;
        assert!(revealed.contains("hunter2") && revealed.contains("key-of-live"), "{words:?}: {revealed}");
        assert!(!revealed.contains("***"), "{words:?}: {revealed}");
    }
}

#[test]
fn faulty_settings_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    write(
        directory.path(),
        &[
            ("compose.yml", "services: {web: {image: w}}\n"),
            ("coracle.toml", "[environments.live]\nenv_file = [\"x\"]\n"),
        ],
    );
    for words in [["env", "ls"], ["config", "live"], ["up", "live"]] {
        alone(directory.path(), &[], &words).run().refuses(
            1,
            &[
                "unknown key `env_file` in [environments.live]",
                "coracle.toml:2:1",
                "did you mean `env_files`?",
            ],
        );
    }
}

#[test]
fn one_faulty_environment_hides_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    write(
        directory.path(),
        &[
            ("compose.yml", "services: {web: {image: w}}\n"),
            ("compose.a.yml", "services: {web: {imag: w}}\n"),
            (".env.b", "X=1\n"),
        ],
    );
    let outcome = alone(directory.path(), &[], &["env", "ls"]).run().ended(1);
    assert!(outcome.stdout.contains("(faulty)"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("compose.a.yml:1:18"), "{}", outcome.stderr);
    assert!(outcome.stdout.lines().any(|line| line.starts_with("b ")), "{}", outcome.stdout);
    let nothing = tempfile::tempdir().expect("a directory");
    coracle(["env", "ls"]).dir(nothing.path()).run().refuses(1, &["no compose file in"]);
}

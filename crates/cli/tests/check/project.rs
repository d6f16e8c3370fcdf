//! Projects, their environments, and the machine.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::{copy_tree, ready, repository};
use crate::{COMPOSE, check, directory};

#[test]
fn errors_end_with_1_and_warnings_with_0() {
    let root = directory(&[("compose.yaml", COMPOSE)]);
    let said = check(root.path(), &[]).run().ended(1);
    assert!(said.stdout.contains("rule: coracle explain CpusetAboveMachine\n"), "{}", said.stdout);
    assert!(said.stderr.contains("1 error, "), "{}", said.stderr);
    assert!(said.stderr.contains("can be fixed with --fix)"), "{}", said.stderr);
    let said = check(root.path(), &["--no-host"]).run().ok();
    assert!(said.stdout.contains("ObsoleteVersion") && !said.stdout.contains("CpusetAboveMachine"));
    let said = check(root.path(), &["--no-host", "--quiet"]).run().ok();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
}

#[test]
fn rules_are_denied_and_allowed() {
    let root = directory(&[("compose.yaml", COMPOSE)]);
    check(root.path(), &["--no-host", "--deny", "obsoleteversion"]).run().ended(1);
    check(root.path(), &["--no-host", "--deny", "warnings"]).run().ended(1);
    check(root.path(), &["--no-host", "--deny", "compose", "--allow", "compose"]).run().ok();
    let said = check(root.path(), &["--allow", "CpusetAboveMachine,ObsoleteVersion"]).run().ok();
    assert!(!said.stdout.contains("ObsoleteVersion"), "{}", said.stdout);
    check(root.path(), &["--deny", "ObsoletVersion"]).run().refuses(1, &["did you mean `ObsoleteVersion`?"]);
}

#[test]
fn environments_are_checked_apart_and_together() {
    let root = directory(&[
        ("docker-compose.yml", "version: \"3\"\nservices:\n  web:\n    image: busybox:1.36\n"),
        ("docker-compose.dev.yml", "services:\n  web:\n    command: [\"true\"]\n"),
        ("docker-compose.prod.yml", "version: \"3\"\nservices: {}\n"),
    ]);
    let of = |words: &[&str]| -> Vec<(String, Value)> {
        let said = check(root.path(), words).args(["--no-host", "--format", "json"]).run();
        let found: Value = serde_json::from_str(&said.stdout).expect("JSON");
        let findings = found["findings"].as_array().expect("a list");
        let own = findings.iter().filter(|one| one["rule"] == "ObsoleteVersion");
        own.map(|one| (one["file"].as_str().unwrap_or_default().to_owned(), one["environments"].clone()))
            .collect()
    };
    let names = |found: &[(String, Value)]| found.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>();
    assert_eq!(names(&of(&["dev"])), ["docker-compose.yml"]);
    assert_eq!(names(&of(&["prod"])), ["docker-compose.prod.yml", "docker-compose.yml"]);
    let all = of(&["--all"]);
    assert_eq!(names(&all), ["docker-compose.yml", "docker-compose.prod.yml"]);
    assert_eq!(all[0].1, serde_json::json!(["dev", "prod"]));
    check(root.path(), &["stagin"]).run().refuses(1, &["`stagin`", "environments here: dev, prod"]);
}

#[test]
fn files_that_do_not_load_are_the_report() {
    let root = directory(&[("compose.yaml", "services:\n  web:\n    imaeg: x\n")]);
    let said = check(root.path(), &[]).run().ended(1);
    assert!(said.stdout.contains("compose.yaml:3:5") && said.stdout.contains("imaeg"), "{}", said.stdout);
    let said = check(root.path(), &["--format", "json"]).run().ended(1);
    let found: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((&found["findings"][0]["line"], &found["findings"][0]["family"]), (&3.into(), &Value::Null));
    let said = check(root.path(), &["--format", "sarif"]).run().ended(1);
    let found: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(found["runs"][0]["results"][0]["level"], "error");
    let said = check(root.path(), &["--format", "github"]).run().ended(1);
    assert!(said.stdout.starts_with("::error file=compose.yaml,line=3,"), "{}", said.stdout);
}

#[test]
fn a_busy_port_is_told_with_its_holder() {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let text = format!("services:\n  web:\n    image: busybox:1.36\n    ports: [\"{port}:80\"]\n");
    let root = directory(&[("compose.yaml", &text)]);
    let said = check(root.path(), &[]).run().ended(1);
    let holder = format!("(process {})", std::process::id());
    assert!(said.stdout.contains(&format!("port {port} of this machine is held by ")), "{}", said.stdout);
    assert!(said.stdout.contains(&holder), "{}", said.stdout);
    assert!(said.stdout.contains("compose.yaml:4:13"), "{}", said.stdout);
    drop(listener);
    assert!(!check(root.path(), &[]).run().stdout.contains("BusyPort"));
}

#[test]
fn nothing_is_made_where_nothing_was() {
    let root = directory(&[("project/compose.yaml", COMPOSE)]);
    let (data, run) = (root.path().join("data"), root.path().join("run"));
    let roots = [data.display().to_string(), run.display().to_string()];
    let said = check(&root.path().join("project"), &[])
        .env("CORACLE_DATA_ROOT", &roots[0])
        .env("CORACLE_RUN_ROOT", &roots[1])
        .run()
        .ended(1);
    assert!(said.stdout.contains("ObsoleteVersion"), "{}", said.stdout);
    assert!(!data.exists() && !run.exists(), "a check makes nothing");
}

#[test]
fn the_reference_stack_has_no_fault() {
    if !ready() {
        return;
    }
    let root = directory(&[]);
    copy_tree(&repository().join("stacks/databricks_orchestrator"), root.path());
    let said = check(root.path(), &["--all", "--no-host"]).run().ok();
    assert_eq!(said.stdout, "", "{}", said.stdout);
}

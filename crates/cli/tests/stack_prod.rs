//! The reference stack in production: TLS, monitoring, and what comes from registries only.

mod support;

use support::{
    Application, Browser, Files, SOON, Snapshot, Stack, coracle, eventually, get, ready, runs_of, unique,
};

const DATABASE: &str = "orchestrator_prod";
const HEALTHY: [&str; 5] = ["backend", "database", "frontend", "nginx", "prometheus"];

#[test]
fn production_from_up_to_down() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Records);
    let stack = Stack::new("prod");
    let up = stack.up();
    let application = Application::at(format!("https://localhost:{}", stack.port("HTTPS_PORT")));
    stack.is_up(&HEALTHY, &["certificates", "migrate"]);
    stack.started_in_order();
    optional_services(&stack, &up.stderr);

    application.answers("production");
    transport(&stack, &application);
    application.job_from_end_to_end(&stack, DATABASE);
    if let Some(browser) = Browser::new() {
        let clicked = unique("clicked");
        browser.works_the_page(application.url(), "production", &clicked);
        assert_eq!(runs_of(&stack, DATABASE, &clicked).trim(), "succeeded");
    }
    monitoring(&stack);

    stack.limits(&[
        ("backend", 1000, 1024, 200),
        ("frontend", 500, 512, 100),
        ("database", 1000, 2048, 200),
        ("nginx", 500, 256, 100),
        ("prometheus", 500, 512, 100),
    ]);
    stack.needs_no_root(&["backend", "frontend"]);
    stack.keeps_secret("postgres_password", &["backend", "database"], &["frontend", "nginx"]);
    stack.separates_the_database();

    for service in ["backend", "nginx"] {
        let crashed = stack.crash(service);
        stack.comes_back(service, crashed);
        application.answers_again();
    }
    let second = stack.up();
    assert!(second.stderr.contains("nothing to do"), "{second}");

    stack.call("down", ["-v", "-t", "5"]).run().ok();
    before.nothing_is_left();
}

/// Each runs, or said to be skipped because its image cannot be had.
fn optional_services(stack: &Stack, said: &str) {
    let services = stack.services();
    for name in ["grafana", "nginx-exporter", "postgres-exporter"] {
        if let Some(view) = services.get(name) {
            assert_eq!(view["State"], "running", "{view:#}");
        } else {
            let told =
                said.lines().any(|line| line.contains(name) && line.to_lowercase().contains("skipped"));
            assert!(told, "{name} neither runs nor is reported as skipped: {said}");
        }
    }
}

fn transport(stack: &Stack, application: &Application) {
    let page = application.get("/").is(200);
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{page}");
    assert!(page.header("strict-transport-security").is_some(), "{page}");
    let plain = format!("http://localhost:{}", stack.port("HTTP_PORT"));
    let moved = get(&format!("{plain}/docs")).is(301);
    assert_eq!(moved.header("location"), Some(format!("{}/docs", application.url()).as_str()), "{moved}");
    get(&format!("{plain}/health")).is(200);
}

fn monitoring(stack: &Stack) {
    let targets = format!("http://127.0.0.1:{}/api/v1/targets", stack.port("PROMETHEUS_PORT"));
    eventually("Prometheus reaches the backend", SOON * 2, || {
        let answer = get(&targets);
        let found = serde_json::from_str::<serde_json::Value>(&answer.body).unwrap_or_default();
        let targets = found["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let up =
            targets.iter().any(|target| target["labels"]["job"] == "backend" && target["health"] == "up");
        if up { Ok(()) } else { Err(answer.to_string()) }
    });
}

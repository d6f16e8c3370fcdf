//! The reference stack in staging: the images of production, limits, and a new version rolled in.

mod support;

use std::net::{Ipv4Addr, TcpListener};

use support::{
    Application, Browser, Files, Snapshot, Stack, connects_from, coracle, default_route_of, instant,
    own_address, ready, runs_of, text_at, unique,
};

const DATABASE: &str = "orchestrator_staging";
const HEALTHY: [&str; 4] = ["backend", "database", "frontend", "nginx"];

#[test]
fn staging_from_up_to_down() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Records);
    let stack = Stack::new("staging");
    stack.up();
    let application = Application::at(format!("http://localhost:{}", stack.port("HTTP_PORT")));
    stack.is_up(&HEALTHY, &["migrate"]);
    stack.started_in_order();
    application.answers("staging");
    let job = application.job_from_end_to_end(&stack, DATABASE);
    if let Some(browser) = Browser::new() {
        let clicked = unique("clicked");
        browser.works_the_page(application.url(), "staging", &clicked);
        assert_eq!(runs_of(&stack, DATABASE, &clicked).trim(), "succeeded");
    }

    stack.limits(&[
        ("backend", 1000, 512, 200),
        ("frontend", 500, 128, 100),
        ("database", 1000, 1024, 200),
        ("nginx", 500, 128, 100),
    ]);
    stack.needs_no_root(&["backend", "frontend"]);
    stack.keeps_secret("postgres_password", &["backend", "database"], &["frontend", "nginx"]);
    stack.separates_the_database();
    the_data_network_reaches_nothing_outside(&stack);

    a_new_version_replaces_only_what_it_touches(&stack, &application);
    assert!(application.has_job(&job), "the job is lost");
    restart_and_logs(&stack, &application);
    a_dry_run_tells_and_changes_nothing(&stack);

    stack.call("down", ["-v", "-t", "5"]).run().ok();
    before.nothing_is_left();
}

fn the_data_network_reaches_nothing_outside(stack: &Stack) {
    assert_eq!(default_route_of(stack.pid("database")), "");
    let Some(own) = own_address() else { return };
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let own = own.to_string();
    assert!(connects_from(stack.pid("nginx"), &own, port), "the proxy's network has no way out");
    assert!(!connects_from(stack.pid("database"), &own, port), "the data network has a way out");
}

fn a_new_version_replaces_only_what_it_touches(stack: &Stack, application: &Application) {
    let before = stack.ids();
    stack.edit("backend/src/api/routes/health.py", "version=settings.app_version", "version=\"second\"");
    stack.up();
    let after = stack.ids();
    let changed: Vec<&str> = after
        .iter()
        .filter(|(name, id)| before.get(*name) != Some(*id))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(changed, ["backend", "migrate"]);
    assert_eq!(after.len(), before.len());
    stack.is_up(&HEALTHY, &["migrate"]);
    // The proxy finds the new one by name.
    assert_eq!(application.answers_again()["version"], "second");
}

fn restart_and_logs(stack: &Stack, application: &Application) {
    let started = |service: &str| instant(text_at(&stack.inspect(service), "State.StartedAt"));
    let (backend, nginx) = (started("backend"), started("nginx"));
    stack.call("restart", ["backend"]).run().ok();
    stack.healthy("backend");
    assert!(started("backend") > backend);
    assert_eq!(started("nginx"), nginx);
    application.answers_again();

    let one = stack.call("logs", ["backend", "-n", "5", "--no-log-prefix"]).run().ok();
    assert!((1..=5).contains(&(one.stdout.lines().count() + one.stderr.lines().count())), "{one}");
    let all = stack.logs();
    for service in HEALTHY {
        assert!(
            all.lines().any(|line| line.starts_with(service) && line.contains(" | ")),
            "no {service} in: {all}"
        );
    }
}

fn a_dry_run_tells_and_changes_nothing(stack: &Stack) {
    let before = stack.ids();
    let plan = stack.call("up", ["--dry-run"]).run().ok();
    assert!(plan.stderr.contains("nothing to do") && plan.stdout.is_empty(), "{plan}");
    stack.edit("backend/src/api/routes/health.py", "version=\"second\"", "version=\"third\"");
    let plan = stack.call("up", ["--dry-run"]).run().ok();
    assert!(plan.stdout.contains("backend") && !plan.stdout.contains("frontend"), "{plan}");
    assert_eq!(stack.ids(), before);
}

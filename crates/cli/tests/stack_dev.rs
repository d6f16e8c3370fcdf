//! The reference stack in development: up, used over HTTP and in Chromium, edited while it runs, broken, down.

mod support;

use std::net::TcpStream;

use support::{
    Application, Browser, Files, SOON, Snapshot, Stack, coracle, eventually, get, holds, own_address, ready,
    runs_of, unique,
};

const DATABASE: &str = "orchestrator_dev";
const HEALTHY: [&str; 4] = ["backend", "database", "frontend", "nginx"];

#[test]
fn development_from_up_to_down() {
    if !ready() {
        return;
    }
    coracle(["run", "--rm", "busybox", "true"]).run().ok();
    let before = Snapshot::take(Files::Records);
    let stack = Stack::new("dev");
    let up = stack.up();
    let application = Application::at(format!("http://localhost:{}", stack.port("FRONTEND_PORT")));
    assert!(up.stdout.contains(&stack.port("FRONTEND_PORT").to_string()), "no URL in {up}");
    stack.is_up(&HEALTHY, &["migrate"]);
    stack.started_in_order();

    application.answers("development");
    assert!(application.has_job("ingest-sales"), "seed.sql was not run");
    let job = application.job_from_end_to_end(&stack, DATABASE);
    published_ports(&stack);
    nothing_to_do_twice(&stack);

    stack.needs_no_root(&["backend", "frontend"]);
    stack.keeps_secret("postgres_password", &["backend", "database"], &["frontend", "nginx"]);
    stack.separates_the_database();

    hot_reload_of_the_backend(&stack, &application);
    in_a_browser(&stack, &application);

    let crashed = stack.crash("backend");
    stack.comes_back("backend", crashed);
    application.answers_again();

    // Data outlives the containers.
    stack.call("down", ["-t", "5"]).run().ok();
    assert!(stack.services().is_empty(), "{:#?}", stack.services());
    let between = Snapshot::take(Files::Snapshots);
    stack.up();
    stack.is_up(&HEALTHY, &["migrate"]);
    assert!(application.has_job(&job), "the job is lost");
    assert_eq!(runs_of(&stack, DATABASE, &job), "succeeded done by a test");

    stack.call("down", ["-v", "-t", "5"]).run().ok();
    between.nothing_is_left();
    before.nothing_is_left();
    let again = stack.call("down", ["-v"]).run().ok();
    assert!(again.stderr.contains("nothing to do"), "{again}");
}

fn published_ports(stack: &Stack) {
    let api = format!("http://127.0.0.1:{}", stack.port("API_PORT"));
    assert_eq!(get(&format!("{api}/health")).is(200).json()["status"], "healthy");
    get(&format!("{api}/metrics")).is(404);
    let database = stack.port("DATABASE_PORT");
    TcpStream::connect(("127.0.0.1", database)).expect("the database is published on loopback");
    if let Some(own) = own_address() {
        assert!(TcpStream::connect((own, database)).is_err(), "the database is published to the world");
        get(&format!("http://{own}:{}/health", stack.port("FRONTEND_PORT"))).is(200);
        assert_eq!(get(&format!("http://{own}:{}/health", stack.port("API_PORT"))).status, 0);
    }
}

fn nothing_to_do_twice(stack: &Stack) {
    let ids = stack.ids();
    let started = || HEALTHY.map(|service| stack.inspect(service)["State"]["StartedAt"].clone());
    let since = started();
    let second = stack.up();
    assert!(second.stderr.contains("nothing to do"), "{second}");
    assert!(second.stdout.contains(&stack.port("FRONTEND_PORT").to_string()), "no URL in {second}");
    // An image that is built once more from the same sources is the same image.
    coracle(["build", "dev"]).dir(stack.path("")).run().ok();
    let plan = stack.call("up", ["--dry-run"]).run().ok();
    assert!(plan.stderr.contains("nothing to do") && plan.stdout.is_empty(), "{plan}");
    assert_eq!((stack.ids(), started()), (ids, since));
}

fn hot_reload_of_the_backend(stack: &Stack, application: &Application) {
    let ids = stack.ids();
    stack.edit(
        "backend/src/api/routes/health.py",
        "version=settings.app_version",
        "version=\"hot reloaded\"",
    );
    eventually("the next answers show the edit", SOON, || {
        let answer = application.get("/health");
        holds(answer.body.contains("hot reloaded"), || answer.to_string())
    });
    // Back again, so that a later `up` finds every step of its build cached.
    stack.edit(
        "backend/src/api/routes/health.py",
        "version=\"hot reloaded\"",
        "version=settings.app_version",
    );
    eventually("the edit is gone again", SOON, || {
        let answer = application.get("/health");
        holds(answer.status == 200 && !answer.body.contains("hot reloaded"), || answer.to_string())
    });
    stack.healthy("backend");
    assert_eq!(stack.ids(), ids);
}

fn in_a_browser(stack: &Stack, application: &Application) {
    let Some(browser) = Browser::new() else { return };
    let job = unique("clicked");
    browser.works_the_page(application.url(), "development", &job);
    assert_eq!(runs_of(stack, DATABASE, &job).trim(), "succeeded");

    let mut open = browser.call("reload.mjs", [application.url(), "Hot Orchestrator"]).start();
    open.says("READY");
    stack.edit(
        "frontend/src/App.tsx",
        "            Databricks Orchestrator\n",
        "            Hot Orchestrator\n",
    );
    open.finish().ok();
    stack.edit(
        "frontend/src/App.tsx",
        "            Hot Orchestrator\n",
        "            Databricks Orchestrator\n",
    );
}

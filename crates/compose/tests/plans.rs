//! Plans as text, for the ways in which reality can differ from what is wanted.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use coracle_compose::{
    AnonymousVolumes, Dependencies, DownOptions, Finished, Goal, ObservedRun, Options, Orphans, Recreate,
    Volumes, down, execute, published_ports, reconcile, restart, stop,
};
use coracle_report::Quiet;
use support::{Behaviour, World, plan, project, show, try_wanted, wanted};

const STACK: &str = r#"
services:
  proxy:
    image: nginx
    ports: ["8080:80"]
    depends_on: {backend: {condition: service_healthy, restart: true}}
  backend:
    image: api:1
    healthcheck: {test: [CMD, probe]}
    depends_on:
      database: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
  migrate:
    image: api:1
    command: [migrate]
    depends_on: {database: {condition: service_healthy}}
  database:
    image: postgres:15
    healthcheck: {test: [CMD, pg_isready]}
    volumes: ["data:/var/lib/postgresql/data"]
volumes:
  data:
"#;

/// Brings a stack up in a new world.
fn up(text: &str) -> World {
    let world = World::new();
    world.behave("migrate", Behaviour::End(0));
    run(&world, text, &Options::default());
    world
}

fn run(world: &World, text: &str, options: &Options) {
    let plan = plan(&wanted(text), world, options);
    execute(&plan, world, &Quiet, None, &AtomicBool::new(false))
        .unwrap_or_else(|errors| panic!("{plan}\n{}", show(&errors)));
    world.history();
}

fn text(world: &World, text: &str, options: &Options) -> String {
    plan(&wanted(text), world, options).to_string()
}

#[test]
fn a_first_up() {
    insta::assert_snapshot!(text(&World::new(), STACK, &Options::default()));
}

#[test]
fn a_second_up_does_nothing() {
    assert_eq!(text(&up(STACK), STACK, &Options::default()), "");
}

#[test]
fn a_changed_service_is_replaced_and_dependents_only_on_request() {
    let changed = STACK.replace("healthcheck: {test: [CMD, probe]}", "healthcheck: {test: [CMD, probe2]}");
    insta::assert_snapshot!(text(&up(STACK), &changed, &Options::default()));
}

#[test]
fn a_changed_image_runs_the_job_again_before_the_service_is_replaced() {
    insta::assert_snapshot!(text(&up(STACK), &STACK.replace("api:1", "api:2"), &Options::default()));
}

#[test]
fn what_does_not_run_is_started_again() {
    let world = up(STACK);
    world.set("shop-database-1", ObservedRun::Exited { code: 1, by_user: false });
    world.set("shop-backend-1", ObservedRun::Exited { code: 143, by_user: true });
    insta::assert_snapshot!(text(&world, STACK, &Options::default()));
}

#[test]
fn what_is_starting_is_waited_for() {
    let world = up(STACK);
    world.set("shop-database-1", ObservedRun::Running(Some(coracle_container::HealthStatus::Starting)));
    insta::assert_snapshot!(text(&world, STACK, &Options::default()));
}

#[test]
fn replicas_come_and_go() {
    let scaled = |count: u32| format!("services:\n  api: {{image: api, scale: {count}}}\n");
    let world = up(&scaled(2));
    assert_eq!(text(&world, &scaled(2), &Options::default()), "");
    insta::assert_snapshot!("more", text(&world, &scaled(3), &Options::default()));
    insta::assert_snapshot!("fewer", text(&world, &scaled(1), &Options::default()));
}

#[test]
fn options_narrow_and_force() {
    let world = up(STACK);
    let mut options = Options {
        services: vec!["backend".to_owned()],
        recreate: Recreate::Always,
        dependencies: Dependencies::LeftAlone,
        ..Options::default()
    };
    insta::assert_snapshot!("force_without_dependencies", text(&world, STACK, &options));
    options.recreate = Recreate::Never;
    assert_eq!(text(&world, &STACK.replace("api:1", "api:2"), &options), "");
    let errors = reconcile(
        &wanted(STACK),
        &world.observe(),
        &Options { services: vec!["bakend".to_owned()], ..Options::default() },
    )
    .unwrap_err();
    insta::assert_snapshot!("unknown_service", show(&errors));
}

#[test]
fn orphans_are_named_or_removed() {
    let world = up("services:\n  old: {image: old}\n  api: {image: api}\n");
    let now = "services:\n  api: {image: api}\n";
    let kept = plan(&wanted(now), &world, &Options::default());
    assert!(kept.is_empty(), "{kept}");
    assert_eq!(kept.orphans, ["old"]);
    let options = Options { orphans: Orphans::Removed, ..Options::default() };
    insta::assert_snapshot!(text(&world, now, &options));
}

#[test]
fn a_changed_network_takes_its_containers_along() {
    let stack = |internal: bool| {
        format!(
            "services:\n  a: {{image: a, networks: [n]}}\n  b: {{image: b, networks: [n], depends_on: [a]}}\n  \
             c: {{image: c}}\nnetworks:\n  n: {{internal: {internal}}}\n"
        )
    };
    let world = up(&stack(false));
    let options = Options { services: vec!["a".to_owned()], ..Options::default() };
    insta::assert_snapshot!(text(&world, &stack(true), &options));
    run(&world, &stack(true), &options);
    assert_eq!(text(&world, &stack(true), &Options::default()), "");
}

#[test]
fn a_container_name_that_moves_to_another_service() {
    let world = up("services:\n  old: {image: a, container_name: fixed}\n");
    let now = "services:\n  new: {image: a, container_name: fixed}\n";
    insta::assert_snapshot!(text(&world, now, &Options::default()));
    run(&world, now, &Options::default());
    assert_eq!(text(&world, now, &Options::default()), "");
}

#[test]
fn externals_must_be_there() {
    let stack = "services:\n  a: {image: a, volumes: ['data:/d'], networks: [n]}\n\
                 volumes:\n  data: {external: true}\nnetworks:\n  n: {external: true, name: shared}\n";
    let world = World::new();
    let errors = reconcile(&wanted(stack), &world.observe(), &Options::default()).unwrap_err();
    insta::assert_snapshot!(show(&errors));
}

#[test]
fn down_removes_dependents_first() {
    let world = up(STACK);
    let all = DownOptions { volumes: Volumes::Removed, ..DownOptions::default() };
    let plan = down("shop", &world.observe(), &all);
    insta::assert_snapshot!("down_with_volumes", plan.to_string());
    execute(&plan, &world, &Quiet, None, &AtomicBool::new(false)).unwrap();
    assert_eq!(world.observe(), coracle_compose::ObservedState::default());
}

#[test]
fn down_keeps_volumes_and_orphans() {
    let world =
        up("services:\n  old: {image: old}\n  api: {image: api, volumes: [data:/d]}\nvolumes: {data: }\n");
    let options =
        DownOptions { known_services: Some(BTreeSet::from(["api".to_owned()])), ..DownOptions::default() };
    let plan = down("shop", &world.observe(), &options);
    assert_eq!(plan.orphans, ["old"]);
    insta::assert_snapshot!(plan.to_string());
}

#[test]
fn stop_and_restart_keep_the_order() {
    let world = up(STACK);
    insta::assert_snapshot!("stop", stop(&world.observe(), &[]).to_string());
    insta::assert_snapshot!("restart", restart(&world.observe(), &[], false).to_string());
    insta::assert_snapshot!(
        "restart_one",
        restart(&world.observe(), &["backend".to_owned()], true).to_string()
    );
    let widened = restart(&world.observe(), &["backend".to_owned()], false).to_string();
    insta::assert_snapshot!("restart_one_and_who_wants_it", widened);
}

#[test]
fn an_optional_service_without_image_is_left_out() {
    let stack = "services:\n  a: {image: a, depends_on: [g]}\n  g: {image: unreachable, x-coracle: {optional: true}}\n";
    let desired = wanted(stack);
    assert_eq!(desired.skipped, ["g"]);
    assert_eq!(desired.services.keys().collect::<Vec<_>>(), ["a"]);
    let errors = try_wanted(&project("services:\n  g: {image: unreachable}\n"), &[]).unwrap_err();
    assert_eq!(show(&errors), "/shop/compose.yml:2:3: service `g` has no image `unreachable:latest` [image]");
}

#[test]
fn what_cannot_be_wanted() {
    let cases = [
        (
            "port twice",
            "services:\n  a: {image: a, ports: ['80:80']}\n  b: {image: b, ports: ['127.0.0.1:80:8080']}\n",
        ),
        ("port of replicas", "services:\n  a: {image: a, scale: 3, ports: ['8000-8001:80']}\n"),
        (
            "no health check",
            "services:\n  a: {image: a, depends_on: {b: {condition: service_healthy}}}\n  b: {image: b}\n",
        ),
        (
            "never completes",
            "services:\n  a: {image: a, depends_on: {b: {condition: service_completed_successfully}}}\n  b: {image: b, restart: always}\n",
        ),
        ("missing secret", "services:\n  a: {image: a, secrets: [s]}\nsecrets: {s: {file: ./s.txt}}\n"),
        ("external secret", "services:\n  a: {image: a, secrets: [s]}\nsecrets: {s: {external: true}}\n"),
        (
            "one name twice",
            "services:\n  a: {image: a, container_name: xx}\n  b: {image: b, container_name: xx}\n",
        ),
    ];
    let mut text = String::new();
    for (name, stack) in cases {
        let errors = match try_wanted(&project(stack), &[]) {
            Ok(_) => "no error".to_owned(),
            Err(errors) => show(&errors),
        };
        text += &["== ", name, "\n", &errors, "\n"].concat();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn ports_are_listed_with_their_places() {
    let stack = "services:\n  a: {image: a, ports: ['80:80', '127.0.0.1:90:90', '127.0.0.2:90:90', '53:53/udp', '53:53', '7000']}\n  \
                 b: {image: b, scale: 2, ports: ['8000-8001:80']}\n";
    let ports = published_ports(&project(stack)).unwrap();
    let lines: Vec<String> = ports
        .iter()
        .map(|port| {
            format!("{} {:?} {}-{} {}", port.host_port, port.protocol, port.service, port.ordinal, port.span)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn ways_of_an_up() {
    let world = up(STACK);
    let named = |options: Options| Options { services: vec!["backend".to_owned()], ..options };
    let again = Options { finished: Finished::Again, goal: Goal::Started, ..Options::default() };
    insta::assert_snapshot!("jobs_run_again", text(&world, STACK, &again));
    let forced = named(Options { recreate: Recreate::Always, ..Options::default() });
    insta::assert_snapshot!("only_the_named_one_is_replaced", text(&world, STACK, &forced));
    let created = Options { goal: Goal::Created, ..Options::default() };
    let plan = text(&World::new(), STACK, &created);
    assert!(plan.contains("create container") && !plan.contains("start") && !plan.contains("wait"), "{plan}");
    let anonymous = STACK.replace("data:/var", "/var");
    let world = up(&anonymous);
    let renewed = Options {
        recreate: Recreate::Always,
        recreate_dependencies: Recreate::Never,
        anonymous_volumes: AnonymousVolumes::Renewed,
        services: vec!["database".to_owned()],
        ..Options::default()
    };
    insta::assert_snapshot!("anonymous_volumes_are_renewed", text(&world, &anonymous, &renewed));
}

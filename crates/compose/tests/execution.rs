//! Executing plans on a host in memory: order, failures, cancellation, and that a second run finds nothing to do.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use coracle_compose::{Options, Orphans, execute};
use coracle_report::Quiet;
use proptest::prelude::*;
use support::{Behaviour, Recorder, World, plan, show, wanted};

const STACK: &str = r"
services:
  web: {image: web, depends_on: {api: {condition: service_healthy}}}
  api:
    image: api
    healthcheck: {test: [CMD, probe]}
    depends_on: {migrate: {condition: service_completed_successfully}, cache: {condition: service_healthy, required: false}}
  migrate: {image: api, depends_on: {db: {condition: service_healthy}}}
  db: {image: db, healthcheck: {test: [CMD, probe]}}
  cache: {image: cache, healthcheck: {test: [CMD, probe]}}
  alone: {image: alone}
";

fn run(world: &World, recorder: &Recorder) -> Result<(), String> {
    let plan = plan(&wanted(STACK), world, &Options::default());
    execute(&plan, world, recorder, None, &AtomicBool::new(false)).map_err(|errors| show(&errors))
}

fn world() -> World {
    let world = World::new();
    world.behave("migrate", Behaviour::End(0));
    world
}

#[test]
fn things_happen_in_the_order_of_their_dependencies() {
    let (world, recorder) = (world(), Recorder::default());
    run(&world, &recorder).unwrap();
    let history = world.history();
    let at = |line: &str| {
        history.iter().position(|it| it == line).unwrap_or_else(|| panic!("{line}: {history:?}"))
    };
    assert!(at("create network shop_default") < at("create shop-db-1"));
    assert!(at("start shop-db-1") < at("start shop-migrate-1"));
    assert!(at("start shop-migrate-1") < at("start shop-api-1"));
    assert!(at("start shop-cache-1") < at("start shop-api-1"));
    assert!(at("start shop-api-1") < at("start shop-web-1"));
    assert!(plan(&wanted(STACK), &world, &Options::default()).is_empty());
}

#[test]
fn a_failing_service_stops_its_dependents_only() {
    let (world, recorder) = (world(), Recorder::default());
    world.behave("db", Behaviour::Sick);
    let errors = run(&world, &recorder).unwrap_err();
    insta::assert_snapshot!("unhealthy_database", errors);
    insta::assert_snapshot!("events_of_an_unhealthy_database", recorder.by_task());
    let history = world.history();
    assert!(history.contains(&"start shop-alone-1".to_owned()));
    assert!(!history.contains(&"start shop-migrate-1".to_owned()));
}

#[test]
fn a_failing_job_is_reported_with_its_exit_code() {
    let (world, recorder) = (world(), Recorder::default());
    world.behave("migrate", Behaviour::End(3));
    insta::assert_snapshot!(run(&world, &recorder).unwrap_err());
}

#[test]
fn what_is_not_required_may_fail() {
    let (world, recorder) = (world(), Recorder::default());
    world.behave("cache", Behaviour::Sick);
    run(&world, &recorder).unwrap();
    insta::assert_snapshot!(recorder.by_task());
    assert!(world.history().contains(&"start shop-web-1".to_owned()));
}

#[test]
fn every_failure_is_returned() {
    let (world, recorder) = (world(), Recorder::default());
    world.behave("db", Behaviour::End(1));
    world.behave("alone", Behaviour::End(127));
    let errors = run(&world, &recorder).unwrap_err();
    assert!(errors.contains("service `db` ended with exit code 1 before it was healthy"), "{errors}");
    assert!(errors.contains("service `alone` ended with exit code 127"), "{errors}");
    assert!(errors.contains("not found in the image"), "{errors}");
}

#[test]
fn a_cancelled_run_ends_and_says_so() {
    let world = world();
    world.behave("db", Behaviour::Hang);
    let plan = plan(&wanted(STACK), &world, &Options::default());
    let (cancel, recorder) = (AtomicBool::new(false), Recorder::default());
    let result = std::thread::scope(|scope| {
        let running = scope.spawn(|| execute(&plan, &world, &recorder, None, &cancel));
        // The database hangs, so the run cannot end before this.
        while !recorder.saw("db", "waiting until healthy") || !recorder.saw("migrate", "waiting for db") {
            std::thread::yield_now();
        }
        cancel.store(true, Ordering::Relaxed);
        running.join().expect("the run does not panic")
    });
    let errors = result.unwrap_err();
    assert_eq!(errors.iter().map(|error| error.code.as_str()).collect::<Vec<_>>(), ["cancelled"]);
    assert!(!world.history().contains(&"start shop-migrate-1".to_owned()));
}

#[test]
fn an_interrupted_run_is_finished_by_the_next() {
    let world = world();
    world.behave("db", Behaviour::Sick);
    run(&world, &Recorder::default()).unwrap_err();
    world.behave("db", Behaviour::Serve);
    // What is unhealthy stays so until somebody restarts it.
    world.set("shop-db-1", coracle_compose::ObservedRun::Exited { code: 143, by_user: true });
    run(&world, &Recorder::default()).unwrap();
    assert!(plan(&wanted(STACK), &world, &Options::default()).is_empty());
}

/// One generated service: dependencies point to services before it.
#[derive(Clone, Debug)]
struct Generated {
    health: bool,
    job: bool,
    replicas: u32,
    volume: Option<u8>,
    network: Option<u8>,
    image: u8,
    restart_with: bool,
    depends: Vec<prop::sample::Index>,
}

fn generated() -> impl Strategy<Value = Generated> {
    let depends = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let shape = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        0..3u32,
        prop::option::of(0..2u8),
        prop::option::of(0..2u8),
    );
    (shape, 0..3u8, any::<bool>(), depends).prop_map(
        |((health, job, replicas, volume, network), image, restart_with, depends)| Generated {
            health: health && !job,
            job,
            replicas,
            volume,
            network,
            image,
            restart_with,
            depends,
        },
    )
}

fn render(services: &[Generated], internal: bool) -> String {
    let mut text = "services:\n".to_owned();
    for (index, service) in services.iter().enumerate() {
        let mut lines = vec![format!("image: i{}", service.image), format!("scale: {}", service.replicas)];
        // What ends by itself and what serves are different commands: else a server would be taken for the job.
        if service.job {
            lines.push("command: [job]".to_owned());
        }
        if service.health {
            lines.push("healthcheck: {test: [CMD, probe]}".to_owned());
        }
        lines.extend(service.volume.map(|volume| format!("volumes: ['v{volume}:/v', /anonymous]")));
        lines.extend(service.network.map(|network| format!("networks: [n{network}]")));
        let mut entries = std::collections::BTreeMap::new();
        if index > 0 {
            for dependency in &service.depends {
                let other = dependency.index(index);
                let condition = match (services[other].job, services[other].health) {
                    (true, _) => "service_completed_successfully",
                    (false, true) => "service_healthy",
                    (false, false) => "service_started",
                };
                entries.insert(
                    other,
                    format!("s{other}: {{condition: {condition}, restart: {}}}", service.restart_with),
                );
            }
        }
        if !entries.is_empty() {
            let entries: Vec<String> = entries.into_values().collect();
            lines.push(format!("depends_on: {{{}}}", entries.join(", ")));
        }
        text += &["  s", &index.to_string(), ":\n    ", &lines.join("\n    "), "\n"].concat();
    }
    text + &format!("volumes: {{v0: , v1: }}\nnetworks: {{n0: {{internal: {internal}}}, n1: }}\n")
}

fn converge(
    world: &World,
    services: &[Generated],
    internal: bool,
    changed: &[u8],
) -> Result<(), TestCaseError> {
    for (index, service) in services.iter().enumerate() {
        world.behave(&format!("s{index}"), if service.job { Behaviour::End(0) } else { Behaviour::Serve });
    }
    // Some containers died or were stopped in the meantime.
    let observed = world.observe();
    for pick in changed {
        if !observed.containers.is_empty() {
            let container = &observed.containers[*pick as usize % observed.containers.len()];
            world.set(
                &container.name,
                coracle_compose::ObservedRun::Exited { code: 1, by_user: *pick % 2 == 0 },
            );
        }
    }
    let desired = wanted(&render(services, internal));
    let options = Options { orphans: Orphans::Removed, ..Options::default() };
    let first = plan(&desired, world, &options);
    let result = execute(&first, world, &Quiet, None, &AtomicBool::new(false));
    let errors = result.err().map(|errors| show(&errors)).unwrap_or_default();
    prop_assert!(errors.is_empty(), "{}\n{}\n{}", render(services, internal), first, errors);
    let second = plan(&desired, world, &options);
    prop_assert!(second.is_empty(), "{}\nfirst:\n{}second:\n{}", render(services, internal), first, second);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever was up before, after one run the next has nothing to do, and `down` leaves nothing.
    #[test]
    fn one_run_reaches_the_wanted_state(
        before in prop::collection::vec(generated(), 1..6),
        now in prop::collection::vec(generated(), 1..6),
        internal in any::<bool>(),
        died in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let world = World::new();
        converge(&world, &before, false, &[])?;
        converge(&world, &now, internal, &died)?;
        let everything = coracle_compose::DownOptions {
            volumes: coracle_compose::Volumes::Removed,
            ..coracle_compose::DownOptions::default()
        };
        let down = coracle_compose::down("shop", &world.observe(), &everything);
        let result = execute(&down, &world, &Quiet, None, &AtomicBool::new(false));
        let errors = result.err().map(|errors| show(&errors)).unwrap_or_default();
        prop_assert!(errors.is_empty(), "{}\n{}", down, errors);
        prop_assert_eq!(world.observe(), coracle_compose::ObservedState::default());
    }
}

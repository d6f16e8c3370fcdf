//! After an `up`, the plan is empty: for generated projects, from nothing and from any other project's state. And after
//! a `down`, nothing is left.

mod support;

use std::fmt::Write as _;
use std::sync::atomic::AtomicBool;

use coracle_compose::{
    DownOptions, Goal, Options, Orphans, Recreate, Volumes, down, execute, kill, remove, restart, start, stop,
};
use coracle_report::Quiet;
use proptest::prelude::*;
use support::{Behaviour, World, plan, show, wanted};

/// One generated service; what refers to others does so by numbers that are brought into range.
#[derive(Clone, Debug)]
struct Draft {
    image: u8,
    replicas: u8,
    probed: bool,
    job: bool,
    command: u8,
    /// Earlier services: which, and how: 0 started, 1 healthy, 2 completed; whether it restarts with it; whether
    /// it is required.
    depends_on: Vec<(usize, u8, bool, bool)>,
    networks: Vec<u8>,
    volumes: Vec<u8>,
    anonymous: bool,
    published: bool,
    named: bool,
}

fn draft() -> impl Strategy<Value = Draft> {
    let depends_on = prop::collection::vec((0..6_usize, 0..3_u8, any::<bool>(), any::<bool>()), 0..3);
    let lists = (prop::collection::vec(0..3_u8, 0..3), prop::collection::vec(0..3_u8, 0..3));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (0..3_u8, 0..4_u8, 0..2_u8, depends_on, lists, flags).prop_map(
        |(image, replicas, command, depends_on, (networks, volumes), flags)| Draft {
            image,
            replicas,
            probed: flags.0,
            job: flags.1,
            command,
            depends_on,
            networks,
            volumes,
            anonymous: flags.2,
            published: flags.3,
            named: flags.4,
        },
    )
}

/// A project, and a variant of its networks.
fn drafts() -> impl Strategy<Value = (Vec<Draft>, bool)> {
    (prop::collection::vec(draft(), 1..6), any::<bool>())
}

/// Returns whether a service ends by itself.
fn is_job(drafts: &[Draft], index: usize) -> bool {
    drafts[index].job && !drafts[index].probed
}

fn compose_file(drafts: &[Draft], other_subnet: bool) -> String {
    let mut text = "name: shop\nservices:\n".to_owned();
    for (index, draft) in drafts.iter().enumerate() {
        let name = draft.named && draft.replicas <= 1;
        let _ =
            writeln!(text, "  s{index}:\n    image: image{}\n    command: [c{}]", draft.image, draft.command);
        let _ = writeln!(text, "    deploy: {{replicas: {}}}", draft.replicas);
        if name {
            let _ = writeln!(text, "    container_name: own{index}");
        }
        if draft.probed {
            text += "    healthcheck: {test: [CMD, probe]}\n";
        }
        if draft.published {
            let _ = writeln!(text, "    ports: [\"{}-{}:80\"]", 9000 + index * 10, 9009 + index * 10);
        }
        let mut seen = Vec::new();
        let mut depends = String::new();
        for (other, condition, restart, required) in &draft.depends_on {
            if index == 0 || seen.contains(&(other % index)) {
                continue;
            }
            let other = other % index;
            seen.push(other);
            // A condition that can never hold is refused, which is tested elsewhere.
            let condition = match condition {
                1 if drafts[other].probed => "service_healthy",
                2 if is_job(drafts, other) => "service_completed_successfully",
                _ => "service_started",
            };
            let _ = writeln!(
                depends,
                "      s{other}: {{condition: {condition}, restart: {restart}, required: {required}}}"
            );
        }
        if !depends.is_empty() {
            text += "    depends_on:\n";
            text += &depends;
        }
        let mut networks = draft.networks.clone();
        networks.sort_unstable();
        networks.dedup();
        if !networks.is_empty() {
            let names: Vec<String> = networks.iter().map(|number| format!("n{number}")).collect();
            let _ = writeln!(text, "    networks: [{}]", names.join(", "));
        }
        let mut mounts: Vec<String> =
            draft.volumes.iter().map(|number| format!("v{number}:/v{number}")).collect();
        mounts.sort_unstable();
        mounts.dedup();
        mounts.extend(draft.anonymous.then(|| "/anonymous".to_owned()));
        if !mounts.is_empty() {
            let _ = writeln!(text, "    volumes: [{}]", mounts.join(", "));
        }
    }
    let subnet = if other_subnet { "10.8.0.0/16" } else { "10.9.0.0/16" };
    let _ = writeln!(text, "networks:\n  n0: {{ipam: {{config: [{{subnet: {subnet}}}]}}}}\n  n1:\n  n2:");
    text += "volumes:\n  v0:\n  v1:\n  v2:\n";
    text
}

/// Says how the services behave, and brings the project up.
fn up(world: &World, drafts: &[Draft], text: &str, options: &Options) {
    for index in 0..8 {
        let job = index < drafts.len() && is_job(drafts, index);
        world.behave(&format!("s{index}"), if job { Behaviour::End(0) } else { Behaviour::Serve });
    }
    run(world, &plan(&wanted(text), world, options), text);
}

fn run(world: &World, plan: &coracle_compose::Plan, text: &str) {
    execute(plan, world, &Quiet, None, &AtomicBool::new(false))
        .unwrap_or_else(|errors| panic!("{text}\n{plan}\n{}", show(&errors)));
}

fn nothing_to_do(world: &World, text: &str, options: &Options) {
    let again = plan(&wanted(text), world, options);
    assert!(again.is_empty(), "{text}\nstill to do:\n{again}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_an_up_the_plan_is_empty(
        (first, one) in drafts(),
        (second, other) in drafts(),
        goal in prop::sample::select(vec![Goal::Created, Goal::Started, Goal::Ready]),
        forced in any::<bool>(),
    ) {
        let world = World::new();
        let options = Options { orphans: Orphans::Removed, ..Options::default() };
        let text = compose_file(&first, one);
        up(&world, &first, &text, &Options { goal, ..options.clone() });
        nothing_to_do(&world, &text, &Options { goal, ..options.clone() });
        // From whatever another project left.
        let text = compose_file(&second, other);
        let recreate = if forced { Recreate::Always } else { Recreate::Changed };
        up(&world, &second, &text, &Options { recreate, ..options.clone() });
        nothing_to_do(&world, &text, &options);
        let names: Vec<String> = world.observe().containers.into_iter().map(|container| container.name).collect();
        let expected: usize = second.iter().map(|draft| usize::from(draft.replicas)).sum();
        prop_assert_eq!(names.len(), expected, "{:?}", names);
    }

    #[test]
    fn what_was_stopped_killed_and_removed_comes_back((drafts, subnet) in drafts(), which in 0..6_usize) {
        let world = World::new();
        let text = compose_file(&drafts, subnet);
        let options = Options::default();
        let service = [format!("s{}", which % drafts.len())];
        up(&world, &drafts, &text, &options);
        run(&world, &stop(&world.observe(), &service), &text);
        run(&world, &start(&world.observe(), &service), &text);
        run(&world, &restart(&world.observe(), &service, false), &text);
        run(&world, &kill(&world.observe(), &service, "SIGKILL"), &text);
        let options_of_remove = coracle_compose::RemoveOptions { stop: true, volumes: true };
        run(&world, &remove(&world.observe(), &service, options_of_remove), &text);
        let of_it = |world: &World| world.observe().containers.iter().filter(|it| it.service == service[0]).count();
        prop_assert_eq!(of_it(&world), 0);
        up(&world, &drafts, &text, &options);
        nothing_to_do(&world, &text, &options);
        prop_assert_eq!(of_it(&world), usize::from(drafts[which % drafts.len()].replicas));
    }

    #[test]
    fn after_a_down_nothing_is_left((drafts, subnet) in drafts(), which in 0..6_usize) {
        let world = World::new();
        let text = compose_file(&drafts, subnet);
        up(&world, &drafts, &text, &Options::default());
        let one = DownOptions {
            services: vec![format!("s{}", which % drafts.len())],
            volumes: Volumes::Removed,
            ..DownOptions::default()
        };
        run(&world, &down("shop", &world.observe(), &one), &text);
        let service = &one.services[0];
        prop_assert!(world.observe().containers.iter().all(|container| container.service != *service));
        let all = DownOptions { volumes: Volumes::Removed, ..DownOptions::default() };
        run(&world, &down("shop", &world.observe(), &all), &text);
        let left = world.observe();
        prop_assert!(left.containers.is_empty() && left.networks.is_empty() && left.volumes.is_empty(), "{left:?}");
        prop_assert!(down("shop", &left, &all).is_empty());
    }
}

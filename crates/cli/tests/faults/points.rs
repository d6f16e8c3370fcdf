//! Every point, each with a kill and with a full disk.

use std::fs;
use std::time::Duration;

use coracle_fault::{Owner, Point, REACHED, VARIABLE};

use crate::scenario::{Doing, Scenario};
use crate::world::{Shape, World, in_world};

/// How long any command may take, whatever happens to it. Never reached when things work.
const BOUND: Duration = Duration::from_secs(40);

/// Lets `action` happen at `point`, and fails unless everything is as if it had not been.
#[track_caller]
fn strike(world: &World, point: Point, action: &str) {
    let doing = Doing::that_passes(point);
    let before = world.look();
    let scenario = Scenario::new(world, doing);
    let reached = world.root().join("reached");
    let _ = fs::remove_file(&reached);
    let outcome = scenario
        .command()
        .env(VARIABLE, &format!("{}={action}@1", point.name()))
        .env(REACHED, &reached.to_string_lossy())
        .bound(BOUND)
        .run();
    if let Some(then) = scenario.then() {
        then.bound(BOUND).run();
    }
    let said = fs::read_to_string(&reached).unwrap_or_default();
    assert!(said.contains(point.name()), "{} is never reached by {doing:?}: {outcome}", point.name());
    match (action, point.owner()) {
        ("kill", Owner::Command) => assert_eq!(outcome.code(), 137, "it died: {outcome}"),
        (_, Owner::Command) => {
            assert_ne!(outcome.code(), 0, "a failure is told: {outcome}");
            assert!(outcome.stderr.contains("error:"), "a failure is told: {outcome}");
        }
        (_, Owner::Shim | Owner::Keeper) => {}
    }
    assert!(!outcome.stderr.contains("panicked at"), "{outcome}");
    world.bystander_lives();
    world.commands_answer();
    scenario.restore(world);
    before.nothing_is_left();
    world.nothing_is_half_written();
}

#[test]
fn every_point_is_survived() {
    // Most of the time is waiting: several worlds at once need no more processors than one.
    let shape = Shape { worlds: 4, ..Shape::default() };
    in_world("points::every_point_is_survived", shape, |world| {
        let only = std::env::var("CORACLE_FAULTS_ONLY").ok();
        let wanted = |point: &Point| only.as_ref().is_none_or(|only| point.name().contains(only.as_str()));
        let mut failed = Vec::new();
        for (number, point) in Point::ALL.iter().copied().filter(wanted).enumerate() {
            if !world.does(number) {
                continue;
            }
            let actions: &[&str] =
                if point.owner() == Owner::Command { &["kill", "enospc"] } else { &["kill"] };
            for action in actions {
                if let Err(panic) = std::panic::catch_unwind(|| strike(world, point, action)) {
                    let why = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
                    failed.push(format!("=== {} {action}: {why}", point.name()));
                }
            }
        }
        assert!(failed.is_empty(), "{} faults:\n{}", failed.len(), failed.join("\n"));
    });
}

//! Fifty commands at once on one name.

use std::time::Duration;

use crate::support::{Outcome, coracle, unique};
use crate::world::{IMAGE, Shape, in_world};

const COMMANDS: usize = 50;
/// How long they may take altogether. Never reached when things work.
const BOUND: Duration = Duration::from_mins(2);

/// Runs all at once and returns what they answered; none may hang, panic or blame itself.
#[track_caller]
fn at_once<'w>(words: impl Iterator<Item = Vec<&'w str>>) -> Vec<Outcome> {
    let started: Vec<_> = words.map(|words| coracle(words).bound(BOUND).start()).collect();
    let outcomes: Vec<Outcome> = started.into_iter().map(crate::support::Started::finish).collect();
    for outcome in &outcomes {
        assert!(!outcome.stderr.contains("panicked"), "{outcome}");
        assert!(outcome.code() == 0 || outcome.stderr.contains("error:"), "a failure is told: {outcome}");
        assert_ne!(outcome.code(), 2, "who is late is told so, and it is nobody's fault: {outcome}");
    }
    outcomes
}

#[test]
fn one_name_survives_fifty_commands() {
    let shape = Shape { worlds: 3, ..Shape::default() };
    in_world("races::one_name_survives_fifty_commands", shape, |world| {
        let before = world.look();
        let name = unique("race");
        for (number, race) in [make_and_remove, start_and_stop, run_to_the_end].into_iter().enumerate() {
            if world.does(number) {
                race(&name);
            }
        }
        world.bystander_lives();
        world.commands_answer();
        coracle(["run", "--rm", "--name", &name, IMAGE, "true"]).run().ok();
        before.nothing_is_left();
        world.nothing_is_half_written();
    });
}

/// A first process that ends when it is asked to.
const SLEEP: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"];

fn make_and_remove(name: &str) {
    let run = ["run", "-d", "--name", name, IMAGE];
    let made = at_once((0..COMMANDS).map(|_| [&run[..], &SLEEP].concat()));
    let won = made.iter().filter(|outcome| outcome.code() == 0).count();
    assert_eq!(won, 1, "a name belongs to one: {made:#?}");
    assert!(coracle(["ps"]).run().ok().line_with(name).contains("Up "));
    let removed = at_once((0..COMMANDS).map(|_| vec!["rm", "-f", name]));
    assert!(removed.iter().any(|outcome| outcome.code() == 0), "one removes it");
    coracle(["inspect", name]).run().refuses(1, &[name]);
}

fn start_and_stop(name: &str) {
    coracle(["run", "-d", "--name", name, IMAGE]).args(SLEEP).run().ok();
    at_once(
        (0..COMMANDS).map(
            |number| {
                if number % 2 == 0 { vec!["stop", "-t", "1", name] } else { vec!["start", name] }
            },
        ),
    );
    // In the end it can still be told what to do.
    coracle(["start", name]).run().ok();
    assert_eq!(coracle(["exec", name, "echo", "here"]).run().ok().line(), "here");
    coracle(["rm", "-f", name]).run().ok();
}

/// Made and removed by fifty at once: every one has the name to itself, or is told that another has.
fn run_to_the_end(name: &str) {
    at_once((0..COMMANDS).map(|_| vec!["run", "--rm", "--name", name, IMAGE, "true"]));
}

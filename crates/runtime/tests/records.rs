//! Records and messages of other versions: what an earlier one wrote is read, what a later one adds is passed over.

use coracle_container::{ContainerRecord, ContainerState};
use coracle_shim::config::{Restart, ShimConfig};
use coracle_shim::protocol::{Reply, Request};
use coracle_shim::state::ShimState;
use serde::de::DeserializeOwned;
use serde_json::Value;

const CONTAINER: &str = include_str!("../../../tests/records/v1/container.json");
const SHIM: &str = include_str!("../../../tests/records/v1/shim.json");
const STATE: &str = include_str!("../../../tests/records/v1/state.json");
const PROTOCOL: &str = include_str!("../../../tests/records/v1/protocol.jsonl");

/// Adds a member to every object. Those of one member may be a value of an enum, which has just that one.
fn of_a_later_version(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(of_a_later_version);
            if members.len() > 1 {
                members.insert("of-a-later-version".to_owned(), Value::from("something"));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(of_a_later_version),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads a record as it is and as a later version might write it.
fn read<T: DeserializeOwned>(text: &str) -> T {
    let value: Value = serde_json::from_str(text).expect("a record is JSON");
    let mut later = value.clone();
    of_a_later_version(&mut later);
    assert_ne!(value, later);
    if let Err(error) = serde_json::from_value::<T>(later) {
        panic!("with what a later version adds: {error}");
    }
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_the_first_version_recorded_is_read() {
    let config: ShimConfig = read(SHIM);
    assert_eq!((config.version, config.restart, config.program), (0, Restart::Always, None));
    let log = config.log.unwrap();
    assert_eq!((log.max_files, log.compress, log.buffer), (3, false, None));
    let health = config.health.unwrap();
    assert_eq!((health.args.len(), health.network), (3, None));

    let state: ShimState = read(STATE);
    assert!(matches!(&state, ShimState::Running { health: Some(_), restarts: 0, .. }), "{state:?}");
    let state: ContainerState = read(STATE);
    assert!(state.is_running());

    // The record says its version, and its body is the container.
    let mut record: Value = serde_json::from_str(CONTAINER).unwrap();
    assert_eq!(record["version"], 1);
    let record: ContainerRecord = read(&record["body"].take().to_string());
    assert_eq!((record.spec.name.as_str(), record.spec.networks.len()), ("one", 1));
}

#[test]
fn what_was_said_to_a_shim_of_the_first_version_is_understood() {
    let lines: Vec<&str> = PROTOCOL.lines().collect();
    assert!(lines.len() >= 10);
    for pair in lines.chunks(2) {
        let _: Request = read_message(pair[0]);
        let reply: Reply = read_message(pair[1]);
        assert!(!matches!(reply, Reply::Ready { .. } | Reply::Exited { .. }), "{reply:?}");
    }
}

/// Reads a message as it is, as this version writes it and as a later one might.
fn read_message<T: DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug>(text: &str) -> T {
    let message: T = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut frame = Vec::new();
    coracle_shim::protocol::append_control(&mut frame, &message);
    let mut again: Value =
        serde_json::from_slice(&frame[coracle_shim::protocol::HEADER..]).expect("a message is JSON");
    assert_eq!(again["version"], coracle_shim::protocol::VERSION);
    assert_eq!(serde_json::from_value::<T>(again.clone()).ok().as_ref(), Some(&message));
    of_a_later_version(&mut again);
    assert_eq!(serde_json::from_value::<T>(again).ok().as_ref(), Some(&message));
    message
}

//! What a container printed, kept and read back.

use std::fs;

use coracle_report::Stream;
use coracle_runtime::LogQuery;

use crate::machine::machine;

#[test]
fn a_million_lines_are_kept_in_order() {
    let Some(machine) = machine() else { return };
    let mut container = machine.container(&["seq", "1000000"]);
    container.record.spec.log.max_size = 1 << 30;
    container.start();
    container.until_exited();
    let mut next = 1;
    container
        .runtime()
        .logs(container.id(), &LogQuery::default(), &|| false, &mut |entry| {
            assert_eq!(entry.stream, Stream::Stdout);
            assert_eq!(entry.text.trim_end().parse::<u32>().unwrap(), next);
            next += 1;
            true
        })
        .unwrap();
    assert_eq!(next, 1_000_001);
}

#[test]
fn the_log_is_bounded() {
    let Some(machine) = machine() else { return };
    let mut container = machine.container(&["seq", "200000"]);
    container.record.spec.log.max_size = 100_000;
    container.record.spec.log.max_files = 2;
    container.record.spec.log.compress = false;
    container.start();
    container.until_exited();
    let directory = container.runtime().paths().log(container.id()).parent().unwrap().to_path_buf();
    let sizes: Vec<u64> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    // Two segments, each with its index.
    assert_eq!(sizes.len(), 4);
    assert!(sizes.iter().all(|size| *size <= 110_000), "{sizes:?}");
    let mut last = String::new();
    let query = LogQuery { tail: Some(1), ..LogQuery::default() };
    container
        .runtime()
        .logs(container.id(), &query, &|| false, &mut |entry| {
            last = entry.text.into_owned();
            true
        })
        .unwrap();
    assert_eq!(last, "200000\n");
}

#[test]
fn following_ends_with_the_container() {
    let Some(machine) = machine() else { return };
    let container = machine.shell("for n in 1 2 3; do echo $n; sleep 0.1; done; printf end");
    container.start();
    let mut seen = String::new();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    container
        .runtime()
        .logs(container.id(), &query, &|| false, &mut |entry| {
            seen.push_str(&entry.text);
            true
        })
        .unwrap();
    assert_eq!(seen, "1\n2\n3\nend");
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_the_container_goes_on() {
    let Some(machine) = machine() else { return };
    let container = machine.shell("head -c 20000000 /dev/zero; touch /done");
    container.runtime().spawn_shim(&container.record, &container.prepared).unwrap();
    let _deaf = container.runtime().attach(container.id(), false, false).unwrap();
    container.runtime().create(container.id()).unwrap();
    container.runtime().start(container.id()).unwrap();
    container.until_file("done");
    container.until_exited();
}

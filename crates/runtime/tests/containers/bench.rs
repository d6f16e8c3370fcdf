//! How long the parts of a short run take; ignored unless asked for, since the machine is shared.

use std::time::Instant;

use coracle_runtime::{ExecSpec, LogQuery};

use crate::machine::machine;

#[test]
#[ignore = "prints times"]
fn run_true() {
    let Some(machine) = machine() else { return };
    let mut rows: Vec<[f64; 5]> = Vec::new();
    for _ in 0..30 {
        let container = machine.container(&["true"]);
        let runtime = container.runtime();
        let begin = Instant::now();
        let mut marks = Vec::new();
        runtime.spawn_shim(&container.record, &container.prepared).unwrap();
        marks.push(begin.elapsed());
        let waiter = runtime.waiter(container.id(), true).unwrap();
        runtime.create(container.id()).unwrap();
        marks.push(begin.elapsed());
        runtime.start(container.id()).unwrap();
        marks.push(begin.elapsed());
        waiter.wait().unwrap();
        marks.push(begin.elapsed());
        runtime.forget(container.id()).unwrap();
        marks.push(begin.elapsed());
        let mut row = [0.0; 5];
        for (place, mark) in row.iter_mut().zip(marks) {
            *place = mark.as_secs_f64() * 1e3;
        }
        rows.push(row);
    }
    let median = |column: usize| {
        let mut values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "ms since begin: spawned {:.1}, created {:.1}, started {:.1}, ended {:.1}, forgotten {:.1}",
        median(0),
        median(1),
        median(2),
        median(3),
        median(4)
    );
}

#[test]
#[ignore = "prints times"]
fn exec_true_and_a_million_lines() {
    let Some(machine) = machine() else { return };
    let container = machine.container(&["sleep", "1000"]);
    container.start();
    let spec = ExecSpec { args: vec!["true".to_owned()], ..ExecSpec::default() };
    let mut times: Vec<f64> = (0..30)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(container.runtime().exec_captured(container.id(), &spec, 100).unwrap().code, 0);
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("ms an exec: {:.1}", times[times.len() / 2]);
    let shim = container.runtime().shim_pid(container.id()).unwrap().unwrap();
    let rollup = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
    for line in rollup.lines().filter(|line| line.starts_with("Pss:") || line.starts_with("Private")) {
        println!("shim {line}");
    }
    let mut lines = machine.container(&["seq", "1000000"]);
    lines.record.spec.log.max_size = 1 << 30;
    let begin = Instant::now();
    lines.start();
    lines.until_exited();
    println!("ms to write a million lines: {:.0}", begin.elapsed().as_secs_f64() * 1e3);
    let begin = Instant::now();
    let mut count = 0;
    let query = LogQuery::default();
    lines
        .runtime()
        .logs(lines.id(), &query, &|| false, &mut |_| {
            count += 1;
            true
        })
        .unwrap();
    println!("ms to read {count} back: {:.0}", begin.elapsed().as_secs_f64() * 1e3);
}

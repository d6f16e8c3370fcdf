//! How long the parts of a short run take; ignored unless asked for, since the machine is shared.

use std::time::Instant;

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

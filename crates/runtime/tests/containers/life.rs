//! How containers begin, end, start again and are lost.

use std::fs;
use std::time::Duration;

use coracle_container::{ContainerState, HealthStatus, Healthcheck, RestartPolicy, SecretFile};
use coracle_oci::HealthCommand;

use crate::machine::machine;

#[test]
fn output_and_exit_codes() {
    let Some(machine) = machine() else { return };
    let output = machine.shell("echo out; echo err >&2; exit 3").run();
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (3, "out\n", "err\n"));
    assert_eq!(machine.container(&["true"]).run().code, 0);
    assert_eq!(machine.shell("kill -9 $$; kill -TERM $$; exit 9").run().code, 9);
    let nested = machine.shell("sh -c 'kill -9 $$'; echo $?").run();
    assert_eq!(nested.stdout, "137\n");
}

#[test]
fn programs_that_cannot_be_run() {
    let Some(machine) = machine() else { return };
    let missing = machine.container(&["no-such-program"]).run();
    assert_eq!(missing.code, 127);
    let text = missing.error.unwrap();
    assert!(text.contains("`no-such-program`") && text.contains("not found in $PATH"), "{text}");
    assert_eq!(machine.container(&["/bin/nothing"]).run().code, 127);
    assert_eq!(machine.container(&["/etc"]).run().code, 126);
    let mut script = machine.container(&["/script"]);
    fs::write(script.upper().join("script"), "#!/no/interpreter\n").unwrap();
    assert_eq!(script.run().code, 126);
    let state = script.state();
    assert!(
        matches!(state, ContainerState::Exited { code: 126, started: None, error: Some(_), .. }),
        "{state:?}"
    );
}

#[test]
fn input_reaches_the_container_and_ends() {
    let Some(machine) = machine() else { return };
    let input: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    let output = machine.container(&["cat"]).run_with(input.as_bytes());
    assert_eq!(output.code, 0);
    assert!(output.stdout == input, "{} of {} bytes came back", output.stdout.len(), input.len());
}

#[test]
fn stop_asks_first_and_kills_then() {
    let Some(machine) = machine() else { return };
    let polite = machine.shell("trap 'exit 42' TERM; touch /ready; while :; do sleep 0.05; done");
    polite.start();
    polite.until_file("ready");
    polite.runtime().stop(polite.id(), None, None).unwrap();
    let state = polite.state();
    assert!(matches!(state, ContainerState::Exited { code: 42, by_user: true, .. }), "{state:?}");
    // Once more is no error.
    polite.runtime().stop(polite.id(), None, None).unwrap();

    let deaf = machine.shell("trap '' TERM; touch /ready; while :; do sleep 0.05; done");
    deaf.start();
    deaf.until_file("ready");
    deaf.runtime().stop(deaf.id(), None, Some(Duration::from_millis(100))).unwrap();
    let state = deaf.state();
    assert!(matches!(state, ContainerState::Exited { code: 137, .. }), "{state:?}");
}

#[test]
fn signals_reach_the_first_process() {
    let Some(machine) = machine() else { return };
    let container = machine.shell("trap 'touch /hup' HUP; touch /ready; while :; do sleep 0.05; done");
    container.start();
    container.until_file("ready");
    container.runtime().kill(container.id(), 1).unwrap();
    container.until_file("hup");
    container.runtime().kill(container.id(), 9).unwrap();
    let state = container.until_exited();
    assert!(matches!(state, ContainerState::Exited { code: 137, by_user: true, .. }), "{state:?}");
    assert!(container.runtime().kill(container.id(), 9).is_err());
}

#[test]
fn pause_freezes_and_unpause_thaws() {
    let Some(machine) = machine() else { return };
    let container = machine.shell("touch /ready; while :; do sleep 0.02; echo x >> /count; done");
    container.start();
    container.until_file("count");
    container.runtime().pause(container.id()).unwrap();
    assert!(matches!(container.state(), ContainerState::Paused { .. }));
    assert!(container.runtime().pause(container.id()).is_err());
    let frozen = container.until_file("count").len();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(container.until_file("count").len(), frozen);
    container.runtime().unpause(container.id()).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while container.until_file("count").len() == frozen {
        assert!(std::time::Instant::now() < end, "still frozen");
        std::thread::sleep(Duration::from_millis(10));
    }
    container.runtime().pause(container.id()).unwrap();
    container.kill();
    assert!(matches!(container.state(), ContainerState::Exited { code: 137, .. }));
}

#[test]
fn restarts_follow_the_policy() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("echo run >> /runs; exit 7");
    container.record.spec.restart = RestartPolicy::OnFailure { max_retries: Some(3) };
    container.start();
    let state = container.until_exited();
    assert!(matches!(state, ContainerState::Exited { code: 7, restarts: 3, .. }), "{state:?}");
    assert_eq!(container.until_file("runs"), "run\n".repeat(4));

    let mut always = machine.shell("echo run >> /runs");
    always.record.spec.restart = RestartPolicy::Always;
    always.start();
    always.until(|state| matches!(state, ContainerState::Restarting { restarts: 3.., .. }));
    always.runtime().stop(always.id(), None, None).unwrap();
    let state = always.state();
    assert!(matches!(state, ContainerState::Exited { code: 0, by_user: true, .. }), "{state:?}");
}

#[test]
fn a_process_killed_from_outside_comes_back_with_its_network() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("readlink /proc/self/ns/net >> /nets; while :; do sleep 0.05; done");
    container.record.spec.restart = RestartPolicy::Always;
    container.start();
    container.until_file("nets");
    let ContainerState::Running { process, .. } = container.state() else { panic!("not running") };
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(process.pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    container.until(|state| matches!(state, ContainerState::Running { restarts: 1, .. }));
    container.until(|_| container.until_file("nets").lines().count() == 2);
    let nets = container.until_file("nets");
    let mut lines = nets.lines();
    assert_eq!(lines.next(), lines.next());
}

#[test]
fn a_lost_shim_is_recorded_and_leaves_nothing() {
    let Some(machine) = machine() else { return };
    let container = machine.shell("touch /ready; sleep 1000 & while :; do sleep 0.05; done");
    container.start();
    container.until_file("ready");
    let pid = container.runtime().shim_pid(container.id()).unwrap().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let state = container.until_exited();
    let ContainerState::Exited { code, error, started, .. } = state else { unreachable!() };
    assert_eq!((code, error.as_deref()), (137, Some("shim lost")));
    assert!(started.is_some());
    assert!(container.runtime().processes(container.id()).is_empty());
    // It can be started again.
    container.start();
    assert!(matches!(container.state(), ContainerState::Running { .. }));
}

#[test]
fn two_shims_of_one_container_exclude_each_other() {
    let Some(machine) = machine() else { return };
    let container = machine.container(&["sleep", "1000"]);
    container.start();
    let error = container.runtime().spawn_shim(&container.record, &container.prepared).unwrap_err();
    assert!(error.to_string().contains("another shim has this container"), "{error}");
    assert!(matches!(container.state(), ContainerState::Running { .. }));
}

#[test]
fn discarded_before_the_start() {
    let Some(machine) = machine() else { return };
    let container = machine.container(&["true"]);
    container.runtime().spawn_shim(&container.record, &container.prepared).unwrap();
    container.runtime().create(container.id()).unwrap();
    container.runtime().discard(container.id()).unwrap();
    assert_eq!(container.state(), ContainerState::Created);
}

#[test]
fn health_goes_up_and_down() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("while :; do sleep 0.05; done");
    container.record.spec.healthcheck = Some(Healthcheck {
        command: HealthCommand::Shell("echo looked; test -e /healthy".to_owned()),
        interval: 30,
        timeout: 5000,
        start_period: 0,
        start_interval: 30,
        retries: 2,
    });
    container.start();
    let is = |wanted: HealthStatus| {
        move |state: &ContainerState| state.health().is_some_and(|health| health.status == wanted)
    };
    assert!(is(HealthStatus::Starting)(&container.state()));
    let state = container.until(is(HealthStatus::Unhealthy));
    let health = state.health().unwrap();
    assert!(health.failing_streak >= 2);
    let probe = health.log.back().unwrap();
    assert_eq!((probe.exit_code, probe.output.as_str()), (1, "looked\n"));
    assert_eq!(container.exec("touch /healthy").code, 0);
    container.until(is(HealthStatus::Healthy));
    assert_eq!(container.exec("rm /healthy").code, 0);
    container.until(is(HealthStatus::Unhealthy));
    container.runtime().stop(container.id(), Some(9), None).unwrap();
    assert!(matches!(container.state(), ContainerState::Exited { health: Some(_), .. }));
}

#[test]
fn a_probe_that_takes_too_long_dies_with_all_it_began() {
    let Some(machine) = machine() else { return };
    let mut container = machine.shell("while :; do sleep 0.05; done");
    container.record.spec.healthcheck = Some(Healthcheck {
        command: HealthCommand::Shell("echo begun; sleep 999 & setsid sleep 998 & sleep 997".to_owned()),
        interval: 30,
        timeout: 200,
        start_period: 0,
        start_interval: 30,
        retries: 1,
    });
    container.start();
    let state = container
        .until(|state| state.health().is_some_and(|health| health.status == HealthStatus::Unhealthy));
    let probe = &state.health().unwrap().log[0];
    assert_eq!(probe.exit_code, -1);
    assert!(
        probe.output.contains("longer than 200 ms") && probe.output.contains("begun"),
        "{}",
        probe.output
    );
    container.runtime().pause(container.id()).unwrap();
    // No probe begins while it is paused; what earlier ones began is gone.
    let sleepers = |number: &str| {
        container
            .runtime()
            .processes(container.id())
            .into_iter()
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().ends_with(number.as_bytes())
            })
            .count()
    };
    let running = ["999\0", "998\0", "997\0"].map(sleepers);
    assert!(running.iter().all(|count| *count <= 1), "{running:?} sleepers of earlier probes");
}

#[test]
fn secrets_are_on_a_tmpfs_and_read_at_each_start() {
    let Some(machine) = machine() else { return };
    let source = machine.path().join("password");
    fs::write(&source, "one").unwrap();
    let mut container = machine
        .shell("cat /run/secrets/password >> /seen; stat -c %a-%u /run/secrets/password >> /seen; exit 1");
    container.record.spec.secrets = vec![SecretFile {
        source: source.clone(),
        target: "/run/secrets/password".to_owned(),
        uid: 5,
        gid: 5,
        mode: 0o400,
    }];
    container.record.spec.restart = RestartPolicy::OnFailure { max_retries: Some(1) };
    container.start();
    container
        .until(|state| matches!(state, ContainerState::Restarting { .. } | ContainerState::Exited { .. }));
    fs::write(&source, "two").unwrap();
    container.until_exited();
    let seen = container.until_file("seen");
    assert!(seen == "one400-5\ntwo400-5\n" || seen == "one400-5\none400-5\n", "{seen}");
    let kept = container.upper().join("run/secrets/password");
    assert!(!kept.exists(), "the secret is in the writable layer");
}

#[test]
fn the_cleaner_is_called_unless_the_waiter_cleans_up() {
    let Some(machine) = machine() else { return };
    let marker = machine.path().join("reaped");
    let reap = vec!["reap".to_owned(), marker.to_str().unwrap().to_owned()];
    let mut container = machine.container(&["true"]);
    container.prepared.reap.clone_from(&reap);
    container.runtime().spawn_shim(&container.record, &container.prepared).unwrap();
    let waiter = container.runtime().waiter(container.id(), true).unwrap();
    container.runtime().create(container.id()).unwrap();
    container.runtime().start(container.id()).unwrap();
    assert_eq!(waiter.wait().unwrap().code, 0);

    let mut other = machine.container(&["true"]);
    other.prepared.reap = reap;
    other.start();
    other.until_exited();
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !marker.exists() {
        assert!(std::time::Instant::now() < end, "nobody cleaned up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn init_reaps_and_passes_signals() {
    let Some(machine) = machine() else { return };
    let mut container = machine
        .shell("trap 'exit 5' TERM; (sleep 0.01 & exec true) ; echo $$ > /pid; while :; do sleep 0.05; done");
    container.record.spec.init = true;
    container.start();
    assert_ne!(container.until_file("pid").trim(), "1");
    let fds = container.exec("ls /proc/1/fd | wc -l").stdout;
    assert!(
        String::from_utf8_lossy(&fds).trim().parse::<u32>().unwrap() <= 5,
        "{}",
        String::from_utf8_lossy(&fds)
    );
    container.runtime().stop(container.id(), None, None).unwrap();
    assert!(matches!(container.state(), ContainerState::Exited { code: 5, .. }), "{:?}", container.state());
}

#[test]
fn looking_at_a_container_does_not_keep_it_from_starting() {
    let Some(machine) = machine() else { return };
    let over = std::sync::atomic::AtomicBool::new(false);
    let container = machine.container(&["true"]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = container.runtime().has_shim(container.id());
                }
            });
        }
        for _ in 0..20 {
            container.start();
            container.until_exited();
            container.until(|_| !container.runtime().has_shim(container.id()).unwrap());
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

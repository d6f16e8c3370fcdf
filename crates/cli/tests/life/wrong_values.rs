//! Wrong values: each flag's, told by its name and with advice, and names that no container can have.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::support::coracle;

/// Flags of `run` with a value that each refuses. What is told names the flag unless it is told here by what it names.
const RUN: &[(&str, &str)] = &[
    ("--add-host", "nameonly"),
    ("--add-host", "name:no-address"),
    ("--annotation", "=value"),
    ("--attach", "stdeverything"),
    ("--blkio-weight", "5"),
    ("--blkio-weight", "heavy"),
    ("--blkio-weight-device", "sda:100"),
    ("--cap-add", "FLY"),
    ("--cap-drop", "FLY"),
    ("--cgroup-parent", "../up"),
    ("--cgroupns", "mine"),
    ("--cidfile", "/no/such/directory/id"),
    ("--cpu-count", "2"),
    ("--cpu-percent", "50"),
    ("--cpu-period", "5"),
    ("--cpu-period", "short"),
    ("--cpu-quota", "5"),
    ("--cpu-rt-period", "x"),
    ("--cpu-rt-runtime", "x"),
    ("--cpu-shares", "-3"),
    ("--cpus", "0"),
    ("--cpus", "9999"),
    ("--cpus", "many"),
    ("--cpuset-cpus", "4000"),
    ("--cpuset-cpus", "a-b"),
    ("--cpuset-mems", "4000"),
    ("--detach-keys", "ctrl-"),
    ("--device", "/dev/no-such-device"),
    ("--device", "relative"),
    ("--device-cgroup-rule", "x y z"),
    ("--device-read-bps", "sda:1mb"),
    ("--device-read-iops", "/dev/sda:fast"),
    ("--device-write-bps", "/dev/sda"),
    ("--device-write-iops", "/dev/sda:"),
    ("--disable-content-trust", "perhaps"),
    ("--dns", "example.org"),
    ("--env", "=value"),
    ("--env", "two words=1"),
    ("--env-file", "/no/such/file"),
    ("--expose", "70000"),
    ("--expose", "80/icmp"),
    ("--gpus", "all"),
    ("--group-add", "no-such-group"),
    ("--health-interval", "often"),
    ("--health-retries", "x"),
    ("--health-start-interval", "x"),
    ("--health-start-period", "5"),
    ("--health-timeout", "5 s"),
    ("--hostname", "two words"),
    ("--io-maxbandwidth", "1m"),
    ("--io-maxiops", "5"),
    ("--ip", "10.0.0.300"),
    ("--ip", "10.0.0.3"),
    ("--ip6", "fd00::zz"),
    ("--ipc", "open"),
    ("--isolation", "hyperv"),
    ("--kernel-memory", "lots"),
    ("--label", "=value"),
    ("--label-file", "/no/such/file"),
    ("--link", ":alias"),
    ("--link-local-ip", "x"),
    ("--log-driver", "syslog"),
    ("--log-opt", "colour=red"),
    ("--log-opt", "max-size=lots"),
    ("--mac-address", "zz:zz"),
    ("--memory", "1m"),
    ("--memory", "lots"),
    ("--memory-reservation", "x"),
    ("--memory-swap", "1g"),
    ("--memory-swap", "x"),
    ("--memory-swappiness", "200"),
    ("--memory-swappiness", "-5"),
    ("--mount", "type=bind,target=/x"),
    ("--mount", "type=bind,source=/no/such/source,target=/x"),
    ("--mount", "type=what,target=/x"),
    ("--mount", "colour=red"),
    ("--name", "a b"),
    ("--name", "a/b"),
    ("--name", ""),
    ("--name", "-x"),
    ("--network", "no-such-network-anywhere"),
    ("--network", "name=x,colour=red"),
    ("--network-alias", "a b"),
    ("--oom-score-adj", "5000"),
    ("--pid", "shareable"),
    ("--pids-limit", "-7"),
    ("--platform", "linux"),
    ("--publish", "80:70000"),
    ("--publish", "1-3:1-2"),
    ("--publish", "80/sctp"),
    ("--pull", "sometimes"),
    ("--restart", "perhaps"),
    ("--restart", "always"),
    ("--runtime", "magic"),
    ("--security-opt", "what=ever"),
    ("--security-opt", "seccomp=/no/such/file"),
    ("--shm-size", "x"),
    ("--sig-proxy", "perhaps"),
    ("--stop-signal", "SIGNOTHING"),
    ("--stop-timeout", "soon"),
    ("--storage-opt", "size=10G"),
    ("--sysctl", "kernel.panic=1"),
    ("--sysctl", "=1"),
    ("--tmpfs", "relative"),
    ("--tmpfs", "/x:colour=red"),
    ("--ulimit", "nofile"),
    ("--ulimit", "nofile=5:4"),
    ("--ulimit", "flights=5"),
    ("--user", "no-such-user"),
    ("--uts", "mine"),
    ("--volume", "a:relative"),
    ("--volume", "a:/b:what"),
    ("--volume-driver", "cloud"),
    ("--volumes-from", "no-such-container-anywhere"),
    ("--volumes-from", "x:what"),
    ("--workdir", "relative"),
];

/// The same of other commands: the words before the flag and its value, and what stands behind them.
const OTHERS: &[(&[&str], &str, &str, &[&str])] = &[
    (&["attach"], "--detach-keys", "x,", &["none"]),
    (&["attach"], "--sig-proxy", "perhaps", &["none"]),
    (&["commit"], "--pause", "perhaps", &["none"]),
    (&["container", "prune"], "--filter", "colour=red", &["--force"]),
    (&["container", "prune"], "--filter", "until=soon", &["--force"]),
    (&["events"], "--filter", "colour=red", &[]),
    (&["events"], "--format", "{{.Nothing}}", &[]),
    (&["exec"], "--detach-keys", "ctrl-1", &["none", "true"]),
    (&["import"], "--platform", "linux", &["-"]),
    (&["inspect"], "--format", "{{.Name", &["none"]),
    (&["inspect"], "--type", "dream", &["none"]),
    (&["logs"], "--tail", "few", &["none"]),
    (&["ps"], "--filter", "status=alive", &[]),
    (&["ps"], "--filter", "colour", &[]),
    (&["ps"], "--format", "{{if .ID}}", &[]),
    (&["ps"], "--last", "few", &[]),
    (&["restart"], "--time", "soon", &["none"]),
    (&["stats"], "--format", "{{.Name", &["--no-stream"]),
    (&["stop"], "--time", "soon", &["none"]),
    (&["update"], "--blkio-weight", "heavy", &["none"]),
    (&["update"], "--cpu-period", "x", &["none"]),
    (&["update"], "--cpu-quota", "x", &["none"]),
    (&["update"], "--cpu-rt-period", "x", &["none"]),
    (&["update"], "--cpu-rt-runtime", "x", &["none"]),
    (&["update"], "--cpu-shares", "x", &["none"]),
    (&["update"], "--cpus", "0", &["none"]),
    (&["update"], "--cpuset-cpus", "4000", &["none"]),
    (&["update"], "--cpuset-mems", "x", &["none"]),
    (&["update"], "--memory", "lots", &["none"]),
    (&["update"], "--memory-reservation", "lots", &["none"]),
    (&["update"], "--memory-swap", "lots", &["none"]),
    (&["update"], "--pids-limit", "-9", &["none"]),
    (&["update"], "--restart", "perhaps", &["none"]),
];

/// Tries all of them. The image is there: nothing but the value is wrong.
pub fn are_refused() {
    let mut faults = Vec::new();
    for (flag, value) in RUN {
        // A conflict is what is wrong with this one: it goes at its end, so it cannot come back. The others that fail only
        // at the start must leave nothing as well.
        let value = format!("{flag}={value}");
        let outcome = coracle(["run", "--rm", value.as_str(), "busybox", "true"]).run();
        faults.extend(fault(&value, flag, &outcome));
    }
    for (command, flag, value, rest) in OTHERS {
        let joined = format!("{flag}={value}");
        let words = command.iter().copied().chain([joined.as_str()]).chain(rest.iter().copied());
        let outcome = coracle(words).run();
        faults.extend(fault(&format!("{} {flag} {value}", command.join(" ")), flag, &outcome));
    }
    let long = "n".repeat(300);
    faults.extend(fault("rm --link none", "--link", &coracle(["rm", "--link", "none"]).run()));
    for name in ["two words", "a/b", "../up", long.as_str(), "nül", "a:b", "\n"] {
        for words in
            [&["run", "--rm", "--name", name, "busybox", "true"][..], &["create", "--name", name, "busybox"]]
        {
            faults.extend(fault(name, "--name", &coracle(words).run()));
        }
        for verb in [
            "inspect", "start", "stop", "rm", "logs", "kill", "pause", "wait", "attach", "top", "diff",
            "port",
        ] {
            let outcome = coracle([verb, name]).run();
            if outcome.code() != 1 || outcome.stderr.contains("panicked") {
                faults.push(format!("{verb} {name:?}: {outcome}"));
            }
        }
    }
    let broken = OsString::from_vec(b"n\xffme".to_vec());
    let name = OsString::from("--name");
    let outcome = coracle(["run".into(), name, broken.clone(), "busybox".into()]).run();
    faults.extend(fault("non-UTF-8", "--name", &outcome));
    let outcome = coracle(["rm".into(), broken]).run();
    if outcome.code() != 1 || !outcome.stderr.contains("UTF-8") {
        faults.push(format!("rm of a name that is no text: {outcome}"));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Says what is wrong with the answer to a wrong value, if anything is.
fn fault(what: &str, flag: &str, outcome: &crate::support::Outcome) -> Option<String> {
    let told = &outcome.stderr;
    let well = outcome.code() == 1
        && outcome.stdout.is_empty()
        && told.contains("error:")
        && told.contains(flag)
        && told.contains("hint:")
        && !told.contains("panicked at");
    (!well).then(|| format!("{what}: {outcome}"))
}

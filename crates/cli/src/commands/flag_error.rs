//! What is told of a wrong value: which flag has it, why it is wrong, and how to write it.

use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;

/// Codes of the engine's refusals, and the flags of `run` and `create` that each speaks of.
const FLAGS: [(&str, &str); 23] = [
    ("bad-capability", "--cap-add, --cap-drop"),
    ("bad-sysctl", "--sysctl"),
    ("bad-ulimit", "--ulimit"),
    ("blkio-weight", "--blkio-weight"),
    ("cgroup-parent", "--cgroup-parent"),
    ("container-name", "--name"),
    ("cpu-limit", "--cpus, --cpu-period, --cpu-quota"),
    ("memory-limit", "--memory, --memory-swap, --memory-reservation, --memory-swappiness"),
    ("mount-source", "--mount"),
    ("mount-target", "--mount, --volume, --tmpfs"),
    ("name-taken", "--name"),
    ("network-addresses", "--ip, --ip6"),
    ("no-such-container", "--volumes-from, --link, --network, --pid, --ipc"),
    ("no-such-network", "--network"),
    ("no-such-signal", "--stop-signal"),
    ("no-such-user", "--user, --group-add"),
    ("not-shareable", "--ipc"),
    ("oom-score", "--oom-score-adj"),
    ("partner-stopped", "--network, --pid, --ipc"),
    ("port-in-use", "--publish"),
    ("port-internal", "--publish"),
    ("seccomp-profile", "--security-opt"),
    ("working-directory", "--workdir"),
];

/// Returns the refusal of a flag's value. Of `why`, what stands behind a semicolon is the advice.
pub fn bad_flag(flag: &str, why: &str) -> Failure {
    let (why, hint) = match why.split_once("; ") {
        Some((why, hint)) => (why, hint.to_owned()),
        None => (why, "what it takes: coracle run --help".to_owned()),
    };
    Failure::user(Diagnostic::error("bad-value", format!("{flag}: {why}")).with_hint(hint))
}

/// Reads each text of a flag.
pub fn each_of<T>(
    flag: &str,
    texts: &[String],
    read: impl Fn(&str) -> std::result::Result<T, String>,
) -> Result<Vec<T>> {
    texts.iter().map(|text| read(text).map_err(|why| bad_flag(flag, &why))).collect()
}

/// Names the flags that an engine's refusal speaks of, unless it says them itself.
pub fn name_flags(mut failure: Failure) -> Failure {
    let Some(first) = failure.diagnostics.first_mut() else { return failure };
    let flags = FLAGS.iter().find(|(code, _)| *code == first.code);
    if let Some((_, flags)) = flags.filter(|_| !first.message.contains("--")) {
        first.notes.push(format!("given by {flags}"));
        if first.hints.is_empty() {
            return failure.with_hint("what it takes: coracle run --help");
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_and_the_advice_are_told() {
        let failure = bad_flag("--publish", "`x` is no port; write it as 8080:80");
        assert_eq!(failure.first().message, "--publish: `x` is no port");
        assert_eq!(failure.first().hints[0].0, "write it as 8080:80");
        let failure = name_flags(Failure::user(Diagnostic::error("oom-score", "it is too high")));
        assert_eq!(failure.first().notes, ["given by --oom-score-adj"]);
        assert!(FLAGS.is_sorted());
    }
}

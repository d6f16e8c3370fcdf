//! Which attributes become a number or a boolean when their value is text, as a variable's always is.

use crate::kind::Kind;
use crate::tree::{Scalar, Style};

/// What text becomes.
#[derive(Clone, Copy)]
enum Cast {
    Integer,
    Float,
    Single,
    Boolean,
}

fn cast_of(path: &[&str]) -> Option<Cast> {
    match path {
        ["services", _, rest @ ..] => of_service(rest),
        ["networks", _, "external" | "internal" | "attachable" | "enable_ipv4" | "enable_ipv6"]
        | ["volumes" | "secrets" | "configs", _, "external"] => Some(Cast::Boolean),
        _ => None,
    }
}

fn of_service(path: &[&str]) -> Option<Cast> {
    Some(match path {
        [
            "cpu_count" | "cpu_period" | "cpu_quota" | "cpu_rt_period" | "cpu_rt_runtime" | "cpu_shares"
            | "oom_score_adj" | "pids_limit" | "scale",
        ]
        | ["deploy", "replicas"]
        | ["deploy", "update_config" | "rollback_config", "parallelism"]
        | ["deploy", "restart_policy", "max_attempts"]
        | ["deploy", "placement", "max_replicas_per_node"]
        | ["healthcheck", "retries"]
        | ["ports", "[]", "target"]
        | ["ulimits", _]
        | ["ulimits", _, "hard" | "soft"] => Cast::Integer,
        ["cpu_percent"] | ["deploy", "update_config" | "rollback_config", "max_failure_ratio"] => Cast::Float,
        ["cpus"] => Cast::Single,
        ["init" | "oom_kill_disable" | "privileged" | "read_only" | "stdin_open" | "tty"]
        | ["healthcheck", "disable"]
        | ["volumes", "[]", "read_only"]
        | ["volumes", "[]", "volume", "nocopy"] => Cast::Boolean,
        _ => return None,
    })
}

/// Gives text at `path` the attribute's type; the error says what it should be.
pub(super) fn cast(path: &[&str], scalar: &mut Scalar) -> Result<(), String> {
    if scalar.kind != Kind::Text {
        return Ok(());
    }
    let Some(cast) = cast_of(path) else { return Ok(()) };
    let text = scalar.text.as_str();
    let kind = match cast {
        Cast::Integer => text.parse().map(Kind::Integer).ok(),
        Cast::Float => text.parse().map(Kind::Float).ok(),
        Cast::Single => text.parse().map(Kind::Single).ok(),
        Cast::Boolean => match text.to_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(Kind::Boolean(true)),
            "false" | "n" | "no" | "off" => Some(Kind::Boolean(false)),
            _ => None,
        },
    };
    let Some(kind) = kind else {
        let wanted = match cast {
            Cast::Integer => "a whole number",
            Cast::Float | Cast::Single => "a number",
            Cast::Boolean => "`true` or `false`",
        };
        return Err(format!("`{text}` is not {wanted}"));
    };
    scalar.kind = kind;
    scalar.style = Style::Plain;
    Ok(())
}

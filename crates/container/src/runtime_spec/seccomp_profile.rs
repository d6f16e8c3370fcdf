//! System call profiles in Docker's JSON, as `--security-opt seccomp=FILE` takes them.
//!
//! The format is the runtime specification's with three additions: `archMap` instead of `architectures`, `name` instead
//! of `names`, and rules that hold only on some processors, from some kernel on or with some capabilities (`includes`,
//! `excludes`).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

/// The most rules that a profile may have.
const MOST_RULES: usize = 10_000;

/// Why a profile cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProfileError {
    /// It is not JSON of this shape.
    #[error("{0}")]
    Shape(String),
    /// It says something twice.
    #[error("it has both `{0}` and `{1}`")]
    Both(&'static str, &'static str),
    /// It wants what is not there.
    #[error("{0} is not supported")]
    Unsupported(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<Architecture>>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

impl Rule {
    fn applies(&self, capabilities: &BTreeSet<String>, processor: &str, kernel: (u32, u32)) -> bool {
        let held = |names: &Vec<String>| names.iter().filter(|name| capabilities.contains(*name)).count();
        let native = |names: &Vec<String>| names.iter().any(|name| name == processor);
        let included = self.includes.as_ref().is_none_or(|filter| {
            filter.caps.as_ref().is_none_or(|caps| held(caps) == caps.len())
                && filter.arches.as_ref().is_none_or(|arches| arches.is_empty() || native(arches))
                && filter
                    .min_kernel
                    .as_deref()
                    .is_none_or(|least| version(least).is_some_and(|it| kernel >= it))
        });
        let excluded = self.excludes.as_ref().is_some_and(|filter| {
            filter.caps.as_ref().is_some_and(|caps| held(caps) > 0)
                || filter.arches.as_ref().is_some_and(native)
                || filter
                    .min_kernel
                    .as_deref()
                    .is_some_and(|least| version(least).is_some_and(|it| kernel >= it))
        });
        included && !excluded
    }
}

/// Reads a kernel's version, `MAJOR.MINOR`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns the profile in the runtime specification's form for a container with `capabilities` (names with `CAP_`) on
/// a processor named as in `std::env::consts::ARCH` and a `kernel` of this version.
pub(super) fn convert(
    text: &str,
    capabilities: &BTreeSet<String>,
    processor: &str,
    kernel: (u32, u32),
) -> Result<Value, ProfileError> {
    let profile: Profile =
        serde_json::from_str(text).map_err(|error| ProfileError::Shape(error.to_string()))?;
    if !profile.listener_path.is_empty() {
        return Err(ProfileError::Unsupported("a listener for system calls".to_owned()));
    }
    let rules = profile.syscalls.unwrap_or_default();
    if rules.len() > MOST_RULES {
        return Err(ProfileError::Shape(format!("it has more than {MOST_RULES} rules")));
    }
    // Docker's names of processors.
    let (docker, native, usual) = match processor {
        "x86_64" => ("amd64", "SCMP_ARCH_X86_64", vec!["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        "aarch64" => ("arm64", "SCMP_ARCH_AARCH64", vec!["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        "riscv64" => ("riscv64", "SCMP_ARCH_RISCV64", vec!["SCMP_ARCH_RISCV64"]),
        "s390x" => ("s390x", "SCMP_ARCH_S390X", vec!["SCMP_ARCH_S390X"]),
        other => (other, "SCMP_ARCH_NATIVE", vec!["SCMP_ARCH_NATIVE"]),
    };
    let listed = profile.architectures.filter(|list| !list.is_empty());
    let mapped = profile.arch_map.filter(|list| !list.is_empty());
    let architectures: Vec<String> = match (listed, mapped) {
        (Some(_), Some(_)) => return Err(ProfileError::Both("architectures", "archMap")),
        (Some(listed), None) => listed,
        (None, Some(mapped)) => mapped
            .into_iter()
            .filter(|entry| entry.architecture == native)
            .flat_map(|entry| {
                std::iter::once(entry.architecture).chain(entry.sub_architectures.unwrap_or_default())
            })
            .collect(),
        (None, None) => usual.into_iter().map(str::to_owned).collect(),
    };
    let mut syscalls = Vec::new();
    for rule in &rules {
        if !rule.name.is_empty() && !rule.names.is_empty() {
            return Err(ProfileError::Both("name", "names"));
        }
        check_action(&rule.action)?;
        for least in
            [&rule.includes, &rule.excludes].into_iter().flatten().filter_map(|it| it.min_kernel.as_ref())
        {
            if version(least).is_none() {
                return Err(ProfileError::Shape(format!("`{least}` is no version of a kernel, e.g. `4.8`")));
            }
        }
        if rule.applies(capabilities, docker, kernel) {
            syscalls.push(one(rule)?);
        }
    }
    check_action(&profile.default_action)?;
    let mut out = json!({
        "defaultAction": profile.default_action,
        "architectures": architectures,
        "syscalls": syscalls,
    });
    if let Some(errno) = profile.default_errno_ret {
        out["defaultErrnoRet"] = json!(errno);
    }
    Ok(out)
}

fn check_action(action: &str) -> Result<(), ProfileError> {
    match action {
        "SCMP_ACT_ALLOW"
        | "SCMP_ACT_ERRNO"
        | "SCMP_ACT_KILL"
        | "SCMP_ACT_KILL_PROCESS"
        | "SCMP_ACT_KILL_THREAD"
        | "SCMP_ACT_TRAP"
        | "SCMP_ACT_TRACE"
        | "SCMP_ACT_LOG" => Ok(()),
        "SCMP_ACT_NOTIFY" => Err(ProfileError::Unsupported("`SCMP_ACT_NOTIFY`".to_owned())),
        other => Err(ProfileError::Shape(format!("`{other}` is no action"))),
    }
}

fn one(rule: &Rule) -> Result<Value, ProfileError> {
    let names: Vec<&str> =
        if rule.name.is_empty() { rule.names.iter().map(String::as_str).collect() } else { vec![&rule.name] };
    if names.is_empty() {
        return Err(ProfileError::Shape("a rule names no system call".to_owned()));
    }
    let mut value = json!({ "names": names, "action": rule.action });
    if let Some(errno) = rule.errno_ret {
        value["errnoRet"] = json!(errno);
    }
    let mut arguments = Vec::new();
    for argument in rule.args.iter().flatten() {
        if argument.index > 5 {
            return Err(ProfileError::Shape("a system call has arguments 0 to 5".to_owned()));
        }
        match argument.op.as_str() {
            "SCMP_CMP_NE" | "SCMP_CMP_LT" | "SCMP_CMP_LE" | "SCMP_CMP_EQ" | "SCMP_CMP_GE" | "SCMP_CMP_GT"
            | "SCMP_CMP_MASKED_EQ" => {}
            other => return Err(ProfileError::Shape(format!("`{other}` is no comparison"))),
        }
        arguments.push(json!({
            "index": argument.index,
            "value": argument.value,
            "valueTwo": argument.value_two,
            "op": argument.op,
        }));
    }
    if !arguments.is_empty() {
        value["args"] = Value::Array(arguments);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_where_they_say() {
        let text = r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "archMap": [
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}
            ],
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "comment": "always"},
                {"name": "mount", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"name": "clone", "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]},
                 "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
                {"names": ["gone"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "5.10"}}
            ]
        }"#;
        let names = |capabilities: &[&str], processor: &str| -> Vec<String> {
            let held = capabilities.iter().map(|name| (*name).to_owned()).collect();
            let profile = convert(text, &held, processor, (6, 1)).unwrap();
            let rules = profile["syscalls"].as_array().unwrap().clone();
            rules.iter().map(|rule| rule["names"][0].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&[], "x86_64"), ["read", "clone", "arch_prctl", "ptrace"]);
        assert_eq!(names(&["CAP_SYS_ADMIN"], "aarch64"), ["read", "mount", "ptrace"]);
        let profile = convert(text, &BTreeSet::new(), "x86_64", (6, 1)).unwrap();
        assert_eq!(profile["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
        assert_eq!(profile["defaultErrnoRet"], 38);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for (text, why) in [
            ("{", "EOF"),
            ("{}", "defaultAction"),
            (r#"{"defaultAction": "ALLOW"}"#, "`ALLOW` is no action"),
            (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "not supported"),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["A"], "archMap": [{"architecture": "A"}]}"#,
                "both",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]}"#,
                "no system call",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    {"names": ["a"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "soon"}}]}"#,
                "no version of a kernel",
            ),
        ] {
            let error = convert(text, &BTreeSet::new(), "x86_64", (6, 1)).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

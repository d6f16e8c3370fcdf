//! Docker's default seccomp profile: which system calls a container may make.
//!
//! The lists are data (`seccomp.json`: calls always allowed, by processor, by capability); the few rules that look at
//! arguments are code. Whatever is not listed fails with EPERM.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

/// Namespace flags of clone(2): CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;
/// Address family AF_VSOCK, which reaches the hypervisor.
const AF_VSOCK: u64 = 40;
/// Execution domains that personality(2) may set or ask for.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;

#[derive(Deserialize)]
struct Lists {
    always: Vec<String>,
    architecture: BTreeMap<String, Vec<String>>,
    capability: BTreeMap<String, Vec<String>>,
}

/// Returns the profile for a container with `capabilities` (names with `CAP_`) on a processor named as in
/// `std::env::consts::ARCH`.
pub(super) fn profile(capabilities: &BTreeSet<String>, processor: &str) -> Value {
    let lists: Lists =
        serde_json::from_str(include_str!("seccomp.json")).expect("the embedded seccomp lists are valid");
    let mut allowed: BTreeSet<&str> = lists.always.iter().map(String::as_str).collect();
    if let Some(names) = lists.architecture.get(processor) {
        allowed.extend(names.iter().map(String::as_str));
    }
    for (capability, names) in &lists.capability {
        if capabilities.contains(capability) {
            allowed.extend(names.iter().map(String::as_str));
        }
    }
    let mut rules = vec![
        json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" }),
        json!({
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE" }],
        }),
    ];
    for personality in PERSONALITIES {
        rules.push(json!({
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": personality, "op": "SCMP_CMP_EQ" }],
        }));
    }
    if !capabilities.contains("CAP_SYS_ADMIN") {
        rules.push(json!({
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }],
        }));
        // The flags of clone3 are behind a pointer, which a filter cannot read: saying that the call does not exist
        // makes C libraries fall back to clone.
        rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }));
    }
    let architectures = match processor {
        "x86_64" => json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        "aarch64" => json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        _ => json!(["SCMP_ARCH_NATIVE"]),
    };
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": architectures,
        "syscalls": rules,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(profile: &Value) -> BTreeSet<&str> {
        profile["syscalls"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null())
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect()
    }

    #[test]
    fn dangerous_calls_need_their_capability() {
        let none = profile(&BTreeSet::new(), "x86_64");
        let unconditional = names(&none);
        for name in
            ["mount", "unshare", "keyctl", "bpf", "reboot", "setns", "io_uring_setup", "clone", "clone3"]
        {
            assert!(!unconditional.contains(name), "{name} is allowed");
        }
        assert!(unconditional.contains("arch_prctl"));
        let admin = profile(&BTreeSet::from(["CAP_SYS_ADMIN".to_owned()]), "aarch64");
        let unconditional = names(&admin);
        assert!(unconditional.contains("mount") && unconditional.contains("clone3"));
        assert!(!unconditional.contains("arch_prctl"));
    }
}

//! Docker's default seccomp profile: which system calls a container may make.
//!
//! The rules are data in Docker's own form (`seccomp.json`), read like a profile that a user brings. They state those
//! of moby's `profiles/seccomp` v0.2.3 (Apache-2.0, the Moby authors), which Docker Engine has had since it shut
//! AF_ALG sockets off; Docker 28.5 differs from it in the rule for `socket` alone. Whatever is not listed fails with
//! EPERM.

use std::collections::BTreeSet;

use serde_json::Value;

use super::seccomp_profile;

/// The rules.
const DEFAULT: &str = include_str!("seccomp.json");

/// Returns the profile for a container with `capabilities` (names with `CAP_`) on a processor named as in
/// `std::env::consts::ARCH` and a kernel of this version.
pub(super) fn profile(capabilities: &BTreeSet<String>, processor: &str, kernel: (u32, u32)) -> Value {
    seccomp_profile::convert(DEFAULT, capabilities, processor, kernel).expect("the embedded profile is valid")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const RECENT: (u32, u32) = (6, 1);

    fn evaluated(capabilities: &[&str], processor: &str) -> Value {
        let held = capabilities.iter().map(|name| (*name).to_owned()).collect();
        profile(&held, processor, RECENT)
    }

    /// Returns the names that a profile allows whatever the arguments.
    fn names(profile: &Value) -> BTreeSet<String> {
        let rules = profile["syscalls"].as_array().unwrap().iter();
        rules
            .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null())
            .flat_map(|rule| rule["names"].as_array().unwrap())
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    /// Counted in the published file.
    #[test]
    fn as_many_rules_and_calls_as_the_published_profile() {
        let data: Value = serde_json::from_str(DEFAULT).unwrap();
        let rules = data["syscalls"].as_array().unwrap();
        let lists: Vec<Vec<&str>> = rules
            .iter()
            .map(|rule| rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect())
            .collect();
        assert_eq!(rules.len(), 33);
        assert_eq!(lists[0].len(), 361, "allowed in any case");
        assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), 442);
        assert_eq!(lists.iter().flatten().collect::<BTreeSet<_>>().len(), 426);
        let with = |key: &str| rules.iter().filter(|rule| !rule[key].is_null()).count();
        assert_eq!((with("args"), with("includes"), with("excludes"), with("errnoRet")), (10, 22, 3, 1));
        assert_eq!(data["archMap"].as_array().unwrap().len(), 9);
        assert_eq!((&data["defaultAction"], &data["defaultErrnoRet"]), (&"SCMP_ACT_ERRNO".into(), &1.into()));
        for list in &lists {
            assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len(), "{list:?} names one twice");
        }
    }

    #[test]
    fn each_capability_opens_its_calls_and_no_others() {
        let table = BTreeMap::from([
            ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
            (
                "CAP_SYS_ADMIN",
                "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
                 lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open \
                 quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
            ),
            ("CAP_SYS_BOOT", "reboot"),
            ("CAP_SYS_CHROOT", "chroot"),
            ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
            ("CAP_SYS_PACCT", "acct"),
            ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
            ("CAP_SYS_RAWIO", "ioperm iopl"),
            ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
            ("CAP_SYS_TTY_CONFIG", "vhangup"),
            ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
            ("CAP_SYSLOG", "syslog"),
            ("CAP_BPF", "bpf"),
            ("CAP_PERFMON", "perf_event_open"),
        ]);
        let none = names(&evaluated(&[], "x86_64"));
        // The published 361, three that recent kernels add, two of this processor.
        assert_eq!(none.len(), 366);
        for (capability, opened) in &table {
            let more = names(&evaluated(&[capability], "x86_64"));
            let opened: BTreeSet<String> = opened.split_whitespace().map(str::to_owned).collect();
            assert_eq!(more.difference(&none).cloned().collect::<BTreeSet<_>>(), opened, "{capability}");
        }
        for capability in ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_MKNOD", "CAP_SETUID", "CAP_SYS_RESOURCE"] {
            assert_eq!(names(&evaluated(&[capability], "x86_64")), none, "{capability}");
        }
        for name in ["mount", "unshare", "keyctl", "add_key", "bpf", "kexec_load", "setns", "io_uring_setup"]
        {
            assert!(!none.contains(name), "{name} is allowed");
        }
    }

    #[test]
    fn processors_and_kernels_have_their_own() {
        let (amd, arm) = (names(&evaluated(&[], "x86_64")), names(&evaluated(&[], "aarch64")));
        assert!(amd.contains("arch_prctl") && amd.contains("modify_ldt") && !amd.contains("cacheflush"));
        assert!(arm.contains("cacheflush") && arm.contains("set_tls") && !arm.contains("arch_prctl"));
        assert!(names(&evaluated(&[], "riscv64")).contains("riscv_flush_icache"));
        let architectures = |processor| evaluated(&[], processor)["architectures"].clone();
        assert_eq!(
            architectures("x86_64"),
            serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
        );
        assert_eq!(architectures("aarch64"), serde_json::json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]));
        let old = names(&profile(&BTreeSet::new(), "x86_64", (4, 4)));
        assert!(amd.contains("ptrace") && !old.contains("ptrace"));
    }

    #[test]
    fn rules_that_look_at_arguments() {
        let of = |profile: &Value, name: &str| -> Vec<Value> {
            let rules = profile["syscalls"].as_array().unwrap().iter();
            rules.filter(|rule| rule["names"] == serde_json::json!([name])).cloned().collect()
        };
        let none = evaluated(&[], "x86_64");
        let clone = of(&none, "clone");
        assert_eq!(clone.len(), 1);
        assert_eq!(clone[0]["args"][0]["value"], 0x7E02_0000, "the flags of new namespaces");
        assert_eq!(of(&none, "clone3")[0]["errnoRet"], 38, "so that C libraries fall back to clone");
        // AF_ALG (38) and AF_VSOCK (40) are no families of a container's.
        let families: Vec<_> = of(&none, "socket")
            .iter()
            .map(|rule| (rule["args"][0]["value"].as_u64().unwrap(), rule["args"][0]["op"].clone()))
            .collect();
        assert_eq!(
            families,
            [(38, "SCMP_CMP_LT".into()), (39, "SCMP_CMP_EQ".into()), (40, "SCMP_CMP_GT".into())]
        );
        assert_eq!(of(&none, "personality").len(), 5);
        let admin = evaluated(&["CAP_SYS_ADMIN"], "x86_64");
        assert!(of(&admin, "clone").is_empty() && of(&admin, "clone3").is_empty());
    }
}

//! The attributes of a project in the order in which Docker Compose writes them, and how each is written.

/// How an attribute's value is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Text,
    /// Left out when false.
    Flag,
    /// Written also when false.
    Choice,
    /// Left out when 0.
    Number,
    /// Written also when 0.
    Count,
    /// Single precision; left out when 0.
    Fraction,
    /// A size in bytes, as text.
    Bytes,
    /// Left out when 0.
    Time,
    /// Written also when 0.
    Duration,
    /// Words of a command; `null` in JSON when not given.
    Command,
    /// A health check's test.
    Test,
    /// `NAME=ADDRESS`, sorted.
    Hosts,
    /// Names with or without a value.
    Variables,
    /// Names with a value.
    Pairs,
    Texts,
    /// Names with one or several values.
    Several,
    /// A mode in octal, as text.
    Mode,
    Ulimit,
    EnvFile,
    Keys,
    /// A number of devices; `all` is -1.
    Devices,
    List(&'static Shape),
    Map(&'static Shape),
    Struct(&'static [Attribute]),
}

/// An attribute of a mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// Its name in JSON where that differs.
    pub(super) json: &'static str,
    pub(super) kept: Kept,
}

/// When an attribute that is empty is written all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Never,
    /// In JSON only: Go leaves out no structs there.
    Json,
    /// When it is given, though empty.
    Given,
    Always,
}

const fn a(name: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, json: name, kept: Kept::Never }
}

const fn json(name: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, json: name, kept: Kept::Json }
}

const fn given(name: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, json: name, kept: Kept::Given }
}

const fn always(name: &'static str, json: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, json, kept: Kept::Always }
}

use Shape::{
    Bytes, Choice, Command, Count, Devices, Duration, EnvFile, Flag, Fraction, Hosts, Keys, List, Map, Mode,
    Number, Pairs, Several, Struct, Test, Text, Texts, Time, Ulimit, Variables,
};

pub(super) static SERVICE: &[Attribute] = &[
    a("profiles", Texts),
    a("annotations", Pairs),
    given("attach", Choice),
    given("build", Struct(BUILD)),
    given("develop", Struct(&[a("watch", List(&Struct(WATCH)))])),
    given("blkio_config", Struct(BLKIO)),
    a("cap_add", Texts),
    a("cap_drop", Texts),
    a("cgroup_parent", Text),
    a("cgroup", Text),
    a("cpu_count", Number),
    a("cpu_percent", Fraction),
    a("cpu_period", Number),
    a("cpu_quota", Number),
    a("cpu_rt_period", Number),
    a("cpu_rt_runtime", Number),
    a("cpus", Fraction),
    a("cpuset", Text),
    a("cpu_shares", Number),
    json("command", Command),
    a("configs", List(&Struct(GRANT))),
    a("container_name", Text),
    given("credential_spec", Struct(&[a("config", Text), a("file", Text), a("registry", Text)])),
    a("depends_on", Map(&Struct(DEPENDENCY))),
    given("deploy", Struct(DEPLOY)),
    a("device_cgroup_rules", Texts),
    a("devices", List(&Struct(&[a("source", Text), a("target", Text), a("permissions", Text)]))),
    a("dns", Texts),
    a("dns_opt", Texts),
    a("dns_search", Texts),
    a("domainname", Text),
    json("entrypoint", Command),
    given("provider", Struct(&[a("type", Text), a("options", Several)])),
    a("environment", Variables),
    a("env_file", List(&EnvFile)),
    a("expose", Texts),
    given("extends", Struct(&[a("file", Text), a("service", Text)])),
    a("external_links", Texts),
    a("extra_hosts", Hosts),
    a("group_add", Texts),
    a("gpus", List(&Struct(DEVICE_REQUEST))),
    a("hostname", Text),
    given("healthcheck", Struct(HEALTHCHECK)),
    a("image", Text),
    given("init", Choice),
    a("ipc", Text),
    a("isolation", Text),
    a("labels", Pairs),
    a("label_file", Texts),
    a("links", Texts),
    given("logging", Struct(&[a("driver", Text), a("options", Pairs)])),
    a("mem_limit", Bytes),
    a("mem_reservation", Bytes),
    a("memswap_limit", Bytes),
    a("mem_swappiness", Bytes),
    a("mac_address", Text),
    a("models", Map(&Struct(&[a("endpoint_var", Text), a("model_var", Text)]))),
    a("network_mode", Text),
    a("networks", Map(&Struct(ATTACHMENT))),
    a("oom_kill_disable", Flag),
    a("oom_score_adj", Number),
    a("pid", Text),
    a("pids_limit", Number),
    a("platform", Text),
    a("ports", List(&Struct(PORT))),
    a("privileged", Flag),
    a("pull_policy", Text),
    a("read_only", Flag),
    a("restart", Text),
    a("runtime", Text),
    given("scale", Count),
    a("secrets", List(&Struct(GRANT))),
    a("security_opt", Texts),
    a("shm_size", Bytes),
    a("stdin_open", Flag),
    given("stop_grace_period", Duration),
    a("stop_signal", Text),
    a("storage_opt", Pairs),
    a("sysctls", Pairs),
    a("tmpfs", Texts),
    a("tty", Flag),
    a("ulimits", Map(&Ulimit)),
    a("use_api_socket", Flag),
    a("user", Text),
    a("userns_mode", Text),
    a("uts", Text),
    a("volumes", List(&Struct(MOUNT))),
    a("volumes_from", Texts),
    a("working_dir", Text),
    a("post_start", List(&Struct(HOOK))),
    a("pre_stop", List(&Struct(HOOK))),
];

static BUILD: &[Attribute] = &[
    a("context", Text),
    a("dockerfile", Text),
    a("dockerfile_inline", Text),
    a("entitlements", Texts),
    a("args", Variables),
    a("provenance", Text),
    a("sbom", Text),
    a("ssh", Keys),
    a("labels", Pairs),
    a("cache_from", Texts),
    a("cache_to", Texts),
    a("no_cache", Flag),
    a("additional_contexts", Pairs),
    a("pull", Flag),
    a("extra_hosts", Hosts),
    a("isolation", Text),
    a("network", Text),
    a("target", Text),
    a("secrets", List(&Struct(GRANT))),
    a("shm_size", Bytes),
    a("tags", Texts),
    a("ulimits", Map(&Ulimit)),
    a("platforms", Texts),
    a("privileged", Flag),
];

static WATCH: &[Attribute] = &[
    always("path", "path", Text),
    always("action", "action", Text),
    a("target", Text),
    json("exec", Struct(HOOK)),
    a("include", Texts),
    a("ignore", Texts),
    a("initial_sync", Flag),
];

static HOOK: &[Attribute] = &[
    json("command", Command),
    a("user", Text),
    a("privileged", Flag),
    a("working_dir", Text),
    a("environment", Variables),
];

static BLKIO: &[Attribute] = &[
    a("weight", Number),
    a("weight_device", List(&Struct(&[always("path", "Path", Text), always("weight", "Weight", Count)]))),
    a("device_read_bps", List(&Struct(THROTTLE))),
    a("device_read_iops", List(&Struct(THROTTLE))),
    a("device_write_bps", List(&Struct(THROTTLE))),
    a("device_write_iops", List(&Struct(THROTTLE))),
];

static THROTTLE: &[Attribute] = &[always("path", "Path", Text), always("rate", "Rate", Bytes)];

static GRANT: &[Attribute] =
    &[a("source", Text), a("target", Text), a("uid", Text), a("gid", Text), given("mode", Mode)];

static DEPENDENCY: &[Attribute] =
    &[a("condition", Text), a("restart", Flag), always("required", "required", Choice)];

static DEPLOY: &[Attribute] = &[
    a("mode", Text),
    given("replicas", Count),
    a("labels", Pairs),
    given("update_config", Struct(UPDATE)),
    given("rollback_config", Struct(UPDATE)),
    json("resources", Struct(&[given("limits", Struct(RESOURCE)), given("reservations", Struct(RESOURCE))])),
    given("restart_policy", Struct(RESTART)),
    json(
        "placement",
        Struct(&[
            a("constraints", Texts),
            a("preferences", List(&Struct(&[a("spread", Text)]))),
            a("max_replicas_per_node", Number),
        ]),
    ),
    a("endpoint_mode", Text),
];

static UPDATE: &[Attribute] = &[
    given("parallelism", Count),
    a("delay", Time),
    a("failure_action", Text),
    a("monitor", Time),
    a("max_failure_ratio", Fraction),
    a("order", Text),
];

static RESOURCE: &[Attribute] = &[
    a("cpus", Fraction),
    a("memory", Bytes),
    a("pids", Number),
    a("devices", List(&Struct(DEVICE_REQUEST))),
    a(
        "generic_resources",
        List(&Struct(&[given(
            "discrete_resource_spec",
            Struct(&[always("kind", "kind", Text), always("value", "value", Count)]),
        )])),
    ),
];

static DEVICE_REQUEST: &[Attribute] = &[
    a("capabilities", Texts),
    a("driver", Text),
    a("count", Devices),
    a("device_ids", Texts),
    a("options", Pairs),
];

static RESTART: &[Attribute] = &[
    a("condition", Text),
    given("delay", Duration),
    given("max_attempts", Count),
    given("window", Duration),
];

static HEALTHCHECK: &[Attribute] = &[
    a("test", Test),
    given("timeout", Duration),
    given("interval", Duration),
    given("retries", Count),
    given("start_period", Duration),
    given("start_interval", Duration),
    a("disable", Flag),
];

static ATTACHMENT: &[Attribute] = &[
    a("aliases", Texts),
    a("driver_opts", Pairs),
    a("gw_priority", Number),
    a("interface_name", Text),
    a("ipv4_address", Text),
    a("ipv6_address", Text),
    a("link_local_ips", Texts),
    a("mac_address", Text),
    a("priority", Number),
];

static PORT: &[Attribute] = &[
    a("name", Text),
    a("mode", Text),
    a("host_ip", Text),
    a("target", Number),
    a("published", Text),
    a("protocol", Text),
    a("app_protocol", Text),
];

static MOUNT: &[Attribute] = &[
    a("type", Text),
    a("source", Text),
    a("target", Text),
    a("read_only", Flag),
    a("consistency", Text),
    given(
        "bind",
        Struct(&[
            a("selinux", Text),
            a("propagation", Text),
            a("create_host_path", Flag),
            a("recursive", Text),
        ]),
    ),
    given("volume", Struct(&[a("labels", Pairs), a("nocopy", Flag), a("subpath", Text)])),
    given("tmpfs", Struct(&[a("size", Bytes), a("mode", Number)])),
    given("image", Struct(&[a("subpath", Text)])),
];

pub(super) static NETWORK: &[Attribute] = &[
    a("name", Text),
    a("driver", Text),
    a("driver_opts", Pairs),
    json("ipam", Struct(&[a("driver", Text), a("config", List(&Struct(POOL)))])),
    a("external", Flag),
    a("internal", Flag),
    a("attachable", Flag),
    a("labels", Pairs),
    given("enable_ipv4", Choice),
    given("enable_ipv6", Choice),
];

static POOL: &[Attribute] =
    &[a("subnet", Text), a("gateway", Text), a("ip_range", Text), a("aux_addresses", Pairs)];

pub(super) static VOLUME: &[Attribute] =
    &[a("name", Text), a("driver", Text), a("driver_opts", Pairs), a("external", Flag), a("labels", Pairs)];

pub(super) static FILE_OBJECT: &[Attribute] = &[
    a("name", Text),
    a("file", Text),
    a("environment", Text),
    a("content", Text),
    a("external", Flag),
    a("labels", Pairs),
    a("driver", Text),
    a("driver_opts", Pairs),
    a("template_driver", Text),
];

pub(super) static MODEL: &[Attribute] =
    &[a("name", Text), a("model", Text), a("context_size", Number), a("runtime_flags", Texts)];

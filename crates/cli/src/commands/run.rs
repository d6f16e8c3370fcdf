//! `coracle run`: a new container from Docker's flags, which `coracle create` shares.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use coracle_container::{
    ContainerId, Device, Mount, NetworkMode, Protocol, PublishedPort, Resources, RestartPolicy, Ulimit,
};
use coracle_engine::{
    AttachStreams, ContainerRequest, DetachKeys, Engine, Failure, HealthRequest, Pull, Result,
};
use coracle_oci::{HealthCommand, HttpProbe, OnUnhealthy, TcpProbe};
use coracle_report::Diagnostic;
use indexmap::IndexMap;

use super::Done;
use super::attach::no_terminal;
use super::detach_keys::{detach_keys, keys_or_configured};
use super::flag_error::{bad_flag, each_of, name_flags};
use super::further_args::{FurtherArgs, StreamName};
use super::kernel_args::{self, KernelArgs};
use super::log_options;
use super::networks_arg::{self, First};
use crate::command_line::truth;
use crate::context::Context;
use crate::diagnostics;
use crate::reporters::Progress;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  coracle run --rm alpine echo hello
  coracle run -d --name web -p 8080:80 nginx:alpine
  coracle run -it --rm -v \"$PWD\":/src -w /src python:3.11-slim bash
";

/// Options of `coracle run`.
#[derive(Debug, clap::Args)]
// Docker gave `-h` to the host name.
#[command(after_help = EXAMPLES, disable_help_flag = true)]
pub struct Args {
    /// Run in the background and print the container's id.
    #[arg(short, long)]
    pub detach: bool,
    /// The keys that let go of it: a character, or ctrl- and a letter or one of `@ [ \ ] ^ _`, with commas between.
    #[arg(long, value_name = "KEYS", value_parser = detach_keys)]
    pub detach_keys: Option<DetachKeys>,
    /// Pass signals on to it.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, value_parser = truth, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true")]
    pub sig_proxy: bool,
    #[command(flatten)]
    pub container: ContainerArgs,
}

/// What both have: the container's properties, the image and its command.
#[derive(Debug, clap::Args)]
pub struct ContainerArgs {
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    pub help: Option<bool>,
    /// Name of the container.
    #[arg(long)]
    pub name: Option<String>,
    /// Remove the container when it ends.
    #[arg(long)]
    pub rm: bool,
    /// Keep standard input open.
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// Run a small init process that reaps and forwards signals.
    #[arg(long)]
    pub init: bool,
    /// Set a variable: NAME=value, or NAME to pass on the caller's.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read variables from a file.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Replace the image's entry point.
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Working directory.
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// User and group, by name or number.
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Extra groups.
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Host name.
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// Set a label.
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub label: Vec<String>,
    /// Mount a path or a volume.
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]", help_heading = "Storage")]
    pub volume: Vec<String>,
    /// Mount by keys: type=bind|volume|tmpfs,source=...,target=...
    #[arg(long, value_name = "KEYS", help_heading = "Storage")]
    pub mount: Vec<String>,
    /// Mount a tmpfs.
    #[arg(long, value_name = "TARGET[:OPTIONS]", help_heading = "Storage")]
    pub tmpfs: Vec<String>,
    /// Make the root file system read-only.
    #[arg(long, help_heading = "Storage")]
    pub read_only: bool,
    /// Size of /dev/shm.
    #[arg(long, value_parser = values::bytes, help_heading = "Storage")]
    pub shm_size: Option<u64>,
    /// Publish a port.
    #[arg(short, long, value_name = "[IP:][PORT:]PORT[/PROTOCOL]", help_heading = "Network")]
    pub publish: Vec<String>,
    /// Publish every exposed port on a free one.
    #[arg(short = 'P', long, help_heading = "Network")]
    pub publish_all: bool,
    /// Attach to a network: a name, `none`, `host` or `container:NAME`.
    #[arg(long, alias = "net", value_name = "NETWORK", help_heading = "Network")]
    pub network: Vec<String>,
    /// Another name of the container on its networks.
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub network_alias: Vec<String>,
    /// A fixed address.
    #[arg(long, help_heading = "Network")]
    pub ip: Option<std::net::Ipv4Addr>,
    /// Add a line to /etc/hosts.
    #[arg(long, value_name = "HOST:IP", help_heading = "Network")]
    pub add_host: Vec<String>,
    /// Name server.
    #[arg(long, help_heading = "Network")]
    pub dns: Vec<IpAddr>,
    /// Search domain.
    #[arg(long, help_heading = "Network")]
    pub dns_search: Vec<String>,
    /// Memory limit.
    #[arg(short, long, value_parser = values::bytes, help_heading = "Limits")]
    pub memory: Option<u64>,
    /// Soft memory limit.
    #[arg(long, value_parser = values::bytes, help_heading = "Limits")]
    pub memory_reservation: Option<u64>,
    /// Number of processors.
    #[arg(long, value_name = "NUMBER", value_parser = values::millicpus, help_heading = "Limits")]
    pub cpus: Option<u64>,
    /// Relative share of processor time.
    #[arg(short, long, help_heading = "Limits")]
    pub cpu_shares: Option<u64>,
    /// Processors it may run on.
    #[arg(long, value_name = "LIST", value_parser = values::processors, help_heading = "Limits")]
    pub cpuset_cpus: Option<String>,
    /// Number of processes and threads; -1 is without bound.
    #[arg(long, value_name = "NUMBER", value_parser = values::count_or_endless, help_heading = "Limits",
          allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Limit of its processes.
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = values::ulimit, help_heading = "Limits")]
    pub ulimit: Vec<Ulimit>,
    /// Add a capability.
    #[arg(long, help_heading = "Security")]
    pub cap_add: Vec<String>,
    /// Drop a capability.
    #[arg(long, help_heading = "Security")]
    pub cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, label=LABEL, systempaths=unconfined.
    #[arg(long, value_name = "OPTION", help_heading = "Security")]
    pub security_opt: Vec<String>,
    /// Allow everything.
    #[arg(long, help_heading = "Security")]
    pub privileged: bool,
    /// Give a device through.
    #[arg(long, value_name = "SOURCE[:TARGET][:rwm]", help_heading = "Security")]
    pub device: Vec<Device>,
    /// Set a kernel parameter of its namespaces.
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Security")]
    pub sysctl: Vec<String>,
    /// What happens when it ends: no, always, unless-stopped, on-failure[:N].
    #[arg(long, default_value = "no", value_parser = values::restart, help_heading = "Life")]
    pub restart: RestartPolicy,
    /// Signal that asks it to end.
    #[arg(long, help_heading = "Life")]
    pub stop_signal: Option<String>,
    /// Seconds until it is killed; -1 is never.
    #[arg(long, value_name = "SECONDS", value_parser = values::patience, help_heading = "Life",
          allow_negative_numbers = true)]
    pub stop_timeout: Option<u64>,
    /// Probe its health with this shell text.
    #[arg(long, value_name = "COMMAND", help_heading = "Health")]
    pub health_cmd: Option<String>,
    /// Probe it by an HTTP request from outside: [http://HOST]:PORT[/PATH]. The image needs no curl.
    #[arg(long, value_name = "URL", conflicts_with_all = ["health_cmd", "no_healthcheck"], help_heading = "Health")]
    pub health_http: Option<HttpProbe>,
    /// Probe it by opening a connection from outside: [HOST:]PORT.
    #[arg(
        long,
        value_name = "PORT",
        conflicts_with_all = ["health_cmd", "health_http", "no_healthcheck"],
        help_heading = "Health"
    )]
    pub health_tcp: Option<TcpProbe>,
    /// What follows when it becomes unhealthy: none, kill, restart, stop.
    #[arg(
        long,
        value_name = "ACTION",
        default_value = "none",
        hide_default_value = true,
        help_heading = "Health"
    )]
    pub health_on_failure: OnUnhealthy,
    /// Time between probes.
    #[arg(long, value_parser = values::milliseconds, help_heading = "Health")]
    pub health_interval: Option<u64>,
    /// Time one probe may take.
    #[arg(long, value_parser = values::milliseconds, help_heading = "Health")]
    pub health_timeout: Option<u64>,
    /// Failures that make it unhealthy.
    #[arg(long, help_heading = "Health")]
    pub health_retries: Option<u32>,
    /// Time in which failures do not count.
    #[arg(long, value_parser = values::milliseconds, help_heading = "Health")]
    pub health_start_period: Option<u64>,
    /// Time between probes within the start period.
    #[arg(long, value_parser = values::milliseconds, help_heading = "Health")]
    pub health_start_interval: Option<u64>,
    /// Do not probe its health.
    #[arg(long, help_heading = "Health")]
    pub no_healthcheck: bool,
    /// How the log is kept: json-file, local or none.
    #[arg(long, value_parser = ["json-file", "local", "none"], default_value = "json-file", help_heading = "Log")]
    pub log_driver: String,
    /// Bounds of the log: max-size=10m, max-file=5, compress=true, mode=non-blocking, max-buffer-size=1m.
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Log")]
    pub log_opt: Vec<String>,
    #[command(flatten)]
    pub kernel: KernelArgs,
    #[command(flatten)]
    pub further: FurtherArgs,
    /// Fetch the image: missing, always, never.
    #[arg(long, value_enum, default_value_t = PullArg::Missing)]
    pub pull: PullArg,
    /// Say nothing while the image is fetched.
    #[arg(short, long)]
    pub quiet: bool,
    /// The image, then a command and its arguments: from the image on, nothing is an option of ours.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "IMAGE [COMMAND] [ARG]"
    )]
    pub words: Vec<String>,
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum PullArg {
    /// When it is not there.
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
}

impl From<PullArg> for Pull {
    fn from(argument: PullArg) -> Self {
        match argument {
            PullArg::Missing => Self::Missing,
            PullArg::Always => Self::Always,
            PullArg::Never => Self::Never,
        }
    }
}

/// Runs `coracle run`.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let further = &args.container.further;
    let request = request(&args.container)?;
    if args.detach && !further.attach.is_empty() {
        return Err(bad_flag("--attach", "it excludes --detach; leave one of them out"));
    }
    let stdin = args.container.interactive && further.attaches(StreamName::Stdin);
    if args.container.tty && !args.detach && stdin && !rustix::termios::isatty(std::io::stdin()) {
        return Err(no_terminal("-i without -t"));
    }
    let keys = keys_or_configured(args.detach_keys)?;
    let (engine, id) = make(context, &args.container, request, Next::Start)?;
    let containers = engine.containers();
    if args.detach {
        if let Err(failure) = containers.start(&id) {
            let _ = containers.forget_if_auto_remove(&id);
            return Err(name_flags(failure));
        }
        context.printer.data(id.as_str());
        return Ok(Done::Ok);
    }
    let streams = AttachStreams {
        stdin,
        tty: args.container.tty,
        without_stdout: !further.attaches(StreamName::Stdout),
        without_stderr: !further.attaches(StreamName::Stderr),
        keep_signals: !args.sig_proxy,
        detach_keys: keys,
    };
    if streams.without_stdout && streams.without_stderr {
        // Docker: who only sends wants to know where it went.
        context.printer.data(id.as_str());
    }
    let parted = containers.run_attached(&id, streams).map_err(name_flags)?;
    Ok(Done::Child(parted.code()))
}

/// What is done with a container once it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is started.
    Start,
    /// Nothing.
    Keep,
}

/// Makes the container, and writes its id where that is wanted.
pub fn make(
    context: &Context,
    args: &ContainerArgs,
    request: ContainerRequest,
    next: Next,
) -> Result<(Engine, ContainerId)> {
    let cidfile = args.further.cidfile.as_ref();
    if let Some(path) = cidfile.filter(|path| path.exists()) {
        let why = format!("{} exists already; remove it, or name another file", path.display());
        return Err(bad_flag("--cidfile", &why));
    }
    let cannot_write = |path: &Path, error: &std::io::Error| {
        bad_flag(
            "--cidfile",
            &format!("cannot write {}: {error}; name a file that can be made", path.display()),
        )
    };
    if let Some(path) = cidfile {
        // Known before anything is made.
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::metadata(directory).map_err(|error| cannot_write(path, &error))?;
    }
    let progress = if args.quiet { Progress::Quiet } else { Progress::Auto };
    let (engine, _) = context.engine(progress)?;
    let containers = engine.containers();
    if next == Next::Start {
        containers.expect_start();
    }
    containers.check_ports(&request.ports).map_err(name_flags)?;
    let warnings = args.further.warnings();
    warnings.iter().for_each(|warning| diagnostics::print(context.printer, warning));
    let id = containers.create(request, args.pull.into()).map_err(name_flags)?;
    if let Some(path) = cidfile {
        let written = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        let written =
            written.and_then(|mut file| std::io::Write::write_all(&mut file, id.as_str().as_bytes()));
        if let Err(error) = written {
            let _ = containers.remove(&id, true, true);
            return Err(cannot_write(path, &error));
        }
    }
    Ok((engine, id))
}

/// Turns the flags into what the engine is asked.
pub fn request(args: &ContainerArgs) -> Result<ContainerRequest> {
    let here = std::env::current_dir()
        .map_err(|error| usage(&format!("cannot see the current directory: {error}")))?;
    let (image, command) = args.words.split_first().ok_or_else(|| usage("name an image"))?;
    refuse_option(image)?;
    args.further.refuse()?;
    if args.rm && args.restart != RestartPolicy::No {
        return Err(bad_flag("--restart", "it excludes --rm; leave one of them out"));
    }
    if let Some(name) = args.name.as_ref().filter(|name| !values::is_name(name) || name.len() > 200) {
        let shown: String = name.chars().take(60).collect();
        let why = if name.len() > 200 { " longer than 200 characters" } else { "" };
        let why = format!(
            "`{shown}` is no container name{why}; begin with a letter or digit, and go on with letters, digits, `_`, \
             `.` and `-`"
        );
        return Err(bad_flag("--name", &why));
    }
    if let Some(path) = args.workdir.as_ref().filter(|path| !path.starts_with('/')) {
        let why = format!("`{path}` is not absolute; write it from the root: -w /{path}");
        return Err(bad_flag("--workdir", &why));
    }
    if let Some(name) = args.hostname.as_ref() {
        values::hostname(name).map_err(|why| bad_flag("--hostname", &why))?;
    }
    if args.memory.is_none() && args.kernel.memory_swap.is_some_and(|sum| sum > 0) {
        let why = "it is the sum of memory and swap, so it needs --memory; give that too";
        return Err(bad_flag("--memory-swap", why));
    }
    let first = First {
        aliases: args.network_alias.clone(),
        ip: args.ip,
        ip6: args.kernel.ip6,
        mac_address: args.kernel.mac_address,
        link_local: args.further.link_local_ip.clone(),
    };
    let (networks, network_mode) = networks_arg::read(&args.network, &first)?;
    if matches!(network_mode, Some(NetworkMode::Host)) && !args.publish.is_empty() {
        return Err(bad_flag("--publish", "it has no effect with --network host; leave one of them out"));
    }
    if let Some(device) = args.device.iter().find(|device| !device.source.exists()) {
        let why = format!("there is no {}; list devices: ls /dev", device.source.display());
        return Err(bad_flag("--device", &why));
    }
    let options =
        kernel_args::security(&args.security_opt, &here).map_err(|why| bad_flag("--security-opt", &why))?;
    let labels = args.further.labels()?;
    Ok(ContainerRequest {
        name: args.name.clone(),
        image: image.clone(),
        // Docker: an empty entry point clears the image's.
        entrypoint: args
            .entrypoint
            .as_ref()
            .map(|text| if text.is_empty() { Vec::new() } else { vec![text.clone()] }),
        command: command.to_vec(),
        environment: variables(&args.env_file, &args.env)?,
        working_directory: args.workdir.clone(),
        user: args.user.clone(),
        group_add: args.group_add.clone(),
        hostname: args.hostname.clone(),
        domainname: args.kernel.domainname.clone(),
        // Those on the command line win over those of files.
        labels: pairs("--label", labels.iter().chain(&args.label))?,
        annotations: pairs("--annotation", &args.kernel.annotation)?,
        tty: args.tty,
        open_stdin: args.interactive,
        init: args.init,
        auto_remove: args.rm,
        read_only: args.read_only,
        privileged: args.privileged,
        no_new_privileges: options.no_new_privileges,
        seccomp_unconfined: options.seccomp_unconfined,
        security: options.security,
        isolation: args.kernel.isolation(),
        cap_add: args.cap_add.clone(),
        cap_drop: args.cap_drop.clone(),
        mounts: mounts(args, &here)?,
        secrets: Vec::new(),
        networks,
        network_mode,
        ports: each_of("--publish", &args.publish, |text| values::ports_choosing(text, &is_free))?
            .into_iter()
            .flatten()
            .collect(),
        publish_all: args.publish_all,
        exposed: args.further.exposed()?,
        volumes_from: args.further.volumes_from()?,
        platform: args.further.platform.clone(),
        extra_hosts: each_of("--add-host", &args.add_host, host)?,
        dns: args.dns.clone(),
        dns_search: args.dns_search.clone(),
        dns_options: args.kernel.dns_option.clone(),
        links: args.kernel.link.clone(),
        resources: Resources {
            memory: args.memory,
            memory_reservation: args.memory_reservation,
            millicpus: args.cpus,
            cpu_shares: args.cpu_shares,
            cpuset: args.cpuset_cpus.clone(),
            cpuset_mems: args.further.cpuset_mems.clone(),
            pids: args.pids_limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
            ..args.kernel.resources()?
        },
        ulimits: args.ulimit.clone(),
        sysctls: pairs("--sysctl", &args.sysctl)?,
        devices: args.device.clone(),
        device_rules: args.kernel.device_cgroup_rule.clone(),
        cgroup_parent: args.kernel.cgroup_parent.clone(),
        oom_score_adj: args.kernel.oom_score_adj,
        shm_size: args.shm_size,
        restart: args.restart,
        healthcheck: HealthRequest {
            disabled: args.no_healthcheck,
            command: health_command(args)?,
            on_failure: args.health_on_failure,
            interval: args.health_interval,
            timeout: args.health_timeout,
            start_period: args.health_start_period,
            start_interval: args.health_start_interval,
            retries: args.health_retries,
        },
        stop_signal: args.stop_signal.clone(),
        stop_grace_seconds: args.stop_timeout,
        log: log_options::parse(&args.log_driver, &args.log_opt)?,
    })
}

/// Reads variables: those of files, then those that are given.
pub fn variables(files: &[PathBuf], given: &[String]) -> Result<IndexMap<String, String>> {
    let mut environment = IndexMap::new();
    let caller = |name: &str| std::env::var(name).ok();
    for path in files {
        let text = std::fs::read_to_string(path)
            .map_err(|error| bad_flag("--env-file", &format!("cannot read {}: {error}", path.display())))?;
        // Docker's own format here: a line is taken as it is, quotes included.
        let lines =
            text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let pair = values::variable(line, caller);
            environment
                .extend(pair.map_err(|why| bad_flag("--env-file", &format!("{}: {why}", path.display())))?);
        }
    }
    for text in given {
        environment.extend(values::variable(text, caller).map_err(|why| bad_flag("--env", &why))?);
    }
    Ok(environment)
}

/// Returns whether a port of the host can be had now; who else wants it may be faster, and is told of then.
fn is_free(port: &PublishedPort) -> bool {
    let ip = port.host_ip.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let address = (ip, port.host_port.unwrap_or(0));
    match port.protocol {
        Protocol::Tcp => std::net::TcpListener::bind(address).is_ok(),
        Protocol::Udp => std::net::UdpSocket::bind(address).is_ok(),
    }
}

fn mounts(args: &ContainerArgs, here: &Path) -> Result<Vec<Mount>> {
    let mut mounts = each_of("--volume", &args.volume, |text| values::volume(text, here))?;
    mounts.extend(each_of("--mount", &args.mount, |text| values::mount(text, here))?);
    mounts.extend(each_of("--tmpfs", &args.tmpfs, values::tmpfs)?);
    Ok(mounts)
}

/// Returns what probes the health; of the ways to say so one is used.
fn health_command(args: &ContainerArgs) -> Result<Option<HealthCommand>> {
    if args.no_healthcheck && args.health_on_failure != OnUnhealthy::None {
        return Err(bad_flag("--health-on-failure", "it has no effect with --no-healthcheck"));
    }
    let shell = args.health_cmd.clone().map(HealthCommand::Shell);
    let http = args.health_http.clone().map(HealthCommand::Http);
    Ok(shell.or(http).or_else(|| args.health_tcp.clone().map(HealthCommand::Tcp)))
}

fn pairs<'a>(flag: &str, texts: impl IntoIterator<Item = &'a String>) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.trim().is_empty() {
            return Err(bad_flag(flag, &format!("`{text}` has no name; write it as NAME=value")));
        }
        Ok((name.to_owned(), value.to_owned()))
    };
    texts.into_iter().map(pair).collect()
}

fn host(text: &str) -> std::result::Result<(String, String), String> {
    let wrong = |why: &str| format!("`{text}` {why}; write it as HOST:IP or HOST:host-gateway");
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = split.ok_or_else(|| wrong("is no name and address"))?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(wrong("has no name"));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if address != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(wrong("has no IP address"));
    }
    Ok((name.to_owned(), bare.to_owned()))
}

/// Refuses a misspelt option, which would else be taken for the first word after the options.
pub fn refuse_option(word: &str) -> Result<()> {
    if !word.starts_with('-') {
        return Ok(());
    }
    Err(Failure::user(
        Diagnostic::error("usage", format!("unexpected argument `{word}`"))
            .with_hint("see the options: --help"),
    ))
}

fn usage(message: &str) -> Failure {
    Failure::user(Diagnostic::error("usage", message).with_hint("coracle run --help"))
}

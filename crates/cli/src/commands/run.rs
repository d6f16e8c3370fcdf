//! `coracle run`: a new container from Docker's flags, which `coracle create` shares.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use coracle_container::{
    Device, LogOptions, Mount, NetworkAttachment, NetworkMode, PublishedPort, Resources, RestartPolicy,
    Ulimit,
};
use coracle_engine::{AttachStreams, ContainerRequest, Failure, HealthRequest, Pull, Result};
use coracle_oci::HealthCommand;
use coracle_report::Diagnostic;
use indexmap::IndexMap;

use super::Done;
use super::kernel_args::{self, KernelArgs};
use crate::context::Context;
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
    /// Write the container's id to this file; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
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
    #[arg(long, help_heading = "Limits")]
    pub cpuset_cpus: Option<String>,
    /// Number of processes and threads.
    #[arg(long, help_heading = "Limits", allow_negative_numbers = true)]
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
    /// Seconds until it is killed.
    #[arg(long, help_heading = "Life")]
    pub stop_timeout: Option<u64>,
    /// Probe its health with this shell text.
    #[arg(long, value_name = "COMMAND", help_heading = "Health")]
    pub health_cmd: Option<String>,
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
    /// Bounds of the log: max-size=10m, max-file=3.
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Log")]
    pub log_opt: Vec<String>,
    #[command(flatten)]
    pub kernel: KernelArgs,
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
    let request = request(&args.container)?;
    if args.detach && args.container.rm && args.container.restart != RestartPolicy::No {
        return Err(conflict("--rm and --restart exclude each other"));
    }
    if let Some(path) = args.cidfile.as_ref().filter(|path| path.exists()) {
        return Err(conflict(&format!("the container id file {} exists already", path.display())));
    }
    if args.container.tty
        && !args.detach
        && !rustix::termios::isatty(std::io::stdin())
        && args.container.interactive
    {
        return Err(Failure::user(
            Diagnostic::error("no-terminal", "the input device is not a terminal").with_hint("leave out -t"),
        ));
    }
    let progress = if args.container.quiet { Progress::Quiet } else { Progress::Auto };
    let (engine, _) = context.engine(progress)?;
    let containers = engine.containers();
    containers.expect_start();
    containers.check_ports(&request.ports)?;
    let id = containers.create(request, args.container.pull.into())?;
    if let Some(path) = &args.cidfile {
        std::fs::write(path, id.as_str()).map_err(|error| {
            conflict(&format!("cannot write the container id file {}: {error}", path.display()))
        })?;
    }
    if args.detach {
        if let Err(failure) = containers.start(&id) {
            let _ = containers.forget_if_auto_remove(&id);
            return Err(failure);
        }
        context.printer.data(id.as_str());
        return Ok(Done::Ok);
    }
    let streams = AttachStreams { stdin: args.container.interactive, tty: args.container.tty };
    let code = containers.run_attached(&id, streams)?;
    Ok(Done::Child(code))
}

/// Turns the flags into what the engine is asked.
pub fn request(args: &ContainerArgs) -> Result<ContainerRequest> {
    let here = std::env::current_dir()
        .map_err(|error| conflict(&format!("cannot see the current directory: {error}")))?;
    let (image, command) = args.words.split_first().ok_or_else(|| conflict("name an image"))?;
    refuse_option(image)?;
    if let Some(name) = args.name.as_ref().filter(|name| !values::is_name(name)) {
        let message = format!("`{name}` is no container name; use letters, digits, `_`, `.` and `-`");
        return Err(Failure::user(Diagnostic::error("container-name", message)));
    }
    let mut networks = Vec::new();
    let mut network_mode = None;
    for name in &args.network {
        match name.as_str() {
            "none" => network_mode = Some(NetworkMode::None),
            "host" => network_mode = Some(NetworkMode::Host),
            "bridge" | "default" => {}
            name => match name.strip_prefix("container:") {
                Some(other) => network_mode = Some(NetworkMode::Container(other.to_owned())),
                None => networks.push(NetworkAttachment {
                    network: name.to_owned(),
                    aliases: args.network_alias.clone(),
                    ipv4_address: args.ip,
                    ipv6_address: args.kernel.ip6,
                    ..NetworkAttachment::default()
                }),
            },
        }
    }
    if network_mode.is_some() && args.network.len() > 1 {
        return Err(conflict("--network none, host and container:NAME stand alone"));
    }
    if network_mode == Some(NetworkMode::Host) && !args.publish.is_empty() {
        return Err(conflict("--publish has no effect with --network host; leave one of them out"));
    }
    args.kernel.place_mac_address(&mut networks, network_mode.is_none())?;
    let options = kernel_args::security(&args.security_opt, &here).map_err(|why| conflict(&why))?;
    Ok(ContainerRequest {
        name: args.name.clone(),
        image: image.clone(),
        // Docker: an empty entry point clears the image's.
        entrypoint: args
            .entrypoint
            .as_ref()
            .map(|text| if text.is_empty() { Vec::new() } else { vec![text.clone()] }),
        command: command.to_vec(),
        environment: environment(args)?,
        working_directory: args.workdir.clone(),
        user: args.user.clone(),
        group_add: args.group_add.clone(),
        hostname: args.hostname.clone(),
        domainname: args.kernel.domainname.clone(),
        labels: pairs(&args.label),
        annotations: pairs(&args.kernel.annotation),
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
        ports: all::<PublishedPort>(&args.publish, values::ports)?,
        publish_all: args.publish_all,
        extra_hosts: args.add_host.iter().map(|text| host(text)).collect::<Result<_>>()?,
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
            pids: args.pids_limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
            ..args.kernel.resources()?
        },
        ulimits: args.ulimit.clone(),
        sysctls: pairs(&args.sysctl),
        devices: args.device.clone(),
        device_rules: args.kernel.device_cgroup_rule.clone(),
        cgroup_parent: args.kernel.cgroup_parent.clone(),
        oom_score_adj: args.kernel.oom_score_adj,
        shm_size: args.shm_size,
        restart: args.restart,
        healthcheck: HealthRequest {
            disabled: args.no_healthcheck,
            command: args.health_cmd.clone().map(HealthCommand::Shell),
            interval: args.health_interval,
            timeout: args.health_timeout,
            start_period: args.health_start_period,
            start_interval: args.health_start_interval,
            retries: args.health_retries,
        },
        stop_signal: args.stop_signal.clone(),
        stop_grace_seconds: args.stop_timeout,
        log: log(args)?,
    })
}

fn environment(args: &ContainerArgs) -> Result<IndexMap<String, String>> {
    let mut environment = IndexMap::new();
    let caller = |name: &str| std::env::var(name).ok();
    for path in &args.env_file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            conflict(&format!("cannot read the variables in {}: {error}", path.display()))
        })?;
        // Docker's own format here: a line is taken as it is, quotes included.
        let lines =
            text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            environment.extend(values::variable(line, caller).map_err(|why| conflict(&why))?);
        }
    }
    for text in &args.env {
        environment.extend(values::variable(text, caller).map_err(|why| conflict(&why))?);
    }
    Ok(environment)
}

fn mounts(args: &ContainerArgs, here: &Path) -> Result<Vec<Mount>> {
    let volumes = args.volume.iter().map(|text| values::volume(text, here));
    let mounts = args.mount.iter().map(|text| values::mount(text, here));
    let tmpfs = args.tmpfs.iter().map(|text| values::tmpfs(text));
    volumes.chain(mounts).chain(tmpfs).collect::<Result<_, String>>().map_err(|why| conflict(&why))
}

fn log(args: &ContainerArgs) -> Result<LogOptions> {
    let mut options = LogOptions { disabled: args.log_driver == "none", ..LogOptions::default() };
    for (name, value) in pairs(&args.log_opt) {
        match name.as_str() {
            "max-size" => options.max_size = values::bytes(&value).map_err(|why| conflict(&why))?.max(1),
            "max-file" => {
                let count = value.parse().ok().filter(|count| *count > 0);
                options.max_files =
                    count.ok_or_else(|| conflict(&format!("max-file `{value}` is no count")))?;
            }
            "compress" | "mode" | "max-buffer-size" | "tag" | "labels" | "env" => {}
            other => return Err(conflict(&format!("log option `{other}` is not known"))),
        }
    }
    Ok(options)
}

fn all<T>(texts: &[String], parse: impl Fn(&str) -> Result<Vec<T>, String>) -> Result<Vec<T>> {
    let lists: Vec<Vec<T>> =
        texts.iter().map(|text| parse(text)).collect::<Result<_, String>>().map_err(|why| conflict(&why))?;
    Ok(lists.into_iter().flatten().collect())
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}

fn host(text: &str) -> Result<(String, String)> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = split.ok_or_else(|| conflict(&format!("`{text}` is not of the form HOST:IP")))?;
    if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
        return Err(conflict(&format!("`{address}` is no IP address")));
    }
    Ok((name.to_owned(), address.to_owned()))
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

fn conflict(message: &str) -> Failure {
    Failure::user(Diagnostic::error("usage", message))
}

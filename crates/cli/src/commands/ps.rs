//! `coracle ps`: containers, or an environment's services.

pub mod filter;

use coracle_container::{ContainerState, HealthStatus, MountKind, NetworkMode, Protocol, PublishedPort};
use coracle_engine::{ContainerView, Engine, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::filter::Filters;
use super::Done;
use super::flag_error::bad_flag;
use super::target::{self, ProjectArgs, Target};
use crate::context::Context;
use crate::table::{Table, ago, size};
use crate::template::Template;

/// Options of `coracle ps`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An environment of the project here, then services; nothing means all containers.
    pub words: Vec<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Show containers that do not run, too.
    #[arg(short, long)]
    pub all: bool,
    /// Only some: ancestor=, before=, exited=, expose=, health=, id=, label=, name=, network=, publish=, since=, status=,
    /// volume=; the same key twice means either.
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Only the last that were made, whether they run or not; -1 is all.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = -1, allow_negative_numbers = true)]
    pub last: i64,
    /// Only the one that was made last, whether it runs or not.
    #[arg(short, long)]
    pub latest: bool,
    /// Print only ids.
    #[arg(short, long)]
    pub quiet: bool,
    /// Show how much each wrote, and how much it is with its image.
    #[arg(short, long)]
    pub size: bool,
    /// Do not shorten.
    #[arg(long)]
    pub no_trunc: bool,
    /// `table`, `json`, `table TEMPLATE` or a template such as '{{.ID}} {{.Names}}'.
    #[arg(long, default_value = "table")]
    pub format: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let template = Template::parse(&args.format).map_err(|why| bad_flag("--format", &why))?;
    let filters = Filters::read(&args.filter, &filter::KEYS)?;
    let last = if args.latest { 1 } else { args.last };
    let engine = context.quiet_engine()?;
    let (mut views, services) = match target::decide(&engine, &args.project, args.words)? {
        Target::Environment(selection, services) => {
            let project = engine.projects().load(&selection)?;
            (engine.projects().containers(&project, &services)?, true)
        }
        Target::Containers(words) if words.is_empty() => (engine.containers().list()?, false),
        Target::Containers(words) => {
            let found: Result<Vec<_>> = words.iter().map(|word| engine.containers().find(word)).collect();
            (found?, false)
        }
    };
    let all = args.all || services || last >= 0 || filters.concern_all();
    views.retain(|view| all || view.state.has_shim());
    filters.retain(&engine, &mut views)?;
    if let Ok(last) = usize::try_from(last) {
        views.truncate(last);
    }
    if args.quiet {
        for view in &views {
            context.printer.data(if args.no_trunc {
                view.record.id.as_str()
            } else {
                view.record.id.short()
            });
        }
        return Ok(Done::Ok);
    }
    if template.is_none() && services {
        context.printer.raw_data(service_table(&views).as_bytes());
        return Ok(Done::Ok);
    }
    let measured = args.size || args.format.contains(".Size");
    let row = |view: &ContainerView| row(&engine, view, args.no_trunc, measured);
    let rows: Vec<Value> = views.iter().map(row).collect::<Result<_>>()?;
    let text = match template {
        Some(template) => template.render(&rows).map_err(|why| bad_flag("--format", &why))?,
        None => container_table(&rows, args.size),
    };
    context.printer.raw_data(text.as_bytes());
    Ok(Done::Ok)
}

fn container_table(rows: &[Value], sizes: bool) -> String {
    let mut columns = vec![
        ("CONTAINER ID", "ID"),
        ("IMAGE", "Image"),
        ("COMMAND", "Command"),
        ("CREATED", "RunningFor"),
        ("STATUS", "Status"),
        ("PORTS", "Ports"),
        ("NAMES", "Names"),
    ];
    columns.extend(sizes.then_some(("SIZE", "Size")));
    let mut table = Table::new(&columns.iter().map(|(heading, _)| *heading).collect::<Vec<_>>());
    for row in rows {
        table.row(columns.iter().map(|(_, key)| row[*key].as_str().unwrap_or_default().to_owned()).collect());
    }
    table.render()
}

fn service_table(views: &[ContainerView]) -> String {
    let mut table = Table::new(&["SERVICE", "NAME", "IMAGE", "STATUS", "PORTS"]);
    for view in views {
        let spec = &view.record.spec;
        let service = view.service().unwrap_or_default().to_owned();
        table.row(vec![
            service,
            spec.name.clone(),
            spec.image.clone(),
            status(&view.state),
            ports(&view.ports),
        ]);
    }
    table.render()
}

/// Returns what is known of a container under the names of Docker's fields, and of ours: `Name`, `Service`, `Health` and
/// `ExitCode`.
fn row(engine: &Engine, view: &ContainerView, whole: bool, measured: bool) -> Result<Value> {
    let spec = &view.record.spec;
    let id = if whole { view.record.id.as_str() } else { view.record.id.short() };
    let command = spec.entrypoint.iter().chain(&spec.command).cloned().collect::<Vec<_>>().join(" ");
    let short = |text: String, length: usize| {
        if whole || text.chars().count() <= length {
            text
        } else {
            text.chars().take(length - 1).chain(['…']).collect()
        }
    };
    let mounts = spec.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source, .. } => Some(source.display().to_string()),
        MountKind::Volume { name, .. } => Some(name.clone()),
        MountKind::Tmpfs { .. } | MountKind::Image { .. } => None,
    });
    let mounts: Vec<String> = mounts.map(|mount| short(mount, 15)).collect();
    let volumes = spec.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Volume { .. })).count();
    let networks: Vec<&str> = match spec.network_mode {
        NetworkMode::Bridge => spec.networks.iter().map(|network| network.network.as_str()).collect(),
        NetworkMode::None => vec!["none"],
        NetworkMode::Host => vec!["host"],
        NetworkMode::Container(_) => Vec::new(),
    };
    let labels: Vec<String> = spec.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let written = if measured {
        let sizes = engine.containers().sizes(&view.record.id)?;
        format!("{} (virtual {})", size(sizes.own), size(sizes.own.saturating_add(sizes.image)))
    } else {
        size(0)
    };
    Ok(json!({
        "ID": id, "Name": spec.name, "Names": spec.name, "Service": view.service(), "Image": spec.image,
        "Command": format!("\"{}\"", short(command, 20)),
        "State": view.state.word(), "Status": status(&view.state),
        "Health": view.state.health().map(|health| health.status),
        "ExitCode": match &view.state { ContainerState::Exited { code, .. } => Some(*code), _ => None },
        "Ports": all_ports(view), "CreatedAt": view.record.created.to_string(),
        "RunningFor": format!("{} ago", ago(since(view.record.created))),
        "Labels": labels.join(","), "Mounts": mounts.join(","), "LocalVolumes": volumes.to_string(),
        "Networks": networks.join(","), "Size": written,
    }))
}

/// Returns published ports, and of one that runs those that it only listens on.
fn all_ports(view: &ContainerView) -> String {
    let mut texts = vec![ports(&view.ports)];
    if view.state.is_running() {
        let published = |text: &str| {
            view.ports.iter().any(|port| {
                let protocol = if port.protocol == Protocol::Tcp { "tcp" } else { "udp" };
                text == format!("{}/{protocol}", port.container_port)
            })
        };
        texts.extend(view.record.spec.exposed.iter().filter(|text| !published(text)).cloned());
    }
    texts.retain(|text| !text.is_empty());
    texts.join(", ")
}

/// Returns the seconds since then.
pub fn since(time: Timestamp) -> i64 {
    Timestamp::now().duration_since(time).as_secs().max(0)
}

/// Returns Docker's sentence: `Up 5 seconds (healthy)`, `Exited (1) 2 minutes ago`.
pub fn status(state: &ContainerState) -> String {
    match state {
        ContainerState::Created => "Created".to_owned(),
        ContainerState::Running { since: start, health, .. } => {
            let up = format!("Up {}", ago(since(*start)));
            match health.as_ref().map(|health| health.status) {
                None => up,
                Some(HealthStatus::Starting) => format!("{up} (health: starting)"),
                Some(HealthStatus::Healthy) => format!("{up} (healthy)"),
                Some(HealthStatus::Unhealthy) => format!("{up} (unhealthy)"),
            }
        }
        ContainerState::Paused { since: start, .. } => format!("Up {} (Paused)", ago(since(*start))),
        ContainerState::Restarting { code, .. } => format!("Restarting ({code})"),
        ContainerState::Exited { code, at, .. } => format!("Exited ({code}) {} ago", ago(since(*at))),
    }
}

/// Returns published ports as Docker writes them: `0.0.0.0:8080->80/tcp`.
pub fn ports(ports: &[PublishedPort]) -> String {
    let word = |port: &PublishedPort| {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        match (port.host_ip, port.host_port) {
            (_, None) => format!("{}/{protocol}", port.container_port),
            (None, Some(host)) => format!("0.0.0.0:{host}->{}/{protocol}", port.container_port),
            (Some(ip), Some(host)) => {
                format!("{}->{}/{protocol}", std::net::SocketAddr::new(ip, host), port.container_port)
            }
        }
    };
    ports.iter().map(word).collect::<Vec<_>>().join(", ")
}

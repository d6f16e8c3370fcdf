//! `coracle compose ps`: the containers of a project.

use coracle_container::{ContainerState, HealthStatus, MountKind, Protocol};
use coracle_engine::{ContainerView, OpenProject, Result};
use serde_json::{Value, json};

use super::options::{self, Session, usage};
use crate::commands::Done;
use crate::commands::ps::{ports, since, status};
use crate::table::{Table, ago};
use crate::template::Template;

/// Length at which Docker shortens a command.
const COMMAND: usize = 20;

const EXAMPLES: &str = "\
Examples:
  coracle compose ps                                        what runs
  coracle compose ps -a --format json                       all, for programs
  coracle compose ps --format 'table {{.Service}}\\t{{.State}}'
  coracle compose ps --services --status exited
";

/// Options of `coracle compose ps`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of Docker Compose's")]
pub struct Args {
    /// Services; all when none is named.
    #[arg(add = options::services())]
    services: Vec<String>,
    /// Show containers that do not run, and those of one-time runs, too.
    #[arg(short, long)]
    all: bool,
    /// `table`, `table TEMPLATE`, `json`, or a template such as '{{.Name}}'.
    #[arg(long, default_value = "table")]
    format: String,
    /// Only containers of this status: `status=running`.
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not shorten.
    #[arg(long)]
    no_trunc: bool,
    /// Whether containers are shown whose service the files no longer name.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    orphans: Option<bool>,
    /// Print only ids.
    #[arg(short, long)]
    quiet: bool,
    /// Print only names of services.
    #[arg(long = "services", id = "only_services")]
    only_services: bool,
    /// Only containers of this status.
    #[arg(long, value_name = "STATUS", value_parser = ["paused", "restarting", "removing", "running", "dead", "created", "exited"])]
    status: Vec<String>,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let mut wanted = args.status.clone();
    for filter in &args.filter {
        match filter.split_once('=') {
            Some(("status", status)) => wanted.push(status.to_owned()),
            _ => return Err(usage(format!("`{filter}` is no filter; write it as status=running"))),
        }
    }
    let template = Template::parse(&args.format).map_err(usage)?;
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, &args.services)?;
    engine.projects().check_services_of(&project, &args.services)?;
    let mut views = engine.projects().containers_of(&project)?;
    views.retain(|view| is_shown(view, &args, &wanted, &project));
    let printer = session.context.printer;
    if args.quiet {
        views.iter().for_each(|view| printer.data(view.record.id.as_str()));
    } else if args.only_services {
        let mut names: Vec<&str> = views.iter().filter_map(ContainerView::service).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().for_each(|name| printer.data(name));
    } else if let Some(template) = template {
        let rows: Vec<Value> = views.iter().map(|view| row(view, args.no_trunc)).collect();
        printer.raw_data(template.render(&rows).map_err(usage)?.as_bytes());
    } else {
        printer.raw_data(table(&views, args.no_trunc).as_bytes());
    }
    Ok(Done::Ok)
}

fn is_shown(view: &ContainerView, args: &Args, wanted: &[String], project: &OpenProject) -> bool {
    let service = view.service().unwrap_or_default();
    if !args.services.is_empty() && !args.services.iter().any(|name| name == service) {
        return false;
    }
    if args.orphans == Some(false) && !project.names(service) {
        return false;
    }
    if !wanted.is_empty() {
        return wanted.iter().any(|status| status == view.state.word()) && (args.all || !view.is_one_off());
    }
    args.all || view.state.has_shim() && !view.is_one_off()
}

fn table(views: &[ContainerView], whole: bool) -> String {
    let mut table = Table::new(&["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]);
    for view in views {
        table.row(vec![
            view.record.spec.name.clone(),
            view.record.spec.image.clone(),
            command(view, whole),
            view.service().unwrap_or_default().to_owned(),
            format!("{} ago", ago(since(view.record.created))),
            status(&view.state),
            ports(&view.ports),
        ]);
    }
    table.render()
}

/// Returns a container's command as a shell would take it, within quotes, shortened as Docker shortens it.
fn command(view: &ContainerView, whole: bool) -> String {
    let spec = &view.record.spec;
    let word = |word: &String| {
        let plain =
            !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"$&;|<>()*?`\\".contains(c));
        if plain { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let text = spec.entrypoint.iter().chain(&spec.command).map(word).collect::<Vec<_>>().join(" ");
    let text = if whole || text.chars().count() <= COMMAND {
        text
    } else {
        text.chars().take(COMMAND - 1).chain(['…']).collect()
    };
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Returns what is known of a container, by Docker Compose's names.
fn row(view: &ContainerView, whole: bool) -> Value {
    let spec = &view.record.spec;
    let labels: Vec<String> = spec.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mounts: Vec<String> = spec
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Bind { source, .. } => Some(source.display().to_string()),
            MountKind::Volume { name, .. } => Some(name.clone()),
            MountKind::Tmpfs { .. } | MountKind::Image { .. } => None,
        })
        .collect();
    let volumes = spec.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Volume { .. })).count();
    let networks: Vec<&str> = spec.networks.iter().map(|attachment| attachment.network.as_str()).collect();
    let publishers: Vec<Value> = view
        .ports
        .iter()
        .map(|port| {
            json!({
                "URL": port.host_ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string()),
                "TargetPort": port.container_port, "PublishedPort": port.host_port.unwrap_or(0),
                "Protocol": match port.protocol { Protocol::Tcp => "tcp", Protocol::Udp => "udp" },
            })
        })
        .collect();
    let health = match view.state.health().map(|health| health.status).filter(|_| view.state.is_running()) {
        None => "",
        Some(HealthStatus::Starting) => "starting",
        Some(HealthStatus::Healthy) => "healthy",
        Some(HealthStatus::Unhealthy) => "unhealthy",
    };
    json!({
        "Command": command(view, whole),
        "CreatedAt": view.record.created.strftime("%Y-%m-%d %H:%M:%S %z UTC").to_string(),
        "ExitCode": match &view.state { ContainerState::Exited { code, .. } => *code, _ => 0 },
        "Health": health,
        "ID": if whole { view.record.id.as_str() } else { view.record.id.short() },
        "Image": spec.image, "Labels": labels.join(","), "LocalVolumes": volumes.to_string(),
        "Mounts": mounts.join(","), "Name": spec.name, "Names": spec.name, "Networks": networks.join(","),
        "Ports": ports(&view.ports), "Project": view.project(), "Publishers": publishers,
        "RunningFor": format!("{} ago", ago(since(view.record.created))),
        "Service": view.service(), "Size": "0B", "State": view.state.word(), "Status": status(&view.state),
    })
}

//! `coracle ps`: containers, or an environment's services.

use coracle_container::{ContainerState, HealthStatus, PublishedPort};
use coracle_engine::{ContainerView, Result};
use jiff::Timestamp;
use serde_json::json;

use super::Done;
use super::target::{self, ProjectArgs, Target};
use crate::context::Context;
use crate::table::{Table, ago};

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
    /// Print only ids.
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not shorten.
    #[arg(long)]
    pub no_trunc: bool,
    /// `table` or `json`.
    #[arg(long, default_value = "table", value_parser = ["table", "json"])]
    pub format: String,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
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
    if !args.all && !services {
        views.retain(|view| view.state.has_shim());
    }
    if args.quiet {
        for view in &views {
            context.printer.data(if args.no_trunc {
                view.record.id.as_str()
            } else {
                view.record.id.short()
            });
        }
    } else if args.format == "json" {
        views.iter().for_each(|view| context.printer.data(render_json(view).to_string()));
    } else if services {
        context.printer.raw_data(service_table(&views).as_bytes());
    } else {
        context.printer.raw_data(container_table(&views, args.no_trunc).as_bytes());
    }
    Ok(Done::Ok)
}

fn container_table(views: &[ContainerView], whole: bool) -> String {
    let mut table = Table::new(&["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]);
    for view in views {
        let spec = &view.record.spec;
        let command = spec.entrypoint.iter().chain(&spec.command).cloned().collect::<Vec<_>>().join(" ");
        let command = if whole || command.chars().count() <= 20 {
            command
        } else {
            command.chars().take(19).chain(['…']).collect()
        };
        table.row(vec![
            if whole { view.record.id.to_string() } else { view.record.id.short().to_owned() },
            spec.image.clone(),
            format!("\"{command}\""),
            format!("{} ago", ago(since(view.record.created))),
            status(&view.state),
            ports(&view.ports),
            spec.name.clone(),
        ]);
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

fn render_json(view: &ContainerView) -> serde_json::Value {
    let spec = &view.record.spec;
    json!({
        "ID": view.record.id.short(),
        "Name": spec.name,
        "Names": spec.name,
        "Service": view.service(),
        "Image": spec.image,
        "State": view.state.word(),
        "Status": status(&view.state),
        "Health": view.state.health().map(|health| health.status),
        "ExitCode": match &view.state { ContainerState::Exited { code, .. } => Some(*code), _ => None },
        "Ports": ports(&view.ports),
        "CreatedAt": view.record.created.to_string(),
        "Labels": spec.labels,
    })
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
            coracle_container::Protocol::Tcp => "tcp",
            coracle_container::Protocol::Udp => "udp",
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

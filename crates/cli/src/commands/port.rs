//! `coracle port`: where a container's ports are published.

use coracle_container::{Protocol, PublishedPort};
use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;

use super::Done;
use crate::context::Context;

/// Options of `coracle port`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container, by name or the beginning of its id.
    pub container: String,
    /// Only this port of the container.
    #[arg(value_name = "PORT[/PROTOCOL]")]
    pub port: Option<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let wanted = args.port.as_deref().map(port).transpose()?;
    let engine = context.quiet_engine()?;
    let view = engine.containers().find(&args.container)?;
    let published = |port: &&PublishedPort| {
        port.host_port.is_some()
            && wanted
                .is_none_or(|(number, protocol)| port.container_port == number && port.protocol == protocol)
    };
    let mut found: Vec<&PublishedPort> = view.ports.iter().filter(published).collect();
    found.sort_by_key(|port| (port.container_port, port.protocol, port.host_port));
    if let (Some(text), true) = (&args.port, found.is_empty()) {
        let message = format!("container `{}` publishes no port {text}", view.record.spec.name);
        return Err(Failure::user(
            Diagnostic::error("not-published", message)
                .with_hint(format!("what it publishes: coracle port {}", view.record.spec.name)),
        ));
    }
    for port in found {
        let inside = format!("{}/{}", port.container_port, word(port.protocol));
        for address in addresses(port) {
            context.printer.data(match wanted {
                Some(_) => address,
                None => format!("{inside} -> {address}"),
            });
        }
    }
    Ok(Done::Ok)
}

/// Returns where a port is reached; one on every address is so in both families.
fn addresses(port: &PublishedPort) -> Vec<String> {
    let number = port.host_port.unwrap_or_default();
    match port.host_ip {
        Some(ip) => vec![std::net::SocketAddr::new(ip, number).to_string()],
        None => vec![format!("0.0.0.0:{number}"), format!("[::]:{number}")],
    }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn port(text: &str) -> Result<(u16, Protocol)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    };
    number.parse().ok().filter(|number| *number > 0).zip(protocol).ok_or_else(|| {
        let message = format!("`{text}` is no port");
        Failure::user(Diagnostic::error("bad-value", message).with_hint("write it as 80 or 53/udp"))
    })
}

//! `coracle compose port`: where a container's port is published.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use coracle_container::Protocol;
use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;

use super::options::{self, Session};
use crate::commands::Done;
use crate::commands::ps::ports;

/// Options of `coracle compose port`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service.
    #[arg(add = options::services())]
    service: String,
    /// The port inside.
    private_port: u16,
    /// The container of this number.
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// tcp or udp.
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp"])]
    protocol: String,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let project = session.open(&engine, std::slice::from_ref(&args.service))?;
    let view = engine.projects().running_container(&project, &args.service, args.index)?;
    let protocol = if args.protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
    let found =
        view.ports.iter().find(|port| port.container_port == args.private_port && port.protocol == protocol);
    let Some((port, number)) = found.and_then(|port| Some((port, port.host_port?))) else {
        let name = &view.record.spec.name;
        let message = format!("container `{name}` does not publish {}/{}", args.private_port, args.protocol);
        let mut diagnostic = Diagnostic::error("no-such-port", message);
        if !view.ports.is_empty() {
            diagnostic = diagnostic.with_note(format!("it publishes {}", ports(&view.ports)));
        }
        return Err(Failure::user(diagnostic));
    };
    let ip = port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    session.context.printer.data(SocketAddr::new(ip, number).to_string());
    Ok(Done::Ok)
}

//! `coracle network`: bridge networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use coracle_engine::{Failure, Ipv6Request, NetworkRequest, Result};
use coracle_report::Diagnostic;
use serde_json::json;

use super::{Done, each};
use crate::context::Context;
use crate::table::Table;

/// Commands on networks.
#[derive(Debug, clap::Subcommand)]
pub enum Network {
    /// Make a bridge network.
    Create {
        /// Its addresses, e.g. 10.20.0.0/24.
        #[arg(long)]
        subnet: Vec<String>,
        /// The bridge's address.
        #[arg(long)]
        gateway: Vec<IpAddr>,
        /// Give it IPv6 addresses too.
        #[arg(long)]
        ipv6: bool,
        /// The part of its addresses that containers get.
        #[arg(long, value_name = "SUBNET")]
        ip_range: Option<String>,
        /// An address that no container gets unless it asks.
        #[arg(long, value_name = "NAME=IP")]
        aux_address: Vec<String>,
        /// Reach nothing outside.
        #[arg(long)]
        internal: bool,
        /// Containers may be attached by hand; they always may.
        #[arg(long)]
        attachable: bool,
        /// Set an option of the driver.
        #[arg(short, long, value_name = "NAME=VALUE")]
        opt: Vec<String>,
        /// Set a label.
        #[arg(long, value_name = "NAME[=VALUE]")]
        label: Vec<String>,
        /// The driver; there is one.
        #[arg(short, long, default_value = "bridge", value_parser = ["bridge"])]
        driver: String,
        /// Its name.
        name: String,
    },
    /// List networks.
    #[command(visible_alias = "list")]
    Ls {
        /// Print only names.
        #[arg(short, long)]
        quiet: bool,
        /// `table` or `json`.
        #[arg(long, default_value = "table", value_parser = ["table", "json"])]
        format: String,
    },
    /// Show everything known about networks, as JSON.
    Inspect {
        /// Networks.
        #[arg(required = true, value_name = "NETWORK")]
        names: Vec<String>,
    },
    /// Remove networks.
    #[command(visible_alias = "remove")]
    Rm {
        /// Networks.
        #[arg(required = true, value_name = "NETWORK")]
        names: Vec<String>,
    },
}

/// Runs the command.
pub fn run(context: &Context, command: Network) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let networks = engine.networks();
    match command {
        Network::Create {
            subnet,
            gateway,
            ipv6,
            ip_range: range,
            aux_address,
            internal,
            attachable: _,
            opt,
            label,
            driver: _,
            name,
        } => {
            let mut reserved = BTreeMap::new();
            for (name, text) in pairs(&aux_address) {
                let address = text.parse().map_err(|_| {
                    let message = format!("--aux-address `{name}={text}` is not of the form NAME=IP");
                    Failure::user(Diagnostic::error("usage", message))
                })?;
                reserved.insert(name, address);
            }
            let (driver_options, labels) = (pairs(&opt), pairs(&label));
            let (subnet, subnet6) = one_of_each(subnet, |text| text.contains(':'), "--subnet")?;
            let (gateway, gateway6) = one_of_each(gateway, IpAddr::is_ipv6, "--gateway")?;
            let gateway = gateway.and_then(|gateway| match gateway {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
            let gateway6 = gateway6.and_then(|gateway| match gateway {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(address),
            });
            if !ipv6 && (subnet6.is_some() || gateway6.is_some()) {
                let message = "an IPv6 subnet or gateway needs --ipv6";
                return Err(Failure::user(Diagnostic::error("usage", message)));
            }
            let ipv6 = ipv6.then_some(Ipv6Request { subnet: subnet6, gateway: gateway6 });
            let request = NetworkRequest {
                name,
                subnet,
                gateway,
                range,
                reserved,
                ipv6,
                internal,
                driver_options,
                labels,
            };
            let record = networks.create(request)?;
            context.printer.data(record.id);
        }
        Network::Ls { quiet, format } => {
            let records = networks.list()?;
            if quiet {
                records.iter().for_each(|record| context.printer.data(&record.name));
            } else if format == "json" {
                for record in &records {
                    let line = json!({
                        "ID": record.id, "Name": record.name, "Driver": "bridge", "Scope": "local",
                        "Internal": record.internal, "Subnet": record.subnet.to_string(),
                    });
                    context.printer.data(line.to_string());
                }
            } else {
                let mut table = Table::new(&["NETWORK ID", "NAME", "DRIVER", "SUBNET"]);
                for record in &records {
                    let id: String = record.id.chars().take(12).collect();
                    table.row(vec![id, record.name.clone(), "bridge".to_owned(), record.subnet.to_string()]);
                }
                context.printer.raw_data(table.render().as_bytes());
            }
        }
        Network::Inspect { names } => {
            let values: Result<Vec<_>> = names.iter().map(|name| networks.inspect(name)).collect();
            let text = serde_json::to_string_pretty(&values?);
            context.printer.data(text.map_err(|error| Failure::ours("writing JSON", &error))?);
        }
        Network::Rm { names } => return Ok(each(context, &names, |name| networks.remove(name))),
    }
    Ok(Done::Ok)
}

/// Parts what is of IPv4 from what is of IPv6; a network has one of each.
fn one_of_each<T>(
    given: Vec<T>,
    is_ipv6: impl Fn(&T) -> bool,
    option: &str,
) -> Result<(Option<T>, Option<T>)> {
    let (mut four, mut six) = (None, None);
    for value in given {
        let place = if is_ipv6(&value) { &mut six } else { &mut four };
        if place.replace(value).is_some() {
            let message = format!("a bridge network has one {option} of each kind");
            return Err(Failure::user(Diagnostic::error("usage", message)));
        }
    }
    Ok((four, six))
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}

//! Options of `coracle build` that concern `RUN` steps.

use coracle_container::Ulimit;
use coracle_engine::{
    AgentSource, BuildNetwork, Failure, HostAddress, ProcessLimit, Result, RunOptions, Sandbox, SecretSource,
    allow,
};
use coracle_oci::Platform;
use coracle_report::Diagnostic;

use crate::values;

/// What `RUN` steps are given.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "RUN steps")]
pub struct RunArgs {
    /// Give a secret to --mount=type=secret: id=NAME[,src=FILE|,env=VARIABLE]. No layer holds it.
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<SecretSource>,
    /// Lend an SSH agent to --mount=type=ssh: default, ID=SOCKET or ID=KEY[,KEY...].
    #[arg(long, value_name = "ID[=PATH]")]
    pub ssh: Vec<AgentSource>,
    /// Network of steps that ask for none in particular.
    #[arg(long, value_enum, default_value_t)]
    pub network: NetworkArg,
    /// Let steps have what they ask for: network.host, security.insecure.
    #[arg(long, value_name = "ENTITLEMENT")]
    pub allow: Vec<String>,
    /// Add a line to /etc/hosts of steps; ADDRESS may be host-gateway.
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<String>,
    /// Size of /dev/shm.
    #[arg(long, value_name = "SIZE", value_parser = values::bytes)]
    pub shm_size: Option<u64>,
    /// Limit of processes.
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = values::ulimit)]
    pub ulimit: Vec<Ulimit>,
    /// Build for these platforms, e.g. linux/amd64,linux/arm64; several make one image with an entry for each.
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', value_parser = platform, help_heading = None)]
    pub platform: Vec<Platform>,
    /// Most memory of a step.
    #[arg(short, long, value_name = "SIZE", value_parser = values::bytes)]
    pub memory: Option<u64>,
    /// Not supported: steps have control groups of their own.
    #[arg(long, hide = true, value_name = "GROUP")]
    pub cgroup_parent: Option<String>,
}

/// The network of `RUN` steps.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum NetworkArg {
    /// A network of its own with access to the outside.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

impl RunArgs {
    /// Returns what they mean.
    pub fn options(self) -> Result<RunOptions> {
        let usage = |why: String| Failure::user(Diagnostic::error("usage", why));
        if let Some(group) = &self.cgroup_parent {
            return Err(usage(format!(
                "--cgroup-parent={group} is not supported: every step has a control group of its own, made and removed with it"
            ))
            .with_hint("limit the steps instead: --memory, --ulimit"));
        }
        let mut options = RunOptions {
            secrets: self.secret,
            agents: self.ssh,
            network: match self.network {
                NetworkArg::Default => BuildNetwork::Default,
                NetworkArg::None => BuildNetwork::None,
                NetworkArg::Host => BuildNetwork::Host,
            },
            platforms: self.platform,
            ..RunOptions::default()
        };
        for text in self.allow.iter().flat_map(|text| text.split(',')) {
            allow(text, &mut options.allow).map_err(usage)?;
        }
        options.sandbox = Sandbox {
            extra_hosts: self.add_host.iter().map(|text| host(text).map_err(usage)).collect::<Result<_>>()?,
            ulimits: self
                .ulimit
                .into_iter()
                .map(|limit| ProcessLimit { name: limit.name, soft: limit.soft, hard: limit.hard })
                .collect(),
            shm_size: self.shm_size,
            memory: self.memory,
        };
        Ok(options)
    }
}

/// Reads a platform as people write it; `local` is the host's.
fn platform(text: &str) -> std::result::Result<Platform, String> {
    if text == "local" { Ok(Platform::host()) } else { Platform::written(text) }
}

/// Reads `NAME:ADDRESS` or `NAME=ADDRESS`.
fn host(text: &str) -> std::result::Result<(String, HostAddress), String> {
    let why = || format!("`{text}` is not a host: write it as NAME:ADDRESS, or NAME:host-gateway");
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(why)?;
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(why());
    }
    let address = match address {
        "host-gateway" => HostAddress::HostGateway,
        address => HostAddress::Ip(address.parse().map_err(|_| why())?),
    };
    Ok((name.to_owned(), address))
}

//! The packet filter's table as data: chains of rules of matches and a statement, and its text in nft's own syntax.
//!
//! Holds only the words that `rules` uses. Decides nothing; `nftables` encodes it for the kernel.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::port::Protocol;
use crate::subnet::Subnet;

/// The table's name, in family `inet`.
pub const TABLE: &str = "coracle";

/// How long a map of clients knows one: the first packet of its connection follows at once.
pub const CLIENT: Duration = Duration::from_secs(30);

/// Everything in our table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Maps from a local port to a client's address, by name. Filled by the keepers, for each connection that they carry.
    pub clients: Vec<String>,
    /// Chains; one that is jumped to comes before those that jump.
    pub chains: Vec<Chain>,
}

/// A list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter it; none for a chain that is jumped to.
    pub hook: Option<Hook>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// The places in the kernel where a chain of ours sees packets. Each implies the chain's type and priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// filter, before everything else.
    Raw,
    /// nat, before routing.
    Prerouting,
    /// filter, for this host.
    Input,
    /// filter, through this host.
    Forward,
    /// nat, made by this host.
    Output,
    /// filter, made by this host.
    OutputFilter,
    /// nat, about to leave.
    Postrouting,
}

/// All matches hold: the statement is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What must hold.
    pub matches: Vec<Match>,
    /// What is done.
    pub statement: Statement,
}

/// Whether a match wants equality or its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// Equal.
    Is,
    /// Not equal.
    IsNot,
}

/// One condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It came in by the link of this name; a final `*` stands for any rest.
    Input(Sense, String),
    /// It goes out by the link of this name; a final `*` stands for any rest.
    Output(Sense, String),
    /// Its IPv4 source lies within.
    Source(Sense, Subnet),
    /// Its IPv4 destination lies within.
    Destination(Sense, Subnet),
    /// Its IPv6 destination is this address.
    Destination6(Ipv6Addr),
    /// It is of IPv6.
    Ipv6,
    /// It is of this protocol.
    Transport(Protocol),
    /// It is the first of each so many that are asked; each rule counts for itself.
    Turn(u32),
    /// Its destination is an address of this host.
    DestinationLocal,
    /// It is for this port.
    DestinationPort(Protocol, u16),
    /// It belongs to a connection that was let through, or is related to one.
    StateEstablished,
    /// Its connection's destination was translated: it came by a published port.
    StatusDnat,
}

/// What is done with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Let it go on to other tables.
    Accept,
    /// Drop it.
    Drop,
    /// Go through another chain, then come back.
    Jump(String),
    /// Give it the address of the link that it leaves by.
    Masquerade,
    /// Send it to this address, and to this port unless it keeps its own.
    Dnat(IpAddr, Option<u16>),
    /// Answer that nobody listens.
    Refuse(Refusal),
    /// Give it the address that the map of this name has for its source port of this protocol; go on if it has none.
    SnatClient(Protocol, String),
}

/// How a sender is told that nobody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By the end of its connection: at once, also to a process that waits for it.
    Reset,
    /// By an error message.
    Unreachable,
}

impl Chain {
    /// Returns a chain at a hook.
    pub fn base(name: &str, hook: Hook, rules: Vec<Rule>) -> Self {
        Self { name: name.to_owned(), hook: Some(hook), rules }
    }

    /// Returns a chain that is jumped to.
    pub fn regular(name: &str, rules: Vec<Rule>) -> Self {
        Self { name: name.to_owned(), hook: None, rules }
    }
}

impl Rule {
    /// Returns the rule that does `statement` where all of `matches` hold.
    pub fn new(matches: impl IntoIterator<Item = Match>, statement: Statement) -> Self {
        Self { matches: matches.into_iter().collect(), statement }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        for name in &self.clients {
            let seconds = CLIENT.as_secs();
            writeln!(f, "\tmap {name} {{")?;
            writeln!(
                f,
                "\t\ttype inet_service : ipv4_addr\n\t\tflags timeout\n\t\ttimeout {seconds}s\n\t}}\n"
            )?;
        }
        for (index, chain) in self.chains.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "\tchain {} {{", chain.name)?;
            if let Some(hook) = chain.hook {
                writeln!(f, "\t\ttype {hook}; policy accept;")?;
            }
            for rule in &chain.rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "filter hook prerouting priority raw",
            Self::Prerouting => "nat hook prerouting priority dstnat",
            Self::Input => "filter hook input priority filter",
            Self::Forward => "filter hook forward priority filter",
            // nft has a word for this priority only at prerouting.
            Self::Output => "nat hook output priority -100",
            Self::OutputFilter => "filter hook output priority filter",
            Self::Postrouting => "nat hook postrouting priority srcnat",
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        match &self.statement {
            Statement::Accept => f.write_str("accept"),
            Statement::Drop => f.write_str("drop"),
            Statement::Jump(chain) => write!(f, "jump {chain}"),
            Statement::Masquerade => f.write_str("masquerade"),
            Statement::Dnat(IpAddr::V4(address), None) => write!(f, "dnat ip to {address}"),
            Statement::Dnat(IpAddr::V4(address), Some(port)) => write!(f, "dnat ip to {address}:{port}"),
            Statement::Dnat(IpAddr::V6(address), None) => write!(f, "dnat ip6 to {address}"),
            Statement::Dnat(IpAddr::V6(address), Some(port)) => write!(f, "dnat ip6 to [{address}]:{port}"),
            Statement::SnatClient(protocol, map) => write!(f, "snat ip to {protocol} sport map @{map}"),
            Statement::Refuse(Refusal::Reset) => f.write_str("reject with tcp reset"),
            Statement::Refuse(Refusal::Unreachable) => f.write_str("reject"),
        }
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Is => "",
            Self::IsNot => "!= ",
        })
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(sense, name) => write!(f, "iifname {sense}\"{name}\""),
            Self::Output(sense, name) => write!(f, "oifname {sense}\"{name}\""),
            Self::Source(sense, subnet) => write!(f, "ip saddr {sense}{}", Addresses(*subnet)),
            Self::Destination(sense, subnet) => write!(f, "ip daddr {sense}{}", Addresses(*subnet)),
            Self::Destination6(address) => write!(f, "ip6 daddr {address}"),
            Self::Ipv6 => f.write_str("meta nfproto ipv6"),
            Self::Transport(protocol) => write!(f, "meta l4proto {protocol}"),
            Self::Turn(of) => write!(f, "numgen inc mod {of} 0"),
            Self::DestinationLocal => f.write_str("fib daddr type local"),
            Self::DestinationPort(protocol, port) => write!(f, "{protocol} dport {port}"),
            Self::StateEstablished => f.write_str("ct state established,related"),
            Self::StatusDnat => f.write_str("ct status dnat"),
        }
    }
}

/// A subnet as nft prints it: a single address without its prefix.
struct Addresses(Subnet);

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix() == 32 { write!(f, "{}", self.0.network()) } else { write!(f, "{}", self.0) }
    }
}

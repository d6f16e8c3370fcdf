//! Rules of ours in chains of iptables and firewalld: without them a host whose `FORWARD` policy is `DROP` (Docker sets it;
//! ufw does too) lets no packet of ours pass, not even between two containers of one bridge where bridges are filtered
//! (`net.bridge.bridge-nf-call-iptables`).
//!
//! They let pass what goes in or out by a bridge of ours, which our own table then judges; and, where `INPUT` drops,
//! questions to our name servers. Touched are the tables `filter` of iptables-nft and ip6tables-nft, at `DOCKER-USER`
//! (the chain that Docker leaves to others) or else the base chain itself, and firewalld's own. They come last, but before
//! a rule that ends every packet's way, so that what the administrator refuses stays refused. They carry a mark,
//! depend on no network but those whose bridge a user named, and go with our table.

use std::io;

use super::{Applied, encode, transact};
use crate::names::{BRIDGE_PREFIX, DEFAULT_BRIDGE};
use crate::netlink::NetlinkError;
use crate::netlink::connection::{Connection, Frame, Request, attributes};
use crate::port::Protocol;
use crate::rules::RuleSet;
use crate::table::{Match, Rule, Sense, Statement, TABLE};

/// What marks our rules, by their version.
const MARK: &str = "coracle 2";

/// The table of iptables that filters.
const FILTER: &str = "filter";

/// The table of firewalld, in family `inet`.
const FIREWALLD: &str = "firewalld";

/// Docker's chain for other people's rules; it goes through it first, and never empties it.
const DOCKER_USER: &str = "DOCKER-USER";

/// A chain of somebody else that drops what it does not know among the packets that pass through this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardDrop {
    /// The family of its table, e.g. `ip`.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name, e.g. `FORWARD`.
    pub chain: String,
}

/// Returns the chains of others that drop by policy what passes through this host, of any table. Those of iptables are
/// opened to us by [`super::apply`]; others are the administrator's to open. The legacy iptables is not seen.
pub fn forward_drops() -> Result<Vec<ForwardDrop>, NetlinkError> {
    let failed = |source| NetlinkError::new("list the packet filter's chains", source);
    let mut connection = Connection::open(libc::NETLINK_NETFILTER as isize).map_err(failed)?;
    let dropping = chains(&mut connection).map_err(failed)?.into_iter().filter(|chain| chain.drops(FORWARD));
    let named = dropping.filter_map(|chain| {
        let family = match chain.family {
            encode::FAMILY_INET => "inet",
            encode::FAMILY_IPV4 => "ip",
            encode::FAMILY_IPV6 => "ip6",
            _ => return None,
        };
        Some(ForwardDrop { family: family.to_owned(), table: chain.table, chain: chain.name })
    });
    Ok(named.collect())
}

/// Makes our rules be in the chains of iptables that need them, or (`wanted` false) in none.
pub(super) fn settle(
    connection: &mut Connection,
    all: &[Chain],
    wanted: bool,
    rules: &RuleSet,
) -> io::Result<Applied> {
    let mut requests = Vec::new();
    let bridges = bridges(rules);
    let mark = mark(&bridges);
    for chain in all.iter().filter(|chain| chain.may_hold_ours()) {
        let has_docker = || {
            all.iter().any(|other| {
                (other.family, other.table.as_str(), other.name.as_str())
                    == (chain.family, FILTER, DOCKER_USER)
            })
        };
        let rules = if !wanted {
            Vec::new()
        } else if chain.name == DOCKER_USER || (chain.closes(FORWARD) && !has_docker()) {
            forward_rules(&bridges)
        } else if chain.closes(INPUT) {
            input_rules(&bridges)
        } else {
            Vec::new()
        };
        requests.extend(replacement(connection, chain, &rules, &mark)?);
    }
    if requests.is_empty() {
        return Ok(Applied::Unchanged);
    }
    transact(connection, requests)?;
    Ok(Applied::Replaced)
}

/// Returns what makes our rules of one chain be `rules`; nothing if they are.
fn replacement(
    connection: &mut Connection,
    chain: &Chain,
    rules: &[Rule],
    mark: &str,
) -> io::Result<Vec<Request>> {
    let place = encode::Place { family: chain.family, table: &chain.table, chain: &chain.name };
    let listed = connection.dump(&encode::all_rules(place))?;
    let notes = listed.iter().filter_map(|frame| Some((encode::rule_note(&frame.body)?, frame)));
    let ours: Vec<(String, &Frame)> = notes.filter(|(note, _)| note.starts_with("coracle ")).collect();
    if ours.len() == rules.len() && ours.iter().all(|(note, _)| note == mark) {
        return Ok(Vec::new());
    }
    // Ours all have conditions.
    let last = listed.last().filter(|frame| encode::ends_all(&frame.body));
    let before = last.and_then(|frame| encode::rule_handle(&frame.body));
    let handles = ours.iter().filter_map(|(_, frame)| encode::rule_handle(&frame.body));
    let deletions = handles.map(|handle| encode::delete_rule(place, handle));
    let insertions = rules.iter().map(|rule| encode::insert_rule(place, before, rule, mark));
    Ok(deletions.chain(insertions).collect())
}

/// Returns the names of bridges of ours: patterns for those that we name, and the names that users chose.
fn bridges(rules: &RuleSet) -> Vec<String> {
    let chosen = rules.networks.iter().map(|network| network.bridge.clone());
    let mut chosen: Vec<String> =
        chosen.filter(|name| name != DEFAULT_BRIDGE && !name.starts_with(BRIDGE_PREFIX)).collect();
    chosen.sort();
    chosen.dedup();
    [DEFAULT_BRIDGE.to_owned(), format!("{BRIDGE_PREFIX}*")].into_iter().chain(chosen).collect()
}

/// Returns what marks our rules for these bridges.
fn mark(bridges: &[String]) -> String {
    let chosen = bridges.get(2..).unwrap_or_default();
    if chosen.is_empty() {
        return MARK.to_owned();
    }
    // A comment is short: a digest stands for the names.
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(chosen, &mut hasher);
    format!("{MARK} {:016x}", std::hash::Hasher::finish(&hasher))
}

fn forward_rules(bridges: &[String]) -> Vec<Rule> {
    let ways =
        |bridge: &String| [Match::Input(Sense::Is, bridge.clone()), Match::Output(Sense::Is, bridge.clone())];
    bridges.iter().flat_map(ways).map(|way| Rule::new([way], Statement::Accept)).collect()
}

fn input_rules(bridges: &[String]) -> Vec<Rule> {
    let questions = |bridge: &String| {
        [Protocol::Udp, Protocol::Tcp].map(|protocol| {
            let conditions = [Match::Input(Sense::Is, bridge.clone()), Match::DestinationPort(protocol, 53)];
            Rule::new(conditions, Statement::Accept)
        })
    };
    bridges.iter().flat_map(questions).collect()
}

/// `NF_INET_LOCAL_IN`.
const INPUT: u32 = 1;
/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;

/// A chain of any table.
pub(super) struct Chain {
    family: u8,
    table: String,
    name: String,
    /// Hook and policy, of a base chain.
    base: Option<(u32, u32)>,
    /// How many rules it has, or lead to it.
    uses: u32,
    is_filter: bool,
}

impl Chain {
    fn drops(&self, hook: u32) -> bool {
        self.base == Some((hook, encode::DROP))
    }

    /// Returns whether it judges IPv4 packets for this host, and is not ours. `nat` and `route` chains judge nothing.
    pub(super) fn filters_input(&self) -> bool {
        let ours = self.family == encode::FAMILY_INET && self.table == TABLE;
        let ipv4 = [encode::FAMILY_INET, encode::FAMILY_IPV4].contains(&self.family);
        let judges = self
            .base
            .is_some_and(|(hook, policy)| hook == INPUT && (policy == encode::DROP || self.uses > 0));
        !ours && ipv4 && self.is_filter && judges
    }

    /// Returns whether it stops what it does not know at a hook: by its policy, or as firewalld does by its last rule.
    fn closes(&self, hook: u32) -> bool {
        self.drops(hook)
            || (self.is_firewalld() && self.uses > 0 && self.base.is_some_and(|(at, _)| at == hook))
    }

    fn is_firewalld(&self) -> bool {
        self.family == encode::FAMILY_INET && self.table == FIREWALLD
    }

    fn may_hold_ours(&self) -> bool {
        let iptables =
            [encode::FAMILY_IPV4, encode::FAMILY_IPV6].contains(&self.family) && self.table == FILTER;
        let at = |wanted| self.base.is_some_and(|(hook, _)| hook == wanted) && self.is_filter;
        (iptables && self.name == DOCKER_USER)
            || ((iptables || self.is_firewalld()) && (at(INPUT) || at(FORWARD)))
    }
}

pub(super) fn chains(connection: &mut Connection) -> io::Result<Vec<Chain>> {
    Ok(connection.dump(&encode::all_chains())?.iter().filter_map(chain).collect())
}

fn chain(frame: &Frame) -> Option<Chain> {
    let body = frame.body.get(4..)?;
    let value = |kind| attributes(body).find(|(found, _)| *found == kind).map(|(_, value)| value);
    let number = |value: &[u8]| value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let text = |value: &[u8]| String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned();
    // NFTA_CHAIN_HOOK and in it NFTA_HOOK_HOOKNUM; NFTA_CHAIN_POLICY.
    let hook =
        value(4).and_then(|hook| attributes(hook).find(|(kind, _)| *kind == 1)).and_then(|(_, n)| number(n));
    let policy = value(5).and_then(number);
    Some(Chain {
        family: *frame.body.first()?,
        table: text(value(1)?),
        name: text(value(3)?),
        base: hook.zip(policy),
        uses: value(6).and_then(number).unwrap_or(0), // NFTA_CHAIN_USE
        is_filter: value(7) == Some(b"filter\0"),     // NFTA_CHAIN_TYPE
    })
}

//! A table for the link by which a normal user's network reaches the host's: `pasta` of 2023 sends segments without any
//! flag, which belong to no connection. Translated connections would be reset for them, so they are dropped.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};

use super::encode::{
    Attributes, DROP, FAMILY_INET, NEW_CHAIN, NEW_RULE, NEW_TABLE, bits, link_name, message, verdict,
};
use super::transact;
use crate::netlink::NetlinkError;
use crate::netlink::connection::{Connection, Request};
use crate::table::Sense;

/// The table's name, in family `inet`.
const NAME: &str = "coracle-link";
const CHAIN: &str = "prerouting";
/// After the kernel has said which connection a packet belongs to (-200), before addresses are translated (-100).
const PRIORITY: i32 = -150;
/// `NF_CT_STATE_INVALID_BIT`.
const INVALID: u32 = 1;

/// Makes the link called `name` bring no packets that belong to no connection. Does nothing where that is so already.
pub fn guard_link(name: &str) -> Result<(), NetlinkError> {
    let failed = |source| NetlinkError::new(format!("guard the link {name}"), source);
    let mut connection = Connection::open(libc::NETLINK_NETFILTER as isize).map_err(failed)?;
    if connection.get(&super::encode::get_table_named(NAME)).map_err(failed)?.is_some() {
        return Ok(());
    }
    transact(&mut connection, requests(name)).map_err(failed)
}

fn requests(name: &str) -> Vec<Request> {
    let mut table = Attributes::default();
    table.text(1, NAME); // NFTA_TABLE_NAME
    table.number(2, 0); // NFTA_TABLE_FLAGS
    let mut chain = Attributes::default();
    chain.text(1, NAME); // NFTA_CHAIN_TABLE
    chain.text(3, CHAIN); // NFTA_CHAIN_NAME
    // NFTA_CHAIN_HOOK
    chain.nested(4, |hook| {
        hook.number(1, 0); // NFTA_HOOK_HOOKNUM: NF_INET_PRE_ROUTING
        hook.number(2, PRIORITY.cast_unsigned()); // NFTA_HOOK_PRIORITY
    });
    chain.text(7, "filter"); // NFTA_CHAIN_TYPE
    let mut rule = Attributes::default();
    rule.text(1, NAME); // NFTA_RULE_TABLE
    rule.text(2, CHAIN); // NFTA_RULE_CHAIN
    // NFTA_RULE_EXPRESSIONS
    rule.nested(4, |list| {
        link_name(list, 6, Sense::Is, name); // NFT_META_IIFNAME
        bits(list, 0, INVALID); // NFT_CT_STATE
        verdict(list, DROP, None);
    });
    vec![
        message(NEW_TABLE, NLM_F_CREATE, FAMILY_INET, table),
        message(NEW_CHAIN, NLM_F_CREATE, FAMILY_INET, chain),
        message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, FAMILY_INET, rule),
    ]
}

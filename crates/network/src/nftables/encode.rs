//! The table as nf_tables netlink messages. Pure; knows numbers of `linux/netfilter/nf_tables.h` and nothing else.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};

use crate::netlink::connection::{Request, attributes};
use crate::port::Protocol;
use crate::subnet::Subnet;
use crate::table::{CLIENT, Chain, Hook, Match, Refusal, Rule, Sense, Statement, TABLE, Table};

/// `NFNL_SUBSYS_NFTABLES`, the high byte of our messages' kinds.
const SUBSYSTEM: u16 = 10;
pub(super) const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
pub(super) const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
pub(super) const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_SET_ELEMENT: u16 = 12;

const FAMILY_UNSPEC: u8 = 0;
/// `NFPROTO_INET`: IPv4 and IPv6 in one table.
pub(super) const FAMILY_INET: u8 = 1;
/// `NFPROTO_IPV4`.
pub(super) const FAMILY_IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
pub(super) const FAMILY_IPV6: u8 = 10;

/// `NF_ACCEPT`, also the number of a chain's policy.
const ACCEPT: u32 = 1;
/// `NF_DROP`.
pub(super) const DROP: u32 = 0;
/// `NFT_JUMP` as the unsigned number on the wire.
const JUMP: u32 = (-3_i32).cast_unsigned();

/// `IFNAMSIZ`.
const LINK_NAME: usize = 16;

/// Returns the messages that replace our table by `table`, or take it away. In one transaction no packet meets what is in
/// between.
pub(super) fn replacement(table: Option<&Table>, note: &str) -> Vec<Request> {
    // Creating before deleting makes deletion succeed whether or not the table was there.
    let mut requests = vec![new_table(None), delete_table()];
    if let Some(table) = table {
        requests.push(new_table(Some(note)));
        requests.extend(table.clients.iter().zip(1..).map(|(name, id)| new_client_map(name, id)));
        requests.extend(table.chains.iter().map(new_chain));
        for chain in &table.chains {
            requests.extend(chain.rules.iter().map(|rule| new_rule(&chain.name, rule)));
        }
    }
    requests
}

/// Asks for our table.
pub(super) fn get_table() -> Request {
    get_table_named(TABLE)
}

/// Asks for a table of family `inet`.
pub(super) fn get_table_named(name: &str) -> Request {
    let mut attributes = Attributes::default();
    attributes.text(1, name); // NFTA_TABLE_NAME
    message(GET_TABLE, 0, FAMILY_INET, attributes)
}

/// Asks for all chains of all tables.
pub(super) fn all_chains() -> Request {
    message(GET_CHAIN, 0, FAMILY_UNSPEC, Attributes::default())
}

/// The comment that a table carries, if any: `NFTA_TABLE_USERDATA` holds type-length-value triples, type 0 the comment.
pub(super) fn table_note(body: &[u8]) -> Option<String> {
    comment(body, 6)
}

/// The comment that a rule carries, if any.
pub(super) fn rule_note(body: &[u8]) -> Option<String> {
    comment(body, 7) // NFTA_RULE_USERDATA
}

/// The handle of a rule, which tells it from its like.
pub(super) fn rule_handle(body: &[u8]) -> Option<[u8; 8]> {
    attributes(body.get(4..)?).find(|(kind, _)| *kind == 3)?.1.first_chunk().copied() // NFTA_RULE_HANDLE
}

fn comment(body: &[u8], kind: u16) -> Option<String> {
    let (_, mut data) = attributes(body.get(4..)?).find(|(found, _)| *found == kind)?;
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned());
        }
        data = &rest[usize::from(*length)..];
    }
    None
}

/// Begins a transaction.
pub(super) fn batch_begin() -> Request {
    batch(16) // NFNL_MSG_BATCH_BEGIN
}

/// Ends a transaction: all before it is done at once.
pub(super) fn batch_end() -> Request {
    batch(17) // NFNL_MSG_BATCH_END
}

fn batch(kind: u16) -> Request {
    // `struct nfgenmsg`: family, version, and the subsystem of the batch in network order.
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Request { kind, flags: 0, body: vec![FAMILY_UNSPEC, 0, high, low] }
}

pub(super) fn message(kind: u16, flags: u16, family: u8, attributes: Attributes) -> Request {
    let mut body = vec![family, 0, 0, 0];
    body.extend(attributes.0);
    Request { kind: (SUBSYSTEM << 8) | kind, flags, body }
}

fn new_table(note: Option<&str>) -> Request {
    let mut attributes = Attributes::default();
    attributes.text(1, TABLE); // NFTA_TABLE_NAME
    attributes.number(2, 0); // NFTA_TABLE_FLAGS
    if let Some(note) = note {
        attributes.note(6, note); // NFTA_TABLE_USERDATA
    }
    message(NEW_TABLE, NLM_F_CREATE, FAMILY_INET, attributes)
}

fn delete_table() -> Request {
    let mut attributes = Attributes::default();
    attributes.text(1, TABLE); // NFTA_TABLE_NAME
    message(DELETE_TABLE, 0, FAMILY_INET, attributes)
}

/// A map from a port to an IPv4 address, whose entries are forgotten after a while.
fn new_client_map(name: &str, id: u32) -> Request {
    let mut attributes = Attributes::default();
    attributes.text(1, TABLE); // NFTA_SET_TABLE
    attributes.text(2, name); // NFTA_SET_NAME
    attributes.number(3, 0x8 | 0x10); // NFTA_SET_FLAGS: NFT_SET_MAP, NFT_SET_TIMEOUT
    attributes.number(4, 13); // NFTA_SET_KEY_TYPE: `inet_service` to the nft program
    attributes.number(5, 2); // NFTA_SET_KEY_LEN
    attributes.number(6, 7); // NFTA_SET_DATA_TYPE: `ipv4_addr`
    attributes.number(7, 4); // NFTA_SET_DATA_LEN
    attributes.number(10, id); // NFTA_SET_ID
    attributes.bytes(11, &milliseconds(CLIENT)); // NFTA_SET_TIMEOUT
    message(NEW_SET, NLM_F_CREATE, FAMILY_INET, attributes)
}

/// Says in the map `name` whose connection the local port `port` serves.
pub(super) fn new_client(name: &str, port: u16, client: Ipv4Addr) -> Request {
    let mut attributes = Attributes::default();
    attributes.text(1, TABLE); // NFTA_SET_ELEM_LIST_TABLE
    attributes.text(2, name); // NFTA_SET_ELEM_LIST_SET
    // NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_LIST_ELEM
    attributes.nested(3, |list| {
        list.nested(1, |element| {
            element.nested(1, |key| key.bytes(1, &port.to_be_bytes())); // NFTA_SET_ELEM_KEY
            element.nested(2, |data| data.bytes(1, &client.octets())); // NFTA_SET_ELEM_DATA
            element.bytes(4, &milliseconds(CLIENT)); // NFTA_SET_ELEM_TIMEOUT
        });
    });
    message(NEW_SET_ELEMENT, NLM_F_CREATE, FAMILY_INET, attributes)
}

fn milliseconds(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_be_bytes()
}

fn new_chain(chain: &Chain) -> Request {
    let mut attributes = Attributes::default();
    attributes.text(1, TABLE); // NFTA_CHAIN_TABLE
    attributes.text(3, &chain.name); // NFTA_CHAIN_NAME
    if let Some(hook) = chain.hook {
        // The hook's number, the priority among chains there, the chain's type.
        let (number, priority, kind) = match hook {
            Hook::Raw => (0, -300_i32, "filter"),
            Hook::Prerouting => (0, -100, "nat"),
            Hook::Input => (1, 0, "filter"),
            Hook::Forward => (2, 0, "filter"),
            Hook::Output => (3, -100, "nat"),
            Hook::OutputFilter => (3, 0, "filter"),
            Hook::Postrouting => (4, 100, "nat"),
        };
        // NFTA_CHAIN_HOOK
        attributes.nested(4, |inner| {
            inner.number(1, number); // NFTA_HOOK_HOOKNUM
            inner.number(2, priority.cast_unsigned()); // NFTA_HOOK_PRIORITY
        });
        attributes.number(5, ACCEPT); // NFTA_CHAIN_POLICY
        attributes.text(7, kind); // NFTA_CHAIN_TYPE
    }
    message(NEW_CHAIN, NLM_F_CREATE, FAMILY_INET, attributes)
}

fn new_rule(chain: &str, rule: &Rule) -> Request {
    let mut attributes = Attributes::default();
    attributes.text(1, TABLE); // NFTA_RULE_TABLE
    attributes.text(2, chain); // NFTA_RULE_CHAIN
    // NFTA_RULE_EXPRESSIONS
    attributes.nested(4, |list| {
        for condition in &rule.matches {
            encode_match(list, condition);
        }
        encode_statement(list, &rule.statement);
    });
    message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, FAMILY_INET, attributes)
}

/// A chain of somebody else's table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) family: u8,
    pub(super) table: &'a str,
    pub(super) chain: &'a str,
}

/// Asks for all rules of a chain.
pub(super) fn all_rules(place: Place<'_>) -> Request {
    message(GET_RULE, 0, place.family, rule_place(place))
}

/// Puts a rule into a chain before the rule with the handle `before`, or at the end; counted and marked with `note`.
pub(super) fn insert_rule(place: Place<'_>, before: Option<[u8; 8]>, rule: &Rule, note: &str) -> Request {
    let mut attributes = rule_place(place);
    // NFTA_RULE_EXPRESSIONS
    attributes.nested(4, |list| {
        for condition in &rule.matches {
            encode_match(list, condition);
        }
        // iptables expects each rule to count.
        expression(list, "counter", |_| {});
        encode_statement(list, &rule.statement);
    });
    attributes.note(7, note); // NFTA_RULE_USERDATA
    let at_end = match before {
        Some(handle) => {
            attributes.bytes(6, &handle); // NFTA_RULE_POSITION
            0
        }
        None => NLM_F_APPEND,
    };
    message(NEW_RULE, NLM_F_CREATE | at_end, place.family, attributes)
}

/// Takes a rule out of a chain.
pub(super) fn delete_rule(place: Place<'_>, handle: [u8; 8]) -> Request {
    let mut attributes = rule_place(place);
    attributes.bytes(3, &handle); // NFTA_RULE_HANDLE
    message(DELETE_RULE, 0, place.family, attributes)
}

fn rule_place(place: Place<'_>) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.text(1, place.table); // NFTA_RULE_TABLE
    attributes.text(2, place.chain); // NFTA_RULE_CHAIN
    attributes
}

/// Returns whether a rule holds for every packet that meets it, and ends its way through the chain.
pub(super) fn ends_all(body: &[u8]) -> bool {
    let Some(body) = body.get(4..) else { return false };
    // NFTA_RULE_EXPRESSIONS, NFTA_LIST_ELEM, NFTA_EXPR_NAME
    let Some((_, list)) = attributes(body).find(|(kind, _)| *kind == 4) else { return false };
    let names: Vec<&[u8]> = attributes(list)
        .filter_map(|(_, element)| attributes(element).find(|(kind, _)| *kind == 1).map(|(_, name)| name))
        .collect();
    let passive: [&[u8]; 2] = [b"counter\0", b"log\0"];
    let ending: [&[u8]; 2] = [b"immediate\0", b"reject\0"];
    match names.split_last() {
        // A jump is an immediate too, but comes back.
        Some((last, before)) => {
            ending.contains(last) && before.iter().all(|name| passive.contains(name)) && !jumps(list)
        }
        None => false,
    }
}

fn jumps(list: &[u8]) -> bool {
    // NFTA_EXPR_DATA, NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CHAIN
    attributes(list).any(|(_, element)| {
        let inner = |data, wanted| attributes(data).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let verdict = inner(element, 2).and_then(|data| inner(data, 2)).and_then(|data| inner(data, 2));
        verdict.is_some_and(|verdict| inner(verdict, 2).is_some())
    })
}

fn encode_match(list: &mut Attributes, condition: &Match) {
    match condition {
        Match::Input(sense, name) => link_name(list, 6, *sense, name), // NFT_META_IIFNAME
        Match::Output(sense, name) => link_name(list, 7, *sense, name), // NFT_META_OIFNAME
        Match::Source(sense, subnet) => address(list, 12, *sense, *subnet),
        Match::Destination(sense, subnet) => address(list, 16, *sense, *subnet),
        Match::Destination6(address) => {
            meta(list, 15); // NFT_META_NFPROTO
            compare(list, Sense::Is, &[FAMILY_IPV6]);
            payload(list, 1, 24, 16); // NFT_PAYLOAD_NETWORK_HEADER, destination
            compare(list, Sense::Is, &address.octets());
        }
        Match::Ipv6 => {
            meta(list, 15); // NFT_META_NFPROTO
            compare(list, Sense::Is, &[FAMILY_IPV6]);
        }
        Match::Transport(protocol) => transport(list, *protocol),
        Match::Turn(of) => {
            expression(list, "numgen", |numgen| {
                numgen.number(1, 1); // NFTA_NG_DREG: register 1
                numgen.number(2, *of); // NFTA_NG_MODULUS
                numgen.number(3, 0); // NFTA_NG_TYPE: NFT_NG_INCREMENTAL
            });
            compare(list, Sense::Is, &0_u32.to_ne_bytes());
        }
        Match::DestinationLocal => {
            expression(list, "fib", |fib| {
                fib.number(1, 1); // NFTA_FIB_DREG: register 1
                fib.number(2, 3); // NFTA_FIB_RESULT: NFT_FIB_RESULT_ADDRTYPE
                fib.number(3, 2); // NFTA_FIB_FLAGS: NFTA_FIB_F_DADDR
            });
            compare(list, Sense::Is, &2_u32.to_ne_bytes()); // RTN_LOCAL
        }
        Match::DestinationPort(protocol, port) => {
            transport(list, *protocol);
            payload(list, 2, 2, 2); // NFT_PAYLOAD_TRANSPORT_HEADER, destination port
            compare(list, Sense::Is, &port.to_be_bytes());
        }
        Match::StateEstablished => bits(list, 0, (1 << 1) | (1 << 2)), // NFT_CT_STATE: established, related
        Match::StatusDnat => bits(list, 2, 1 << 5),                    // NFT_CT_STATUS: IPS_DST_NAT
    }
}

fn encode_statement(list: &mut Attributes, statement: &Statement) {
    match statement {
        Statement::Accept => verdict(list, ACCEPT, None),
        Statement::Drop => verdict(list, DROP, None),
        Statement::Jump(chain) => verdict(list, JUMP, Some(chain)),
        Statement::Masquerade => expression(list, "masq", |_| {}),
        Statement::Dnat(address, port) => {
            let family = match address {
                IpAddr::V4(address) => {
                    immediate(list, 1, |data| data.bytes(1, &address.octets()));
                    FAMILY_IPV4
                }
                IpAddr::V6(address) => {
                    immediate(list, 1, |data| data.bytes(1, &address.octets()));
                    FAMILY_IPV6
                }
            };
            if let Some(port) = port {
                immediate(list, 2, |data| data.bytes(1, &port.to_be_bytes()));
            }
            expression(list, "nat", |nat| {
                nat.number(1, 1); // NFTA_NAT_TYPE: NFT_NAT_DNAT
                nat.number(2, family.into()); // NFTA_NAT_FAMILY
                nat.number(3, 1); // NFTA_NAT_REG_ADDR_MIN: register 1
                if port.is_some() {
                    nat.number(5, 2); // NFTA_NAT_REG_PROTO_MIN: register 2
                }
            });
        }
        Statement::SnatClient(protocol, map) => {
            transport(list, *protocol);
            payload(list, 2, 0, 2); // NFT_PAYLOAD_TRANSPORT_HEADER, source port
            expression(list, "lookup", |lookup| {
                lookup.text(1, map); // NFTA_LOOKUP_SET
                lookup.number(2, 1); // NFTA_LOOKUP_SREG: register 1
                lookup.number(3, 1); // NFTA_LOOKUP_DREG: register 1
            });
            expression(list, "nat", |nat| {
                nat.number(1, 0); // NFTA_NAT_TYPE: NFT_NAT_SNAT
                nat.number(2, FAMILY_IPV4.into()); // NFTA_NAT_FAMILY
                nat.number(3, 1); // NFTA_NAT_REG_ADDR_MIN: register 1
            });
        }
        Statement::Refuse(refusal) => expression(list, "reject", |reject| match refusal {
            Refusal::Reset => {
                reject.number(1, 1); // NFTA_REJECT_TYPE: NFT_REJECT_TCP_RST
                reject.bytes(2, &[0]); // NFTA_REJECT_ICMP_CODE
            }
            Refusal::Unreachable => {
                reject.number(1, 2); // NFTA_REJECT_TYPE: NFT_REJECT_ICMPX_UNREACH
                reject.bytes(2, &[1]); // NFTA_REJECT_ICMP_CODE: NFT_REJECT_ICMPX_PORT_UNREACH
            }
        }),
    }
}

fn transport(list: &mut Attributes, protocol: Protocol) {
    let number: u8 = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    meta(list, 16); // NFT_META_L4PROTO
    compare(list, Sense::Is, &[number]);
}

pub(super) fn link_name(list: &mut Attributes, key: u32, sense: Sense, name: &str) {
    if let Some(prefix) = name.strip_suffix('*') {
        meta(list, key);
        return compare(list, sense, prefix.as_bytes());
    }
    let mut padded = [0; LINK_NAME];
    let length = name.len().min(LINK_NAME - 1);
    padded[..length].copy_from_slice(&name.as_bytes()[..length]);
    meta(list, key);
    compare(list, sense, &padded);
}

fn address(list: &mut Attributes, offset: u32, sense: Sense, subnet: Subnet) {
    meta(list, 15); // NFT_META_NFPROTO
    compare(list, Sense::Is, &[2]); // NFPROTO_IPV4
    payload(list, 1, offset, 4); // NFT_PAYLOAD_NETWORK_HEADER
    if subnet.prefix() < 32 {
        mask(list, subnet.netmask().octets());
    }
    compare(list, sense, &subnet.network().octets());
}

/// Matches where any of `wanted` is set in a property of the connection.
pub(super) fn bits(list: &mut Attributes, key: u32, wanted: u32) {
    expression(list, "ct", |ct| {
        ct.number(1, 1); // NFTA_CT_DREG
        ct.number(2, key); // NFTA_CT_KEY
    });
    mask(list, wanted.to_ne_bytes());
    compare(list, Sense::IsNot, &[0; 4]);
}

fn meta(list: &mut Attributes, key: u32) {
    expression(list, "meta", |meta| {
        meta.number(1, 1); // NFTA_META_DREG
        meta.number(2, key); // NFTA_META_KEY
    });
}

fn payload(list: &mut Attributes, base: u32, offset: u32, length: u32) {
    expression(list, "payload", |payload| {
        payload.number(1, 1); // NFTA_PAYLOAD_DREG
        payload.number(2, base); // NFTA_PAYLOAD_BASE
        payload.number(3, offset); // NFTA_PAYLOAD_OFFSET
        payload.number(4, length); // NFTA_PAYLOAD_LEN
    });
}

fn mask(list: &mut Attributes, mask: [u8; 4]) {
    expression(list, "bitwise", |bitwise| {
        bitwise.number(1, 1); // NFTA_BITWISE_SREG
        bitwise.number(2, 1); // NFTA_BITWISE_DREG
        bitwise.number(3, 4); // NFTA_BITWISE_LEN
        bitwise.nested(4, |data| data.bytes(1, &mask)); // NFTA_BITWISE_MASK
        bitwise.nested(5, |data| data.bytes(1, &[0; 4])); // NFTA_BITWISE_XOR
    });
}

fn compare(list: &mut Attributes, sense: Sense, value: &[u8]) {
    expression(list, "cmp", |cmp| {
        cmp.number(1, 1); // NFTA_CMP_SREG
        let operator = match sense {
            Sense::Is => 0,
            Sense::IsNot => 1,
        };
        cmp.number(2, operator); // NFTA_CMP_OP
        cmp.nested(3, |data| data.bytes(1, value)); // NFTA_CMP_DATA: NFTA_DATA_VALUE
    });
}

pub(super) fn verdict(list: &mut Attributes, code: u32, chain: Option<&str>) {
    // NFT_REG_VERDICT is register 0.
    immediate(list, 0, |data| {
        // NFTA_DATA_VERDICT
        data.nested(2, |verdict| {
            verdict.number(1, code); // NFTA_VERDICT_CODE
            if let Some(chain) = chain {
                verdict.text(2, chain); // NFTA_VERDICT_CHAIN
            }
        });
    });
}

fn immediate(list: &mut Attributes, register: u32, value: impl FnOnce(&mut Attributes)) {
    expression(list, "immediate", |immediate| {
        immediate.number(1, register); // NFTA_IMMEDIATE_DREG
        immediate.nested(2, value); // NFTA_IMMEDIATE_DATA
    });
}

fn expression(list: &mut Attributes, name: &str, data: impl FnOnce(&mut Attributes)) {
    // NFTA_LIST_ELEM
    list.nested(1, |element| {
        element.text(1, name); // NFTA_EXPR_NAME
        element.nested(2, data); // NFTA_EXPR_DATA
    });
}

/// Netlink attributes under construction: length, kind, value, padding to four bytes.
#[derive(Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend((value.len() as u16 + 4).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Adds a number in network order, as nf_tables wants all of them.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// Adds user data that is a comment.
    fn note(&mut self, kind: u16, note: &str) {
        let mut data = vec![0, note.len() as u8 + 1];
        data.extend(note.as_bytes());
        data.push(0);
        self.bytes(kind, &data);
    }

    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        const NESTED: u16 = 1 << 15;
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(kind | NESTED, &inner.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let mut built = Attributes::default();
        built.text(1, "ab");
        built.nested(4, |inner| inner.number(2, 7));
        let read: Vec<(u16, Vec<u8>)> =
            attributes(&built.0).map(|(kind, value)| (kind, value.to_vec())).collect();
        assert_eq!(read[0], (1, b"ab\0".to_vec()));
        assert_eq!(read[1].0, 4);
        let inner: Vec<(u16, Vec<u8>)> =
            attributes(&read[1].1).map(|(kind, value)| (kind, value.to_vec())).collect();
        assert_eq!(inner, [(2, vec![0, 0, 0, 7])]);
    }

    #[test]
    fn a_note_survives_its_encoding() {
        let request = new_table(Some("rules 0123"));
        assert_eq!(table_note(&request.body).as_deref(), Some("rules 0123"));
        assert_eq!(table_note(&new_table(None).body), None);
        assert_eq!(table_note(&[]), None);
    }

    #[test]
    fn broken_attributes_end_the_reading() {
        assert_eq!(attributes(&[200, 0, 1, 0, 9]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
    }
}

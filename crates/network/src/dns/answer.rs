//! One query to one reply.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};

use super::meaning::{Decision, decide};
use super::zone::Zone;

/// What a UDP client takes that does not say (RFC 1035 section 4.2.1).
const PLAIN_UDP: usize = 512;

/// The largest UDP reply that we send, whatever the client takes: one that no link has to cut (DNS flag day 2020).
const UNCUT_UDP: u16 = 1232;

/// How a query came, which bounds the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By UDP: a long reply is cut and marked, and the client asks again by TCP.
    Udp,
    /// By TCP.
    Tcp,
}

/// What to do with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send these bytes back.
    Reply(Vec<u8>),
    /// Not our name: ask the host's resolvers with the query as it is.
    Forward,
    /// No query at all: answering would help whoever forges senders.
    Ignore,
}

/// Decides on the query `bytes` from a client that sees `zones` and knows some by names of its own, `links`. `turn` rotates
/// the addresses of a name with several; a caller counts it up.
pub fn answer(
    bytes: &[u8],
    zones: &[&Zone],
    links: &[(String, String)],
    turn: usize,
    transport: Transport,
) -> Answer {
    let Ok(query) = Message::from_vec(bytes) else { return malformed(bytes) };
    if query.metadata.message_type != MessageType::Query {
        return Answer::Ignore;
    }
    let mut reply = response(&query);
    let [question] = query.queries.as_slice() else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return encode(&reply, &query, transport);
    };
    if query.metadata.op_code != OpCode::Query {
        reply.metadata.response_code = ResponseCode::NotImp;
        return encode(&reply, &query, transport);
    }
    match decide(question, zones, links, turn) {
        Decision::Forward => return Answer::Forward,
        Decision::Unknown => reply.metadata.response_code = ResponseCode::NXDomain,
        Decision::Records(answers, helps) => {
            reply.answers = answers;
            reply.additionals = helps;
        }
    }
    reply.metadata.authoritative = true;
    encode(&reply, &query, transport)
}

/// Returns the reply that says `bytes` could not be forwarded: the name is unknown where there is no resolver to ask
/// (`asked` false), else the server failed.
pub fn failure(bytes: &[u8], asked: bool, transport: Transport) -> Answer {
    let Ok(query) = Message::from_vec(bytes) else { return malformed(bytes) };
    let mut reply = response(&query);
    reply.metadata.response_code = if asked { ResponseCode::ServFail } else { ResponseCode::NXDomain };
    encode(&reply, &query, transport)
}

fn response(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    reply.metadata.recursion_available = true;
    reply.queries.clone_from(&query.queries);
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UNCUT_UDP);
        reply.edns = Some(edns);
    }
    reply
}

fn encode(reply: &Message, query: &Message, transport: Transport) -> Answer {
    let Ok(bytes) = reply.to_vec() else {
        let failed = Message::error_msg(query.metadata.id, query.metadata.op_code, ResponseCode::ServFail);
        return failed.to_vec().map_or(Answer::Ignore, Answer::Reply);
    };
    let taken = query.edns.as_ref().map_or(PLAIN_UDP, |edns| usize::from(edns.max_payload().min(UNCUT_UDP)));
    if transport == Transport::Tcp || bytes.len() <= taken.max(PLAIN_UDP) {
        return Answer::Reply(bytes);
    }
    reply.truncate().to_vec().map_or(Answer::Ignore, Answer::Reply)
}

/// Answers what cannot be read, if it has at least a header that claims to be a query.
fn malformed(bytes: &[u8]) -> Answer {
    match bytes {
        [high, low, flags, ..] if bytes.len() >= 12 && flags & 0x80 == 0 => {
            let id = u16::from_be_bytes([*high, *low]);
            let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
            reply.to_vec().map_or(Answer::Ignore, Answer::Reply)
        }
        _ => Answer::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use hickory_proto::rr::{Name, RecordType};
    use proptest::prelude::*;

    use super::super::zone::{Endpoint, visible};
    use super::*;

    fn endpoint(container: &str, aliases: &[&str], address: Option<&str>, ready: bool) -> Endpoint {
        Endpoint {
            container: format!("id-{container}"),
            name: container.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            links: Vec::new(),
            service: None,
            address: address.map(|address| address.parse().unwrap()),
            address6: None,
            ready,
        }
    }

    fn zone(network: &str, subnet: &str, endpoints: Vec<Endpoint>) -> Zone {
        let subnet: crate::Subnet = subnet.parse().unwrap();
        Zone {
            network: network.to_owned(),
            gateway: subnet.default_gateway(),
            subnet,
            internal: false,
            listens: true,
            endpoints,
            subnet6: None,
            services: Vec::new(),
        }
    }

    fn zones() -> Vec<Zone> {
        vec![
            zone(
                "stack_default",
                "10.1.0.0/24",
                vec![
                    endpoint("stack-backend-1", &["backend", "api"], Some("10.1.0.2"), true),
                    endpoint("stack-backend-2", &["backend"], Some("10.1.0.3"), true),
                    endpoint("stack-backend-3", &["backend"], Some("10.1.0.4"), false),
                    endpoint("stack-slow-1", &["slow"], Some("10.1.0.5"), false),
                    endpoint("stack-gone-1", &["gone"], None, false),
                    endpoint("my_job", &[], Some("10.1.0.6"), true),
                ],
            ),
            zone(
                "other",
                "10.2.0.0/24",
                vec![
                    endpoint("my_job", &["job"], Some("10.2.0.6"), true),
                    endpoint("secret", &[], Some("10.2.0.7"), true),
                ],
            ),
        ]
    }

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn decide(name: &str, kind: RecordType, turn: usize) -> String {
        let zones = zones();
        let seen = visible(&zones, "10.1.0.1".parse().unwrap(), Some("10.1.0.2".parse().unwrap()));
        describe(&answer(&query(name, kind), &seen, &[], turn, Transport::Udp))
    }

    fn describe(answer: &Answer) -> String {
        match answer {
            Answer::Forward => "forward".to_owned(),
            Answer::Ignore => "ignore".to_owned(),
            Answer::Reply(bytes) => {
                let reply = Message::from_vec(bytes).unwrap();
                assert_eq!(reply.metadata.message_type, MessageType::Response);
                let data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
                format!("{:?} {}", reply.metadata.response_code, data.join(" ")).trim_end().to_owned()
            }
        }
    }

    #[test]
    fn names_mean_their_ready_endpoints_in_turn() {
        for (name, kind, turn, expected) in [
            ("backend.", RecordType::A, 0, "NoError 10.1.0.2 10.1.0.3"),
            ("backend.", RecordType::A, 1, "NoError 10.1.0.3 10.1.0.2"),
            ("BackEnd.", RecordType::A, 2, "NoError 10.1.0.2 10.1.0.3"),
            ("backend.stack_default.", RecordType::A, 0, "NoError 10.1.0.2 10.1.0.3"),
            ("stack-backend-3.", RecordType::A, 0, "NoError 10.1.0.4"),
            ("slow.", RecordType::A, 0, "NoError 10.1.0.5"),
            ("my_job.", RecordType::A, 0, "NoError 10.1.0.6"),
            ("api.", RecordType::ANY, 0, "NoError 10.1.0.2"),
            ("backend.", RecordType::AAAA, 0, "NoError"),
            ("backend.", RecordType::MX, 0, "NoError"),
            ("gone.", RecordType::A, 0, "NXDomain"),
            ("unknown.", RecordType::A, 0, "forward"),
            ("debian.org.", RecordType::AAAA, 0, "forward"),
            ("backend.other.", RecordType::A, 0, "forward"),
            ("secret.", RecordType::A, 0, "forward"),
            (".", RecordType::NS, 0, "forward"),
        ] {
            assert_eq!(decide(name, kind, turn), expected, "{name} {kind} {turn}");
        }
    }

    #[test]
    fn addresses_mean_their_names() {
        for (name, expected) in [
            ("2.0.1.10.in-addr.arpa.", "NoError stack-backend-1.stack_default."),
            ("99.0.1.10.in-addr.arpa.", "NXDomain"),
            ("7.0.2.10.in-addr.arpa.", "forward"),
            ("8.8.8.8.in-addr.arpa.", "forward"),
            ("x.in-addr.arpa.", "forward"),
        ] {
            assert_eq!(decide(name, RecordType::PTR, 0), expected, "{name}");
        }
    }

    #[test]
    fn a_container_sees_its_networks_and_no_others() {
        let zones = zones();
        let see = |gateway: &str, client: &str| {
            let seen = visible(&zones, gateway.parse().unwrap(), Some(client.parse().unwrap()));
            seen.iter().map(|zone| zone.network.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(see("10.1.0.1", "10.1.0.2"), ["stack_default"]);
        assert_eq!(see("10.1.0.1", "10.1.0.6"), ["stack_default", "other"]);
        assert_eq!(see("10.2.0.1", "10.2.0.6"), ["stack_default", "other"]);
        assert_eq!(see("10.2.0.1", "10.2.0.7"), ["other"]);
        assert_eq!(see("10.3.0.1", "10.1.0.6"), [""; 0]);
    }

    #[test]
    fn an_internal_network_asks_nobody_outside() {
        let mut zones = zones();
        zones[0].internal = true;
        let ask = |seen: &[&Zone]| {
            describe(&answer(&query("debian.org.", RecordType::A), seen, &[], 0, Transport::Udp))
        };
        assert_eq!(ask(&[&zones[0]]), "NXDomain");
        assert_eq!(ask(&[&zones[0], &zones[1]]), "forward");
    }

    #[test]
    fn long_replies_are_cut_for_udp_only() {
        let endpoints = (0..100)
            .map(|n| endpoint(&format!("c{n}"), &["many"], Some(&format!("10.1.0.{}", n + 2)), true))
            .collect();
        let zone = zone("n", "10.1.0.0/24", endpoints);
        let ask = |bytes: &[u8], transport| match answer(bytes, &[&zone], &[], 0, transport) {
            Answer::Reply(bytes) => (bytes.len(), Message::from_vec(&bytes).unwrap()),
            other => panic!("{other:?}"),
        };
        let plain = query("many.", RecordType::A);
        let (length, cut) = ask(&plain, Transport::Udp);
        assert!(length <= PLAIN_UDP && cut.metadata.truncation);
        let (_, whole) = ask(&plain, Transport::Tcp);
        assert!(!whole.metadata.truncation);
        assert_eq!(whole.answers.len(), 100);
        let mut extended = Message::from_vec(&plain).unwrap();
        extended.set_edns(Edns::new());
        let (_, reply) = ask(&extended.to_vec().unwrap(), Transport::Udp);
        assert!(reply.edns.is_some());
    }

    #[test]
    fn what_is_no_query_gets_no_help() {
        assert_eq!(answer(&[], &[], &[], 0, Transport::Udp), Answer::Ignore);
        assert_eq!(
            answer(&[1, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], &[], 0, Transport::Udp),
            Answer::Ignore
        );
        assert_eq!(
            describe(&answer(&[1, 2, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0], &[], &[], 0, Transport::Udp)),
            "FormErr"
        );
        let asked = query("x.", RecordType::A);
        assert_eq!(describe(&failure(&asked, true, Transport::Udp)), "ServFail");
        assert_eq!(describe(&failure(&asked, false, Transport::Udp)), "NXDomain");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600), turn in any::<usize>()) {
            let zones = zones();
            let seen: Vec<&Zone> = zones.iter().collect();
            let _any = answer(&bytes, &seen, &[], turn, Transport::Udp);
            let _any = failure(&bytes, true, Transport::Tcp);
        }
    }

    #[test]
    fn ipv6_addresses_are_answered_where_there_are_some() {
        let mut zones = zones();
        zones[0].endpoints[0].address6 = Some("fd00::2".parse().unwrap());
        // One that is not ready is not answered by either.
        zones[0].endpoints[2].address6 = Some("fd00::4".parse().unwrap());
        let seen = visible(&zones, zones[0].gateway, None);
        let ask = |kind| describe(&answer(&query("backend.", kind), &seen, &[], 0, Transport::Udp));
        assert_eq!(ask(RecordType::AAAA), "NoError fd00::2");
        assert_eq!(ask(RecordType::A), "NoError 10.1.0.2 10.1.0.3");
    }

    #[test]
    fn a_link_is_a_name_for_one_client_alone() {
        let mut zones = zones();
        let backends = ["stack-backend-1", "stack-backend-2"].map(|name| ("db".to_owned(), name.to_owned()));
        zones[0].endpoints[5].links = backends.to_vec();
        let gateway = zones[0].gateway;
        let own = |client: &str| super::super::zone::links(&zones, gateway, client.parse().ok()).to_vec();
        assert_eq!(own("10.1.0.6").len(), 2);
        assert!(own("10.1.0.5").is_empty() && own("192.0.2.1").is_empty());
        let seen = visible(&zones, gateway, "10.1.0.6".parse().ok());
        let ask = |links: &[(String, String)]| {
            describe(&answer(&query("DB.", RecordType::A), &seen, links, 0, Transport::Udp))
        };
        let linked = ask(&own("10.1.0.6"));
        assert!(linked.contains("10.1.0.2") && linked.contains("10.1.0.3"), "{linked}");
        assert_eq!(ask(&[]), "forward");
    }
}

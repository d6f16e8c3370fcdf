//! What a question means to a client that sees certain zones: records of ours, nothing at all, or somebody else's business.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::Query;
use hickory_proto::rr::rdata::{A, AAAA, PTR, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::zone::{Endpoint, Zone};

/// Seconds that an answer may be kept: short, because a replaced container has another address at once.
const TIME_TO_LIVE: u32 = 2;

/// What becomes of a question.
pub(super) enum Decision {
    /// These answer it, and these help; none at all: the name is there, with no such record.
    Records(Vec<Record>, Vec<Record>),
    /// There is no such name.
    Unknown,
    /// It is not ours.
    Forward,
}

/// One address pair that a name means.
type Address = (Ipv4Addr, Option<Ipv6Addr>);

/// Decides on a question from a client that sees `zones` and knows some containers by names of its own, `links`. `turn`
/// rotates the addresses of a name with several.
pub(super) fn decide(question: &Query, zones: &[&Zone], links: &[(String, String)], turn: usize) -> Decision {
    // Several zones' containers may be asked for, but nothing outside if all of them are internal.
    let outside = if zones.iter().all(|zone| zone.internal) { Decision::Unknown } else { Decision::Forward };
    match (question.query_class(), question.query_type()) {
        (DNSClass::IN, RecordType::PTR) => reverse(question, zones, outside),
        (DNSClass::IN, RecordType::SRV) => service(question, zones, outside),
        (DNSClass::IN, _) => forward(question, zones, links, turn, outside),
        _ => outside,
    }
}

fn forward(
    question: &Query,
    zones: &[&Zone],
    links: &[(String, String)],
    turn: usize,
    outside: Decision,
) -> Decision {
    let name = text(question.name());
    let linked = links.iter().filter(|(alias, _)| alias.eq_ignore_ascii_case(&name));
    let mut names: Vec<String> = linked.map(|(_, container)| container.to_ascii_lowercase()).collect();
    if names.is_empty() {
        names.push(name);
    }
    let Some(mut addresses) = addresses(&names, zones) else { return outside };
    if addresses.is_empty() {
        return Decision::Unknown;
    }
    let turn = turn % addresses.len();
    addresses.rotate_left(turn);
    let record = |data| Record::from_rdata(question.name().clone(), TIME_TO_LIVE, data);
    let records = match question.query_type() {
        RecordType::A | RecordType::ANY => {
            addresses.into_iter().map(|(address, _)| record(RData::A(A(address)))).collect()
        }
        // The name is there, with no such record: "no such name" would make clients give up on IPv4 as well.
        RecordType::AAAA => addresses
            .into_iter()
            .filter_map(|(_, address)| address.map(|address| record(RData::AAAA(AAAA(address)))))
            .collect(),
        _ => Vec::new(),
    };
    Decision::Records(records, Vec::new())
}

/// Returns what `names` mean: virtual addresses of services, and addresses of containers that are ready or, if none is, of
/// all that run. None: nobody is called so.
fn addresses(names: &[String], zones: &[&Zone]) -> Option<Vec<Address>> {
    let mut virtual_addresses: BTreeSet<Address> = BTreeSet::new();
    let mut called: Vec<&Endpoint> = Vec::new();
    for zone in zones {
        for name in names {
            let services: Vec<_> = zone.services_called(name).collect();
            virtual_addresses.extend(services.iter().map(|service| (service.address, service.address6)));
            // A replica has its service's name as an alias: behind a virtual address it is not meant itself.
            called.extend(zone.called(name).filter(|endpoint| {
                !services.iter().any(|service| endpoint.service.as_ref() == Some(&service.key))
            }));
        }
    }
    if virtual_addresses.is_empty() && called.is_empty() {
        return None;
    }
    // A set: a container on two networks that the client shares may be found twice.
    let of = |ready: bool| -> BTreeSet<Address> {
        let meant = called.iter().filter(|endpoint| endpoint.ready || !ready);
        meant.filter_map(|endpoint| Some((endpoint.address?, endpoint.address6))).collect()
    };
    let ready = of(true);
    let containers = if ready.is_empty() && virtual_addresses.is_empty() { of(false) } else { ready };
    Some(virtual_addresses.union(&containers).copied().collect())
}

/// Answers `_PORT._PROTOCOL.NAME` by the containers that NAME means, replicas of a service one by one, each with its
/// address. The port is a number: a service name (`http`) says nothing of where a container listens.
fn service(question: &Query, zones: &[&Zone], outside: Decision) -> Decision {
    let asked = text(question.name());
    let parts: Option<(&str, &str, &str)> = asked.strip_prefix('_').and_then(|rest| {
        let (port, rest) = rest.split_once("._")?;
        let (protocol, name) = rest.split_once('.')?;
        Some((port, protocol, name))
    });
    let Some((port, protocol, name)) = parts else {
        return if is_ours(&asked, zones) { nothing() } else { outside };
    };
    if !is_ours(name, zones) {
        return outside;
    }
    let (Ok(port), "tcp" | "udp") = (port.parse::<u16>(), protocol) else { return Decision::Unknown };
    let called: Vec<(&Zone, &Endpoint)> =
        zones.iter().flat_map(|zone| zone.called(name).map(move |endpoint| (*zone, endpoint))).collect();
    let any_ready = called.iter().any(|(_, endpoint)| endpoint.ready);
    let (mut answers, mut helps) = (Vec::new(), Vec::new());
    for (zone, endpoint) in called {
        let (Some(address), Some(target)) = (endpoint.address, full_name(endpoint, zone)) else { continue };
        if any_ready && !endpoint.ready {
            continue;
        }
        let answer = RData::SRV(SRV::new(0, 0, port, target.clone()));
        answers.push(Record::from_rdata(question.name().clone(), TIME_TO_LIVE, answer));
        helps.push(Record::from_rdata(target.clone(), TIME_TO_LIVE, RData::A(A(address))));
        let address6 = endpoint.address6.map(|address| RData::AAAA(AAAA(address)));
        helps.extend(address6.map(|data| Record::from_rdata(target, TIME_TO_LIVE, data)));
    }
    Decision::Records(answers, helps)
}

fn nothing() -> Decision {
    Decision::Records(Vec::new(), Vec::new())
}

fn is_ours(name: &str, zones: &[&Zone]) -> bool {
    zones.iter().any(|zone| zone.called(name).next().is_some() || zone.services_called(name).next().is_some())
}

fn reverse(question: &Query, zones: &[&Zone], outside: Decision) -> Decision {
    let Some(address) = reversed(&text(question.name())) else { return outside };
    let record =
        |target| vec![Record::from_rdata(question.name().clone(), TIME_TO_LIVE, RData::PTR(PTR(target)))];
    for zone in zones {
        let endpoint = zone.endpoints.iter().find(|endpoint| match address {
            IpAddr::V4(address) => endpoint.address == Some(address),
            IpAddr::V6(address) => endpoint.address6 == Some(address),
        });
        // A name that is no host name (RFC 1035 allows 63 bytes a label) has no reverse.
        if let Some(target) = endpoint.and_then(|endpoint| full_name(endpoint, zone)) {
            return Decision::Records(record(target), Vec::new());
        }
        let service = zone.services.iter().find(|service| match address {
            IpAddr::V4(address) => service.address == address,
            IpAddr::V6(address) => service.address6 == Some(address),
        });
        let target = service
            .and_then(|service| Name::from_labels([service.name.as_bytes(), zone.network.as_bytes()]).ok());
        if let Some(target) = target {
            return Decision::Records(record(target), Vec::new());
        }
    }
    let within = |zone: &&Zone| match address {
        IpAddr::V4(address) => zone.subnet.contains(address),
        IpAddr::V6(address) => zone.subnet6.is_some_and(|subnet| subnet.contains(address)),
    };
    if zones.iter().any(within) { Decision::Unknown } else { outside }
}

fn full_name(endpoint: &Endpoint, zone: &Zone) -> Option<Name> {
    Name::from_labels([endpoint.name.as_bytes(), zone.network.as_bytes()]).ok()
}

/// Returns the address that a name of `in-addr.arpa` or `ip6.arpa` stands for.
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".ip6.arpa") {
        let digits: Vec<&str> = digits.split('.').collect();
        let is_digit = |digit: &&str| digit.len() == 1 && digit.as_bytes()[0].is_ascii_hexdigit();
        if digits.len() != 32 || !digits.iter().all(is_digit) {
            return None;
        }
        let bits = digits
            .iter()
            .rev()
            .fold(0_u128, |bits, digit| (bits << 4) | u128::from_str_radix(digit, 16).unwrap_or_default());
        return Some(IpAddr::V6(Ipv6Addr::from_bits(bits)));
    }
    let mut octets: Vec<&str> = name.strip_suffix(".in-addr.arpa")?.split('.').collect();
    octets.reverse();
    octets.join(".").parse().ok().map(IpAddr::V4)
}

/// Returns a name in lower case, without its final dot. Bytes that are no UTF-8 never match a name of ours.
fn text(name: &Name) -> String {
    let labels: Vec<_> =
        name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    labels.join(".")
}

#[cfg(test)]
mod tests {
    use super::super::zone::Service;
    use super::super::{Answer, Transport, answer};
    use super::*;
    use hickory_proto::op::Message;

    fn replica(number: u8, ready: bool) -> Endpoint {
        Endpoint {
            container: format!("id-{number}"),
            name: format!("shop-web-{number}"),
            aliases: vec!["web".to_owned(), "www".to_owned()],
            links: Vec::new(),
            service: Some("shop/web".to_owned()),
            address: Some(Ipv4Addr::new(10, 1, 0, number)),
            address6: Some(format!("fd00::{number}").parse().unwrap()),
            ready,
        }
    }

    fn zone(endpoints: Vec<Endpoint>) -> Zone {
        Zone {
            network: "shop_default".to_owned(),
            gateway: Ipv4Addr::new(10, 1, 0, 1),
            subnet: "10.1.0.0/24".parse().unwrap(),
            subnet6: Some("fd00::/64".parse().unwrap()),
            internal: false,
            listens: true,
            endpoints,
            services: vec![Service {
                key: "shop/web".to_owned(),
                name: "web".to_owned(),
                address: Ipv4Addr::new(10, 1, 0, 254),
                address6: Some("fd00::fe".parse().unwrap()),
            }],
        }
    }

    fn ask(zones: &[&Zone], name: &str, kind: RecordType) -> String {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        match answer(&message.to_vec().unwrap(), zones, &[], 0, Transport::Udp) {
            Answer::Reply(bytes) => {
                let reply = Message::from_vec(&bytes).unwrap();
                let records = reply.answers.iter().chain(&reply.additionals);
                let data: Vec<String> = records.map(|record| record.data.to_string()).collect();
                format!("{:?} {}", reply.metadata.response_code, data.join(" ")).trim_end().to_owned()
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_service_means_its_virtual_address_and_tasks_its_replicas() {
        let zone = zone(vec![replica(2, true), replica(3, true), replica(4, false)]);
        for (name, kind, expected) in [
            ("web.", RecordType::A, "NoError 10.1.0.254"),
            ("WEB.shop_default.", RecordType::A, "NoError 10.1.0.254"),
            ("web.", RecordType::AAAA, "NoError fd00::fe"),
            ("web.", RecordType::TXT, "NoError"),
            ("tasks.web.", RecordType::A, "NoError 10.1.0.2 10.1.0.3"),
            ("tasks.web.shop_default.", RecordType::AAAA, "NoError fd00::2 fd00::3"),
            ("www.", RecordType::A, "NoError 10.1.0.2 10.1.0.3"),
            ("shop-web-4.", RecordType::A, "NoError 10.1.0.4"),
            ("tasks.db.", RecordType::A, "Forward"),
            ("254.0.1.10.in-addr.arpa.", RecordType::PTR, "NoError web.shop_default."),
            (
                "_8080._tcp.web.",
                RecordType::SRV,
                "NoError 0 0 8080 shop-web-2.shop_default. 0 0 8080 shop-web-3.shop_default. 10.1.0.2 fd00::2 10.1.0.3 \
                 fd00::3",
            ),
            ("_http._tcp.web.", RecordType::SRV, "NXDomain"),
            ("web.", RecordType::SRV, "NoError"),
            ("_ldap._tcp.example.org.", RecordType::SRV, "Forward"),
        ] {
            assert_eq!(ask(&[&zone], name, kind), expected, "{name} {kind}");
        }
    }

    #[test]
    fn a_service_stays_when_no_replica_is_there() {
        let zone = zone(Vec::new());
        assert_eq!(ask(&[&zone], "web.", RecordType::A), "NoError 10.1.0.254");
    }

    #[test]
    fn ipv6_addresses_mean_their_names() {
        let zone = zone(vec![replica(2, true)]);
        let name = |last: &str| {
            let zeros = "0.".repeat(28 - last.len() / 2);
            format!("{last}{zeros}0.0.d.f.ip6.arpa.")
        };
        assert_eq!(ask(&[&zone], &name("2."), RecordType::PTR), "NoError shop-web-2.shop_default.");
        assert_eq!(ask(&[&zone], &name("9."), RecordType::PTR), "NXDomain");
        assert_eq!(ask(&[&zone], "1.ip6.arpa.", RecordType::PTR), "Forward");
    }
}

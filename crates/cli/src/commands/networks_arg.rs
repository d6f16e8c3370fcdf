//! `--network` of `coracle run` and `create`, several of them, and the flags that speak of the first one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coracle_container::{MacAddress, NetworkAttachment, NetworkMode};
use coracle_engine::Result;

use super::flag_error::bad_flag;

/// How Docker writes it.
const FORM: &str = "write it as NAME, or as name=NAME,alias=NAME,ip=ADDRESS,ip6=ADDRESS,mac-address=ADDRESS,\
                    link-local-ip=ADDRESS,gw-priority=NUMBER,driver-opt=NAME=VALUE";
/// The driver options of an endpoint that are known.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
const IFNAME: &str = "com.docker.network.endpoint.ifname";

/// What other flags say of the first network.
#[derive(Clone, Debug, Default)]
pub struct First {
    /// `--network-alias`.
    pub aliases: Vec<String>,
    /// `--ip`.
    pub ip: Option<Ipv4Addr>,
    /// `--ip6`.
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`.
    pub mac_address: Option<MacAddress>,
    /// `--link-local-ip`.
    pub link_local: Vec<IpAddr>,
}

/// What the flags say together.
pub type Networks = (Vec<NetworkAttachment>, Option<NetworkMode>);

/// Reads `--network`s, and places what the others say.
pub fn read(texts: &[String], first: &First) -> Result<Networks> {
    let mut networks: Vec<NetworkAttachment> = Vec::new();
    let mut mode = None;
    for text in texts {
        match text.as_str() {
            "none" => mode = Some(NetworkMode::None),
            "host" => mode = Some(NetworkMode::Host),
            "bridge" | "default" => networks.push(attachment("bridge")),
            text => match text.strip_prefix("container:") {
                Some("") => {
                    return Err(bad_flag(
                        "--network",
                        "`container:` names no container; write container:NAME",
                    ));
                }
                Some(other) => mode = Some(NetworkMode::Container(other.to_owned())),
                None => {
                    let network =
                        one(text).map_err(|why| bad_flag("--network", &format!("{why}; {FORM}")))?;
                    if networks.iter().any(|known| known.network == network.network) {
                        let why = format!("`{}` is named twice; name each network once", network.network);
                        return Err(bad_flag("--network", &why));
                    }
                    networks.push(network);
                }
            },
        }
    }
    if mode.is_some() && texts.len() > 1 {
        return Err(bad_flag("--network", "none, host and container:NAME stand alone; leave the others out"));
    }
    place(&mut networks, mode.as_ref(), first)?;
    Ok((networks, mode))
}

/// Gives what the other flags say to the first network.
fn place(networks: &mut Vec<NetworkAttachment>, mode: Option<&NetworkMode>, first: &First) -> Result<()> {
    let given = [
        ("--network-alias", !first.aliases.is_empty()),
        ("--ip", first.ip.is_some()),
        ("--ip6", first.ip6.is_some()),
        ("--mac-address", first.mac_address.is_some()),
        ("--link-local-ip", !first.link_local.is_empty()),
    ];
    let Some((flag, _)) = given.iter().find(|(_, given)| *given) else { return Ok(()) };
    if mode.is_some() {
        return Err(bad_flag(flag, "it needs a network of the container's own; choose another --network"));
    }
    if networks.is_empty() {
        networks.push(attachment("bridge"));
    }
    let network = &mut networks[0];
    if network.network == "bridge" {
        // A hardware address is all that the default bridge takes.
        if let Some((flag, _)) = given.iter().find(|(flag, given)| *given && *flag != "--mac-address") {
            let why = "the default bridge gives no names and chooses its addresses; make a network: \
                       coracle network create NAME, then --network NAME";
            return Err(bad_flag(flag, why));
        }
    }
    let twice = [
        ("--network-alias", !first.aliases.is_empty() && !network.aliases.is_empty()),
        ("--ip", first.ip.is_some() && network.ipv4_address.is_some()),
        ("--ip6", first.ip6.is_some() && network.ipv6_address.is_some()),
        ("--mac-address", first.mac_address.is_some() && network.mac_address.is_some()),
        ("--link-local-ip", !first.link_local.is_empty() && !network.link_local.is_empty()),
    ];
    if let Some((flag, _)) = twice.iter().find(|(_, twice)| *twice) {
        return Err(bad_flag(flag, "--network says it too; say it once"));
    }
    for alias in &first.aliases {
        legal_alias(alias).map_err(|why| bad_flag("--network-alias", &why))?;
    }
    network.aliases.extend(first.aliases.iter().cloned());
    network.ipv4_address = first.ip.or(network.ipv4_address);
    network.ipv6_address = first.ip6.or(network.ipv6_address);
    network.mac_address = first.mac_address.or(network.mac_address);
    network.link_local.extend(&first.link_local);
    Ok(())
}

fn attachment(name: &str) -> NetworkAttachment {
    NetworkAttachment { network: name.to_owned(), ..NetworkAttachment::default() }
}

/// Reads one network, by its name or by keys.
fn one(text: &str) -> std::result::Result<NetworkAttachment, String> {
    if !text.contains('=') {
        return if text.is_empty() { Err("no network is named".to_owned()) } else { Ok(attachment(text)) };
    }
    let mut network = NetworkAttachment::default();
    for part in text.split(',') {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("`{part}` of `{text}` has no value"))?;
        let wrong = |what: &str| format!("`{value}` of `{text}` is no {what}");
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut network.network),
            "alias" => {
                legal_alias(value)?;
                network.aliases.push(value.to_owned());
            }
            "ip" => network.ipv4_address = Some(value.parse().map_err(|_| wrong("IPv4 address"))?),
            "ip6" => network.ipv6_address = Some(value.parse().map_err(|_| wrong("IPv6 address"))?),
            "mac-address" => {
                network.mac_address = Some(value.parse().map_err(|_| wrong("hardware address"))?);
            }
            "link-local-ip" => network.link_local.push(value.parse().map_err(|_| wrong("IP address"))?),
            "gw-priority" => network.gateway_priority = value.parse().map_err(|_| wrong("priority"))?,
            "driver-opt" => match value.split_once('=') {
                Some((IFNAME, name)) if !name.is_empty() && name.len() < 16 => {
                    network.interface_name = Some(name.to_owned());
                }
                Some((SYSCTLS, list)) => network.sysctls.extend(list.split(';').map(str::to_owned)),
                _ => {
                    return Err(format!(
                        "the driver option `{value}` is not known: {SYSCTLS} and {IFNAME} are"
                    ));
                }
            },
            other => return Err(format!("`{other}` of `{text}` is no key")),
        }
    }
    if network.network.is_empty() { Err(format!("`{text}` names no network")) } else { Ok(network) }
}

fn legal_alias(alias: &str) -> std::result::Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !alias.is_empty() && alias.len() <= 253 && alias.chars().all(legal) {
        return Ok(());
    }
    let shown: String = alias.chars().take(60).collect();
    Err(format!("`{shown}` is no name that can be asked for; use letters, digits, `.`, `_` and `-`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn networks_by_name_and_by_keys() {
        let given = texts(&[
            "front",
            "name=back,alias=db,alias=sql,ip=10.1.2.3,ip6=fd00::1,gw-priority=-1,driver-opt=com.docker.network.endpoint.ifname=data0",
        ]);
        let first =
            First { aliases: texts(&["web"]), ip: Some(Ipv4Addr::new(10, 0, 0, 9)), ..First::default() };
        let (networks, mode) = read(&given, &first).unwrap();
        assert_eq!(mode, None);
        assert_eq!(
            (networks[0].network.as_str(), networks[0].aliases.as_slice()),
            ("front", &texts(&["web"])[..])
        );
        assert_eq!(networks[0].ipv4_address, first.ip);
        assert_eq!((networks[1].aliases.len(), networks[1].gateway_priority), (2, -1));
        assert_eq!(networks[1].interface_name.as_deref(), Some("data0"));
        assert_eq!(read(&texts(&["host"]), &First::default()).unwrap().1, Some(NetworkMode::Host));
        assert!(read(&[], &First::default()).unwrap().0.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let none = First::default();
        for given in [
            &["none", "front"][..],
            &["front", "front"],
            &["container:"],
            &["alias=x"],
            &["name=a,ip=x"],
            &["name=a,what=x"],
            &["name=a,driver-opt=x=y"],
            &["name=a,gw-priority=high"],
            &["name=a,mac-address=1"],
            &["name=a,alias=a b"],
            &[""],
        ] {
            let failure = read(&texts(given), &none).expect_err(&given.join(" "));
            assert!(
                failure.first().message.contains("--network") && !failure.first().hints.is_empty(),
                "{given:?}"
            );
        }
        let ip = First { ip: Some(Ipv4Addr::LOCALHOST), ..First::default() };
        for given in [&[][..], &["bridge"], &["host"], &["name=a,ip=10.0.0.1"]] {
            assert!(read(&texts(given), &ip).unwrap_err().first().message.contains("--ip"), "{given:?}");
        }
    }
}

//! Address arithmetic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Answer, count, text, whole};
use crate::value::Value;

pub(super) fn call(name: &str, args: &[Value]) -> Option<Answer> {
    Some(match name {
        "cidrhost" => host(args),
        "cidrnetmask" => netmask(args),
        "cidrsubnet" => subnet(args),
        "cidrsubnets" => subnets(args),
        _ => return None,
    })
}

/// A network: its address as a number, and the lengths of its prefix and of an address in bits.
struct Network {
    base: u128,
    prefix: u32,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a network such as 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let (number, bits) = match address.parse::<IpAddr>().map_err(|_| wrong())? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(wrong)?;
        let host = mask(bits - prefix);
        Ok(Self { base: number & !host, prefix, bits })
    }

    fn address(&self, number: u128) -> String {
        if self.bits == 32 {
            Ipv4Addr::from_bits(number as u32).to_string()
        } else {
            Ipv6Addr::from_bits(number).to_string()
        }
    }
}

/// The lowest `bits` bits.
fn mask(bits: u32) -> u128 {
    if bits >= 128 { u128::MAX } else { (1 << bits) - 1 }
}

fn host(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let network = Network::parse(&text(args, 0)?)?;
    let number = whole(args, 1)?;
    let room = mask(network.bits - network.prefix);
    let size = u128::from(number.unsigned_abs());
    if size > room.saturating_add(u128::from(number < 0)) {
        return Err(format!("the network has no host {number}"));
    }
    let offset = if number < 0 { room - (size - 1) } else { size };
    Ok(Value::text(network.address(network.base | offset)))
}

fn netmask(args: &[Value]) -> Answer {
    count(args, 1, 1)?;
    let network = Network::parse(&text(args, 0)?)?;
    if network.bits != 32 {
        return Err("only networks of IPv4 have a mask".to_owned());
    }
    Ok(Value::text(network.address(mask(32) & !mask(32 - network.prefix))))
}

fn subnet(args: &[Value]) -> Answer {
    count(args, 3, 3)?;
    let network = Network::parse(&text(args, 0)?)?;
    let (more, number) = (whole(args, 1)?, whole(args, 2)?);
    let prefix = u32::try_from(more).ok().and_then(|more| network.prefix.checked_add(more));
    let prefix = prefix.filter(|prefix| *prefix <= network.bits).ok_or("the address has not so many bits")?;
    let number = u128::try_from(number).ok().filter(|number| *number <= mask(prefix - network.prefix));
    let number = number.ok_or("there is no subnet of that number")?;
    let base = network.base | number.checked_shl(network.bits - prefix).unwrap_or(0);
    Ok(Value::text(format!("{}/{prefix}", network.address(base))))
}

fn subnets(args: &[Value]) -> Answer {
    count(args, 1, 4096)?;
    let network = Network::parse(&text(args, 0)?)?;
    let end = network.base | mask(network.bits - network.prefix);
    let mut next = Some(network.base);
    let mut found = Vec::new();
    for at in 1..args.len() {
        let more = u32::try_from(whole(args, at)?).ok().filter(|more| *more > 0);
        let prefix =
            more.and_then(|more| network.prefix.checked_add(more)).filter(|prefix| *prefix <= network.bits);
        let prefix = prefix.ok_or("the address has not so many bits")?;
        let host = mask(network.bits - prefix);
        let free = next.ok_or("the network has no room for so many subnets")?;
        let base = free.checked_add(host).map_or(u128::MAX, |end| end & !host);
        if base < free || base | host > end {
            return Err("the network has no room for so many subnets".to_owned());
        }
        found.push(Value::text(format!("{}/{prefix}", network.address(base))));
        next = (base | host).checked_add(1);
    }
    Ok(Value::List(found))
}

//! Digests of configurations: what changes them makes a container or network be replaced.

use std::collections::BTreeMap;

use coracle_container::ContainerSpec;
use coracle_oci::Digest;
use serde::Serialize;
use serde_json::Value;

use crate::desired::{DesiredNetwork, DesiredVolume};

/// Returns the digest of a service's containers: of the first one's specification, the image's id within, and of the
/// contents of the files it is given. The number of replicas does not count, nor do orders that mean nothing.
pub(crate) fn of_spec<'a>(
    spec: Option<&ContainerSpec>,
    contents: impl Iterator<Item = (&'a str, Digest)>,
) -> String {
    let Some(spec) = spec else { return String::new() };
    let mut spec = spec.clone();
    spec.cap_add.sort();
    spec.cap_drop.sort();
    spec.group_add.sort();
    spec.dns_search.sort();
    spec.extra_hosts.sort();
    spec.ports.sort();
    spec.devices.sort();
    spec.links.sort();
    spec.ulimits.sort_by(|a, b| a.name.cmp(&b.name));
    spec.mounts.sort_by(|a, b| a.target.cmp(&b.target));
    spec.secrets.sort_by(|a, b| a.target.cmp(&b.target));
    spec.networks.iter_mut().for_each(|attachment| attachment.aliases.sort());
    spec.networks.sort_by(|a, b| a.network.cmp(&b.network));
    let contents: BTreeMap<&str, Digest> = contents.collect();
    digest(&(spec, contents))
}

/// Returns the digest of what makes a volume another one: labels do not.
pub(crate) fn of_volume(volume: &DesiredVolume) -> String {
    digest(&(&volume.name, &volume.options))
}

/// Returns the digest of a network's configuration.
pub(crate) fn of_network(network: &DesiredNetwork) -> String {
    let basis = (&network.name, network.internal, &network.subnet, network.gateway, &network.labels);
    let ipv6 = network.ipv6.as_ref().map(|pool| (&pool.subnet, pool.gateway));
    let further = (&network.range, &network.reserved, &network.driver_options, ipv6);
    // A network that says nothing further keeps the digest that it always had.
    if network.range.is_none()
        && network.ipv6.is_none()
        && network.reserved.is_empty()
        && network.driver_options.is_empty()
    {
        return digest(&basis);
    }
    digest(&(basis, further))
}

fn digest(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).expect("configurations hold only texts, numbers, lists and maps");
    let mut text = String::new();
    canonical(&value, &mut text);
    Digest::of(text).hex()
}

/// Writes JSON with the keys of every object sorted.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            out.push('{');
            for (name, member) in sorted {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                canonical(member, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

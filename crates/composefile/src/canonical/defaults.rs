//! Values that an attribute has when it is left out, and rules that the schema cannot say.

use crate::source::Findings;
use crate::tree::{Mapping, Node, Value};

use super::forms::{or_insert, text};

/// Sets the values of attributes that are left out.
pub(super) fn set(root: &mut Node) {
    for_services(root, |service| {
        if let Some(build) = service.get_mut("build").map(|entry| &mut entry.node) {
            let mark = build.mark.implied();
            if let Some(build) = build.mapping_mut() {
                or_insert(build, "context", text(mark, "."));
            }
        }
        for_items(service, &["secrets"], |secret| {
            let source = secret.get("source").and_then(Node::shown).unwrap_or_default();
            let target = text(secret.mark.implied(), format!("/run/secrets/{source}"));
            if let Some(secret) = secret.mapping_mut() {
                or_insert(secret, "target", target);
            }
        });
        for_items(service, &["ports"], |port| {
            let mark = port.mark.implied();
            if let Some(port) = port.mapping_mut() {
                or_insert(port, "protocol", text(mark, "tcp"));
                or_insert(port, "mode", text(mark, "ingress"));
            }
        });
        for path in [["gpus"].as_slice(), &["deploy", "resources", "reservations", "devices"]] {
            for_items(service, path, |device| {
                let mark = device.mark.implied();
                if let Some(device) = device.mapping_mut()
                    && !device.contains_key("count")
                    && !device.contains_key("device_ids")
                {
                    or_insert(device, "count", text(mark, "all"));
                }
            });
        }
    });
}

fn for_services(root: &mut Node, work: impl FnMut(&mut Mapping)) {
    let Some(services) = root.get_mut("services").and_then(Node::mapping_mut) else { return };
    services.values_mut().filter_map(|entry| entry.node.mapping_mut()).for_each(work);
}

fn for_items(service: &mut Mapping, path: &[&str], work: impl FnMut(&mut Node)) {
    let Some((first, rest)) = path.split_first() else { return };
    let Some(entry) = service.get_mut(*first) else { return };
    let node = rest.iter().try_fold(&mut entry.node, |node, step| node.get_mut(step));
    if let Some(Value::Sequence(items)) = node.map(|node| &mut node.value) {
        items.iter_mut().for_each(work);
    }
}

/// Holds a project against the rules on attributes that exclude one another.
pub(super) fn check(root: &mut Node, findings: &mut Findings) {
    exclusive_content(root, "configs", &["file", "environment", "content"], findings);
    exclusive_content(root, "secrets", &["file", "environment"], findings);
    if let Some(volumes) = root.get("volumes").and_then(Node::mapping) {
        for (name, entry) in volumes {
            let Some(volume) = entry.node.mapping() else { continue };
            if volume.get("external").and_then(|entry| entry.node.truth()) != Some(true) {
                continue;
            }
            let legal = |key: &str| key == "name" || key == "external" || key.starts_with("x-");
            for (key, entry) in volume.iter().filter(|(key, _)| !legal(key)) {
                let message = format!("volumes.{name}: `external` and `{key}` exclude each other");
                findings.error("external", entry.key, message);
            }
        }
    }
    for_services(root, |service| {
        for_items(service, &["ports"], |port| {
            if let Some(address) = port.get("host_ip")
                && let Some(text) = address.text()
                && text.parse::<std::net::IpAddr>().is_err()
            {
                let message = format!("`{text}` is not an IP address");
                findings.error("bad-value", address.mark, message);
            }
        });
        for_items(service, &["develop", "watch"], |trigger| {
            if let Some(path) = trigger.get("path").filter(|path| path.text() == Some("")) {
                findings.error("bad-value", path.mark, "the path to watch is empty");
            }
        });
        for path in [["gpus"].as_slice(), &["deploy", "resources", "reservations", "devices"]] {
            for_items(service, path, |device| {
                if let (Some(count), Some(_)) = (device.get("count"), device.get("device_ids")) {
                    findings.error("bad-value", count.mark, "`count` and `device_ids` exclude each other");
                }
            });
        }
    });
}

fn exclusive_content(root: &Node, section: &str, keys: &[&str], findings: &mut Findings) {
    let Some(objects) = root.get(section).and_then(Node::mapping) else { return };
    let words = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    for (name, entry) in objects {
        let given: Vec<_> = keys.iter().filter_map(|key| entry.node.mapping()?.get(*key)).collect();
        if let [_, second, ..] = given.as_slice() {
            let message = format!("{section}.{name}: {words} exclude one another");
            findings.error("bad-value", second.key, message);
        }
        let otherwise = ["driver", "external"].iter().any(|key| entry.node.get(key).is_some());
        if given.is_empty() && !otherwise {
            let message = format!("{section}.{name} needs one of {words}");
            findings.error("missing-key", entry.key, message);
        }
    }
}

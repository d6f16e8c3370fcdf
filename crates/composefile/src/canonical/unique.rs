//! Lists whose items have an identity: the last of each stays, at the place of the first.

use indexmap::IndexMap;

use crate::source::Findings;
use crate::trace::Because;
use crate::tree::{Mapping, Node, Value};

/// What tells the items of a list apart.
#[derive(Clone, Copy)]
enum Identity {
    /// The text before `=`.
    Name,
    /// The path inside.
    Mount,
    Device,
    /// The path inside, below a directory when it is only named.
    Grant(&'static str),
    EnvFile,
    Port,
}

fn identity_in_service(key: &str) -> Option<Identity> {
    Some(match key {
        "annotations" | "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "environment"
        | "expose" | "labels" | "links" | "profiles" | "sysctls" | "tmpfs" => Identity::Name,
        "volumes" => Identity::Mount,
        "devices" => Identity::Device,
        "configs" => Identity::Grant(""),
        "secrets" => Identity::Grant("/run/secrets"),
        "env_file" => Identity::EnvFile,
        "ports" => Identity::Port,
        _ => return None,
    })
}

/// Keeps one item of each identity in every list of a project that has any.
pub(super) fn enforce(root: &mut Node, findings: &mut Findings) {
    each(root, "services", |service| {
        for (key, entry) in service.iter_mut() {
            if let Some(identity) = identity_in_service(key) {
                keep_last(&mut entry.node, identity, findings);
            }
            let below: &[&str] = match key.as_str() {
                "build" => &["args", "additional_contexts", "tags", "labels"],
                "deploy" => &["labels"],
                _ => &[],
            };
            for name in below {
                if let Some(list) = entry.node.get_mut(name) {
                    keep_last(list, Identity::Name, findings);
                }
            }
            if key == "networks"
                && let Some(networks) = entry.node.mapping_mut()
            {
                for attachment in networks.values_mut() {
                    for name in ["aliases", "link_local_ips"] {
                        if let Some(list) = attachment.node.get_mut(name) {
                            keep_last(list, Identity::Name, findings);
                        }
                    }
                }
            }
        }
    });
    each(root, "networks", |network| {
        if let Some(labels) = network.get_mut("labels") {
            keep_last(&mut labels.node, Identity::Name, findings);
        }
    });
}

fn each(root: &mut Node, section: &str, mut work: impl FnMut(&mut Mapping)) {
    let Some(section) = root.get_mut(section).and_then(Node::mapping_mut) else { return };
    section.values_mut().filter_map(|entry| entry.node.mapping_mut()).for_each(&mut work);
}

fn keep_last(node: &mut Node, identity: Identity, findings: &mut Findings) {
    let Value::Sequence(items) = &mut node.value else { return };
    if items.len() < 2 {
        return;
    }
    let mut kept: IndexMap<String, Node> = IndexMap::with_capacity(items.len());
    for (index, item) in std::mem::take(items).into_iter().enumerate() {
        let key = key_of(&item, identity).unwrap_or_else(|| format!("\0{index}"));
        match kept.get_mut(&key) {
            Some(slot) => {
                let lost = std::mem::replace(slot, item);
                findings.beat(&mut slot.mark, lost, Because::Place);
            }
            None => {
                kept.insert(key, item);
            }
        }
    }
    items.extend(kept.into_values());
}

fn key_of(item: &Node, identity: Identity) -> Option<String> {
    let field = |key: &str| item.get(key).and_then(Node::shown).map(std::borrow::Cow::into_owned);
    let text = item.shown();
    match identity {
        Identity::Name => {
            let text = text?;
            Some(text.split_once('=').map_or(&*text, |(name, _)| name).to_owned())
        }
        Identity::Mount => match text {
            Some(text) => super::mount::parse(&text).ok().map(|mount| mount.target),
            None => field("target"),
        },
        Identity::Device => match text {
            Some(text) => text.split(':').nth(1).or_else(|| text.split(':').next()).map(str::to_owned),
            None => field("target"),
        },
        Identity::Grant(below) => match text {
            Some(text) => Some(format!("{below}/{text}")),
            None => field("target").or_else(|| Some(format!("{below}/{}", field("source")?))),
        },
        Identity::EnvFile => text.map(std::borrow::Cow::into_owned).or_else(|| field("path")),
        Identity::Port => match text {
            Some(text) => Some(text.into_owned()),
            None => Some(format!(
                "{}:{}:{}/{}",
                field("host_ip").unwrap_or_else(|| "0.0.0.0".to_owned()),
                field("published").unwrap_or_default(),
                field("target")?,
                field("protocol").unwrap_or_else(|| "tcp".to_owned())
            )),
        },
    }
}

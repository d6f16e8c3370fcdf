//! Short forms to long ones, so that everything behind this knows one form of each attribute.

use coracle_report::Diagnostic;

use crate::kind::Kind;
use crate::source::{Findings, Mark};
use crate::tree::{Entry, Mapping, Node, Scalar, Style, Value};

/// Brings a project's attributes into their long forms. With `lenient`, text that is not what it should be is left as
/// it is: it may hold variables.
pub(super) fn expand(
    root: &mut Node,
    lenient: bool,
    findings: &mut Findings,
    unreadable: &mut Vec<Diagnostic>,
) {
    let mut forms = Forms { lenient, findings, unreadable };
    let Some(root) = root.mapping_mut() else { return };
    if let Some(services) = root.get_mut("services").and_then(|entry| entry.node.mapping_mut()) {
        for entry in services.values_mut() {
            if let Some(service) = entry.node.mapping_mut() {
                forms.service(service);
            }
        }
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        if let Some(objects) = root.get_mut(section).and_then(|entry| entry.node.mapping_mut()) {
            objects.values_mut().for_each(|entry| forms.external(&mut entry.node));
        }
    }
}

/// Returns what a dependency that is only named stands for.
pub(super) fn started(mark: Mark) -> Node {
    let implied = mark.implied();
    mapping(mark, [("condition", text(implied, "service_started")), ("required", boolean(implied, true))])
}

/// Returns a mapping at one place.
pub(super) fn mapping<const N: usize>(mark: Mark, entries: [(&str, Node); N]) -> Node {
    let entries = entries.into_iter().map(|(key, node)| (key.to_owned(), Entry { key: mark, node }));
    Node { mark, value: Value::Mapping(entries.collect()), tag: None }
}

/// Returns a text.
pub(super) fn text(mark: Mark, text: impl Into<String>) -> Node {
    Node::scalar(mark, text)
}

/// Returns a boolean.
pub(super) fn boolean(mark: Mark, truth: bool) -> Node {
    typed(mark, Kind::Boolean(truth))
}

/// Returns a whole number.
pub(super) fn integer(mark: Mark, number: i64) -> Node {
    typed(mark, Kind::Integer(number))
}

fn typed(mark: Mark, kind: Kind) -> Node {
    let text = kind.shown("").into_owned();
    Node { mark, value: Value::Scalar(Scalar { text, style: Style::Plain, kind }), tag: None }
}

/// Sets a key that is not there yet.
pub(super) fn or_insert(mapping: &mut Mapping, key: &str, node: Node) {
    let mark = node.mark;
    mapping.entry(key.to_owned()).or_insert(Entry { key: mark, node });
}

struct Forms<'f> {
    lenient: bool,
    findings: &'f mut Findings,
    unreadable: &'f mut Vec<Diagnostic>,
}

impl Forms<'_> {
    fn bad(&mut self, mark: Mark, message: impl Into<String>) {
        if !self.lenient {
            self.unreadable.push(self.findings.fault("bad-value", mark, message));
        }
    }

    fn service(&mut self, service: &mut Mapping) {
        for (key, entry) in service.iter_mut() {
            let node = &mut entry.node;
            match key.as_str() {
                "build" => self.build(node),
                "depends_on" => depends_on(node),
                "env_file" => {
                    listed(node);
                    each(node, env_file);
                }
                "label_file" | "dns" => listed(node),
                "extends" if node.text().is_some() => {
                    *node = mapping(node.mark, [("service", node.clone())]);
                }
                "gpus" if node.text().is_some() => {
                    let all = mapping(node.mark, [("count", text(node.mark, "all"))]);
                    *node = node.beside(Value::Sequence(vec![all]));
                }
                "networks" | "models" => named(node),
                "volumes" => each(node, |item| self.mount(item)),
                "devices" => each(node, |item| self.device(item)),
                "secrets" | "configs" => each(node, grant),
                "ports" => self.ports(node),
                "develop" => {
                    if let Some(watch) = node.get_mut("watch") {
                        each(watch, |trigger| {
                            for key in ["ignore", "include"] {
                                if let Some(list) = trigger.get_mut(key) {
                                    listed(list);
                                }
                            }
                        });
                    }
                }
                _ => {}
            }
        }
    }

    fn build(&mut self, node: &mut Node) {
        if node.text().is_some() {
            *node = mapping(node.mark, [("context", node.clone())]);
        }
        let Some(build) = node.mapping_mut() else { return };
        for (key, entry) in build.iter_mut() {
            let node = &mut entry.node;
            match key.as_str() {
                "secrets" => each(node, grant),
                "provenance" | "sbom" => {
                    if let Some(shown) = node.shown() {
                        *node = text(node.mark, shown);
                    }
                }
                "additional_contexts" => self.pairs(node),
                "ssh" => self.ssh(node),
                _ => {}
            }
        }
    }

    /// `NAME=value` to a mapping.
    fn pairs(&mut self, node: &mut Node) {
        let Value::Sequence(items) = &node.value else { return };
        let mut pairs = Mapping::new();
        for item in items {
            let Some((name, value)) = item.text().and_then(|text| text.split_once('=')) else {
                let mark = item.mark;
                return self.bad(mark, "a context is `NAME=value`");
            };
            pairs.insert(name.to_owned(), Entry { key: item.mark, node: text(item.mark, value) });
        }
        node.value = Value::Mapping(pairs);
    }

    fn ssh(&mut self, node: &mut Node) {
        let Value::Sequence(items) = &node.value else { return };
        let mut keys = Mapping::new();
        for item in items {
            let shown = item.text().unwrap_or_default();
            let (name, value) = match shown.split_once('=') {
                Some((name, path)) => (name, text(item.mark, path)),
                None if shown == "default" => (shown, item.beside(Value::Null)),
                None => {
                    let (mark, message) =
                        (item.mark, format!("`{shown}` is neither `default` nor `ID=path`"));
                    return self.bad(mark, message);
                }
            };
            keys.insert(name.to_owned(), Entry { key: item.mark, node: value });
        }
        node.value = Value::Mapping(keys);
    }

    fn mount(&mut self, node: &mut Node) {
        let Some(short) = node.text() else { return };
        let mount = match super::mount::parse(short) {
            Ok(mount) => mount,
            Err(message) => {
                let mark = node.mark;
                return self.bad(mark, message);
            }
        };
        let mark = node.mark;
        let mut long = Mapping::new();
        let mut set = |key: &str, node: Node| {
            long.insert(key.to_owned(), Entry { key: mark, node });
        };
        set("type", text(mark, if mount.is_bind() { "bind" } else { "volume" }));
        let bind = mount.is_bind();
        if let Some(source) = mount.source {
            set("source", text(mark, source));
        }
        set("target", text(mark, super::paths::clean_unix(&mount.target)));
        if mount.read_only {
            set("read_only", boolean(mark, true));
        }
        let mut options = Mapping::new();
        for (key, value) in [("selinux", mount.selinux), ("propagation", mount.propagation)] {
            if let Some(value) = value {
                options.insert(key.to_owned(), Entry { key: mark, node: text(mark, value) });
            }
        }
        if bind || !options.is_empty() {
            if bind {
                let node = boolean(mark.implied(), true);
                options.insert("create_host_path".to_owned(), Entry { key: mark, node });
            }
            set("bind", node.beside(Value::Mapping(options)));
        }
        if mount.no_copy || !bind {
            let mut options = Mapping::new();
            if mount.no_copy {
                options.insert("nocopy".to_owned(), Entry { key: mark, node: boolean(mark, true) });
            }
            set("volume", node.beside(Value::Mapping(options)));
        }
        node.value = Value::Mapping(long);
    }

    fn device(&mut self, node: &mut Node) {
        let Some(short) = node.text() else { return };
        let mark = node.mark;
        let parts: Vec<&str> = short.split(':').collect();
        let (source, target, permissions) = match parts.as_slice() {
            [source] => (*source, *source, "rwm"),
            [source, target] => (*source, *target, "rwm"),
            [source, target, permissions] => (*source, *target, *permissions),
            _ => {
                let message = format!("`{short}` is not `SOURCE[:TARGET[:PERMISSIONS]]`");
                return self.bad(mark, message);
            }
        };
        let target = if target.is_empty() { source } else { target };
        *node = mapping(
            mark,
            [
                ("source", text(mark, source)),
                ("target", text(mark, target)),
                ("permissions", text(mark, permissions)),
            ],
        );
    }

    fn ports(&mut self, node: &mut Node) {
        let Value::Sequence(items) = &mut node.value else { return };
        let mut out = Vec::with_capacity(items.len());
        for item in std::mem::take(items) {
            let Some(short) = item.shown() else {
                out.push(item);
                continue;
            };
            match super::port::parse(&short) {
                Ok(ports) => out.extend(ports.into_iter().map(|port| port.node(item.mark))),
                Err(message) => {
                    self.bad(item.mark, message);
                    out.push(item);
                }
            }
        }
        *items = out;
    }

    /// `external: {name: x}`, as files of version 2 have it.
    fn external(&mut self, node: &mut Node) {
        let Some(object) = node.mapping_mut() else { return };
        let Some(external) = object.get_mut("external") else { return };
        let Value::Mapping(inner) = &mut external.node.value else { return };
        let inner = std::mem::take(inner);
        let mark = external.node.mark;
        external.node = boolean(mark, true);
        let Some(name) = inner.get("name") else { return };
        let message = "`external.name` is obsolete: write `external: true` and `name` beside it";
        self.findings.warning("obsolete-external", name.key, message);
        match object.get("name") {
            Some(given) if !given.node.same(&name.node) => {
                self.bad(name.node.mark, "`name` and `external.name` differ");
            }
            Some(_) => {}
            None => {
                object.insert("name".to_owned(), name.clone());
            }
        }
    }
}

fn each(node: &mut Node, work: impl FnMut(&mut Node)) {
    if let Value::Sequence(items) = &mut node.value {
        items.iter_mut().for_each(work);
    }
}

/// A single text is a list of one.
fn listed(node: &mut Node) {
    if node.text().is_some() {
        *node = node.beside(Value::Sequence(vec![node.clone()]));
    }
}

/// A list of names is a mapping from name to nothing.
fn named(node: &mut Node) {
    let Value::Sequence(items) = &node.value else { return };
    let entry = |item: &Node| {
        let name = item.text().unwrap_or_default().to_owned();
        (name, Entry { key: item.mark, node: item.beside(Value::Null) })
    };
    node.value = Value::Mapping(items.iter().map(entry).collect());
}

fn depends_on(node: &mut Node) {
    match &mut node.value {
        Value::Sequence(items) => {
            let entry = |item: &Node| {
                let name = item.text().unwrap_or_default().to_owned();
                (name, Entry { key: item.mark, node: started(item.mark) })
            };
            node.value = Value::Mapping(items.iter().map(entry).collect());
        }
        Value::Mapping(mapping) => {
            for entry in mapping.values_mut() {
                let mark = entry.node.mark.implied();
                let Some(dependency) = entry.node.mapping_mut() else { continue };
                or_insert(dependency, "condition", text(mark, "service_started"));
                or_insert(dependency, "required", boolean(mark, true));
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

fn env_file(node: &mut Node) {
    let mark = node.mark;
    if node.text().is_some() {
        *node = mapping(mark, [("path", node.clone()), ("required", boolean(mark.implied(), true))]);
    } else if let Some(file) = node.mapping_mut() {
        or_insert(file, "required", boolean(mark.implied(), true));
    }
}

fn grant(node: &mut Node) {
    if node.text().is_some() {
        *node = mapping(node.mark, [("source", node.clone())]);
    }
}

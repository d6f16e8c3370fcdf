//! What must hold between the attributes of a project in its normal form.

use std::collections::HashMap;

use crate::scalar;
use crate::source::{Findings, Mark};
use crate::tree::{Mapping, Node};

/// Holds a project against the rules between attributes; `active` are the services that profiles include.
pub(crate) fn check(root: &Node, active: &dyn Fn(&str) -> bool, findings: &mut Findings) {
    let Some(services) = root.get("services").and_then(Node::mapping) else { return };
    let mut check = Check { root, services, active, findings };
    for (name, entry) in services.iter().filter(|(name, _)| active(name)) {
        if let Some(service) = entry.node.mapping() {
            check.service(name, entry.key, service);
        }
    }
    check.secrets();
    check.cycles();
}

struct Check<'c> {
    root: &'c Node,
    services: &'c Mapping,
    active: &'c dyn Fn(&str) -> bool,
    findings: &'c mut Findings,
}

fn texts<'n>(service: &'n Mapping, key: &str, field: &str) -> Vec<(&'n str, Mark)> {
    let items = service.get(key).and_then(|entry| entry.node.items()).unwrap_or_default();
    items.iter().filter_map(|item| item.get(field).and_then(|node| Some((node.text()?, node.mark)))).collect()
}

impl Check<'_> {
    fn error(&mut self, code: &str, mark: Mark, message: impl Into<String>) {
        self.findings.error(code, mark, message);
    }

    fn defines(&self, section: &str, name: &str) -> bool {
        self.root.get(section).is_some_and(|section| section.get(name).is_some())
    }

    /// Says that a name is not defined, with the near one that is.
    fn undefined(&mut self, section: &str, what: &str, name: &str, service: &str, mark: Mark) {
        let known = self.root.get(section).and_then(Node::mapping);
        let names = known.into_iter().flat_map(|known| known.keys().map(String::as_str));
        let near = scalar::nearest(name, names).map(|near| format!("did you mean `{near}`?"));
        let hint = near.unwrap_or_else(|| format!("define it below the top-level `{section}:`"));
        let message = format!("service `{service}` refers to undefined {what} `{name}`");
        let error = self.findings.error("undefined-reference", mark, message);
        error.hints.push(coracle_report::Hint(hint));
    }

    fn service(&mut self, name: &str, mark: Mark, service: &Mapping) {
        let place = |key: &str| service.get(key).map_or(mark, |entry| entry.key);
        let text = |key: &str| service.get(key).and_then(|entry| entry.node.text());
        let image = text("image").is_some_and(|image| !image.is_empty());
        if !image && !service.contains_key("build") && !service.contains_key("provider") {
            let message = format!("service `{name}` has neither `image` nor `build`");
            self.error("no-image", mark, message);
        }
        self.build(name, service);
        let mode = text("network_mode").filter(|mode| !mode.is_empty());
        let networks = service.get("networks").and_then(|entry| entry.node.mapping());
        if mode.is_some() && networks.is_some_and(|networks| !networks.is_empty()) {
            let message = format!("services.{name}: `network_mode` and `networks` exclude each other");
            self.error("bad-value", place("network_mode"), message);
        }
        for (network, entry) in networks.into_iter().flatten() {
            if !self.defines("networks", network) {
                self.undefined("networks", "network", network, name, entry.key);
            }
        }
        if let Some(test) = service.get("healthcheck").and_then(|entry| entry.node.get("test"))
            && let Some(kind) = test.items().and_then(|items| items.first())
            && !matches!(kind.text(), Some("CMD" | "CMD-SHELL" | "HTTP" | "TCP" | "NONE"))
        {
            let message = format!(
                "services.{name}.healthcheck.test must begin with `CMD`, `CMD-SHELL`, `HTTP`, `TCP` or `NONE`"
            );
            self.error("bad-value", kind.mark, message);
        }
        self.dependencies(name, service);
        if let Some(other) = mode.and_then(|mode| mode.strip_prefix("service:"))
            && !self.services.contains_key(other)
        {
            self.undefined("services", "service", other, name, place("network_mode"));
        }
        self.references(name, service);
        self.scale(name, mark, service);
        self.limits(name, service);
        self.targets(name, service);
        let triggers = service.get("develop").and_then(|entry| entry.node.get("watch")?.items());
        for trigger in triggers.unwrap_or_default() {
            let action = trigger.get("action").and_then(Node::text).unwrap_or_default();
            let target = trigger.get("target").and_then(Node::text).unwrap_or_default();
            if target.is_empty() && !["rebuild", "restart"].contains(&action) {
                let message = format!("services.{name}.develop.watch: action `{action}` needs a `target`");
                self.error("missing-key", trigger.mark, message);
            }
        }
    }

    fn build(&mut self, name: &str, service: &Mapping) {
        let Some(build) = service.get("build").map(|entry| &entry.node) else { return };
        let given =
            |key: &str| build.get(key).filter(|node| node.text().is_some_and(|text| !text.is_empty()));
        if let (Some(inline), Some(_)) = (given("dockerfile_inline"), given("dockerfile")) {
            let message =
                format!("services.{name}.build: `dockerfile` and `dockerfile_inline` exclude each other");
            self.error("bad-value", inline.mark, message);
        }
        for entry in
            build.get("additional_contexts").and_then(Node::mapping).into_iter().flat_map(Mapping::values)
        {
            let Some(other) = entry.node.text().and_then(|text| text.strip_prefix("service:")) else {
                continue;
            };
            match self.services.get(other).filter(|_| (self.active)(other)) {
                None => self.undefined("services", "service", other, name, entry.node.mark),
                Some(other_entry) if other_entry.node.get("build").is_none() => {
                    let message = format!("services.{name}.build: service `{other}` has no `build`");
                    self.error("bad-value", entry.node.mark, message);
                }
                Some(_) => {}
            }
        }
        let platforms = build.get("platforms").and_then(Node::items).unwrap_or_default();
        if let Some(platform) = service.get("platform")
            && !platforms.is_empty()
            && !platforms.iter().any(|known| known.text() == platform.node.text())
        {
            let message = format!("services.{name}.build.platforms lacks the service’s own `platform`");
            self.error("bad-value", platform.node.mark, message);
        }
        for secret in build.get("secrets").and_then(Node::items).unwrap_or_default() {
            if let Some(source) = secret.get("source").and_then(Node::text)
                && !self.defines("secrets", source)
            {
                self.undefined("secrets", "secret", source, name, secret.mark);
            }
        }
    }

    fn dependencies(&mut self, name: &str, service: &Mapping) {
        for (other, entry) in
            service.get("depends_on").and_then(|entry| entry.node.mapping()).into_iter().flatten()
        {
            let optional = entry.node.get("required").and_then(Node::truth) == Some(false);
            let known = self.services.contains_key(other);
            if !known || (!(self.active)(other) && !optional) {
                let hint = if known {
                    "it is in a profile that is not active: start that too, or set `required: false`"
                        .to_owned()
                } else {
                    let names = self.services.keys().map(String::as_str);
                    scalar::nearest(other, names).map_or_else(
                        || "define it below `services:`".to_owned(),
                        |near| format!("did you mean `{near}`?"),
                    )
                };
                let message = format!("service `{name}` depends on undefined service `{other}`");
                let error = self.findings.error("undefined-reference", entry.key, message);
                error.hints.push(coracle_report::Hint(hint));
            }
        }
    }

    fn references(&mut self, name: &str, service: &Mapping) {
        let mounts = service.get("volumes").and_then(|entry| entry.node.items()).unwrap_or_default();
        for mount in mounts.iter().filter(|mount| mount.get("type").and_then(Node::text) == Some("volume")) {
            if let Some(source) = mount.get("source")
                && let Some(volume) = source.text().filter(|source| !source.is_empty())
                && !self.defines("volumes", volume)
            {
                self.undefined("volumes", "volume", volume, name, source.mark);
            }
        }
        for (key, what) in [("configs", "config"), ("secrets", "secret")] {
            for (source, mark) in texts(service, key, "source") {
                if !self.defines(key, source) {
                    self.undefined(key, what, source, name, mark);
                }
            }
        }
        for (model, entry) in
            service.get("models").and_then(|entry| entry.node.mapping()).into_iter().flatten()
        {
            if !self.defines("models", model) {
                self.undefined("models", "model", model, name, entry.key);
            }
        }
    }

    fn scale(&mut self, name: &str, mark: Mark, service: &Mapping) {
        let scale = service.get("scale").and_then(|entry| Some((entry.node.integer()?, entry.node.mark)));
        let deploy = service.get("deploy").and_then(|entry| entry.node.get("replicas"));
        let replicas = deploy.and_then(|node| Some((node.integer()?, node.mark)));
        if let (Some((scale, mark)), Some((replicas, _))) = (scale, replicas)
            && scale != replicas
        {
            let message = format!("services.{name}: `scale` is {scale} and `deploy.replicas` is {replicas}");
            self.error("bad-value", mark, message);
        }
        for (count, mark) in [scale, replicas].into_iter().flatten() {
            if count < 0 {
                self.error("bad-value", mark, format!("services.{name}: {count} is no number of containers"));
            }
        }
        let count = scale.or(replicas).map_or(1, |(count, _)| count);
        if count > 1
            && let Some(fixed) = service.get("container_name")
        {
            let message = format!("services.{name}: `container_name` forbids {count} containers");
            self.error("bad-value", fixed.key, message);
        }
        let _ = mark;
    }

    /// `cpus`, `mem_limit` and their kin against `deploy.resources`.
    fn limits(&mut self, name: &str, service: &Mapping) {
        let Some(resources) = service.get("deploy").and_then(|entry| entry.node.get("resources")) else {
            return;
        };
        let pairs = [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ];
        for (own, section, theirs) in pairs {
            let (Some(mine), Some(other)) = (service.get(own), resources.get(section)) else { continue };
            let amount = |node: &Node| -> Option<f64> {
                let shown = node.shown()?;
                if theirs == "memory" {
                    scalar::bytes(&shown).ok().map(|bytes| bytes as f64)
                } else {
                    shown.parse().ok()
                }
            };
            let mine_amount = amount(&mine.node).unwrap_or_default();
            let other_amount = other.get(theirs).and_then(amount).unwrap_or_default();
            if mine_amount != 0.0
                && (mine_amount - other_amount).abs() > f64::from(f32::EPSILON) * mine_amount
            {
                let message =
                    format!("services.{name}: `{own}` and `deploy.resources.{section}.{theirs}` differ");
                self.error("bad-value", mine.key, message);
            }
        }
    }

    /// Two mounts at one path.
    fn targets(&mut self, name: &str, service: &Mapping) {
        let mut seen: HashMap<&str, Mark> = HashMap::new();
        let tmpfs = service.get("tmpfs").map(|entry| &entry.node);
        let single = tmpfs.filter(|node| node.text().is_some());
        let tmpfs = tmpfs.and_then(Node::items).unwrap_or_default().iter().chain(single);
        let tmpfs = tmpfs.filter_map(|node| Some((node.text()?.split(':').next()?, node.mark)));
        let mounts = texts(service, "volumes", "target");
        for (target, mark) in tmpfs.chain(mounts) {
            if let Some(first) = seen.insert(target, mark) {
                let first = self.findings.sources.span(first);
                let message = format!("service `{name}` mounts `{target}` twice");
                self.findings
                    .error("duplicate-target", mark, message)
                    .notes
                    .push(format!("first at {first}"));
            }
        }
    }

    fn secrets(&mut self) {
        for (name, entry) in self.root.get("secrets").and_then(Node::mapping).into_iter().flatten() {
            let given =
                |key: &str| entry.node.get(key).and_then(Node::text).is_some_and(|text| !text.is_empty());
            let external = entry.node.get("external").and_then(Node::truth) == Some(true);
            if !external && !given("file") && !given("environment") {
                self.error("missing-key", entry.key, format!("secrets.{name} needs `file` or `environment`"));
            }
        }
    }

    /// Dependencies that lead back to where they began; each service is looked at once.
    fn cycles(&mut self) {
        let mut done: HashMap<&str, bool> = HashMap::new();
        for start in self.services.keys() {
            let mut stack: Vec<(&str, Vec<(&str, Mark)>)> = vec![(start, self.next_of(start))];
            if done.contains_key(start.as_str()) {
                continue;
            }
            done.insert(start, false);
            while let Some((name, next)) = stack.last_mut() {
                let Some((other, mark)) = next.pop() else {
                    done.insert(name, true);
                    stack.pop();
                    continue;
                };
                match done.get(other) {
                    Some(true) => {}
                    Some(false) => {
                        let names = stack.iter().map(|(name, _)| *name).skip_while(|name| *name != other);
                        let names: Vec<_> = names.chain([other]).collect();
                        let message =
                            format!("services depend on one another in a circle: {}", names.join(" -> "));
                        self.error("dependency-cycle", mark, message);
                        return;
                    }
                    None => {
                        done.insert(other, false);
                        let next = self.next_of(other);
                        stack.push((other, next));
                    }
                }
            }
        }
    }

    fn next_of(&self, name: &str) -> Vec<(&'_ str, Mark)> {
        let Some(entry) = self.services.get(name).filter(|_| (self.active)(name)) else { return Vec::new() };
        let dependencies = entry.node.get("depends_on").and_then(Node::mapping);
        let known = dependencies.into_iter().flatten();
        known
            .filter(|(name, _)| self.services.contains_key(*name))
            .map(|(name, entry)| (name.as_str(), entry.key))
            .collect()
    }
}

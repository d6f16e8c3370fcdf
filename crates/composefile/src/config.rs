//! A project in the form that `compose config` prints, and what it says of it.

use std::collections::BTreeMap;

use coracle_report::{Diagnostic, Hint};
use indexmap::{IndexMap, IndexSet};

use crate::Loader;
use crate::canonical::{self, Steps};
use crate::load::{LoadRequest, Read};
use crate::render::{self, Format};
use crate::scalar;
use crate::service_files;
use crate::source::{Findings, Mark};
use crate::tree::{Entry, Mapping, Node};
use crate::variables::{self, Variable};

/// How far a project is resolved.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a step that the user may leave out, alone or with others"
)]
pub struct ConfigOptions {
    /// Variables are replaced. Without it the tree is what the files hold, and most else is left out too.
    pub interpolate: bool,
    /// What attributes imply is written out.
    pub normalise: bool,
    /// Relative paths become absolute.
    pub resolve_paths: bool,
    /// The rules between attributes are checked.
    pub consistent: bool,
    /// `env_file` and `label_file` are read into `environment` and `labels`.
    pub resolve_environment: bool,
    /// Networks, volumes, secrets and configurations that no service uses stay.
    pub keep_unused: bool,
}

impl Default for ConfigOptions {
    fn default() -> Self {
        Self {
            interpolate: true,
            normalise: true,
            resolve_paths: true,
            consistent: true,
            resolve_environment: true,
            keep_unused: false,
        }
    }
}

/// A project as a tree in the canonical form.
#[derive(Debug)]
pub struct Config {
    root: Node,
    name: String,
    options: ConfigOptions,
    environment: IndexMap<String, String>,
    active: IndexSet<String>,
    findings: Findings,
}

impl Config {
    /// Reads the files of a project; `services` are those that are asked for, with what they depend on; none is all.
    pub fn load(
        request: &LoadRequest,
        options: ConfigOptions,
        services: &[String],
        loader: &dyn Loader,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut findings = Findings::default();
        let steps = Steps { interpolate: options.interpolate, resolve_paths: options.resolve_paths };
        let Some(read) = Read::new(request, steps, loader, &mut findings) else {
            return Err(findings.take());
        };
        let Read { mut root, name, environment, directory: _, unreadable } = read;
        findings.add_missing(unreadable);
        if findings.failed() {
            return Err(findings.take());
        }
        if options.normalise {
            let none = IndexMap::new();
            canonical::normalise(&mut root, &name, if options.interpolate { &environment } else { &none });
        } else if options.interpolate
            && let Some(root) = root.mapping_mut()
        {
            let mark = root.first().map_or_else(Mark::none, |(_, entry)| entry.key);
            root.insert("name".to_owned(), Entry { key: mark, node: Node::scalar(mark, name.as_str()) });
        }
        let active = IndexSet::new();
        let mut config = Self { root, name, options, environment, active, findings };
        if options.interpolate {
            let profiles = request.active_profiles(&config.environment);
            config.activate(&profiles, services);
            if options.consistent && !config.findings.failed() {
                let active = &config.active;
                canonical::check_consistency(
                    &config.root,
                    &|name| active.contains(name),
                    &mut config.findings,
                );
            }
            if !config.findings.failed() {
                let resolve = options.resolve_environment;
                service_files::resolve(
                    &mut config.root,
                    &config.active,
                    resolve,
                    &config.environment,
                    loader,
                    &mut config.findings,
                );
            }
            if !config.findings.failed() {
                config.select(services);
            }
        }
        if config.findings.failed() { Err(config.findings.take()) } else { Ok(config) }
    }

    /// Takes what the author should know and is no error.
    pub fn take_warnings(&mut self) -> Vec<Diagnostic> {
        self.findings.take()
    }

    fn section(&self, name: &str) -> impl Iterator<Item = (&String, &Entry)> {
        self.root.get(name).and_then(Node::mapping).into_iter().flatten()
    }

    /// Decides which services the profiles, and being asked for, include.
    fn activate(&mut self, profiles: &[String], asked: &[String]) {
        let of = |entry: &Entry| -> Vec<String> {
            let items = entry.node.get("profiles").and_then(Node::items).unwrap_or_default();
            items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
        };
        let mut profiles = profiles.to_vec();
        let all: Vec<(String, Vec<String>)> =
            self.section("services").map(|(name, entry)| (name.clone(), of(entry))).collect();
        let included = |own: &[String], profiles: &[String]| {
            own.is_empty() || profiles.iter().any(|profile| profile == "*" || own.contains(profile))
        };
        for name in asked {
            if let Some((_, own)) = all.iter().find(|(known, _)| known == name)
                && !included(own, &profiles)
            {
                profiles.extend(own.iter().cloned());
            }
        }
        let active = all.into_iter().filter(|(_, own)| included(own, &profiles));
        self.active = active.map(|(name, _)| name).collect();
    }

    /// Keeps the services that are active and asked for, and what those use.
    fn select(&mut self, asked: &[String]) {
        let mut kept: IndexSet<String> = if asked.is_empty() { self.active.clone() } else { IndexSet::new() };
        let mut next: Vec<String> = asked.to_vec();
        while let Some(name) = next.pop() {
            if kept.contains(&name) {
                continue;
            }
            let Some((_, entry)) = self.section("services").find(|(known, _)| **known == name) else {
                let names = self.section("services").map(|(name, _)| name.as_str());
                let hint = scalar::nearest(&name, names).map(|near| Hint(format!("did you mean `{near}`?")));
                let mut diagnostic = Diagnostic::error("unknown-service", format!("no such service: {name}"));
                diagnostic.hints.extend(hint);
                self.findings.push(diagnostic);
                return;
            };
            let dependencies = entry.node.get("depends_on").and_then(Node::mapping);
            next.extend(
                dependencies
                    .into_iter()
                    .flat_map(Mapping::keys)
                    .filter(|name| self.active.contains(*name))
                    .cloned(),
            );
            kept.insert(name);
        }
        let consistent = self.options.consistent;
        if let Some(services) = self.root.get_mut("services").and_then(Node::mapping_mut) {
            services.retain(|name, _| kept.contains(name));
            for service in services.values_mut() {
                if !asked.is_empty()
                    && let Some(dependencies) = service.node.get_mut("depends_on").and_then(Node::mapping_mut)
                {
                    dependencies.retain(|name, _| kept.contains(name));
                }
                // Docker Compose writes the number of containers to both of its places.
                if consistent
                    && let Some(scale) = service.node.get("scale").cloned()
                    && let Some(deploy) = service.node.get_mut("deploy").and_then(Node::mapping_mut)
                {
                    deploy.entry("replicas".to_owned()).or_insert(Entry { key: scale.mark, node: scale });
                }
            }
        }
        if !self.options.keep_unused {
            self.drop_unused();
        }
    }

    /// Drops networks, volumes, secrets, configurations and models that no service uses.
    fn drop_unused(&mut self) {
        let mut used: BTreeMap<&str, IndexSet<String>> = BTreeMap::new();
        for (_, entry) in self.section("services") {
            let service = &entry.node;
            for section in ["networks", "models"] {
                let names = service.get(section).and_then(Node::mapping).into_iter().flat_map(Mapping::keys);
                used.entry(section).or_default().extend(names.cloned());
            }
            let sources = |list: Option<&Node>| -> Vec<String> {
                let items = list.and_then(Node::items).unwrap_or_default();
                items.iter().filter_map(|item| Some(item.get("source")?.shown()?.into_owned())).collect()
            };
            for section in ["secrets", "configs"] {
                used.entry(section).or_default().extend(sources(service.get(section)));
            }
            let for_build = service.get("build").and_then(|build| build.get("secrets"));
            used.entry("secrets").or_default().extend(sources(for_build));
            let mounts = service.get("volumes").and_then(Node::items).unwrap_or_default();
            let volumes =
                mounts.iter().filter(|mount| mount.get("type").and_then(Node::text) == Some("volume"));
            let names = volumes.filter_map(|mount| Some(mount.get("source")?.text()?.to_owned()));
            used.entry("volumes").or_default().extend(names);
        }
        for section in ["networks", "volumes", "secrets", "configs", "models"] {
            let used = used.remove(section).unwrap_or_default();
            if let Some(objects) = self.root.get_mut(section).and_then(Node::mapping_mut) {
                objects.retain(|name, _| used.contains(name));
            }
        }
    }

    /// Returns the project as text.
    pub fn text(&mut self, format: Format) -> Result<String, Vec<Diagnostic>> {
        if !self.options.interpolate {
            return Ok(render::tree(&self.root, format));
        }
        let text = render::project(&self.root, format, &mut self.findings);
        if self.findings.failed() { Err(self.findings.take()) } else { Ok(text.replace('$', "$$")) }
    }

    /// Returns the names below a section (`services`, `volumes`, `networks`), sorted.
    pub fn names(&self, section: &str) -> Vec<String> {
        let mut names: Vec<String> = self.section(section).map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Returns the names of services, those first that others depend on.
    pub fn services_in_order(&self) -> Vec<String> {
        let mut out: IndexSet<String> = IndexSet::new();
        let mut left = self.names("services");
        while !left.is_empty() {
            let ready = |name: &String| {
                let service = self.root.get("services").and_then(|services| services.get(name));
                let dependencies = service.and_then(|service| service.get("depends_on")?.mapping());
                dependencies
                    .into_iter()
                    .flat_map(Mapping::keys)
                    .all(|other| out.contains(other) || !left.contains(other))
            };
            let (now, later): (Vec<String>, Vec<String>) = left.iter().cloned().partition(ready);
            // A circle, with the rules between attributes unchecked: what is left has no order.
            let (now, later) = if now.is_empty() { (later, Vec::new()) } else { (now, later) };
            out.extend(now);
            left = later;
        }
        out.into_iter().collect()
    }

    /// Returns the models that services use, as they are to be pulled.
    pub fn models(&self) -> Vec<String> {
        self.section("models")
            .filter_map(|(_, entry)| Some(entry.node.get("model")?.text()?.to_owned()))
            .collect()
    }

    /// Returns the profiles of all services that are left, sorted.
    pub fn profiles(&self) -> Vec<String> {
        let services = self.section("services");
        let items = services.filter_map(|(_, entry)| entry.node.get("profiles")?.items()).flatten();
        let mut names: Vec<String> = items.filter_map(|item| item.text().map(str::to_owned)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the image of each service: its own, or the one that is built, `PROJECT-SERVICE`.
    pub fn images(&self) -> Vec<(String, String)> {
        let of = |(name, entry): (&String, &Entry)| {
            let given = entry.node.get("image").and_then(Node::text).filter(|image| !image.is_empty());
            let image = given.map_or_else(|| format!("{}-{name}", self.name), str::to_owned);
            (name.clone(), image)
        };
        let mut images: Vec<_> = self.section("services").map(of).collect();
        images.sort();
        images
    }

    /// Returns the image of each service that names one.
    pub fn named_images(&self) -> Vec<(String, String)> {
        let of = |(name, entry): (&String, &Entry)| {
            let given = entry.node.get("image").and_then(Node::text).filter(|image| !image.is_empty());
            given.map(|image| (name.clone(), image.to_owned()))
        };
        self.section("services").filter_map(of).collect()
    }

    /// Gives a service another image.
    pub fn set_image(&mut self, service: &str, image: &str) {
        let service = self.root.get_mut("services").and_then(|services| services.get_mut(service));
        if let Some(node) = service.and_then(|service| service.get_mut("image")) {
            *node = Node::scalar(node.mark, image);
        }
    }

    /// Keeps only the images of the services: a file that is laid over the others then fixes them.
    pub fn keep_images(&mut self) {
        let Some(root) = self.root.mapping_mut() else { return };
        root.retain(|section, _| section == "services");
        let Some(services) = root.get_mut("services").and_then(|entry| entry.node.mapping_mut()) else {
            return;
        };
        for service in services.values_mut().filter_map(|entry| entry.node.mapping_mut()) {
            service.retain(|key, _| key == "image");
        }
    }

    /// Returns what a service's hash is the SHA-256 of; `None` for an unknown service.
    pub fn hashed(&mut self, service: &str) -> Option<String> {
        let node = self.root.get("services")?.get(service)?;
        Some(render::hashed(node, &mut self.findings))
    }

    /// Returns the variables that the files refer to; the project is read without replacing them.
    pub fn variables(&self) -> BTreeMap<String, Variable> {
        variables::of(&self.root)
    }

    /// Returns the variables that values are replaced from, sorted.
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

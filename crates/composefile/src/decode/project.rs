//! The whole project, and what its parts say about one another.

use std::collections::HashSet;
use std::path::PathBuf;

use coracle_report::Diagnostic;
use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{MountSource, Network, NetworkDriver, NetworkMode, Project, Service};
use crate::scalar;
use crate::tree::{Mapping, Node};

use super::Decoder;
use super::objects::GrantKind;

impl Decoder<'_> {
    /// Reads the merged tree.
    pub(crate) fn project(&mut self, root: &Node, files: Vec<PathBuf>) -> Project {
        let empty = Mapping::new();
        let whole = Field { node: root, path: String::new(), key: root.mark };
        let mut fields = if let Some(mapping) = root.mapping() {
            Fields::new(mapping, String::new())
        } else {
            let message = format!("a compose file must be a mapping, not {}", root.kind());
            self.findings.error("wrong-type", whole.key, message);
            Fields::new(&empty, String::new())
        };
        fields.take("name");
        let mut project = Project {
            name: self.project_name.to_owned(),
            directory: self.directory.to_owned(),
            files,
            services: IndexMap::new(),
            inactive_services: IndexMap::new(),
            providers: IndexMap::new(),
            networks: IndexMap::new(),
            volumes: IndexMap::new(),
            secrets: IndexMap::new(),
            configs: IndexMap::new(),
            extensions: IndexMap::new(),
        };
        project.networks = self.named(&mut fields, "networks", Decoder::network);
        project.volumes = self.named(&mut fields, "volumes", Decoder::volume);
        project.secrets = self.named(&mut fields, "secrets", |decoder, key, field| {
            decoder.file_object(key, field, GrantKind::Secret)
        });
        project.configs = self.named(&mut fields, "configs", |decoder, key, field| {
            decoder.file_object(key, field, GrantKind::Config)
        });
        let services = self.named(&mut fields, "services", Decoder::service);
        if services.is_empty() && !self.findings.failed() {
            self.findings.error("no-services", whole.key, "the project has no services");
        }
        project.extensions = fields.finish(&["models"], self.findings);
        self.divide(services, &mut project);
        self.check_references(&project, root);
        self.check_circles(&project);
        for service in project.services.values_mut().chain(project.inactive_services.values_mut()) {
            let (ours, theirs) = std::mem::take(&mut service.depends_on)
                .into_iter()
                .partition::<IndexMap<_, _>, _>(|(name, _)| !project.providers.contains_key(name));
            service.depends_on = ours;
            service.provided_by = theirs.into_keys().collect();
        }
        implicit_parts(&mut project);
        project
    }

    /// Reads a top-level mapping of named parts.
    fn named<T>(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
        mut read: impl FnMut(&mut Self, &str, &Field<'_>) -> Option<T>,
    ) -> IndexMap<String, T> {
        let Some(field) = fields.take(key) else { return IndexMap::new() };
        let mut out = IndexMap::new();
        for (name, field) in field.entries(self.findings) {
            if name.starts_with("x-") {
                continue;
            }
            let legal = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
            if name.is_empty() || !name.chars().all(legal) {
                let message = format!("`{name}` is no name under `{key}`: letters, digits, `.`, `_` and `-`");
                self.findings.error("bad-value", field.key, message);
                continue;
            }
            if let Some(part) = read(self, name, &field) {
                out.insert(name.to_owned(), part);
            }
        }
        out
    }

    /// Divides the services by the active profiles.
    fn divide(&mut self, services: IndexMap<String, Service>, project: &mut Project) {
        for (name, service) in services {
            let active = service.profiles.is_empty()
                || service
                    .profiles
                    .iter()
                    .any(|profile| self.profiles.iter().any(|active| active == profile || active == "*"));
            if let Some(provider) = service.provider.as_ref().filter(|_| active) {
                project.providers.insert(name, provider.clone());
                continue;
            }
            let side = if active { &mut project.services } else { &mut project.inactive_services };
            side.insert(name, service);
        }
    }

    fn check_references(&mut self, project: &Project, root: &Node) {
        // A part that is written but could not be read has its own error already.
        let written =
            |section: &str, key: &str| root.get(section).is_some_and(|parts| parts.get(key).is_some());
        for service in project.services.values() {
            for (name, dependency) in &service.depends_on {
                let inactive = project.inactive_services.get(name);
                let defined = project.services.contains_key(name)
                    || project.providers.contains_key(name)
                    || (inactive.is_none() && written("services", name));
                if defined || !dependency.required {
                    continue;
                }
                let diagnostic = if let Some(inactive) = inactive {
                    let profile = inactive.profiles.first().map_or("", String::as_str);
                    Diagnostic::error(
                        "undefined-reference",
                        format!(
                            "service `{}` depends on `{name}`, which no active profile includes",
                            service.name
                        ),
                    )
                    .with_hint(format!("activate it with `--profile {profile}`, or say `required: false`"))
                } else {
                    let message =
                        format!("service `{}` depends on `{name}`, which is not defined", service.name);
                    undefined(message, name, project.services.keys())
                };
                self.findings.push(diagnostic.with_span(dependency.span.clone()));
            }
            if service.network_mode == NetworkMode::Networks {
                for key in service.networks.keys() {
                    if key != "default" && !project.networks.contains_key(key) && !written("networks", key) {
                        let message =
                            format!("service `{}` uses network `{key}`, which is not defined", service.name);
                        let diagnostic = undefined(message, key, project.networks.keys())
                            .with_hint(format!("define it: `{key}:` under the top-level `networks:`"));
                        let place = root
                            .get("services")
                            .and_then(|services| {
                                services.get(&service.name)?.get("networks")?.mapping()?.get(key)
                            })
                            .map_or_else(|| service.span.clone(), |entry| self.span(entry.key));
                        self.findings.push(diagnostic.with_span(place));
                    }
                }
            }
            for mount in &service.mounts {
                if let MountSource::Volume { key, .. } = &mount.source
                    && !project.volumes.contains_key(key)
                    && !written("volumes", key)
                {
                    let message =
                        format!("service `{}` uses volume `{key}`, which is not defined", service.name);
                    let diagnostic = undefined(message, key, project.volumes.keys()).with_hint(format!(
                        "define it: `{key}:` under the top-level `volumes:`; a directory is written `./{key}`"
                    ));
                    self.findings.push(diagnostic.with_span(mount.span.clone()));
                }
            }
            let granted = [
                ("secret", "secrets", &service.secrets, &project.secrets),
                ("config", "configs", &service.configs, &project.configs),
            ];
            for (word, section, grants, objects) in granted {
                for grant in grants {
                    if !objects.contains_key(&grant.source) && !written(section, &grant.source) {
                        let source = &grant.source;
                        let message = format!(
                            "service `{}` uses {word} `{source}`, which is not defined",
                            service.name
                        );
                        let diagnostic = undefined(message, source, objects.keys());
                        self.findings.push(diagnostic.with_span(grant.span.clone()));
                    }
                }
            }
        }
    }

    fn check_circles(&mut self, project: &Project) {
        let mut done: HashSet<&str> = HashSet::new();
        for name in project.services.keys() {
            let mut path: Vec<&str> = Vec::new();
            if let Some(circle) = find_circle(project, name, &mut path, &mut done) {
                let service = &project.services[circle[0]];
                let text = circle.iter().chain([&circle[0]]).copied().collect::<Vec<_>>().join(" -> ");
                let next = circle.get(1).unwrap_or(&circle[0]);
                let span = service.depends_on[*next].span.clone();
                let message = format!("services depend on one another in a circle: {text}");
                self.findings.push(
                    Diagnostic::error("dependency-circle", message)
                        .with_span(span)
                        .with_hint("remove one of these `depends_on` entries"),
                );
                return;
            }
        }
    }
}

/// Walks dependencies depth first and returns the first circle met.
fn find_circle<'p>(
    project: &'p Project,
    name: &'p str,
    path: &mut Vec<&'p str>,
    done: &mut HashSet<&'p str>,
) -> Option<Vec<&'p str>> {
    if let Some(start) = path.iter().position(|earlier| *earlier == name) {
        return Some(path[start..].to_vec());
    }
    if done.contains(name) {
        return None;
    }
    let service = project.services.get(name)?;
    path.push(name);
    let found = service.depends_on.keys().find_map(|next| find_circle(project, next, path, done));
    path.pop();
    done.insert(name);
    found
}

fn undefined<'a>(message: String, name: &str, known: impl Iterator<Item = &'a String>) -> Diagnostic {
    let diagnostic = Diagnostic::error("undefined-reference", message);
    match scalar::nearest(name, known.map(String::as_str)) {
        Some(near) => diagnostic.with_hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

/// Adds the `default` network where it is used, and drops networks that nobody uses (Compose makes none for them).
fn implicit_parts(project: &mut Project) {
    let used: HashSet<String> =
        project.services.values().flat_map(|service| service.networks.keys().cloned()).collect();
    if used.contains("default") && !project.networks.contains_key("default") {
        let network = Network {
            span: None,
            name: format!("{}_default", project.name),
            driver: NetworkDriver::Bridge,
            external: false,
            internal: false,
            subnet: None,
            gateway: None,
            range: None,
            reserved: IndexMap::new(),
            ipv6: None,
            driver_options: IndexMap::new(),
            labels: IndexMap::new(),
            refusals: Vec::new(),
        };
        project.networks.insert("default".to_owned(), network);
    }
    project.networks.retain(|key, _| used.contains(key));
}

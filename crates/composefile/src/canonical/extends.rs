//! `extends`: a service laid over another of the same or of another file.

use std::path::{Path, PathBuf};

use crate::source::Mark;
use crate::trace::What;
use crate::tree::{Mapping, Node};
use crate::written::Role;

use super::reset::Resets;
use super::{Composer, Depth, Scope, merge, paths};

/// How many services one may come from; chains are short, and longer ones would fill the stack.
const CHAIN_LIMIT: usize = 100;

/// The services of a file that others extend from.
pub(super) struct Base {
    services: Mapping,
    resets: Resets,
}

/// Where a service that is extended stands.
enum Home<'h> {
    Document(&'h mut Mapping),
    File(PathBuf),
}

/// A service with all that it extends; nothing when it holds nothing, or nobody asked for it.
struct Extended(Option<Node>);

/// What leads to a service: file, name.
type Chain = Vec<(PathBuf, String)>;

impl Composer<'_> {
    /// Lays every service of a document over what it extends.
    pub(super) fn apply_extends(
        &mut self,
        document: &mut Node,
        file: &Path,
        scope: &Scope,
        resets: &Resets,
    ) -> Option<()> {
        let Some(services) = document.get_mut("services").and_then(Node::mapping_mut) else {
            return Some(());
        };
        let names: Vec<String> = services.keys().cloned().collect();
        for name in names {
            let mut home = Home::Document(services);
            self.extend(&name, &mut home, file, scope, &Chain::new(), Some(resets))?;
        }
        Some(())
    }

    /// Makes the service `name` of `home` whole and returns a copy of it when it is a mapping.
    fn extend(
        &mut self,
        name: &str,
        home: &mut Home<'_>,
        file: &Path,
        scope: &Scope,
        chain: &Chain,
        resets: Option<&Resets>,
    ) -> Option<Extended> {
        let service = match home {
            Home::Document(services) => services.get(name).map(|entry| &entry.node),
            Home::File(path) => self.extended[path].services.get(name).map(|entry| &entry.node),
        };
        let Some(service) = service.filter(|service| service.mapping().is_some()) else {
            return Some(Extended(None));
        };
        let Some(extends) = service.get("extends").cloned() else {
            // Nobody needs a copy of what stands in a document on its own.
            let needed = !chain.is_empty();
            return Some(Extended(needed.then(|| service.clone())));
        };
        let mut own = service.clone();
        let named = extends.text().map(|target| (target, extends.mark)).or_else(|| {
            let target = extends.get("service")?;
            Some((target.text()?, target.mark))
        });
        let Some((target, place)) = named.map(|(target, mark)| (target.to_owned(), mark)) else {
            let message = format!("services.{name}.extends names no `service`");
            self.findings.error("missing-key", extends.mark, message);
            return None;
        };
        let other = extends.get("file").and_then(|file| Some((PathBuf::from(file.text()?), file.mark)));
        let seen_as = other.as_ref().map_or_else(|| file.to_owned(), |(path, _)| path.clone());
        let chain = self.lengthen(chain, seen_as, name, extends.mark)?;
        let values = own.count();
        self.spend(values, std::slice::from_ref(&own))?;
        let base = if let Some((path, mark)) = other {
            let path = paths::clean(&scope.base.join(path));
            self.read_base(&path, mark, scope)?;
            if !self.extended[&path].services.contains_key(&target) {
                return self.missing(name, &target, &path, place);
            }
            self.extend(&target, &mut Home::File(path), file, scope, &chain, None)?
        } else {
            let known = match home {
                Home::Document(services) => services.contains_key(&target),
                Home::File(path) => self.extended[path].services.contains_key(&target),
            };
            if !known {
                let path = if let Home::File(path) = home { path.clone() } else { file.to_owned() };
                return self.missing(name, &target, &path, place);
            }
            self.extend(&target, home, file, scope, &chain, None)?
        };
        let mut merged = match base.0 {
            None => own,
            Some(mut base) => {
                let came = || What::Extended { service: target, at: extends.mark };
                self.findings.came(&mut base, came);
                match (resets, &*home) {
                    (Some(resets), _) => {
                        resets.apply_to_service(&mut base, name, &mut own, self.findings);
                    }
                    (None, Home::File(path)) => {
                        let resets = &self.extended[path].resets;
                        resets.apply_to_service(&mut base, name, &mut own, self.findings);
                    }
                    (None, Home::Document(_)) => {}
                }
                let values = base.count();
                self.spend(values, std::slice::from_ref(&base))?;
                merge::services(base, own, self.findings)
            }
        };
        if let Some(merged) = merged.mapping_mut() {
            merged.shift_remove("extends");
        }
        let services = match home {
            Home::Document(services) => services,
            Home::File(path) => &mut self.extended.get_mut(path)?.services,
        };
        services.get_mut(name)?.node = merged.clone();
        Some(Extended(Some(merged)))
    }

    fn lengthen(&mut self, chain: &Chain, file: PathBuf, name: &str, mark: Mark) -> Option<Chain> {
        let step = (file, name.to_owned());
        let message = if chain.contains(&step) {
            let names: Vec<_> = chain.iter().map(|(_, name)| name.as_str()).collect();
            format!("services extend one another in a circle: {} -> {name}", names.join(" -> "))
        } else if chain.len() >= CHAIN_LIMIT {
            format!("a service comes from more than {CHAIN_LIMIT} others by `extends`")
        } else {
            return Some(chain.iter().cloned().chain([step]).collect());
        };
        self.findings.error("extends-cycle", mark, message);
        None
    }

    fn missing(&mut self, name: &str, target: &str, file: &Path, mark: Mark) -> Option<Extended> {
        let message = format!("service `{name}` extends `{target}`, which {} does not have", file.display());
        self.findings.error("unknown-service", mark, message);
        None
    }

    /// Reads a file that is extended from; its paths are seen from the project's directory.
    fn read_base(&mut self, path: &Path, mark: Mark, scope: &Scope) -> Option<()> {
        if self.extended.contains_key(path) {
            return Some(());
        }
        let files = self.files;
        let Some(documents) = self.read(path, Role::Extended(mark)) else {
            if files == self.files || !self.loader.exists(path) {
                let message = format!("`extends` names {}, which cannot be read", path.display());
                self.findings.error("compose-file", mark, message);
            }
            return None;
        };
        let mut resets = Resets::default();
        let mut root = None;
        for mut document in documents {
            resets = Resets::take(&mut document);
            let depth = Depth { whole: false, included: &[] };
            root = Some(self.document(root, document, path, scope, depth)?);
        }
        let services = root.as_mut().and_then(|root| {
            let directory = path.parent().unwrap_or(path);
            let directory = paths::relative(directory, &scope.base);
            let home = scope.environment.get("HOME").map(String::as_str);
            paths::Bases { directory: &directory, home }.resolve(root, self.findings, &mut self.unreadable);
            root.get_mut("services")?.mapping_mut().map(std::mem::take)
        });
        let Some(services) = services else {
            let message = format!("{} has no services to extend", path.display());
            self.findings.error("unknown-service", mark, message);
            return None;
        };
        self.extended.insert(path.to_owned(), Base { services, resets });
        Some(())
    }
}

//! `build`.

use coracle_oci::Platform;
use coracle_report::Span;
use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{Build, BuildSecret};
use crate::scalar;

use super::Decoder;

/// The beginnings of contexts that are fetched.
const REMOTE: [&str; 7] = ["https://", "http://", "git://", "ssh://", "github.com/", "git@", "git+https://"];

impl Decoder<'_> {
    pub(super) fn build(&mut self, field: &Field<'_>) -> Option<Build> {
        let mut fields = field.mapping(self.findings)?;
        let span = self.span(field.key);
        let places = self.places(field);
        let context = match fields.take("context") {
            None => self.path("."),
            Some(context) => {
                let text = context.text(self.findings)?;
                let remote = text.contains("://") || REMOTE.iter().any(|prefix| text.starts_with(prefix));
                if remote { text.into() } else { self.path(text) }
            }
        };
        let dockerfile = fields.take("dockerfile");
        let inline = fields.take("dockerfile_inline");
        if let (Some(dockerfile), Some(_)) = (&dockerfile, &inline) {
            dockerfile.bad(self.findings, "`dockerfile` and `dockerfile_inline` exclude each other");
        }
        let dockerfile_span = dockerfile.as_ref().map(|dockerfile| self.span(dockerfile.node.mark));
        let dockerfile_text = dockerfile.and_then(|dockerfile| dockerfile.text(self.findings));
        let dockerfile = context.join(dockerfile_text.unwrap_or("Dockerfile"));
        // An address has no `.` and `..` to resolve, and its `//` stays.
        let dockerfile = if context.is_absolute() { super::clean(&dockerfile) } else { dockerfile };
        let target = fields.take("target");
        let target_span = target.as_ref().map(|target| self.span(target.node.mark));
        let target = target.and_then(|target| target.text(self.findings)).map(str::to_owned);
        let args = fields.take("args").map(|args| args.pairs(self.findings)).unwrap_or_default();
        // An argument without value takes that of the caller's environment, or stays unset.
        let args = args
            .into_iter()
            .filter_map(|(name, value)| {
                let value = value.or_else(|| self.environment.get(&name).cloned())?;
                Some((name, value))
            })
            .collect();
        if let Some(isolation) = fields.take("isolation") {
            let message = format!("{} has no effect: it is about Windows containers", isolation.path);
            self.findings.warning("not-honoured", isolation.key, message);
        }
        let mut build = Build {
            span,
            context,
            dockerfile,
            dockerfile_inline: inline.and_then(|inline| inline.text(self.findings)).map(str::to_owned),
            dockerfile_span,
            target,
            target_span,
            args,
            additional_contexts: self.additional_contexts(&mut fields),
            labels: fields
                .take("labels")
                .map(|labels| labels.filled_pairs(self.findings))
                .unwrap_or_default(),
            tags: fields.texts("tags", self.findings),
            no_cache: fields.boolean("no_cache", self.findings),
            pull: fields.boolean("pull", self.findings),
            cache_from: fields.texts("cache_from", self.findings),
            cache_to: fields.texts("cache_to", self.findings),
            entitlements: fields.texts("entitlements", self.findings),
            privileged: fields.boolean("privileged", self.findings),
            extra_hosts: fields.take("extra_hosts").map(|field| self.extra_hosts(&field)).unwrap_or_default(),
            network: fields.text("network", self.findings),
            platforms: self.platforms(&mut fields),
            provenance: fields.text("provenance", self.findings),
            sbom: fields.text("sbom", self.findings),
            secrets: fields.take("secrets").map(|field| self.build_secrets(&field)).unwrap_or_default(),
            shm_size: fields.take("shm_size").and_then(|field| field.parse(self.findings, scalar::bytes)),
            ssh: fields.take("ssh").map(|field| self.agents(&field)).unwrap_or_default(),
            ulimits: fields.take("ulimits").map(|field| self.ulimits(&field)).unwrap_or_default(),
            places,
            extensions: IndexMap::new(),
        };
        build.extensions = fields.finish(&[], self.findings);
        Some(build)
    }

    /// Returns where the attributes are given.
    fn places(&self, field: &Field<'_>) -> IndexMap<String, Span> {
        let entries = field.node.mapping().into_iter().flatten();
        entries.map(|(name, entry)| (name.clone(), self.span(entry.key))).collect()
    }

    fn additional_contexts(&mut self, fields: &mut Fields<'_>) -> IndexMap<String, String> {
        let Some(field) = fields.take("additional_contexts") else { return IndexMap::new() };
        let mut contexts = field.filled_pairs(self.findings);
        for source in contexts.values_mut() {
            let elsewhere = source.contains("://")
                || source.starts_with("service:")
                || REMOTE.iter().any(|prefix| source.starts_with(prefix));
            if !elsewhere {
                *source = self.path(source).to_string_lossy().into_owned();
            }
        }
        contexts
    }

    fn platforms(&mut self, fields: &mut Fields<'_>) -> Vec<Platform> {
        let Some(field) = fields.take("platforms") else { return Vec::new() };
        let mut platforms = Vec::new();
        for item in field.list(self.findings) {
            platforms.extend(item.parse(self.findings, Platform::written));
        }
        platforms
    }

    fn build_secrets(&mut self, field: &Field<'_>) -> Vec<BuildSecret> {
        let mut secrets = Vec::new();
        for item in field.list(self.findings) {
            if let Some(source) = item.node.text() {
                secrets.push(BuildSecret { source: source.to_owned(), id: source.to_owned() });
                continue;
            }
            let Some(mut fields) = item.mapping(self.findings) else { continue };
            let source = fields.text("source", self.findings);
            let id = fields.text("target", self.findings);
            for key in ["uid", "gid", "mode"] {
                if let Some(field) = fields.take(key) {
                    let message = format!("{} has no effect: `RUN --mount` says it", field.path);
                    self.findings.warning("not-honoured", field.key, message);
                }
            }
            fields.finish(&[], self.findings);
            let Some(source) = source else {
                let message = format!("{} has no `source`", item.path);
                self.findings.error("missing-key", item.node.mark, message);
                continue;
            };
            secrets.push(BuildSecret { id: id.unwrap_or_else(|| source.clone()), source });
        }
        secrets
    }

    fn agents(&mut self, field: &Field<'_>) -> IndexMap<String, Option<String>> {
        let mut agents = IndexMap::new();
        for (id, path) in field.pairs(self.findings) {
            let path = path.filter(|path| !path.is_empty());
            agents.insert(id, path.map(|path| self.path(&path).to_string_lossy().into_owned()));
        }
        agents
    }
}

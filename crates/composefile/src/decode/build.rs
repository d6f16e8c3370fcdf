//! `build`.

use crate::fields::Field;
use crate::model::Build;

use super::Decoder;

/// Attributes of `build` that the specification knows and the builder does not honour yet.
const LATER: &[&str] = &[
    "ssh",
    "cache_from",
    "cache_to",
    "network",
    "provenance",
    "sbom",
    "platforms",
    "isolation",
    "privileged",
    "secrets",
    "shm_size",
    "extra_hosts",
    "ulimits",
    "entitlements",
];

impl Decoder<'_> {
    pub(super) fn build(&mut self, field: &Field<'_>) -> Option<Build> {
        let mut fields = field.mapping(self.findings)?;
        let span = self.span(field.key);
        let context = match fields.take("context") {
            None => self.path("."),
            Some(context) => {
                let text = context.text(self.findings)?;
                if text.contains("://") || text.starts_with("git@") {
                    context.bad(self.findings, "remote build contexts are not supported yet");
                    return None;
                }
                self.path(text)
            }
        };
        let dockerfile = fields.take("dockerfile");
        let inline = fields.take("dockerfile_inline");
        if let (Some(dockerfile), Some(_)) = (&dockerfile, &inline) {
            dockerfile.bad(self.findings, "`dockerfile` and `dockerfile_inline` exclude each other");
        }
        let dockerfile_span = dockerfile.as_ref().map(|dockerfile| self.span(dockerfile.node.mark));
        let dockerfile_text = dockerfile.and_then(|dockerfile| dockerfile.text(self.findings));
        let dockerfile = super::clean(&context.join(dockerfile_text.unwrap_or("Dockerfile")));
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
        let mut additional_contexts = fields
            .take("additional_contexts")
            .map(|field| field.filled_pairs(self.findings))
            .unwrap_or_default();
        for source in additional_contexts.values_mut() {
            let scheme = source.contains("://") || source.starts_with("service:");
            if !scheme {
                *source = self.path(source).to_string_lossy().into_owned();
            }
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
            additional_contexts,
            labels: fields
                .take("labels")
                .map(|labels| labels.filled_pairs(self.findings))
                .unwrap_or_default(),
            tags: fields.texts("tags", self.findings),
            no_cache: fields.boolean("no_cache", self.findings),
            pull: fields.boolean("pull", self.findings),
            extensions: indexmap::IndexMap::new(),
        };
        build.extensions = fields.finish(LATER, self.findings);
        Some(build)
    }
}

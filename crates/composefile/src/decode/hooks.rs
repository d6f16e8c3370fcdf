//! `post_start`, `pre_stop`, `develop`, `provider` and `models` of a service.

use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{Hook, ModelUse, Provider, Watch, WatchAction};

use super::Decoder;

impl Decoder<'_> {
    /// Reads a list of hooks.
    pub(super) fn hooks(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Vec<Hook> {
        let Some(field) = fields.take(key) else { return Vec::new() };
        let items = field.list(self.findings);
        items.iter().filter_map(|item| self.hook(item)).collect()
    }

    fn hook(&mut self, item: &Field<'_>) -> Option<Hook> {
        let span = self.span(item.node.mark);
        let mut fields = item.mapping(self.findings)?;
        let command = fields.take("command").and_then(|field| self.command(&field)).unwrap_or_default();
        let environment = match fields.take("environment") {
            None => IndexMap::new(),
            Some(field) => self.variables(&field),
        };
        let hook = Hook {
            span,
            command,
            user: fields.text("user", self.findings),
            privileged: fields.boolean("privileged", self.findings),
            working_dir: fields
                .take("working_dir")
                .and_then(|field| field.text(self.findings).and_then(|text| self.target(&field, text))),
            environment,
        };
        fields.finish(&[], self.findings);
        if hook.command.is_empty() {
            item.bad(self.findings, "it has no `command`");
            return None;
        }
        Some(hook)
    }

    /// Reads variables; one without a value has the caller's or is not set.
    fn variables(&mut self, field: &Field<'_>) -> IndexMap<String, String> {
        let pairs = field.pairs(self.findings).into_iter();
        let value = |name: &str| self.environment.get(name).cloned();
        pairs.filter_map(|(name, given)| Some((name.clone(), given.or_else(|| value(&name))?))).collect()
    }

    /// Reads `develop`.
    pub(super) fn develop(&mut self, field: &Field<'_>) -> Vec<Watch> {
        let Some(mut fields) = field.mapping(self.findings) else { return Vec::new() };
        let mut watches = Vec::new();
        if let Some(watch) = fields.take("watch") {
            for item in watch.list(self.findings) {
                watches.extend(self.watch(&item));
            }
        }
        fields.finish(&[], self.findings);
        watches
    }

    fn watch(&mut self, item: &Field<'_>) -> Option<Watch> {
        let span = self.span(item.node.mark);
        let mut fields = item.mapping(self.findings)?;
        let path = fields.take("path").and_then(|field| self.path_of(&field));
        let action = fields.take("action").and_then(|field| {
            field.parse(self.findings, |text| match text {
                "rebuild" => Ok(WatchAction::Rebuild),
                "sync" => Ok(WatchAction::Sync),
                "restart" => Ok(WatchAction::Restart),
                "sync+restart" => Ok(WatchAction::SyncRestart),
                "sync+exec" => Ok(WatchAction::SyncExec),
                _ => Err(format!("`{text}` is no action")),
            })
        });
        let target = fields
            .take("target")
            .and_then(|field| field.text(self.findings).and_then(|text| self.target(&field, text)));
        let exec = fields.take("exec").and_then(|field| self.hook(&field));
        let ignore = fields.texts("ignore", self.findings);
        let include = fields.texts("include", self.findings);
        let initial_sync = fields.boolean("initial_sync", self.findings);
        fields.finish(&[], self.findings);
        let action = action?;
        let needs_target =
            matches!(action, WatchAction::Sync | WatchAction::SyncRestart | WatchAction::SyncExec);
        if needs_target && target.is_none() {
            item.bad(self.findings, "an action that copies files needs a `target`");
        }
        if action == WatchAction::SyncExec && exec.is_none() {
            item.bad(self.findings, "`sync+exec` needs an `exec`");
        }
        Some(Watch { span, path: path?, action, target, ignore, include, exec, initial_sync })
    }

    /// Reads `provider`.
    pub(super) fn provider(&mut self, field: &Field<'_>) -> Option<Provider> {
        let span = self.span(field.key);
        let mut fields = field.mapping(self.findings)?;
        let kind = fields.take("type").and_then(|field| {
            field.parse(self.findings, |text| {
                // It becomes a program's name.
                let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                let good = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
                    && text.bytes().all(legal);
                match text {
                    "compose" => Err("`compose` is no provider".to_owned()),
                    text if good => Ok(text.to_owned()),
                    text => Err(format!("`{text}` is no name of a program")),
                }
            })
        });
        let mut options = IndexMap::new();
        if let Some(given) = fields.take("options") {
            for (name, field) in given.entries(self.findings) {
                options.insert(name.to_owned(), field.texts(self.findings));
            }
        }
        fields.finish(&[], self.findings);
        Some(Provider { span, kind: kind?, options })
    }

    /// Reads `models` of a service, which nothing serves here.
    pub(super) fn models(&mut self, field: &Field<'_>) -> IndexMap<String, ModelUse> {
        let message = format!("{} has no effect: no AI models are run here", field.path);
        self.findings.warning("not-honoured", field.key, message);
        let mut models = IndexMap::new();
        for (name, field) in field.entries(self.findings) {
            let mut model = ModelUse::default();
            if field.node.mapping().is_some() {
                let Some(mut fields) = field.mapping(self.findings) else { continue };
                model.endpoint_var = fields.text("endpoint_var", self.findings);
                model.model_var = fields.text("model_var", self.findings);
                fields.finish(&[], self.findings);
            }
            models.insert(name.to_owned(), model);
        }
        models
    }
}

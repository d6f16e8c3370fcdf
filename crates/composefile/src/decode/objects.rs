//! Top-level `volumes`, `secrets` and `configs`, and what services are granted of the last two.

use coracle_report::Hint;
use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{FileContent, FileGrant, FileObject, Volume};
use crate::tree::Value;

use super::Decoder;
use super::mounts::octal;

/// Where a file given to a service lies unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrantKind {
    /// Under `/run/secrets`.
    Secret,
    /// At the root.
    Config,
}

impl GrantKind {
    /// Returns the directory of targets that are no absolute paths.
    fn directory(self) -> &'static str {
        match self {
            Self::Secret => "/run/secrets/",
            Self::Config => "/",
        }
    }
}

impl Decoder<'_> {
    /// Reads `name` and `external`: the name in the engine, and whether somebody else makes it.
    pub(super) fn name(&mut self, key: &str, fields: &mut Fields<'_>) -> (String, bool) {
        let mut name = fields.text("name", self.findings);
        let external = fields.take("external").is_some_and(|field| {
            if let Value::Mapping(_) = field.node.value {
                // The form before Compose 3.4: `external: {name: ...}`.
                if let Some(mut inner) = field.mapping(self.findings) {
                    name = inner.text("name", self.findings).or_else(|| name.take());
                    inner.finish(&[], self.findings);
                }
                return true;
            }
            field.boolean(self.findings)
        });
        let name = match name {
            Some(name) => name,
            None if external => key.to_owned(),
            None => format!("{}_{key}", self.project_name),
        };
        (name, external)
    }

    pub(super) fn volume(&mut self, key: &str, field: &Field<'_>) -> Option<Volume> {
        let span = self.span(field.key);
        let empty = crate::tree::Mapping::new();
        let mut fields = match field.node.value {
            Value::Null => Fields::new(&empty, field.path.clone()),
            Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => field.mapping(self.findings)?,
        };
        let (name, external) = self.name(key, &mut fields);
        if let Some(driver) = fields.take("driver") {
            driver.parse(self.findings, |text| match text {
                "local" | "default" | "" => Ok(()),
                _ => Err(format!("volume driver `{text}` is not supported, only `local` is")),
            });
        }
        let driver_opts =
            fields.take("driver_opts").map(|field| self.driver_opts(&field)).unwrap_or_default();
        let labels = fields.take("labels").map(|field| field.filled_pairs(self.findings)).unwrap_or_default();
        fields.finish(&[], self.findings);
        Some(Volume { span, name, external, driver_opts, labels })
    }

    /// Reads options of the `local` driver: what a volume shows instead of a directory of its own.
    fn driver_opts(&mut self, field: &Field<'_>) -> IndexMap<String, String> {
        let mut options = IndexMap::new();
        for (name, field) in field.entries(self.findings) {
            match name {
                "type" | "o" | "device" => {
                    let Some(text) = field.text(self.findings) else { continue };
                    options.insert(name.to_owned(), text.to_owned());
                }
                "size" => {
                    let hint = "a tmpfs takes it: `type: tmpfs`, `device: tmpfs`, `o: size=64m`";
                    let error = field.bad(self.findings, "needs quotas, which are not supported");
                    error.hints.push(Hint(hint.to_owned()));
                }
                _ => {
                    field.bad(
                        self.findings,
                        "not supported: the `local` driver knows only `type`, `o` and `device`",
                    );
                }
            }
        }
        let has = |name: &str| options.get(name).is_some_and(|text: &String| !text.is_empty());
        if !(options.is_empty() || has("type") && has("device")) {
            field.bad(self.findings, "options are not supported without both `type` and `device`");
        }
        let binds =
            options.get("o").is_some_and(|o| o.split(',').any(|option| matches!(option, "bind" | "rbind")));
        if let Some(device) = options.get("device").filter(|device| binds && !device.starts_with('/')) {
            let error = field.bad(self.findings, &format!("the device `{device}` is no absolute path"));
            error
                .hints
                .push(Hint("say `driver: local`: then it starts at the project's directory".to_owned()));
        }
        options
    }

    pub(super) fn file_object(
        &mut self,
        key: &str,
        field: &Field<'_>,
        kind: GrantKind,
    ) -> Option<FileObject> {
        let span = self.span(field.key);
        let mut fields = field.mapping(self.findings)?;
        let (name, external) = self.name(key, &mut fields);
        let file = fields.take("file");
        let variable = fields.take("environment");
        let inline = match kind {
            GrantKind::Config => fields.take("content"),
            GrantKind::Secret => None,
        };
        fields.take("labels");
        for key in ["driver", "driver_opts", "template_driver"] {
            if let Some(field) = fields.take(key) {
                let why = "not supported: only Swarm has drivers for secrets and configurations";
                let error = self.findings.error("bad-value", field.key, format!("{}: {why}", field.path));
                error.hints.push(Hint("give it a `file` or an `environment` variable".to_owned()));
            }
        }
        fields.finish(&[], self.findings);
        let given = usize::from(external)
            + [&file, &variable, &inline].into_iter().filter(|source| source.is_some()).count();
        if given != 1 {
            let sources = match kind {
                GrantKind::Secret => "`file`, `environment` and `external`",
                GrantKind::Config => "`file`, `environment`, `content` and `external`",
            };
            let message = format!("{} must have exactly one of {sources}", field.path);
            self.findings.error("bad-value", field.key, message);
            return None;
        }
        let mut of_variable = None;
        let content = if let Some(file) = file {
            FileContent::File(self.path_of(&file)?)
        } else if let Some(variable) = variable {
            let variable_name = variable.text(self.findings)?;
            let Some(value) = self.environment.get(variable_name) else {
                let reason = format!("variable `{variable_name}` is not set");
                variable.bad(self.findings, &reason);
                return None;
            };
            of_variable = Some(variable_name.to_owned());
            FileContent::Inline(value.clone())
        } else if let Some(inline) = inline {
            FileContent::Inline(inline.text(self.findings)?.to_owned())
        } else {
            FileContent::External(name.clone())
        };
        Some(FileObject { span, name, content, variable: of_variable })
    }

    /// Reads `secrets` or `configs` of a service.
    pub(super) fn grants(&mut self, field: &Field<'_>, kind: GrantKind) -> Vec<FileGrant> {
        let mut grants = Vec::new();
        for item in field.list(self.findings) {
            let span = self.span(item.node.mark);
            if let Some(source) = item.node.text() {
                let target = format!("{}{source}", kind.directory());
                let source = source.to_owned();
                grants.push(FileGrant { span, source, target, uid: 0, gid: 0, mode: 0o444 });
                continue;
            }
            let Some(mut fields) = item.mapping(self.findings) else { continue };
            let source = fields.text("source", self.findings);
            let target = fields.take("target");
            let uid = fields.take("uid").and_then(|field| field.number(self.findings)).unwrap_or(0);
            let gid = fields.take("gid").and_then(|field| field.number(self.findings)).unwrap_or(0);
            let mode = fields.take("mode").and_then(|field| field.parse(self.findings, octal));
            fields.finish(&[], self.findings);
            let Some(source) = source else {
                let message = format!("{} has no `source`", item.path);
                self.findings.error("missing-key", item.node.mark, message);
                continue;
            };
            let target = match target {
                None => Some(format!("{}{source}", kind.directory())),
                Some(field) => field.text(self.findings).and_then(|text| {
                    let absolute = if text.starts_with('/') {
                        text.to_owned()
                    } else {
                        format!("{}{text}", kind.directory())
                    };
                    self.target(&field, &absolute)
                }),
            };
            if let Some(target) = target {
                grants.push(FileGrant { span, source, target, uid, gid, mode: mode.unwrap_or(0o444) });
            }
        }
        grants
    }
}

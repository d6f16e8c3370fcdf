//! `ipc`, `pid`, `uts`, `cgroup`, `userns_mode`, `cgroup_parent`, and what no Linux host gives a container.

use coracle_report::Diagnostic;

use crate::fields::{Field, Fields};
use crate::model::{CgroupMode, IpcMode, Isolation, PidMode, UtsMode};

use super::Decoder;

/// What an attribute such as `service:NAME` refers to.
pub(super) enum Reference<'t> {
    Service(&'t str),
    Container(&'t str),
    /// Neither.
    Word(&'t str),
}

/// Reads `service:NAME` and `container:NAME`.
pub(super) fn reference(text: &str) -> Result<Reference<'_>, String> {
    match text.split_once(':') {
        Some(("service" | "container", "")) => Err(format!("`{text}` names nothing")),
        Some(("service", name)) => Ok(Reference::Service(name)),
        Some(("container", name)) => Ok(Reference::Container(name)),
        Some(_) | None => Ok(Reference::Word(text)),
    }
}

impl Decoder<'_> {
    pub(super) fn isolation(&mut self, fields: &mut Fields<'_>) -> Isolation {
        let ipc = |text: &str| match reference(text)? {
            Reference::Service(name) => Ok(IpcMode::Service(name.to_owned())),
            Reference::Container(name) => Ok(IpcMode::Container(name.to_owned())),
            Reference::Word("" | "private") => Ok(IpcMode::Private),
            Reference::Word("shareable") => Ok(IpcMode::Shareable),
            Reference::Word("none") => Ok(IpcMode::None),
            Reference::Word("host") => Ok(IpcMode::Host),
            Reference::Word(_) => Err(format!(
                "`{text}` is none of `private`, `shareable`, `none`, `host`, `service:NAME` and `container:NAME`"
            )),
        };
        let pid = |text: &str| match reference(text)? {
            Reference::Service(name) => Ok(PidMode::Service(name.to_owned())),
            Reference::Container(name) => Ok(PidMode::Container(name.to_owned())),
            Reference::Word("" | "private") => Ok(PidMode::Private),
            Reference::Word("host") => Ok(PidMode::Host),
            Reference::Word(_) => {
                Err(format!("`{text}` is none of `host`, `service:NAME` and `container:NAME`"))
            }
        };
        let uts = |text: &str| match text {
            "" | "private" => Ok(UtsMode::Private),
            "host" => Ok(UtsMode::Host),
            _ => Err(format!("`{text}` is not `host`: the name of another container cannot be shared")),
        };
        let cgroup = |text: &str| match text {
            "" | "private" => Ok(CgroupMode::Private),
            "host" => Ok(CgroupMode::Host),
            _ => Err(format!("`{text}` is neither `host` nor `private`")),
        };
        let findings = &mut *self.findings;
        Isolation {
            ipc: fields.take("ipc").and_then(|field| field.parse(findings, ipc)).unwrap_or_default(),
            pid: fields.take("pid").and_then(|field| field.parse(findings, pid)).unwrap_or_default(),
            uts: fields.take("uts").and_then(|field| field.parse(findings, uts)).unwrap_or_default(),
            cgroup: fields.take("cgroup").and_then(|field| field.parse(findings, cgroup)).unwrap_or_default(),
        }
    }

    /// Reads what this engine has no counterpart for: warnings where a container runs as well without, refusals where it
    /// would be another one.
    pub(super) fn out_of_reach(&mut self, fields: &mut Fields<'_>) -> Vec<Diagnostic> {
        let windows = "it only means something on Windows, and is ignored";
        self.without_effect(fields, "cpu_count", &[], windows);
        self.without_effect(fields, "cpu_percent", &[], windows);
        self.without_effect(fields, "credential_spec", &[], windows);
        self.without_effect(fields, "isolation", &["", "default"], windows);
        let storage = "the size of a container’s file system cannot be bounded, and is not";
        self.without_effect(fields, "storage_opt", &[], storage);
        let socket = "there is no Docker socket to give, and none is mounted";
        self.without_effect(fields, "use_api_socket", &["false"], socket);
        let mut refusals = Vec::new();
        if let Some(field) = fields.take("userns_mode")
            && field.text(self.findings).is_some_and(|text| !matches!(text, "" | "host"))
        {
            let message = format!("{}: user namespaces are not there, only `host` is", field.path);
            refusals.push(self.refusal(
                "no-user-namespace",
                &field,
                message,
                "leave `userns_mode` out, or say `host`",
            ));
        }
        if let Some(field) = fields.take("runtime")
            && let Some(text) = field.text(self.findings)
            && !matches!(text, "" | "runc" | "io.containerd.runc.v2")
        {
            let message = format!("{}: there is no runtime `{text}`", field.path);
            refusals.push(self.refusal(
                "no-runtime",
                &field,
                message,
                "leave `runtime` out: containers are run by coracle itself",
            ));
        }
        if let Some(field) = fields.take("gpus") {
            refusals.extend(self.gpu(&field, !matches!(field.node.items(), Some([]))));
        }
        refusals
    }

    /// Returns the refusal of a GPU.
    pub(super) fn gpu(&mut self, field: &Field<'_>, wanted: bool) -> Option<Diagnostic> {
        wanted.then(|| {
            let message = format!("{}: there is no driver for GPUs and other such devices", field.path);
            let hint = "give the device node by `devices`, or take this out for machines without one: `!reset null` in a further file";
            self.refusal("no-gpu-driver", field, message, hint)
        })
    }

    pub(super) fn refusal(
        &mut self,
        code: &str,
        field: &Field<'_>,
        message: String,
        hint: &str,
    ) -> Diagnostic {
        self.findings.fault(code, field.key, message).with_hint(hint)
    }

    /// Takes an attribute that has no effect, and says why.
    fn without_effect(&mut self, fields: &mut Fields<'_>, key: &'static str, harmless: &[&str], why: &str) {
        if let Some(field) = fields.take(key)
            && field.node.text().is_none_or(|text| !harmless.contains(&text))
        {
            self.findings.warning("not-honoured", field.key, format!("{}: {why}", field.path));
        }
    }
}

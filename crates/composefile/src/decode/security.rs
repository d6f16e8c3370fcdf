//! `security_opt`.

use coracle_report::Hint;

use crate::fields::{Field, Fields};
use crate::model::{SeccompProfile, Security};
use crate::scalar;

use super::Decoder;

/// What `security_opt` says.
#[derive(Default)]
pub(super) struct SecurityOptions {
    pub(super) no_new_privileges: Option<bool>,
    pub(super) seccomp_unconfined: bool,
    pub(super) security: Security,
}

impl Decoder<'_> {
    pub(super) fn security(&mut self, fields: &mut Fields<'_>) -> SecurityOptions {
        let mut options = SecurityOptions::default();
        let Some(field) = fields.take("security_opt") else { return options };
        for item in field.list(self.findings) {
            let Some(text) = item.text(self.findings) else { continue };
            // Docker: `=`, or `:` as it was once.
            let (name, value) =
                text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, "true"));
            self.security_option(&item, name, value, &mut options);
        }
        options
    }

    fn security_option(&mut self, item: &Field<'_>, name: &str, value: &str, options: &mut SecurityOptions) {
        let security = &mut options.security;
        match (name, value) {
            ("no-new-privileges", value) => match scalar::boolean(value) {
                Ok(value) => options.no_new_privileges = Some(value),
                Err(reason) => {
                    item.bad(self.findings, &reason);
                }
            },
            ("seccomp", "unconfined") => options.seccomp_unconfined = true,
            ("seccomp", "builtin") => options.seccomp_unconfined = false,
            ("seccomp", file) => {
                let path = self.path(file);
                match self.loader.read(&path) {
                    Ok(text) => {
                        let span = self.span(item.node.mark);
                        security.seccomp_profile = Some(SeccompProfile { span, path, text });
                    }
                    Err(error) => {
                        let reason = format!("cannot read the seccomp profile {}: {error}", path.display());
                        item.bad(self.findings, &reason);
                    }
                }
            }
            ("apparmor", profile) => security.apparmor = Some(profile.to_owned()),
            ("label", label) => security.labels.push(label.to_owned()),
            ("systempaths", "unconfined") => security.system_paths_unconfined = true,
            ("mask", paths) => security.mask.extend(paths.split(':').map(str::to_owned)),
            ("unmask", paths) => security.unmask.extend(paths.split(':').map(str::to_owned)),
            ("credentialspec", _) => {
                let message = format!("{}: it only means something on Windows, and is ignored", item.path);
                self.findings.warning("not-honoured", item.node.mark, message);
            }
            ("systempaths", other) => {
                item.bad(self.findings, &format!("`{other}` is not `unconfined`"));
            }
            _ => {
                let known =
                    ["no-new-privileges", "seccomp", "apparmor", "label", "systempaths", "mask", "unmask"];
                let near = scalar::nearest(name, known);
                let error = item.bad(self.findings, &format!("unknown security option `{name}`"));
                error.hints.extend(near.map(|near| Hint(format!("did you mean `{near}`?"))));
            }
        }
    }
}

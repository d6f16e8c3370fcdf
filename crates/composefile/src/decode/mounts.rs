//! `volumes` and `tmpfs` of a service: short and long forms.

use coracle_report::Span;

use crate::fields::{Field, Fields};
use crate::model::{Mount, MountSource};
use crate::scalar;

use super::Decoder;

impl Decoder<'_> {
    pub(super) fn mounts(&mut self, fields: &mut Fields<'_>) -> Vec<Mount> {
        let mut mounts = Vec::new();
        if let Some(field) = fields.take("volumes") {
            for item in field.list(self.findings) {
                let mount = match item.node.text() {
                    Some(text) => self.short_mount(&item, text),
                    None => self.long_mount(&item),
                };
                mounts.extend(mount);
            }
        }
        if let Some(field) = fields.take("tmpfs") {
            for item in field.list(self.findings) {
                let mount = item.text(self.findings).and_then(|text| self.short_tmpfs(&item, text));
                mounts.extend(mount);
            }
        }
        mounts
    }

    /// Reads `[source:]target[:options]`.
    fn short_mount(&mut self, item: &Field<'_>, text: &str) -> Option<Mount> {
        let span = self.span(item.node.mark);
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [target] => (None, target, ""),
            [source, target] => (Some(source), target, ""),
            [source, target, options] => (Some(source), target, options),
            _ => {
                item.bad(self.findings, &format!("`{text}` is not of the form source:target[:options]"));
                return None;
            }
        };
        let target = self.target(item, target)?;
        let (mut read_only, mut no_copy) = (false, false);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => read_only = true,
                "rw" => read_only = false,
                "nocopy" => no_copy = true,
                // Labels of SELinux, hints for other systems' file sharing, and the default propagation.
                "z" | "Z" | "cached" | "delegated" | "consistent" | "rprivate" | "private" => {}
                "rslave" | "slave" | "rshared" | "shared" => {
                    let message = format!("{}: propagation `{option}` is not honoured yet", item.path);
                    self.findings.warning("not-honoured", item.node.mark, message);
                }
                _ => {
                    item.bad(self.findings, &format!("unknown mount option `{option}`"));
                }
            }
        }
        let source = match source {
            None => MountSource::Anonymous,
            Some("") => {
                item.bad(self.findings, "the source is empty");
                return None;
            }
            Some(path) if path.starts_with(['.', '/', '~']) => {
                MountSource::Bind { path: self.path(path), create_host_path: true }
            }
            Some(key) => MountSource::Volume { key: key.to_owned(), no_copy },
        };
        Some(Mount { span, source, target, read_only })
    }

    fn long_mount(&mut self, item: &Field<'_>) -> Option<Mount> {
        let span = self.span(item.node.mark);
        let mut fields = item.mapping(self.findings)?;
        let kind = fields.take("type");
        let source = fields.take("source");
        let target = fields.take("target");
        let read_only = fields.boolean("read_only", self.findings);
        let bind = fields.take("bind").and_then(|field| field.mapping(self.findings));
        let volume = fields.take("volume").and_then(|field| field.mapping(self.findings));
        let tmpfs = fields.take("tmpfs").and_then(|field| field.mapping(self.findings));
        fields.finish(&["consistency", "image"], self.findings);
        let create_host_path = bind.is_none_or(|mut bind| {
            let create = bind.take("create_host_path").is_none_or(|field| field.boolean(self.findings));
            bind.finish(&["propagation", "recursive", "selinux"], self.findings);
            create
        });
        let no_copy = volume.is_some_and(|mut volume| {
            let no_copy = volume.boolean("nocopy", self.findings);
            volume.finish(&["subpath", "labels"], self.findings);
            no_copy
        });
        let (mut size, mut mode) = (None, None);
        if let Some(mut tmpfs) = tmpfs {
            size = tmpfs.take("size").and_then(|field| field.parse(self.findings, scalar::bytes));
            mode = tmpfs.take("mode").and_then(|field| field.parse(self.findings, octal));
            tmpfs.finish(&[], self.findings);
        }
        let Some(target) = target else {
            let message = format!("{} has no `target`", item.path);
            self.findings.error("missing-key", item.node.mark, message);
            return None;
        };
        let target = target.text(self.findings).and_then(|text| self.target(&target, text))?;
        let Some(kind) = kind else {
            let message = format!("{} has no `type`: `bind`, `volume` or `tmpfs`", item.path);
            self.findings.error("missing-key", item.node.mark, message);
            return None;
        };
        let source = match (kind.text(self.findings)?, source) {
            ("bind", Some(source)) => MountSource::Bind { path: self.path_of(&source)?, create_host_path },
            ("bind", None) => {
                let message = format!("{} is a bind mount and has no `source`", item.path);
                self.findings.error("missing-key", item.node.mark, message);
                return None;
            }
            ("volume", None) => MountSource::Anonymous,
            ("volume", Some(source)) => {
                MountSource::Volume { key: source.text(self.findings)?.to_owned(), no_copy }
            }
            ("tmpfs", _) => MountSource::Tmpfs { size, mode },
            (other @ ("cluster" | "npipe" | "image"), _) => {
                kind.bad(self.findings, &format!("mounts of type `{other}` are not supported yet"));
                return None;
            }
            (other, _) => {
                kind.bad(self.findings, &format!("`{other}` is none of `bind`, `volume` and `tmpfs`"));
                return None;
            }
        };
        Some(Mount { span, source, target, read_only })
    }

    /// Reads `target[:size=...,mode=...]`.
    fn short_tmpfs(&mut self, item: &Field<'_>, text: &str) -> Option<Mount> {
        let span: Span = self.span(item.node.mark);
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = self.target(item, target)?;
        let (mut size, mut mode, mut read_only) = (None, None, false);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let result = match option.split_once('=').unwrap_or((option, "")) {
                ("size", value) => scalar::bytes(value).map(|value| size = Some(value)),
                ("mode", value) => octal(value).map(|value| mode = Some(value)),
                ("ro", _) => {
                    read_only = true;
                    Ok(())
                }
                ("rw" | "exec" | "noexec" | "suid" | "nosuid" | "dev" | "nodev", _) => Ok(()),
                ("uid" | "gid" | "nr_inodes" | "nr_blocks", _) => {
                    let message = format!("{}: option `{option}` is not honoured yet", item.path);
                    self.findings.warning("not-honoured", item.node.mark, message);
                    Ok(())
                }
                _ => Err(format!("unknown tmpfs option `{option}`")),
            };
            if let Err(reason) = result {
                item.bad(self.findings, &reason);
            }
        }
        Some(Mount { span, source: MountSource::Tmpfs { size, mode }, target, read_only })
    }
}

/// Reads a file mode, octal with or without a leading `0` or `0o`.
pub(super) fn octal(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        Ok(_) | Err(_) => Err(format!("`{text}` is not an octal file mode such as `0440`")),
    }
}

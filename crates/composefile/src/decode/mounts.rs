//! `volumes`, `tmpfs` and `volumes_from` of a service. Short forms are long ones by now.

use coracle_oci::{IdMap, Reference};
use coracle_report::Span;
use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{Mount, MountSource, Propagation, Recursive, VolumesFrom, VolumesSource};
use crate::scalar;

use super::Decoder;

/// What `bind` says.
#[derive(Clone, Copy, Debug)]
struct Bind {
    create_host_path: bool,
    propagation: Propagation,
    recursive: Recursive,
}

/// What `volume` says.
#[derive(Debug, Default)]
struct OfVolume {
    no_copy: bool,
    subpath: Option<String>,
    labels: IndexMap<String, String>,
}

impl Decoder<'_> {
    pub(super) fn mounts(&mut self, fields: &mut Fields<'_>) -> Vec<Mount> {
        let mut mounts = Vec::new();
        if let Some(field) = fields.take("volumes") {
            for item in field.list(self.findings) {
                mounts.extend(self.mount(&item));
            }
        }
        if let Some(field) = fields.take("tmpfs") {
            for item in field.list(self.findings) {
                let mount = item.text(self.findings).and_then(|text| self.tmpfs(&item, text));
                mounts.extend(mount);
            }
        }
        mounts
    }

    fn mount(&mut self, item: &Field<'_>) -> Option<Mount> {
        let span = self.span(item.node.mark);
        // A short form that could not be read; that was said already.
        if item.node.text().is_some() {
            return None;
        }
        let mut fields = item.mapping(self.findings)?;
        let kind = fields.take("type");
        let source = fields.take("source");
        let target = fields.take("target");
        let read_only = fields.boolean("read_only", self.findings);
        // Hints for other systems' file sharing: they say nothing on Linux.
        fields.take("consistency");
        let bind = fields.take("bind");
        let volume = fields.take("volume");
        let tmpfs = fields.take("tmpfs");
        let image = fields.take("image");
        let idmap = fields.take("x-idmap");
        fields.finish(&[], self.findings);
        let Some(target) = target else {
            let message = format!("{} has no `target`", item.path);
            self.findings.error("missing-key", item.node.mark, message);
            return None;
        };
        let target = target.text(self.findings).and_then(|text| self.target(&target, text))?;
        let Some(kind) = kind else {
            let message = format!("{} has no `type`: `bind`, `volume`, `tmpfs` or `image`", item.path);
            self.findings.error("missing-key", item.node.mark, message);
            return None;
        };
        let word = kind.text(self.findings)?;
        for (name, options) in [("bind", &bind), ("volume", &volume), ("tmpfs", &tmpfs), ("image", &image)] {
            // The short form of a volume brings empty ones.
            let said =
                options.as_ref().filter(|options| options.node.mapping().is_some_and(|it| !it.is_empty()));
            if let Some(options) = said.filter(|_| name != word) {
                let message = format!("{} has no effect on a mount of type `{word}`", options.path);
                self.findings.warning("not-honoured", options.key, message);
            }
        }
        if let Some(idmap) = idmap.as_ref().filter(|_| word != "bind") {
            let message = format!("{} has no effect on a mount of type `{word}`", idmap.path);
            self.findings.warning("not-honoured", idmap.key, message);
        }
        let source = match (word, source) {
            ("bind", Some(source)) => {
                let bind = self.bind_options(bind.as_ref(), read_only);
                let path = self.path_of(&source)?;
                MountSource::Bind {
                    path,
                    create_host_path: bind.create_host_path,
                    propagation: bind.propagation,
                    recursive: bind.recursive,
                    idmap: idmap.and_then(|field| field.parse(self.findings, str::parse::<IdMap>)),
                }
            }
            ("bind", None) => {
                let message = format!("{} is a bind mount and has no `source`", item.path);
                self.findings.error("missing-key", item.node.mark, message);
                return None;
            }
            ("volume", source) => {
                let OfVolume { no_copy, subpath, labels } = self.volume_options(volume.as_ref());
                match source {
                    Some(source) => {
                        let key = source.text(self.findings)?.to_owned();
                        MountSource::Volume { key, no_copy, subpath, labels }
                    }
                    None if subpath.is_some() => {
                        item.bad(self.findings, "`subpath` is a part of a named volume: give it a `source`");
                        return None;
                    }
                    None => MountSource::Anonymous { no_copy, labels },
                }
            }
            ("tmpfs", _) => {
                let (size, mode) = self.tmpfs_options(tmpfs.as_ref());
                MountSource::Tmpfs { size, mode, options: Vec::new() }
            }
            ("image", Some(source)) => {
                let read = |text: &str| text.parse::<Reference>().map_err(|error| error.to_string());
                let reference = source.parse(self.findings, read)?;
                let subpath = image.as_ref().and_then(|image| self.image_options(image));
                MountSource::Image { reference, subpath }
            }
            ("image", None) => {
                let message = format!("{} mounts an image and names none as its `source`", item.path);
                self.findings.error("missing-key", item.node.mark, message);
                return None;
            }
            ("cluster", _) => {
                let why = "cluster volumes belong to Swarm, which this engine is not part of";
                kind.bad(self.findings, why);
                return None;
            }
            ("npipe", _) => {
                kind.bad(self.findings, "named pipes belong to Windows; this engine runs Linux containers");
                return None;
            }
            (other, _) => {
                kind.bad(
                    self.findings,
                    &format!("`{other}` is none of `bind`, `volume`, `tmpfs` and `image`"),
                );
                return None;
            }
        };
        Some(Mount { span, source, target, read_only })
    }

    fn bind_options(&mut self, field: Option<&Field<'_>>, read_only: bool) -> Bind {
        let mut bind = Bind {
            create_host_path: true,
            propagation: Propagation::default(),
            recursive: Recursive::default(),
        };
        let Some(mut fields) = field.and_then(|field| field.mapping(self.findings)) else { return bind };
        bind.create_host_path =
            fields.take("create_host_path").is_none_or(|field| field.boolean(self.findings));
        if let Some(field) = fields.take("propagation") {
            bind.propagation = field.parse(self.findings, propagation).unwrap_or_default();
            if matches!(bind.propagation, Propagation::Shared | Propagation::RShared) {
                let message = format!(
                    "{}: what the container mounts there is not shown to the host; `rslave` is used",
                    field.path
                );
                self.findings.warning("not-honoured", field.node.mark, message);
            }
        }
        if let Some(field) = fields.take("recursive") {
            bind.recursive = field.parse(self.findings, recursive).unwrap_or_default();
            if bind.recursive == Recursive::ReadOnly && !read_only {
                field.bad(self.findings, "`readonly` is for a mount that is `read_only: true`");
            } else if bind.recursive == Recursive::ReadOnly && bind.propagation != Propagation::RPrivate {
                field.bad(
                    self.findings,
                    "`readonly` and a `propagation` other than `rprivate` exclude each other",
                );
            }
        }
        if let Some(selinux) = fields.take("selinux") {
            let message = format!("{} has no effect: files are not labelled for SELinux", selinux.path);
            self.findings.warning("not-honoured", selinux.node.mark, message);
        }
        fields.finish(&[], self.findings);
        bind
    }

    fn volume_options(&mut self, field: Option<&Field<'_>>) -> OfVolume {
        let mut volume = OfVolume::default();
        let Some(mut fields) = field.and_then(|field| field.mapping(self.findings)) else { return volume };
        volume.no_copy = fields.boolean("nocopy", self.findings);
        volume.subpath = fields.take("subpath").and_then(|field| field.parse(self.findings, subpath));
        volume.labels =
            fields.take("labels").map(|field| field.filled_pairs(self.findings)).unwrap_or_default();
        fields.finish(&[], self.findings);
        volume
    }

    fn image_options(&mut self, field: &Field<'_>) -> Option<String> {
        let mut fields = field.mapping(self.findings)?;
        let part = fields.take("subpath").and_then(|field| field.parse(self.findings, subpath));
        fields.finish(&[], self.findings);
        part
    }

    fn tmpfs_options(&mut self, field: Option<&Field<'_>>) -> (Option<u64>, Option<u32>) {
        let Some(mut fields) = field.and_then(|field| field.mapping(self.findings)) else {
            return (None, None);
        };
        let size = fields.take("size").and_then(|field| field.parse(self.findings, scalar::bytes));
        let mode = fields.take("mode").and_then(|field| field.parse(self.findings, octal));
        fields.finish(&[], self.findings);
        (size.filter(|size| *size > 0), mode)
    }

    /// Reads `target[:size=...,mode=...]`.
    fn tmpfs(&mut self, item: &Field<'_>, text: &str) -> Option<Mount> {
        let span: Span = self.span(item.node.mark);
        let (target, given) = text.split_once(':').unwrap_or((text, ""));
        let target = self.target(item, target)?;
        let (mut size, mut mode, mut read_only, mut options) = (None, None, false, Vec::new());
        for option in given.split(',').filter(|option| !option.is_empty()) {
            let result = match option.split_once('=').unwrap_or((option, "")) {
                ("size", value) => scalar::bytes(value).map(|value| size = Some(value)),
                ("mode", value) => octal(value).map(|value| mode = Some(value)),
                ("ro", _) => {
                    read_only = true;
                    Ok(())
                }
                // As it is unless told otherwise.
                ("rw" | "noexec" | "nosuid" | "nodev", _) => Ok(()),
                ("exec" | "suid" | "dev", "") => {
                    options.push(option.to_owned());
                    Ok(())
                }
                ("uid" | "gid" | "nr_inodes" | "nr_blocks", value) if value.parse::<u64>().is_ok() => {
                    options.push(option.to_owned());
                    Ok(())
                }
                _ => Err(format!("unknown tmpfs option `{option}`")),
            };
            if let Err(reason) = result {
                item.bad(self.findings, &reason);
            }
        }
        Some(Mount { span, source: MountSource::Tmpfs { size, mode, options }, target, read_only })
    }

    /// Reads `volumes_from`: `SERVICE[:ro|:rw]` or `container:NAME[:ro|:rw]`.
    pub(super) fn volumes_from(&mut self, field: &Field<'_>) -> Vec<VolumesFrom> {
        let mut all = Vec::new();
        for item in field.list(self.findings) {
            let Some(text) = item.text(self.findings) else { continue };
            let (kind, rest) = match text.strip_prefix("container:") {
                Some(rest) => (VolumesSource::Container as fn(String) -> VolumesSource, rest),
                None => (VolumesSource::Service as fn(String) -> VolumesSource, text),
            };
            let (name, access) = rest.split_once(':').unwrap_or((rest, "rw"));
            if name.is_empty() || !matches!(access, "ro" | "rw") {
                let reason = format!("`{text}` is not of the form SERVICE[:ro] or container:NAME[:ro]");
                item.bad(self.findings, &reason);
                continue;
            }
            let span = self.span(item.node.mark);
            all.push(VolumesFrom { span, source: kind(name.to_owned()), read_only: access == "ro" });
        }
        all
    }
}

fn propagation(text: &str) -> Result<Propagation, String> {
    Ok(match text {
        "private" => Propagation::Private,
        "rprivate" | "" => Propagation::RPrivate,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::RSlave,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::RShared,
        _ => {
            return Err(format!(
                "`{text}` is none of `private`, `rprivate`, `slave`, `rslave`, `shared` and `rshared`"
            ));
        }
    })
}

fn recursive(text: &str) -> Result<Recursive, String> {
    Ok(match text {
        "enabled" => Recursive::Enabled,
        "disabled" => Recursive::Disabled,
        "writable" => Recursive::Writable,
        "readonly" => Recursive::ReadOnly,
        _ => return Err(format!("`{text}` is none of `enabled`, `disabled`, `writable` and `readonly`")),
    })
}

/// Reads a path inside a volume or an image.
fn subpath(text: &str) -> Result<String, String> {
    let climbs = text.split('/').any(|component| component == "..");
    if text.is_empty() || text.starts_with('/') || climbs {
        return Err(format!("`{text}` is no relative path that stays inside"));
    }
    Ok(text.to_owned())
}

/// Reads a file mode, octal with or without a leading `0` or `0o`.
pub(super) fn octal(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        Ok(_) | Err(_) => Err(format!("`{text}` is not an octal file mode such as `0440`")),
    }
}

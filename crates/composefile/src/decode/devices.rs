//! `devices`, `device_cgroup_rules`, `blkio_config`.

use std::path::PathBuf;

use coracle_report::Diagnostic;

use crate::fields::{Field, Fields};
use crate::model::{BlockIo, Device, DeviceLimit, DeviceRule};
use crate::scalar;
use crate::source::Findings;

use super::Decoder;

impl Decoder<'_> {
    /// Reads `devices`; names of the Container Device Interface are refused.
    pub(super) fn devices(&mut self, field: &Field<'_>, refusals: &mut Vec<Diagnostic>) -> Vec<Device> {
        let mut devices = Vec::new();
        for item in field.list(self.findings) {
            let (source, target, permissions) = if let Some(text) = item.node.text() {
                let mut parts = text.split(':').map(str::to_owned);
                (parts.next(), parts.next(), parts.next())
            } else {
                let Some(mut fields) = item.mapping(self.findings) else { continue };
                let source = fields.text("source", self.findings);
                let target = fields.text("target", self.findings);
                let permissions = fields.text("permissions", self.findings);
                fields.finish(&[], self.findings);
                (source, target, permissions)
            };
            let Some(source) = source.filter(|source| !source.is_empty()) else {
                item.bad(self.findings, "a device is an absolute path of the host");
                continue;
            };
            if !source.starts_with('/') && source.contains('=') {
                refusals.extend(self.gpu(&item, true));
                continue;
            }
            let target = target.filter(|target| !target.is_empty()).unwrap_or_else(|| source.clone());
            let permissions = permissions.filter(|text| !text.is_empty()).unwrap_or_else(|| "rwm".to_owned());
            let absolute = |path: &str| path.starts_with('/') && !path.split('/').any(|part| part == "..");
            if !absolute(&source) || !absolute(&target) {
                item.bad(self.findings, "a device is an absolute path of the host");
                continue;
            }
            if !permissions.chars().all(|letter| "rwm".contains(letter)) {
                item.bad(
                    self.findings,
                    &format!("`{permissions}` is no set of permissions of `r`, `w` and `m`"),
                );
                continue;
            }
            let span = self.span(item.node.mark);
            devices.push(Device {
                span,
                source: PathBuf::from(source),
                target: PathBuf::from(target),
                permissions,
            });
        }
        devices
    }

    pub(super) fn device_rules(&mut self, field: &Field<'_>) -> Vec<DeviceRule> {
        let mut rules = Vec::new();
        for item in field.list(self.findings) {
            if let Some(rule) = item.text(self.findings) {
                rules.push(DeviceRule { span: self.span(item.node.mark), rule: rule.to_owned() });
            }
        }
        rules
    }
}

/// Reads `blkio_config`.
pub(super) fn block_io(field: &Field<'_>, findings: &mut Findings) -> BlockIo {
    let Some(mut fields) = field.mapping(findings) else { return BlockIo::default() };
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a number"));
    let io = BlockIo {
        weight: fields.take("weight").and_then(|field| field.number(findings)),
        weight_device: limits(&mut fields, "weight_device", "weight", number, findings),
        device_read_bps: limits(&mut fields, "device_read_bps", "rate", scalar::bytes, findings),
        device_write_bps: limits(&mut fields, "device_write_bps", "rate", scalar::bytes, findings),
        device_read_iops: limits(&mut fields, "device_read_iops", "rate", number, findings),
        device_write_iops: limits(&mut fields, "device_write_iops", "rate", number, findings),
    };
    fields.finish(&[], findings);
    io
}

fn limits(
    fields: &mut Fields<'_>,
    key: &'static str,
    what: &'static str,
    read: impl Fn(&str) -> Result<u64, String>,
    findings: &mut Findings,
) -> Vec<DeviceLimit> {
    let Some(field) = fields.take(key) else { return Vec::new() };
    let mut limits = Vec::new();
    for item in field.list(findings) {
        let Some(mut fields) = item.mapping(findings) else { continue };
        let path = fields.text("path", findings);
        let rate = fields.take(what).and_then(|field| field.parse(findings, &read));
        fields.finish(&[], findings);
        match (path, rate) {
            (Some(path), Some(rate)) => limits.push(DeviceLimit { path: PathBuf::from(path), rate }),
            (None, _) => {
                findings.error("missing-key", item.node.mark, format!("{} has no `path`", item.path));
            }
            (Some(_), None) => {}
        }
    }
    limits
}

//! Limits and policies: `deploy.resources`, `mem_limit` and its kin, `restart`, `ulimits`, `logging`.

use crate::fields::{Field, Fields};
use crate::model::{Logging, Resources, RestartPolicy, Ulimit};
use crate::scalar;
use crate::source::Findings;

use super::Decoder;
use super::deploy::Deploy;
use super::devices::block_io;

impl Decoder<'_> {
    /// Reads `deploy.resources`.
    pub(super) fn deploy_resources(&mut self, resources: &mut Fields<'_>, deploy: &mut Deploy) {
        let findings = &mut *self.findings;
        let out = &mut deploy.resources;
        if let Some(mut limits) = resources.take("limits").and_then(|field| field.mapping(findings)) {
            out.millicpus = limits.take("cpus").and_then(|field| field.parse(findings, scalar::millicpus));
            out.memory = limits.take("memory").and_then(|field| field.parse(findings, scalar::bytes));
            out.pids = limits.take("pids").and_then(|field| unlimited(&field, findings));
            limits.finish(&[], findings);
        }
        if let Some(mut reserved) = resources.take("reservations").and_then(|field| field.mapping(findings)) {
            out.millicpus_reservation =
                reserved.take("cpus").and_then(|field| field.parse(findings, scalar::millicpus));
            out.memory_reservation =
                reserved.take("memory").and_then(|field| field.parse(findings, scalar::bytes));
            let devices = reserved.take("devices");
            reserved.finish(&["generic_resources"], findings);
            if let Some(field) = devices {
                let wanted = !matches!(field.node.items(), Some([]));
                deploy.refusals.extend(self.gpu(&field, wanted));
            }
        }
    }

    /// Reads the limits beside `deploy`, and holds both against each other.
    pub(super) fn resources(&mut self, fields: &mut Fields<'_>, deploy: Resources) -> Resources {
        let findings = &mut *self.findings;
        let mut out = deploy;
        if let Some(field) = fields.take("mem_limit") {
            let own = field.parse(findings, scalar::bytes);
            out.memory = same(own, out.memory, &field, "deploy.resources.limits.memory", findings);
        }
        if let Some(field) = fields.take("mem_reservation") {
            let own = field.parse(findings, scalar::bytes);
            let other = "deploy.resources.reservations.memory";
            out.memory_reservation = same(own, out.memory_reservation, &field, other, findings);
        }
        if let Some(field) = fields.take("cpus") {
            let own = field.parse(findings, scalar::millicpus);
            out.millicpus = same(own, out.millicpus, &field, "deploy.resources.limits.cpus", findings);
        }
        if let Some(field) = fields.take("pids_limit") {
            let own = unlimited(&field, findings);
            out.pids = same(own, out.pids, &field, "deploy.resources.limits.pids", findings);
        }
        out.memory_swap = fields.take("memswap_limit").and_then(|field| {
            field.parse(findings, |text| match text {
                "-1" => Ok(-1),
                text => scalar::bytes(text).map(|bytes| bytes as i64),
            })
        });
        out.cpu_shares = fields.take("cpu_shares").and_then(|field| field.number(findings));
        out.cpuset = fields.text("cpuset", findings);
        out.cpu_period = fields.take("cpu_period").and_then(|field| field.parse(findings, microseconds));
        out.cpu_quota = fields.take("cpu_quota").and_then(|field| field.parse(findings, quota));
        out.cpu_rt_period =
            fields.take("cpu_rt_period").and_then(|field| field.parse(findings, microseconds));
        out.cpu_rt_runtime = fields.take("cpu_rt_runtime").and_then(|field| field.parse(findings, quota));
        out.memory_swappiness = fields.take("mem_swappiness").and_then(|field| {
            field.parse(findings, |text| match text.parse() {
                Ok(swappiness) if swappiness <= 100 => Ok(swappiness),
                Ok(_) | Err(_) => Err(format!("`{text}` is not a number from 0 to 100")),
            })
        });
        out.oom_kill_disable = fields.boolean("oom_kill_disable", findings);
        if let Some(field) = fields.take("blkio_config") {
            out.block_io = block_io(&field, findings);
        }
        // 0 is no limit at all, as Docker has it.
        out.cpu_period = out.cpu_period.filter(|period| *period > 0);
        out.cpu_quota = out.cpu_quota.filter(|quota| *quota != 0);
        out.cpu_rt_period = out.cpu_rt_period.filter(|period| *period > 0);
        out.cpu_rt_runtime = out.cpu_rt_runtime.filter(|runtime| *runtime != 0);
        // No limit at all is written 0, as Docker has it.
        out.memory = out.memory.filter(|memory| *memory > 0);
        out.millicpus = out.millicpus.filter(|cpus| *cpus > 0);
        out
    }

    /// Reads `restart`.
    pub(super) fn restart(&mut self, field: &Field<'_>) -> Option<RestartPolicy> {
        field.parse(self.findings, |text| match text {
            "no" | "false" | "" => Ok(RestartPolicy::No),
            "always" => Ok(RestartPolicy::Always),
            "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
            "on-failure" => Ok(RestartPolicy::OnFailure { max_retries: None }),
            _ => match text.strip_prefix("on-failure:").map(str::parse) {
                Some(Ok(count)) => Ok(RestartPolicy::OnFailure { max_retries: Some(count) }),
                Some(Err(_)) | None => {
                    Err(format!("`{text}` is none of `no`, `always`, `unless-stopped`, `on-failure[:N]`"))
                }
            },
        })
    }

    /// Reads `ulimits`.
    pub(super) fn ulimits(&mut self, field: &Field<'_>) -> Vec<Ulimit> {
        let findings = &mut *self.findings;
        let limit = |field: &Field<'_>, findings: &mut Findings| {
            field.parse(findings, |text| match text {
                "-1" => Ok(u64::MAX),
                text => text.parse().map_err(|_| format!("`{text}` is not a number")),
            })
        };
        let mut ulimits = Vec::new();
        for (name, field) in field.entries(findings) {
            let (soft, hard) = if field.node.text().is_some() {
                let both = limit(&field, findings);
                (both, both)
            } else {
                let Some(mut fields) = field.mapping(findings) else { continue };
                let soft = fields.take("soft").and_then(|field| limit(&field, findings));
                let hard = fields.take("hard").and_then(|field| limit(&field, findings));
                fields.finish(&[], findings);
                if soft.is_none() || hard.is_none() {
                    let message = format!("{} needs both `soft` and `hard`", field.path);
                    findings.error("missing-key", field.key, message);
                }
                (soft, hard)
            };
            if let (Some(soft), Some(hard)) = (soft, hard) {
                ulimits.push(Ulimit { name: name.to_owned(), soft, hard });
            }
        }
        ulimits
    }

    /// Reads `logging`.
    pub(super) fn logging(&mut self, field: &Field<'_>) -> Logging {
        let mut logging = Logging::default();
        let findings = &mut *self.findings;
        let Some(mut fields) = field.mapping(findings) else { return logging };
        let mut ours = true;
        if let Some(driver) = fields.take("driver") {
            match driver.text(findings) {
                Some("json-file" | "local" | "journald") | None => {}
                Some("none") => logging.disabled = true,
                Some(other) => {
                    ours = false;
                    let message =
                        format!("{}: log driver `{other}` is not there; logs are kept locally", driver.path);
                    findings.warning("not-honoured", driver.node.mark, message);
                }
            }
        }
        if let Some(options) = fields.take("options") {
            for (name, option) in options.entries(findings) {
                match name {
                    "max-size" => logging.max_size = option.parse(findings, scalar::bytes),
                    "max-file" => logging.max_files = option.number(findings),
                    "compress" => logging.compress = option.parse(findings, flag),
                    "mode" => {
                        let mode = option.parse(findings, |text| match text {
                            "blocking" => Ok(false),
                            "non-blocking" => Ok(true),
                            _ => Err(format!("`{text}` is neither `blocking` nor `non-blocking`")),
                        });
                        logging.non_blocking = mode.unwrap_or(false);
                    }
                    "max-buffer-size" => logging.buffer = option.parse(findings, scalar::bytes),
                    _ if ours && !IGNORED_LOG_OPTIONS.contains(&name) => {
                        let reason = format!("`{name}` is no option of the log");
                        let known = "known are max-size, max-file, compress, mode and max-buffer-size";
                        option.bad(findings, &reason).hints.push(coracle_report::Hint(known.to_owned()));
                    }
                    _ => {
                        let message = format!("{} is not honoured yet; it is ignored", option.path);
                        findings.warning("not-honoured", option.key, message);
                    }
                }
            }
        }
        fields.finish(&[], findings);
        logging
    }
}

/// Options of Docker's that say what is noted beside a line.
const IGNORED_LOG_OPTIONS: [&str; 5] = ["tag", "labels", "labels-regex", "env", "env-regex"];

/// Reads a truth value as Docker's log options write it.
fn flag(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" | "1" | "t" | "T" => Ok(true),
        "false" | "False" | "FALSE" | "0" | "f" | "F" => Ok(false),
        _ => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

/// Reads a time in microseconds, or with a unit.
fn microseconds(text: &str) -> Result<u64, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    scalar::duration(text).map(|duration| duration.as_micros() as u64)
}

/// Reads a time in microseconds where -1 means without limit.
fn quota(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        text => microseconds(text).map(|micros| i64::try_from(micros).unwrap_or(i64::MAX)),
    }
}

/// Reads a count where -1 and 0 mean without limit.
fn unlimited(field: &Field<'_>, findings: &mut Findings) -> Option<u64> {
    field
        .parse(findings, |text| match text {
            "-1" => Ok(0),
            text => text.parse().map_err(|_| format!("`{text}` is not a number")),
        })
        .filter(|count| *count > 0)
}

/// Returns the value of two attributes that mean the same; that they differ is an error.
fn same(
    own: Option<u64>,
    other: Option<u64>,
    field: &Field<'_>,
    other_name: &str,
    findings: &mut Findings,
) -> Option<u64> {
    if let (Some(own), Some(other)) = (own, other)
        && own != other
    {
        field.bad(findings, &format!("differs from `{other_name}`, which means the same"));
    }
    own.or(other)
}

//! `healthcheck`, with `x-http` and `x-tcp`: probes that need no program of the image.

use coracle_oci::{HealthCommand, ProbeError};
use coracle_report::Hint;

use crate::fields::Field;
use crate::model::Healthcheck;
use crate::scalar;
use crate::tree::Value;

use super::Decoder;

impl Decoder<'_> {
    pub(super) fn healthcheck(&mut self, field: &Field<'_>) -> Option<Healthcheck> {
        let mut fields = field.mapping(self.findings)?;
        let mut command = fields.take("test").and_then(|test| self.health_command(&test));
        if let Some(field) = fields.take("x-http") {
            let probe = field.parse(self.findings, |text| text.parse().map_err(in_words));
            self.only_probe(&field, &mut command, probe.map(HealthCommand::Http));
        }
        if let Some(field) = fields.take("x-tcp") {
            let probe = field.parse(self.findings, |text| text.parse().map_err(in_words));
            self.only_probe(&field, &mut command, probe.map(HealthCommand::Tcp));
        }
        let disabled = fields.boolean("disable", self.findings);
        let mut duration = |key| fields.take(key)?.parse(self.findings, scalar::duration);
        let mut check = Healthcheck {
            command,
            interval: duration("interval"),
            timeout: duration("timeout"),
            start_period: duration("start_period"),
            start_interval: duration("start_interval"),
            retries: None,
        };
        check.retries = fields.take("retries").and_then(|retries| retries.number(self.findings));
        if disabled {
            check.command = Some(HealthCommand::None);
        }
        fields.finish(&[], self.findings);
        Some(check)
    }

    /// Takes a probe beside which there must be no other.
    fn only_probe(
        &mut self,
        field: &Field<'_>,
        command: &mut Option<HealthCommand>,
        probe: Option<HealthCommand>,
    ) {
        match command {
            None => *command = probe,
            Some(_) => {
                field.bad(self.findings, "`test`, `x-http` and `x-tcp` exclude each other");
            }
        }
    }

    fn health_command(&mut self, field: &Field<'_>) -> Option<HealthCommand> {
        if let Value::Scalar(scalar) = &field.node.value {
            return Some(HealthCommand::Shell(scalar.text.clone()));
        }
        let words = field.texts(self.findings);
        let (kind, arguments) = words.split_first()?;
        match (kind.as_str(), arguments) {
            ("NONE", []) => Some(HealthCommand::None),
            ("CMD", [_, ..]) => Some(HealthCommand::Exec(arguments.to_vec())),
            ("CMD-SHELL", [text]) => Some(HealthCommand::Shell(text.clone())),
            ("HTTP", [text]) => self.probe_target(field, text).map(HealthCommand::Http),
            ("TCP", [text]) => self.probe_target(field, text).map(HealthCommand::Tcp),
            ("NONE" | "CMD" | "CMD-SHELL" | "HTTP" | "TCP", _) => {
                let reason = format!("`{kind}` is followed by the wrong number of arguments");
                field.bad(self.findings, &reason);
                None
            }
            _ => {
                let reason = "a list must begin with `CMD`, `CMD-SHELL`, `HTTP`, `TCP` or `NONE`";
                field
                    .bad(self.findings, reason)
                    .hints
                    .push(Hint(format!("write [\"CMD\", \"{kind}\", ...]")));
                None
            }
        }
    }

    fn probe_target<T: std::str::FromStr<Err = ProbeError>>(
        &mut self,
        field: &Field<'_>,
        text: &str,
    ) -> Option<T> {
        match text.parse() {
            Ok(target) => Some(target),
            Err(error) => {
                field.bad(self.findings, &error.to_string());
                None
            }
        }
    }
}

fn in_words(error: ProbeError) -> String {
    error.to_string()
}

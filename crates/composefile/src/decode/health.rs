//! `healthcheck`.

use coracle_oci::HealthCommand;
use coracle_report::Hint;

use crate::fields::Field;
use crate::model::Healthcheck;
use crate::scalar;
use crate::tree::Value;

use super::Decoder;

impl Decoder<'_> {
    pub(super) fn healthcheck(&mut self, field: &Field<'_>) -> Option<Healthcheck> {
        let mut fields = field.mapping(self.findings)?;
        let command = fields.take("test").and_then(|test| self.health_command(&test));
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
            ("NONE" | "CMD" | "CMD-SHELL", _) => {
                let reason = format!("`{kind}` is followed by the wrong number of arguments");
                field.bad(self.findings, &reason);
                None
            }
            _ => {
                let reason = "a list must begin with `CMD`, `CMD-SHELL` or `NONE`";
                field
                    .bad(self.findings, reason)
                    .hints
                    .push(Hint(format!("write [\"CMD\", \"{kind}\", ...]")));
                None
            }
        }
    }
}

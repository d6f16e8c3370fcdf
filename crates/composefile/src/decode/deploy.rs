//! `deploy`.

use coracle_report::Diagnostic;

use crate::fields::{Field, Fields};
use crate::model::{self, DeployMode, Placement, Resources, RestartPolicy, Rollout};
use crate::scalar;

use super::Decoder;

/// What `deploy` says.
#[derive(Debug, Default)]
pub(super) struct Deploy {
    pub(super) replicas: Option<u32>,
    pub(super) restart: Option<RestartPolicy>,
    pub(super) resources: Resources,
    /// What it asks for that cannot be given.
    pub(super) refusals: Vec<Diagnostic>,
    pub(super) rest: model::Deploy,
}

impl Decoder<'_> {
    pub(super) fn deploy(&mut self, fields: &mut Fields<'_>) -> Deploy {
        let mut deploy = Deploy::default();
        let Some(mut fields) = fields.take("deploy").and_then(|field| field.mapping(self.findings)) else {
            return deploy;
        };
        deploy.replicas = fields.take("replicas").and_then(|field| field.number(self.findings));
        if let Some(field) = fields.take("mode") {
            deploy.rest.mode = self.deploy_mode(&field);
        }
        if deploy.rest.mode == DeployMode::Global {
            // One a machine, and there is one machine.
            deploy.replicas = Some(1);
        }
        if let Some(field) = fields.take("restart_policy") {
            deploy.restart = self.restart_policy(&field, &mut deploy.rest);
        }
        if let Some(mut resources) = fields.take("resources").and_then(|field| field.mapping(self.findings)) {
            self.deploy_resources(&mut resources, &mut deploy);
            resources.finish(&[], self.findings);
        }
        if let Some(field) = fields.take("endpoint_mode") {
            deploy.rest.endpoint_mode = self.endpoint_mode(&field);
        }
        if let Some(field) = fields.take("labels") {
            deploy.rest.labels = field.filled_pairs(self.findings);
            self.no_effect(&field, "only containers have labels here");
        }
        for (key, rollback) in [("update_config", false), ("rollback_config", true)] {
            let Some(field) = fields.take(key) else { continue };
            self.no_effect(&field, "`up` replaces half of a service's containers at a time");
            let rollout = self.rollout(&field);
            let place =
                if rollback { &mut deploy.rest.rollback_config } else { &mut deploy.rest.update_config };
            *place = rollout;
        }
        if let Some(field) = fields.take("placement") {
            deploy.rest.placement = self.placement(&field);
            self.no_effect(&field, "there is only this machine");
        }
        fields.finish(&[], self.findings);
        deploy
    }

    fn no_effect(&mut self, field: &Field<'_>, why: &str) {
        let message = format!("{} has no effect: {why}", field.path);
        self.findings.warning("not-honoured", field.key, message);
    }

    fn endpoint_mode(&mut self, field: &Field<'_>) -> Option<String> {
        let mode = field.text(self.findings).map(str::to_owned);
        if !matches!(mode.as_deref(), None | Some("" | "vip" | "dnsrr")) {
            self.no_effect(field, "it is neither `vip` nor `dnsrr`");
        }
        mode
    }

    fn deploy_mode(&mut self, field: &Field<'_>) -> DeployMode {
        let mode = field.parse(self.findings, |text| match text {
            "replicated" | "" => Ok(DeployMode::Replicated),
            "global" => Ok(DeployMode::Global),
            "replicated-job" | "global-job" => Err(format!("`{text}` is not supported: it needs a cluster")),
            _ => Err(format!("`{text}` is neither `replicated` nor `global`")),
        });
        mode.unwrap_or_default()
    }

    /// Reads `deploy.restart_policy`; its conditions mean what Compose makes of them.
    fn restart_policy(&mut self, field: &Field<'_>, deploy: &mut model::Deploy) -> Option<RestartPolicy> {
        let mut fields = field.mapping(self.findings)?;
        let max_retries = fields.take("max_attempts").and_then(|field| field.number(self.findings));
        let policy = match fields.take("condition") {
            None => Some(RestartPolicy::UnlessStopped),
            Some(condition) => condition.parse(self.findings, |text| match text {
                "none" => Ok(RestartPolicy::No),
                "on-failure" => Ok(RestartPolicy::OnFailure { max_retries }),
                "any" => Ok(RestartPolicy::UnlessStopped),
                _ => Err(format!("`{text}` is none of `none`, `on-failure` and `any`")),
            }),
        };
        deploy.restart_delay =
            fields.take("delay").and_then(|field| field.parse(self.findings, scalar::duration));
        deploy.restart_window =
            fields.take("window").and_then(|field| field.parse(self.findings, scalar::duration));
        fields.finish(&[], self.findings);
        policy
    }

    fn rollout(&mut self, field: &Field<'_>) -> Option<Rollout> {
        let mut fields = field.mapping(self.findings)?;
        let findings = &mut *self.findings;
        let rollout = Rollout {
            parallelism: fields.take("parallelism").and_then(|field| field.number(findings)),
            delay: fields.take("delay").and_then(|field| field.parse(findings, scalar::duration)),
            failure_action: fields.text("failure_action", findings),
            monitor: fields.take("monitor").and_then(|field| field.parse(findings, scalar::duration)),
            max_failure_ratio: fields.take("max_failure_ratio").and_then(|field| field.number(findings)),
            order: fields.text("order", findings),
        };
        fields.finish(&[], findings);
        Some(rollout)
    }

    fn placement(&mut self, field: &Field<'_>) -> Option<Placement> {
        let mut fields = field.mapping(self.findings)?;
        let mut placement = Placement {
            constraints: fields.texts("constraints", self.findings),
            spread: Vec::new(),
            max_replicas_per_node: fields
                .take("max_replicas_per_node")
                .and_then(|field| field.number(self.findings)),
        };
        if let Some(preferences) = fields.take("preferences") {
            for item in preferences.list(self.findings) {
                let Some(mut fields) = item.mapping(self.findings) else { continue };
                placement.spread.extend(fields.text("spread", self.findings));
                fields.finish(&[], self.findings);
            }
        }
        fields.finish(&[], self.findings);
        Some(placement)
    }
}

//! One service.

use std::time::Duration;

use coracle_oci::Reference;
use coracle_report::{Hint, Span};
use indexmap::IndexMap;

use crate::fields::{Field, Fields};
use crate::model::{Dependency, DependencyCondition, PullPolicy, Service, VolumesSource};
use crate::scalar;
use crate::tree::Value;

use super::Decoder;
use super::network::mac_address;
use super::objects::GrantKind;

impl Decoder<'_> {
    pub(super) fn service(&mut self, name: &str, field: &Field<'_>) -> Option<Service> {
        let span = self.span(field.key);
        let mut fields = field.mapping(self.findings)?;
        let build = fields.take("build").and_then(|field| self.build(&field));
        let has_build = fields.take_even_empty("build").is_some();
        let image = fields.take("image");
        let image_span = image.as_ref().map(|image| self.span(image.node.mark));
        let provider = fields.take("provider").and_then(|field| self.provider(&field));
        let provided = fields.take_even_empty("provider").is_some();
        let image =
            if provided { Some(placeholder()) } else { self.image(name, field, image.as_ref(), has_build) };
        let deploy = self.deploy(&mut fields);
        let own_restart = fields.take("restart").and_then(|field| self.restart(&field));
        let scale = fields.take("scale").and_then(|field| field.number(self.findings));
        let replicas = scale.or(deploy.replicas).unwrap_or(1);
        let container_name = fields.take("container_name");
        if let Some(fixed) = &container_name
            && replicas > 1
        {
            let reason = format!("one name cannot serve {replicas} replicas");
            fixed.bad(self.findings, &reason);
        }
        let (network_mode, networks) = self.networks(&mut fields);
        let security = self.security(&mut fields);
        let isolation = self.isolation(&mut fields);
        let mut refusals = deploy.refusals;
        refusals.extend(self.out_of_reach(&mut fields));
        let mut depends_on =
            fields.take("depends_on").map(|field| self.depends_on(&field)).unwrap_or_default();
        let links = self.links(&mut fields, "links");
        for (name, span) in self.shared_services(&links, &fields) {
            imply(&mut depends_on, &name, span, true);
        }
        let resources = self.resources(&mut fields, deploy.resources);
        let environment = self.environment(&mut fields);
        let mounts = self.mounts(&mut fields);
        let volumes_from =
            fields.take("volumes_from").map(|field| self.volumes_from(&field)).unwrap_or_default();
        for from in &volumes_from {
            if let VolumesSource::Service(name) = &from.source {
                imply(&mut depends_on, name, from.span.clone(), false);
            }
        }
        let mut service = Service {
            name: name.to_owned(),
            span,
            image: image.clone().unwrap_or_else(placeholder),
            image_span,
            build,
            pull_policy: self.pull_policy(&mut fields),
            platform: fields.take("platform").and_then(|field| field.parse(self.findings, str::parse)),
            command: fields.take("command").and_then(|field| self.command(&field)),
            entrypoint: fields.take("entrypoint").and_then(|field| self.command(&field)),
            environment,
            labels: fields.take("labels").map(|field| field.filled_pairs(self.findings)).unwrap_or_default(),
            ports: fields.take("ports").map(|field| self.ports(&field, &mut refusals)).unwrap_or_default(),
            expose: fields.texts("expose", self.findings),
            mounts,
            volumes_from,
            network_mode,
            networks,
            depends_on,
            healthcheck: fields.take("healthcheck").and_then(|field| self.healthcheck(&field)),
            on_unhealthy: fields
                .take("x-on-unhealthy")
                .and_then(|field| field.parse(self.findings, str::parse))
                .unwrap_or_default(),
            restart: deploy.restart.or(own_restart).unwrap_or_default(),
            replicas,
            resources,
            secrets: fields
                .take("secrets")
                .map(|field| self.grants(&field, GrantKind::Secret))
                .unwrap_or_default(),
            configs: fields
                .take("configs")
                .map(|field| self.grants(&field, GrantKind::Config))
                .unwrap_or_default(),
            user: fields.text("user", self.findings),
            group_add: fields.texts("group_add", self.findings),
            working_dir: fields
                .take("working_dir")
                .and_then(|field| field.text(self.findings).and_then(|text| self.target(&field, text))),
            hostname: fields.text("hostname", self.findings),
            domainname: fields.text("domainname", self.findings),
            container_name: container_name.and_then(|field| {
                field.parse(self.findings, |text| {
                    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
                    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
                    if first && text.bytes().all(legal) {
                        Ok(text.to_owned())
                    } else {
                        Err(format!("`{text}` is no container name: letters, digits, `_`, `.` and `-`"))
                    }
                })
            }),
            init: fields.boolean("init", self.findings),
            stdin_open: fields.boolean("stdin_open", self.findings),
            tty: fields.boolean("tty", self.findings),
            privileged: fields.boolean("privileged", self.findings),
            read_only: fields.boolean("read_only", self.findings),
            cap_add: capabilities(fields.texts("cap_add", self.findings)),
            cap_drop: capabilities(fields.texts("cap_drop", self.findings)),
            no_new_privileges: security.no_new_privileges,
            seccomp_unconfined: security.seccomp_unconfined,
            security: security.security,
            isolation,
            ulimits: fields.take("ulimits").map(|field| self.ulimits(&field)).unwrap_or_default(),
            sysctls: fields
                .take("sysctls")
                .map(|field| field.filled_pairs(self.findings))
                .unwrap_or_default(),
            shm_size: fields.take("shm_size").and_then(|field| field.parse(self.findings, scalar::bytes)),
            devices: fields
                .take("devices")
                .map(|field| self.devices(&field, &mut refusals))
                .unwrap_or_default(),
            device_rules: fields
                .take("device_cgroup_rules")
                .map(|field| self.device_rules(&field))
                .unwrap_or_default(),
            cgroup_parent: fields.text("cgroup_parent", self.findings),
            oom_score_adj: fields.take("oom_score_adj").and_then(|field| field.number(self.findings)),
            annotations: fields
                .take("annotations")
                .map(|field| field.filled_pairs(self.findings))
                .unwrap_or_default(),
            stop_signal: fields.text("stop_signal", self.findings),
            stop_grace_period: fields
                .take("stop_grace_period")
                .and_then(|field| field.parse(self.findings, scalar::duration)),
            extra_hosts: fields.take("extra_hosts").map(|field| self.extra_hosts(&field)).unwrap_or_default(),
            dns: fields.take("dns").map(|field| self.addresses(&field)).unwrap_or_default(),
            dns_search: fields.texts("dns_search", self.findings),
            dns_options: fields.texts("dns_opt", self.findings),
            links,
            external_links: self.links(&mut fields, "external_links"),
            mac_address: fields.take("mac_address").and_then(|field| field.parse(self.findings, mac_address)),
            logging: fields.take("logging").map(|field| self.logging(&field)).unwrap_or_default(),
            profiles: fields.texts("profiles", self.findings),
            refusals: Vec::new(),
            deploy: deploy.rest,
            post_start: self.hooks(&mut fields, "post_start"),
            pre_stop: self.hooks(&mut fields, "pre_stop"),
            watch: fields.take("develop").map(|field| self.develop(&field)).unwrap_or_default(),
            attach: fields.take("attach").is_none_or(|field| field.boolean(self.findings)),
            provider,
            provided_by: Vec::new(),
            models: fields.take("models").map(|field| self.models(&field)).unwrap_or_default(),
            optional: fields.take("x-coracle").is_some_and(|field| self.own_extension(&field)),
            extensions: IndexMap::new(),
        };
        service.refusals = refusals;
        service.extensions = fields.finish(&[], self.findings);
        image.map(|_| service)
    }

    /// Reads `image`, or derives the name of what `build` makes.
    fn image(
        &mut self,
        name: &str,
        service: &Field<'_>,
        image: Option<&Field<'_>>,
        has_build: bool,
    ) -> Option<Reference> {
        if let Some(image) = image {
            return image
                .parse(self.findings, |text| text.parse::<Reference>().map_err(|error| error.to_string()));
        }
        if !has_build {
            let message = format!("{} has neither `image` nor `build`", service.path);
            self.findings.error("missing-key", service.key, message);
            return None;
        }
        let derived = format!("{}-{}", self.project_name, name.to_ascii_lowercase());
        match derived.parse() {
            Ok(reference) => Some(reference),
            Err(error) => {
                let message = format!("{}: no image name can be derived: {error}", service.path);
                let diagnostic = self.findings.error("bad-value", service.key, message);
                diagnostic.hints.push(Hint("give the service an `image` beside its `build`".to_owned()));
                None
            }
        }
    }

    /// Reads `pull_policy` and `pull_refresh_after`.
    fn pull_policy(&mut self, fields: &mut Fields<'_>) -> PullPolicy {
        const DAY: Duration = Duration::from_hours(24);
        let after = fields.take("pull_refresh_after");
        let Some(field) = fields.take("pull_policy") else {
            self.check_refresh(after.as_ref(), false);
            return PullPolicy::default();
        };
        let refresh = field.node.text() == Some("refresh");
        let after = self.check_refresh(after.as_ref(), refresh);
        let policy = field.parse(self.findings, |text| match text {
            "missing" | "if_not_present" => Ok(PullPolicy::Missing),
            "always" => Ok(PullPolicy::Always),
            "never" => Ok(PullPolicy::Never),
            "build" => Ok(PullPolicy::Build),
            "daily" => Ok(PullPolicy::Refresh(DAY)),
            "weekly" => Ok(PullPolicy::Refresh(7 * DAY)),
            "refresh" => match after {
                Some(after) => Ok(PullPolicy::Refresh(after)),
                None => Err("`refresh` needs `pull_refresh_after` beside it".to_owned()),
            },
            text => match text.strip_prefix("every_") {
                Some(every) => scalar::duration(every).map(PullPolicy::Refresh),
                None => Err(format!(
                    "`{text}` is none of `missing`, `always`, `never`, `build`, `daily`, `weekly` and `every_...`"
                )),
            },
        });
        policy.unwrap_or_default()
    }

    /// Reads `pull_refresh_after`, which says something only beside `pull_policy: refresh`.
    fn check_refresh(&mut self, after: Option<&Field<'_>>, used: bool) -> Option<Duration> {
        let field = after?;
        if !used {
            let message = format!("{} has no effect without `pull_policy: refresh`", field.path);
            self.findings.warning("not-honoured", field.key, message);
        }
        field.parse(self.findings, scalar::duration)
    }

    /// Reads a command: a text is split into words, an empty one clears the image's.
    pub(super) fn command(&mut self, field: &Field<'_>) -> Option<Vec<String>> {
        match &field.node.value {
            Value::Scalar(scalar) => match scalar::words(&scalar.text) {
                Ok(words) => Some(words),
                Err(reason) => {
                    field.bad(self.findings, &reason);
                    None
                }
            },
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => Some(field.texts(self.findings)),
        }
    }

    fn depends_on(&mut self, field: &Field<'_>) -> IndexMap<String, Dependency> {
        let mut out = IndexMap::new();
        for (name, field) in field.entries(self.findings) {
            let span = self.span(field.key);
            let mut dependency =
                Dependency { span, condition: DependencyCondition::Started, restart: false, required: true };
            if !matches!(field.node.value, Value::Null) {
                let Some(mut fields) = field.mapping(self.findings) else { continue };
                if let Some(condition) = fields.take("condition") {
                    let read = |text: &str| match text {
                        "service_started" => Ok(DependencyCondition::Started),
                        "service_healthy" => Ok(DependencyCondition::Healthy),
                        "service_completed_successfully" => Ok(DependencyCondition::CompletedSuccessfully),
                        _ => Err(format!(
                            "`{text}` is none of `service_started`, `service_healthy` and `service_completed_successfully`"
                        )),
                    };
                    dependency.condition =
                        condition.parse(self.findings, read).unwrap_or(DependencyCondition::Started);
                }
                dependency.restart = fields.boolean("restart", self.findings);
                dependency.required =
                    fields.take("required").is_none_or(|field| field.boolean(self.findings));
                fields.finish(&[], self.findings);
            }
            out.insert(name.to_owned(), dependency);
        }
        out
    }

    pub(super) fn addresses(&mut self, field: &Field<'_>) -> Vec<std::net::IpAddr> {
        let read = |text: &str| text.parse().map_err(|_| format!("`{text}` is not an IP address"));
        let items = field.list(self.findings);
        items.iter().filter_map(|item| item.parse(self.findings, read)).collect()
    }

    /// Reads `x-coracle`, our own extension: whether the service is optional.
    fn own_extension(&mut self, field: &Field<'_>) -> bool {
        let Some(mut fields) = field.mapping(self.findings) else { return false };
        let optional = fields.boolean("optional", self.findings);
        Fields::finish(fields, &[], self.findings);
        optional
    }
}

/// Adds a dependency that another attribute implies; one that is written stays as it is.
fn imply(depends_on: &mut IndexMap<String, Dependency>, name: &str, span: Span, restart: bool) {
    let implied = Dependency { span, condition: DependencyCondition::Started, restart, required: true };
    depends_on.entry(name.to_owned()).or_insert(implied);
}

/// Returns an image for a service whose own could not be read, so that the rest of it is checked all the same.
fn placeholder() -> Reference {
    "unknown".parse().expect("the word is a legal reference")
}

/// Returns capability names as the kernel's documentation has them, without `CAP_`.
fn capabilities(names: Vec<String>) -> Vec<String> {
    let bare = |name: String| {
        let upper = name.to_ascii_uppercase();
        upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned()
    };
    names.into_iter().map(bare).collect()
}

//! A resolved project as text: as JSON in the words of the Compose specification, and as `compose config` prints it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coracle_composefile::{
    CommandLine, Config, ConfigOptions, DependencyCondition, FileContent, HostPorts, MountSource, Project,
    Protocol, Service, locate,
};
use coracle_oci::{Digest, Reference};
use serde_json::{Map, Value, json};

use super::{DiskLoader, Projects};
use crate::{During, Failure, Images, Result};

/// Which files `coracle compose` reads; what is not given is found as Docker Compose finds it.
#[derive(Clone, Debug, Default)]
pub struct ComposeFiles {
    /// `-f`; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// `--env-file`.
    pub env_files: Vec<PathBuf>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
}

impl ComposeFiles {
    /// Reads the project in the form that is printed; `services` are those asked for, none is all.
    pub fn config(&self, options: ConfigOptions, services: &[String]) -> Result<Config> {
        let line = CommandLine {
            files: self.files.clone(),
            project_name: self.project_name.clone(),
            profiles: self.profiles.clone(),
            env_files: self.env_files.clone(),
            project_directory: self.project_directory.clone(),
            here: std::env::current_dir().during("looking for the current directory")?,
            process: self.environment.clone().into_iter().collect(),
        };
        let request = locate(&line, &DiskLoader)?;
        Config::load(&request, options, services, &DiskLoader).map_err(Failure::findings)
    }
}

impl Projects<'_> {
    /// Names every image by the digest that its registry has under its name now, all asked at once.
    pub fn resolve_images(&self, config: &mut Config) -> Result<()> {
        let named = config.named_images();
        let mut references: Vec<Reference> = Vec::new();
        for (_, image) in &named {
            let reference = Images::parse(image)?;
            if !references.contains(&reference) {
                references.push(reference);
            }
        }
        let digests: Vec<Result<Digest>> = std::thread::scope(|scope| {
            let asked: Vec<_> = references
                .iter()
                .map(|reference| scope.spawn(|| self.engine.images().digest_at_registry(reference)))
                .collect();
            asked.into_iter().map(|thread| thread.join().expect("asking a registry does not panic")).collect()
        });
        let digests = digests.into_iter().collect::<Result<Vec<_>>>()?;
        for (service, image) in named {
            let reference = Images::parse(&image)?;
            let place = references.iter().position(|known| *known == reference).expect("each was asked for");
            let name = reference.to_string();
            let pinned =
                if reference.digest().is_some() { name } else { format!("{name}@{}", digests[place]) };
            config.set_image(&service, &pinned);
        }
        Ok(())
    }
}

/// Returns the hash of a service's configuration, hexadecimal; `None` for an unknown service.
pub fn service_hash(config: &mut Config, service: &str) -> Option<String> {
    Some(Digest::of(config.hashed(service)?.as_bytes()).hex())
}

/// Returns the project; what is a secret's content is left out.
pub(super) fn render(project: &Project) -> Value {
    let services: Map<String, Value> =
        project.services.values().map(|service| (service.name.clone(), of_service(service))).collect();
    let networks: Map<String, Value> = project
        .networks
        .iter()
        .map(|(key, network)| {
            let value =
                json!({"name": network.name, "external": network.external, "internal": network.internal});
            (key.clone(), value)
        })
        .collect();
    let volumes: Map<String, Value> = project
        .volumes
        .iter()
        .map(|(key, volume)| (key.clone(), json!({"name": volume.name, "external": volume.external})))
        .collect();
    let secrets: Map<String, Value> = project
        .secrets
        .iter()
        .map(|(key, object)| {
            let value = match &object.content {
                FileContent::File(path) => json!({"name": object.name, "file": path}),
                FileContent::Inline(_) => json!({"name": object.name}),
                FileContent::External(name) => json!({"name": name, "external": true}),
            };
            (key.clone(), value)
        })
        .collect();
    json!({"name": project.name, "services": services, "networks": networks, "volumes": volumes, "secrets": secrets})
}

fn of_service(service: &Service) -> Value {
    let depends_on: Map<String, Value> = service
        .depends_on
        .iter()
        .map(|(name, dependency)| {
            let condition = match dependency.condition {
                DependencyCondition::Started => "service_started",
                DependencyCondition::Healthy => "service_healthy",
                DependencyCondition::CompletedSuccessfully => "service_completed_successfully",
            };
            (name.clone(), json!({"condition": condition, "required": dependency.required}))
        })
        .collect();
    let ports: Vec<Value> = service
        .ports
        .iter()
        .map(|port| {
            let published = match port.published {
                HostPorts::Any => None,
                HostPorts::One(number) => Some(number.to_string()),
                HostPorts::Range(first, last) => Some(format!("{first}-{last}")),
            };
            let protocol = match port.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            json!({"target": port.target, "published": published, "host_ip": port.host_ip, "protocol": protocol})
        })
        .collect();
    let mounts: Vec<Value> = service
        .mounts
        .iter()
        .map(|mount| {
            let (kind, source) = match &mount.source {
                MountSource::Bind { path, .. } => ("bind", path.to_string_lossy().into_owned()),
                MountSource::Volume { key, .. } => ("volume", key.clone()),
                MountSource::Anonymous { .. } => ("volume", String::new()),
                MountSource::Tmpfs { .. } => ("tmpfs", String::new()),
                MountSource::Image { reference, .. } => ("image", reference.familiar()),
            };
            json!({"type": kind, "source": source, "target": mount.target, "read_only": mount.read_only})
        })
        .collect();
    let build = service.build.as_ref().map(|build| {
        json!({"context": build.context, "dockerfile": build.dockerfile, "target": build.target, "args": build.args})
    });
    json!({
        "image": service.image.familiar(), "build": build, "command": service.command,
        "entrypoint": service.entrypoint, "environment": service.environment, "ports": ports, "volumes": mounts,
        "networks": service.networks.keys().collect::<Vec<_>>(), "depends_on": depends_on,
        "secrets": service.secrets.iter().map(|grant| json!({"source": grant.source, "target": grant.target})).collect::<Vec<_>>(),
        "user": service.user, "working_dir": service.working_dir, "init": service.init, "labels": service.labels,
        "profiles": service.profiles, "deploy": {"replicas": service.replicas, "resources": {"limits": {
            "memory": service.resources.memory,
            "cpus": service.resources.millicpus.map(|limit| limit as f64 / 1000.0), "pids": service.resources.pids,
        }}},
    })
}

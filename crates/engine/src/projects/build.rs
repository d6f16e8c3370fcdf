//! The images of services built by themselves: `compose build`, and looks at what it would do.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use coracle_bakefile::{Attribute, Definition, Group, Value as BakeValue};
use coracle_composefile::Project;
use coracle_report::Diagnostic;
use indexmap::IndexMap;
use serde_json::Value;

use super::images::{Platforms, Want, build_options};
use super::up::closure;
use super::{BuildPolicy, LoadedProject, Projects, UpOptions};
use crate::bakes::compose;
use crate::{Checked, During, Failure, Result};

/// What a user may say about building the images of services.
#[derive(Clone, Debug, Default)]
pub struct ServiceBuild {
    /// Services; none means all.
    pub services: Vec<String>,
    /// What they depend on too.
    pub dependencies: bool,
    /// Build arguments, over those of the files.
    pub arguments: IndexMap<String, String>,
    /// Use no cached step.
    pub no_cache: bool,
    /// Fetch base images even when they are there.
    pub pull: bool,
    /// SSH agents and keys for steps.
    pub ssh: Vec<String>,
    /// How the attestation of provenance is made.
    pub provenance: Option<String>,
    /// How the attestation of contents is made.
    pub sbom: Option<String>,
}

impl Projects<'_> {
    /// Builds the images of services; all that do not depend on each other at the same time.
    pub fn build_services(
        &self,
        loaded: &LoadedProject,
        request: &ServiceBuild,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let (project, chosen) = built(loaded, request)?;
        self.engine.reclaim()?;
        let all = Platforms::All;
        self.images_for(&project, &chosen, BuildPolicy::Always, all, request.no_cache, cancel).map(drop)
    }

    /// Returns the names of the images that a build makes, each once, in the order of the files.
    pub fn images_of(&self, loaded: &LoadedProject, request: &ServiceBuild) -> Result<Vec<String>> {
        let (project, chosen) = built(loaded, request)?;
        let mut names: Vec<String> = Vec::new();
        for service in project.services.values().filter(|service| chosen.contains(&service.name)) {
            let name = service.image.familiar();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Checks the Dockerfiles of services; builds nothing.
    pub fn check_dockerfiles(
        &self,
        loaded: &LoadedProject,
        request: &ServiceBuild,
    ) -> Result<Vec<(String, Checked)>> {
        let (project, chosen) = built(loaded, request)?;
        let mut all = Vec::new();
        for service in project.services.values().filter(|service| chosen.contains(&service.name)) {
            let Some(build) = &service.build else { continue };
            let want = Want::of(&project, service, Platforms::All, &[])?;
            let options = build_options(&want, build, false)?;
            all.push((service.name.clone(), self.engine.builds().check(&options)?));
        }
        Ok(all)
    }

    /// Returns what a build makes as a bake file.
    pub fn bake_file(&self, loaded: &LoadedProject, request: &ServiceBuild) -> Result<Value> {
        let (project, chosen) = built(loaded, request)?;
        let mut definition = Definition::default();
        let mut group = Group::default();
        for service in project.services.values().filter(|service| chosen.contains(&service.name)) {
            let Some(build) = &service.build else { continue };
            let mut target =
                compose::target(&service.name, build, &project.directory).map_err(Failure::user)?;
            let tags = [service.image.familiar()].into_iter().chain(build.tags.iter().cloned());
            let tags = BakeValue::List(tags.map(BakeValue::text).collect());
            let wrong = |why: String| Failure::user(Diagnostic::error("bake-value", why));
            target.lay(Attribute::Tags, tags).map_err(wrong)?;
            if request.no_cache {
                target.lay(Attribute::NoCache, BakeValue::Bool(true)).map_err(wrong)?;
            }
            group.targets.push(target.name.clone());
            definition.add(target);
        }
        definition.groups.insert("default".to_owned(), group);
        Ok(definition.select(&[], &[]).map_err(Failure::user)?.to_json())
    }
}

/// Returns the project as the command line changes it, and the services that are built.
fn built(loaded: &LoadedProject, request: &ServiceBuild) -> Result<(Project, BTreeSet<String>)> {
    loaded.check_services(&request.services)?;
    let mut project = loaded.project().clone();
    let options = UpOptions {
        services: request.services.clone(),
        no_dependencies: !request.dependencies,
        ..UpOptions::default()
    };
    let mut chosen = closure(&project, &options);
    chosen.retain(|name| project.services[name].build.is_some());
    for service in project.services.values_mut() {
        if let Some(build) = &mut service.build {
            if chosen.contains(&service.name) {
                build.args.extend(request.arguments.clone());
            }
            build.pull |= request.pull;
            for text in &request.ssh {
                let (id, path) =
                    text.split_once('=').map_or((text.as_str(), None), |(id, path)| (id, Some(path)));
                let path = path.map(|path| std::path::absolute(path).during("reading --ssh")).transpose()?;
                build.ssh.insert(id.to_owned(), path.map(|path| path.display().to_string()));
            }
            build.provenance = request.provenance.clone().or_else(|| build.provenance.take());
            build.sbom = request.sbom.clone().or_else(|| build.sbom.take());
        }
    }
    Ok((project, chosen))
}

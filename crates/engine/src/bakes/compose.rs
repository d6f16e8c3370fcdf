//! The `build:` sections of Compose files as targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_bakefile::{Attribute, Definition, Group, Target, Value};
use coracle_composefile::{Build, BuildSecret, FileContent, LoadRequest, Project, Service};
use coracle_report::{Diagnostic, Event, Reporter};
use indexmap::IndexMap;

use super::BakeRequest;
use crate::builds::{SecretPlace, SecretSource, SecretValue};
use crate::projects::DiskLoader;
use crate::{Failure, near};

/// Reads Compose files: each service that is built is a target, and all are the group `default`.
pub(super) fn definition(
    files: &[PathBuf],
    request: &BakeRequest,
    environment: &BTreeMap<String, String>,
    reporter: &dyn Reporter,
) -> crate::Result<Definition> {
    let directory = std::path::absolute(&request.directory).unwrap_or_else(|_| request.directory.clone());
    let load = LoadRequest {
        files: files.to_vec(),
        project_directory: directory.clone(),
        environment: environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        profiles: vec!["*".to_owned()],
        project_name: Some("bake".to_owned()),
        ..LoadRequest::default()
    };
    let loaded = coracle_composefile::load(&load, &DiskLoader).map_err(Failure::findings)?;
    for warning in loaded.warnings {
        reporter.event(Event::Notice(warning));
    }
    let mut definition = Definition::default();
    let mut group = Group::default();
    for service in loaded.project.services.values() {
        if let Some(target) = baked(&loaded.project, service, &directory).map_err(Failure::user)? {
            group.targets.push(target.name.clone());
            definition.add(target);
        }
    }
    definition.groups.insert("default".to_owned(), group);
    Ok(definition)
}

/// Returns the target of a service with what only baking knows: `x-bake`, and the names that the image gets.
fn baked(project: &Project, service: &Service, directory: &Path) -> Result<Option<Target>, Diagnostic> {
    let Some(build) = &service.build else { return Ok(None) };
    let mut target = target(&service.name, build, directory)?;
    let secrets: Vec<Value> = build
        .secrets
        .iter()
        .map(|secret| Ok(value_of(&secret_source(secret, build, project)?)))
        .collect::<Result<_, Diagnostic>>()?;
    let wrong = |name: &str, why: String| wrong(build, name, why);
    target.extend(Attribute::Secret, Value::List(secrets)).map_err(|why| wrong("secrets", why))?;
    if let Some(serde_json::Value::Object(extension)) = build.extensions.get("x-bake") {
        for (name, value) in extension {
            let attribute = Attribute::of_name(name)
                .ok_or_else(|| wrong("x-bake", format!("there is no attribute `{name}`")))?;
            // As with buildx, lists of the extension add to those of `build`.
            target.extend(attribute, Value::from_json(value)).map_err(|why| wrong(name, why))?;
        }
    }
    if target.texts(Attribute::Tags).is_empty() && service.image_span.is_some() {
        let tags = texts([service.image.familiar()]);
        target.lay(Attribute::Tags, tags).map_err(|why| wrong("image", why))?;
    }
    Ok(Some(target))
}

fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::List(items.into_iter().map(|item| Value::text(item.as_ref())).collect())
}

fn wrong(build: &Build, name: &str, why: String) -> Diagnostic {
    let place = build.places.get(name).unwrap_or(&build.span).clone();
    Diagnostic::error("bake-value", format!("`{name}`: {why}")).with_span(place)
}

/// Returns what `build` says as a target, secrets apart: `up`, `build` and `bake` all build from it. `directory` is the
/// project's.
pub(crate) fn target(service: &str, build: &Build, directory: &Path) -> Result<Target, Diagnostic> {
    let mut target = Target::new(service.replace('.', "_"));
    target.span = Some(build.span.clone());
    let pairs = |map: &IndexMap<String, String>| {
        Value::Map(map.iter().map(|(name, value)| (name.clone(), Value::text(value))).collect())
    };
    let optional = |text: &Option<String>| text.as_ref().map_or(Value::Null, Value::text);
    let context = match build.context.strip_prefix(directory) {
        Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
        Ok(inside) => inside.to_string_lossy().into_owned(),
        Err(_) => build.context.to_string_lossy().into_owned(),
    };
    let dockerfile = build.dockerfile.strip_prefix(&build.context).unwrap_or(&build.dockerfile);
    let mut contexts = build.additional_contexts.clone();
    for source in contexts.values_mut() {
        // A directory of the project is shown as the project names it.
        if let Ok(inside) = Path::new(source).strip_prefix(directory) {
            *source = if inside.as_os_str().is_empty() {
                ".".into()
            } else {
                inside.to_string_lossy().into_owned()
            };
        } else if let Some(service) = source.strip_prefix("service:") {
            *source = format!("target:{}", service.replace('.', "_"));
        }
    }
    let flag = |set: bool| if set { Value::Bool(true) } else { Value::Null };
    let mut entitlements = build.entitlements.clone();
    if build.privileged && entitlements.iter().all(|name| name != "security.insecure") {
        entitlements.push("security.insecure".to_owned());
    }
    if build.network.as_deref() == Some("host") && entitlements.iter().all(|name| name != "network.host") {
        entitlements.push("network.host".to_owned());
    }
    let agents = build.ssh.iter().map(|(id, path)| match path {
        Some(path) => format!("{id}={path}"),
        None => id.clone(),
    });
    let ulimits = build.ulimits.iter().map(|limit| {
        let shown = |number: u64| if number == u64::MAX { "-1".to_owned() } else { number.to_string() };
        format!("{}={}:{}", limit.name, shown(limit.soft), shown(limit.hard))
    });
    let settings = [
        (Attribute::Context, "context", Value::text(context)),
        (Attribute::Dockerfile, "dockerfile", Value::text(dockerfile.to_string_lossy())),
        (Attribute::DockerfileInline, "dockerfile_inline", optional(&build.dockerfile_inline)),
        (Attribute::Target, "target", optional(&build.target)),
        (Attribute::Args, "args", pairs(&build.args)),
        (Attribute::Labels, "labels", pairs(&build.labels)),
        (Attribute::Contexts, "additional_contexts", pairs(&contexts)),
        (Attribute::NoCache, "no_cache", flag(build.no_cache)),
        (Attribute::Pull, "pull", flag(build.pull)),
        (Attribute::CacheFrom, "cache_from", texts(&build.cache_from)),
        (Attribute::CacheTo, "cache_to", texts(&build.cache_to)),
        (Attribute::Entitlements, "entitlements", texts(&entitlements)),
        (Attribute::ExtraHosts, "extra_hosts", hosts(&build.extra_hosts)),
        (Attribute::Network, "network", optional(&build.network)),
        (Attribute::Platforms, "platforms", texts(build.platforms.iter().map(ToString::to_string))),
        (Attribute::Attest, "provenance", attestation("provenance", build.provenance.as_deref())),
        (Attribute::Attest, "sbom", attestation("sbom", build.sbom.as_deref())),
        (
            Attribute::ShmSize,
            "shm_size",
            build.shm_size.map_or(Value::Null, |size| Value::text(size.to_string())),
        ),
        (Attribute::Ssh, "ssh", texts(agents)),
        (Attribute::Ulimits, "ulimits", texts(ulimits)),
        (Attribute::Tags, "tags", texts(&build.tags)),
    ];
    for (attribute, name, value) in settings {
        if matches!(&value, Value::List(items) if items.is_empty()) {
            continue;
        }
        target.lay(attribute, value).map_err(|why| wrong(build, name, why))?;
        if let Some(place) = build.places.get(name) {
            target.places.insert(attribute, place.clone());
        }
    }
    if let Some(place) = build.places.get("secrets") {
        target.places.insert(Attribute::Secret, place.clone());
    }
    Ok(target)
}

/// Returns hosts by name; several addresses of one are put together, as bake files have them.
fn hosts(hosts: &[(String, String)]) -> Value {
    let mut all: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for (name, address) in hosts {
        all.entry(name).or_default().push(address);
    }
    Value::Map(
        all.iter().map(|(name, addresses)| ((*name).to_owned(), Value::text(addresses.join(",")))).collect(),
    )
}

fn attestation(kind: &str, said: Option<&str>) -> Value {
    match said {
        None | Some("") => Value::Null,
        Some("true" | "1") => texts([format!("type={kind}")]),
        Some("false" | "0") => texts([format!("type={kind},disabled=true")]),
        Some(options) => texts([format!("type={kind},{options}")]),
    }
}

/// Returns where the value of a build's secret is.
pub(crate) fn secret_source(
    secret: &BuildSecret,
    build: &Build,
    project: &Project,
) -> Result<SecretSource, Diagnostic> {
    let fault = |message: String| {
        let place = build.places.get("secrets").unwrap_or(&build.span).clone();
        Diagnostic::error("build-secret", message).with_span(place)
    };
    let name = &secret.source;
    let Some(object) = project.secrets.get(name) else {
        let error = fault(format!("the build reads secret `{name}`, which is not defined"));
        return Err(match near::nearest(name, project.secrets.keys().map(String::as_str)) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("define it: `{name}:` under the top-level `secrets:`")),
        });
    };
    let place = match (&object.content, &object.variable) {
        (FileContent::File(path), _) => SecretPlace::File(path.clone()),
        (FileContent::Inline(value), variable) => {
            SecretPlace::Value(variable.clone().unwrap_or_default(), SecretValue::new(value.clone()))
        }
        (FileContent::External(_), _) => {
            let error = fault(format!("the build reads secret `{name}`, which is external"));
            return Err(error.with_hint("give it a `file` or an `environment` variable"));
        }
    };
    Ok(SecretSource { id: secret.id.clone(), place })
}

fn value_of(secret: &SecretSource) -> Value {
    let mut entry = vec![("id".to_owned(), Value::text(&secret.id))];
    match &secret.place {
        SecretPlace::File(path) => entry.push(("src".to_owned(), Value::text(path.to_string_lossy()))),
        SecretPlace::Variable(name) | SecretPlace::Value(name, _) => {
            entry.push(("env".to_owned(), Value::text(name)));
        }
        SecretPlace::ByName => {}
    }
    Value::Map(entry.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::io;

    use coracle_bakefile::Entry;
    use coracle_composefile::Loader;

    use super::*;

    struct Text(&'static str);

    impl Loader for Text {
        fn read(&self, _: &Path) -> io::Result<String> {
            Ok(self.0.to_owned())
        }

        fn exists(&self, _: &Path) -> bool {
            true
        }

        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }

    fn project(text: &'static str) -> Project {
        let load = LoadRequest {
            files: vec!["/p/compose.yaml".into()],
            project_directory: "/p".into(),
            environment: [("TOKEN".to_owned(), "hidden".to_owned())].into_iter().collect(),
            ..LoadRequest::default()
        };
        coracle_composefile::load(&load, &Text(text)).unwrap().project
    }

    fn entry(pairs: &[(&str, &str)]) -> Entry {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_attribute_of_build_becomes_one_of_the_target() {
        let project = project(
            r#"
services:
  api:
    image: api
    build:
      context: ./api
      dockerfile: docker/Dockerfile
      args: [A=1]
      cache_from: ["user/app:cache", "type=local,src=./cache"]
      cache_to: ["type=local,dest=./cache"]
      entitlements: [network.host]
      extra_hosts: ["db=10.0.0.1", "db=10.0.0.2", "gate:host-gateway"]
      network: none
      no_cache: true
      platforms: [linux/amd64, linux/arm64]
      privileged: true
      provenance: mode=max
      pull: true
      sbom: true
      secrets: [file, {source: token, target: key}]
      shm_size: 1m
      ssh: [default, "git=./key"]
      tags: ["api:1"]
      target: final
      ulimits: {nofile: {soft: 1, hard: 2}, nproc: -1}
      additional_contexts: {base: "service:base", lib: ./lib, img: "docker-image://busybox"}
  base: {image: base, build: ./base}
secrets:
  file: {file: ./secret}
  token: {environment: TOKEN}
"#,
        );
        let target = baked(&project, &project.services["api"], Path::new("/p")).unwrap().unwrap();
        let text = |attribute| target.text(attribute).unwrap_or_default();
        assert_eq!((text(Attribute::Context), text(Attribute::Dockerfile)), ("api", "docker/Dockerfile"));
        assert_eq!((text(Attribute::Network), text(Attribute::ShmSize)), ("none", "1048576"));
        assert_eq!(text(Attribute::Target), "final");
        assert!(target.flag(Attribute::NoCache) && target.flag(Attribute::Pull));
        let texts = |attribute| target.texts(attribute).join(" ");
        assert_eq!(texts(Attribute::Entitlements), "network.host security.insecure");
        assert_eq!(texts(Attribute::Platforms), "linux/amd64 linux/arm64");
        assert_eq!(texts(Attribute::Ulimits), "nofile=1:2 nproc=-1:-1");
        assert_eq!(texts(Attribute::Tags), "api:1");
        let hosts: Vec<_> = target.pairs(Attribute::ExtraHosts).collect();
        assert_eq!(hosts, [("db", "10.0.0.1,10.0.0.2"), ("gate", "host-gateway")]);
        let contexts: Vec<_> = target.pairs(Attribute::Contexts).collect();
        assert_eq!(contexts, [("base", "target:base"), ("img", "docker-image://busybox"), ("lib", "lib")]);
        let from = [
            entry(&[("type", "registry"), ("ref", "user/app:cache")]),
            entry(&[("type", "local"), ("src", "./cache")]),
        ];
        assert_eq!(target.entries(Attribute::CacheFrom), from);
        let secrets =
            [entry(&[("id", "file"), ("src", "/p/secret")]), entry(&[("env", "TOKEN"), ("id", "key")])];
        assert_eq!(target.entries(Attribute::Secret), secrets);
        let agents = [entry(&[("id", "default")]), entry(&[("id", "git"), ("paths", "/p/key")])];
        assert_eq!(target.entries(Attribute::Ssh), agents);
        let attested = [entry(&[("mode", "max"), ("type", "provenance")]), entry(&[("type", "sbom")])];
        assert_eq!(target.entries(Attribute::Attest), attested);
        assert_eq!(target.places[&Attribute::Ulimits].start.line, 25);
    }

    #[test]
    fn secrets_that_cannot_be_read_are_refused_with_their_place() {
        let project = project(
            "services:\n  a:\n    image: a\n    build:\n      context: .\n      secrets: [toke, far]\nsecrets: {token: {environment: TOKEN}, far: {external: true}}\n",
        );
        let service = &project.services["a"];
        let build = service.build.as_ref().unwrap();
        let refused = |index: usize| secret_source(&build.secrets[index], build, &project).unwrap_err();
        assert!(refused(0).to_string().contains("compose.yaml:6:"), "{}", refused(0));
        assert_eq!(refused(0).hints[0].0, "did you mean `token`?");
        assert!(refused(1).message.contains("external"));
    }
}

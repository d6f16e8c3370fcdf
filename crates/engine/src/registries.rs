//! What is configured of registries: mirrors, whom to trust, who need not prove who they are.
//!
//! ```text
//! /etc/coracle/registries.toml       ours; $CORACLE_REGISTRIES names another file
//! /etc/coracle/certs.d/HOST[:PORT]   ca.crt (or any *.crt), client.cert, client.key, as Docker has them
//! /etc/docker/daemon.json            Docker's: registry-mirrors, insecure-registries
//! /etc/docker/certs.d/HOST[:PORT]
//! ```
//!
//! A file that cannot be understood is an error of every request to a registry: nobody is asked who was not meant.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use coracle_registry::{HostConfig, Hosts};
use serde::Deserialize;

/// The largest configuration or certificate that is read, bytes.
const LARGEST: u64 = 1 << 20;

/// Where configuration lies.
struct Places {
    ours: PathBuf,
    docker: PathBuf,
    /// Directories of certificates, the later ones win.
    certificates: Vec<PathBuf>,
}

/// Our file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Ours {
    /// Registries, or ranges of addresses, that need not prove who they are.
    insecure: Vec<String>,
    /// What is known of each.
    registry: BTreeMap<String, OurRegistry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct OurRegistry {
    mirrors: Vec<String>,
    insecure: bool,
    /// Paths, relative to the file.
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// What we read of Docker's file; the rest of it is not ours.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Docker {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
}

/// Reads what is configured.
pub(crate) fn hosts(variables: &BTreeMap<String, String>) -> Hosts {
    let own = variables.get("CORACLE_REGISTRIES").filter(|path| !path.is_empty());
    let ours = own.map_or_else(|| PathBuf::from("/etc/coracle/registries.toml"), PathBuf::from);
    let beside = ours.parent().unwrap_or(Path::new("/")).join("certs.d");
    let places = Places {
        docker: "/etc/docker/daemon.json".into(),
        certificates: vec!["/etc/docker/certs.d".into(), beside],
        ours,
    };
    read(&places).unwrap_or_else(Hosts::broken)
}

fn read(places: &Places) -> Result<Hosts, String> {
    let mut hosts = Hosts::default();
    if let Some(text) = text(&places.docker)? {
        let docker: Docker = serde_json::from_str(&text)
            .map_err(|error| format!("{} cannot be understood: {error}", places.docker.display()))?;
        add_mirrors(hosts.entry("docker.io"), &docker.registry_mirrors, &places.docker)?;
        docker.insecure_registries.iter().for_each(|text| hosts.allow_insecure(text));
    }
    for directory in &places.certificates {
        add_certificates(&mut hosts, directory)?;
    }
    if let Some(text) = text(&places.ours)? {
        let file = places.ours.display();
        let ours: Ours = toml::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
        ours.insecure.iter().for_each(|text| hosts.allow_insecure(text));
        let directory = places.ours.parent().unwrap_or(Path::new("/"));
        for (name, registry) in ours.registry {
            let host = hosts.entry(&name);
            host.insecure |= registry.insecure;
            if !registry.mirrors.is_empty() {
                host.mirrors.clear();
                add_mirrors(host, &registry.mirrors, &places.ours)?;
            }
            if let Some(path) = registry.authority {
                host.authorities = required(&directory.join(path))?;
            }
            host.identity = match (registry.certificate, registry.key) {
                (None, None) => host.identity.take(),
                (Some(certificate), Some(key)) => {
                    Some((required(&directory.join(certificate))?, required(&directory.join(key))?))
                }
                _ => return Err(format!("{file}: registry `{name}` needs both `certificate` and `key`")),
            };
        }
    }
    Ok(hosts)
}

fn add_mirrors(host: &mut HostConfig, texts: &[String], file: &Path) -> Result<(), String> {
    for text in texts {
        host.mirrors.push(text.parse().map_err(|error| format!("{}: {error}", file.display()))?);
    }
    Ok(())
}

/// Reads a directory with one directory a registry.
fn add_certificates(hosts: &mut Hosts, directory: &Path) -> Result<(), String> {
    for registry in entries(directory)? {
        let Some(name) = registry.file_name().and_then(|name| name.to_str()) else { continue };
        let files = entries(&registry)?;
        let with = |ending: &'static str| {
            files.iter().filter(move |path| path.extension().is_some_and(|extension| extension == ending))
        };
        for path in with("crt") {
            hosts.entry(name).authorities.extend(required(path)?);
            hosts.entry(name).authorities.push(b'\n');
        }
        for certificate in with("cert") {
            let key = certificate.with_extension("key");
            if !files.contains(&key) {
                return Err(format!("{} lacks its key {}", certificate.display(), key.display()));
            }
            hosts.entry(name).identity = Some((required(certificate)?, required(&key)?));
        }
    }
    Ok(())
}

/// Returns what lies in a directory, sorted; a missing one has nothing.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    if let Ok(paths) = &mut paths {
        paths.sort();
    }
    paths.map_err(failed)
}

/// Reads a file that may be missing.
fn text(path: &Path) -> Result<Option<String>, String> {
    match bytes(path) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| format!("{} is no text", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn required(path: &Path) -> Result<Vec<u8>, String> {
    bytes(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct World {
        directory: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn read(&self) -> Result<Hosts, String> {
            let at = |path: &str| self.directory.path().join(path);
            read(&Places {
                ours: at("coracle/registries.toml"),
                docker: at("docker/daemon.json"),
                certificates: vec![at("docker/certs.d"), at("coracle/certs.d")],
            })
        }
    }

    #[test]
    fn nothing_is_configured() {
        assert_eq!(World::new().read(), Ok(Hosts::default()));
    }

    #[test]
    fn dockers_files_and_ours() {
        let world = World::new();
        world.write(
            "docker/daemon.json",
            r#"{"registry-mirrors": ["https://one.example"], "insecure-registries": ["10.0.0.0/8"], "log-driver": "json-file"}"#,
        );
        world.write("docker/certs.d/lab.example:5000/ca.crt", "AUTHORITY");
        world.write("docker/certs.d/lab.example:5000/client.cert", "CERTIFICATE");
        world.write("docker/certs.d/lab.example:5000/client.key", "KEY");
        let mut hosts = world.read().unwrap();
        assert_eq!(hosts.mirrors("docker.io")[0].host, "one.example");
        let lab = hosts.entry("lab.example:5000").clone();
        assert_eq!(lab.authorities, b"AUTHORITY\n");
        assert_eq!(lab.identity, Some((b"CERTIFICATE".to_vec(), b"KEY".to_vec())));
        world.write(
            "coracle/registries.toml",
            "[registry.'docker.io']\nmirrors = ['http://two.example:5000']\n[registry.'lab.example:5000']\nauthority = 'lab.crt'\n",
        );
        world.write("coracle/lab.crt", "OURS");
        let mut hosts = world.read().unwrap();
        assert_eq!(hosts.mirrors("docker.io").len(), 1);
        assert!(hosts.mirrors("docker.io")[0].plain);
        assert_eq!(hosts.entry("lab.example:5000").authorities, b"OURS");
    }

    #[test]
    fn what_makes_no_sense_says_where() {
        for (path, text, word) in [
            ("docker/daemon.json", "{", "daemon.json cannot be understood"),
            ("docker/daemon.json", r#"{"registry-mirrors": ["ftp://x"]}"#, "is no mirror"),
            ("coracle/registries.toml", "insecur = true", "unknown field"),
            ("coracle/registries.toml", "[registry.x]\nauthority = 'missing.crt'", "missing.crt"),
            ("coracle/registries.toml", "[registry.x]\nkey = 'x'", "both `certificate` and `key`"),
            ("coracle/certs.d/x/client.cert", "C", "lacks its key"),
        ] {
            let world = World::new();
            world.write(path, text);
            let why = world.read().unwrap_err();
            assert!(why.contains(word), "{path}: {why}");
        }
    }
}

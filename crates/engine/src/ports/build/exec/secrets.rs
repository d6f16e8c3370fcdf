//! The caller's secrets: read once, kept in this process's memory, lent to steps by descriptor.
//!
//! A secret stands in no file of the host. The shim reads it through `/proc/<us>/fd/<n>` and puts it on a tmpfs of
//! its own, or into the command's environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use coracle_report::Diagnostic;
use rustix::fs::MemfdFlags;

use crate::builds::{SecretPlace, SecretSource};
use crate::{During, Failure, Result};

/// Most bytes of one secret, as in BuildKit.
const LARGEST: u64 = 500 * 1024;
/// Shortest line of a secret that is blotted out of output: shorter ones are in any text.
const SHORTEST_LINE: usize = 6;

/// The secrets that were given.
#[derive(Debug, Default)]
pub struct Secrets {
    by_id: BTreeMap<String, Secret>,
}

/// A secret's value in memory that only descriptors reach.
#[derive(Debug)]
struct Secret {
    memory: File,
    lines: Vec<String>,
}

impl Secrets {
    /// Reads what the caller gives; a variable that is not set is a secret that was not given.
    pub fn read(sources: &[SecretSource], environment: &BTreeMap<String, String>) -> Result<Self> {
        let mut by_id = BTreeMap::new();
        for source in sources {
            let value = match &source.place {
                SecretPlace::File(path) => Some(read_file(&source.id, path)?),
                SecretPlace::Variable(name) => environment.get(name).map(|value| value.clone().into_bytes()),
                SecretPlace::Value(_, value) => Some(value.reveal().to_owned().into_bytes()),
                SecretPlace::ByName => match environment.get(&source.id) {
                    Some(value) => Some(value.clone().into_bytes()),
                    None => Some(read_file(&source.id, Path::new(&source.id))?),
                },
            };
            if let Some(value) = value {
                by_id.insert(source.id.clone(), Secret::new(&value)?);
            }
        }
        Ok(Self { by_id })
    }

    /// Returns the path by which a shim reads a secret while this process lives; `None` when it was not given.
    pub fn path(&self, id: &str) -> Option<PathBuf> {
        let secret = self.by_id.get(id)?;
        Some(PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), secret.memory.as_raw_fd())))
    }

    /// Returns a secret's value, for what the builder itself logs in with; `None` when it was not given.
    pub fn value(&self, id: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(id)?).ok()
    }

    /// Returns the lines that no output may show.
    pub fn lines<'a>(&'a self, ids: impl Iterator<Item = &'a str>) -> Vec<String> {
        let secrets = ids.filter_map(|id| self.by_id.get(id));
        secrets.flat_map(|secret| &secret.lines).cloned().collect()
    }

    /// Returns the failure of a step that requires a secret which was not given.
    pub fn missing(&self, id: &str) -> Failure {
        let error = Diagnostic::error("missing-secret", format!("the secret `{id}` was not given"));
        let known: Vec<&str> = self.by_id.keys().map(String::as_str).collect();
        let error = match coracle_dockerfile::nearest(id, known.iter().copied()) {
            Some(near) => error.with_hint(format!("the secret `{near}` was given: is that the one?")),
            None => error,
        };
        Failure::user(error.with_hint(format!(
            "give it with `--secret id={id},src=FILE`, or out of a variable with `--secret id={id},env=VARIABLE`"
        )))
    }
}

impl Secret {
    fn new(value: &[u8]) -> Result<Self> {
        let during = "keeping a secret";
        let memory = rustix::fs::memfd_create("coracle-secret", MemfdFlags::CLOEXEC).during(during)?;
        let mut memory = File::from(memory);
        memory.write_all(value).during(during)?;
        memory.rewind().during(during)?;
        let text = String::from_utf8_lossy(value);
        let lines = text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        // The longest first: one may hold another.
        lines.sort_by_key(|line| std::cmp::Reverse(line.len()));
        Ok(Self { memory, lines })
    }
}

fn read_file(id: &str, path: &Path) -> Result<Vec<u8>> {
    let fault = |why: String| {
        Failure::user(Diagnostic::error("secret", format!("cannot read the secret `{id}`: {why}")))
    };
    let file = File::open(path).map_err(|error| fault(format!("{}: {error}", path.display())))?;
    let mut value = Vec::new();
    file.take(LARGEST + 1)
        .read_to_end(&mut value)
        .map_err(|error| fault(format!("{}: {error}", path.display())))?;
    if value.len() as u64 > LARGEST {
        return Err(fault(format!("{} is larger than {} KiB", path.display(), LARGEST / 1024)));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_variables() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "from-file\n").unwrap();
        let source = |id: &str, place| SecretSource { id: id.to_owned(), place };
        let environment = BTreeMap::from([("NAME".to_owned(), "from-variable".to_owned())]);
        let sources = [
            source("file", SecretPlace::File(path)),
            source("env", SecretPlace::Variable("NAME".to_owned())),
            source("NAME", SecretPlace::ByName),
            source("unset", SecretPlace::Variable("OTHER".to_owned())),
        ];
        let secrets = Secrets::read(&sources, &environment).unwrap();
        let value = |id: &str| secrets.value(id).map(|value| String::from_utf8(value).unwrap());
        // Whoever opens it anew reads it from its beginning, each time.
        assert_eq!(value("file").as_deref(), Some("from-file\n"));
        assert_eq!(value("file").as_deref(), Some("from-file\n"));
        assert_eq!(value("env").as_deref(), Some("from-variable"));
        assert_eq!(value("NAME").as_deref(), Some("from-variable"));
        assert_eq!(value("unset"), None);
        assert_eq!(secrets.lines(["file", "none"].into_iter()), ["from-file"]);
        let missing = [source("gone", SecretPlace::File(directory.path().join("gone")))];
        let failure = Secrets::read(&missing, &environment).unwrap_err();
        assert!(failure.first().message.contains("No such file"), "{failure}");
    }
}

//! What a build's `RUN` steps are given by the caller: secrets, SSH agents, network, limits and leave.

use std::path::PathBuf;
use std::str::FromStr;

use coracle_build::{Entitlements, Sandbox};
use coracle_dockerfile::NetworkMode;
use coracle_oci::Platform;

/// What `RUN` steps are given.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// `--secret`
    pub secrets: Vec<SecretSource>,
    /// `--ssh`
    pub agents: Vec<AgentSource>,
    /// `--network`: the network of steps that ask for none in particular.
    pub network: NetworkMode,
    /// `--add-host`, `--ulimit`, `--shm-size`, `--memory`
    pub sandbox: Sandbox,
    /// `--allow`
    pub allow: Entitlements,
    /// `--platform`: what is built for, each once; empty is the host's.
    pub platforms: Vec<Platform>,
}

/// A secret, and where its value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSource {
    /// Its id.
    pub id: String,
    /// Where.
    pub place: SecretPlace,
}

/// Where a secret's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file.
    File(PathBuf),
    /// In a variable of the caller's.
    Variable(String),
    /// Here: what the variable of this name held when a project was read.
    Value(String, SecretValue),
    /// In the variable of the secret's name if that is set, else in the file of that name.
    ByName,
}

/// A secret's value, which no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// Returns `text` as a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns what it is.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl FromStr for SecretSource {
    type Err = String;

    /// Reads `id=NAME[,src=FILE|,env=VARIABLE][,type=file|env]` as `docker buildx build --secret` does.
    fn from_str(text: &str) -> Result<Self, String> {
        let why = |why: &str| {
            format!("`{text}` is not a secret: {why}; write it as id=NAME,src=FILE or id=NAME,env=VARIABLE")
        };
        let (mut id, mut file, mut variable, mut kind) = ("", None, None, "");
        let fields = fields(text);
        for field in &fields {
            let Some((key, value)) = field.split_once('=') else {
                return Err(why(&format!("`{field}` has no `=`")));
            };
            match key.to_ascii_lowercase().as_str() {
                "id" => id = value,
                "src" | "source" => file = Some(value),
                "env" => variable = Some(value),
                "type" if matches!(value, "file" | "env") => kind = value,
                "type" => return Err(why(&format!("type is file or env, not `{value}`"))),
                _ => return Err(why(&format!("there is no `{key}`"))),
            }
        }
        if id.is_empty() {
            return Err(why("it has no id"));
        }
        if kind == "env" && variable.is_none() {
            variable = file.take();
        }
        let place = match (file, variable) {
            (Some(_), Some(_)) => return Err(why("it is either in a file or in a variable")),
            (Some(file), None) => SecretPlace::File(PathBuf::from(file)),
            (None, Some(variable)) => SecretPlace::Variable(variable.to_owned()),
            (None, None) => SecretPlace::ByName,
        };
        Ok(Self { id: id.to_owned(), place })
    }
}

/// An SSH agent that steps may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSource {
    /// Its id.
    pub id: String,
    /// A socket, or files of private keys; empty is the caller's agent (`SSH_AUTH_SOCK`).
    pub paths: Vec<PathBuf>,
}

impl FromStr for AgentSource {
    type Err = String;

    /// Reads `default`, `ID=SOCKET` or `ID=KEY[,KEY...]` as `docker buildx build --ssh` does.
    fn from_str(text: &str) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        if id.is_empty() {
            return Err(format!("`{text}` names no agent; write it as default, or ID=SOCKET, or ID=KEY"));
        }
        let paths = paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        Ok(Self { id: id.to_owned(), paths })
    }
}

impl RunOptions {
    /// Returns the platforms to build for, each once, in the order given.
    pub fn targets(&self) -> Vec<Platform> {
        let mut targets: Vec<Platform> = Vec::new();
        for platform in &self.platforms {
            let platform = platform.clone().normalized();
            if !targets.contains(&platform) {
                targets.push(platform);
            }
        }
        if targets.is_empty() {
            targets.push(Platform::host());
        }
        targets
    }
}

/// Reads one `--allow`.
pub fn allow(text: &str, into: &mut Entitlements) -> Result<(), String> {
    match text {
        "network.host" => into.network_host = true,
        "security.insecure" => into.security_insecure = true,
        _ => return Err(format!("`{text}` is nothing to allow; it is network.host or security.insecure")),
    }
    Ok(())
}

/// Splits at commas; a field in double quotes may hold commas (as in CSV).
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("there is one from the beginning").push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_buildx_reads_them() {
        let file = |path: &str| SecretPlace::File(PathBuf::from(path));
        let variable = |name: &str| SecretPlace::Variable(name.to_owned());
        for (text, place) in [
            ("id=a", SecretPlace::ByName),
            ("id=a,src=/f", file("/f")),
            ("id=a,source=f", file("f")),
            ("type=file,id=a,src=f", file("f")),
            ("id=a,env=X", variable("X")),
            ("type=env,id=a,env=X", variable("X")),
            ("type=env,id=a,src=X", variable("X")),
            ("id=a,\"src=f,g\"", file("f,g")),
            ("type=env,id=a", SecretPlace::ByName),
        ] {
            let secret: SecretSource = text.parse().unwrap();
            assert_eq!(secret, SecretSource { id: "a".to_owned(), place }, "{text}");
        }
        for text in ["", "a", "src=f", "id=a,type=x", "id=a,x=y", "id=a,src=f,env=X", "id="] {
            assert!(text.parse::<SecretSource>().is_err(), "{text}");
        }
    }

    #[test]
    fn agents_are_read_as_buildx_reads_them() {
        let agent = |text: &str| text.parse::<AgentSource>().unwrap();
        assert_eq!(agent("default"), AgentSource { id: "default".to_owned(), paths: Vec::new() });
        assert_eq!(agent("a=x,y").paths, [PathBuf::from("x"), PathBuf::from("y")]);
        assert!("=x".parse::<AgentSource>().is_err());
    }
}

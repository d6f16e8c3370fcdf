//! SSH agents for `--mount=type=ssh`: the caller's, or one of ours that holds keys of files.
//!
//! Of the agent protocol (RFC draft-miller-ssh-agent) only listing keys and signing pass; a step can neither add,
//! remove nor lock keys, nor use extensions. Refuses encrypted keys: nobody is there to type the passphrase.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use coracle_report::Diagnostic;
use ssh_key::{Algorithm, PrivateKey, SigningKey};

use crate::builds::AgentSource;
use crate::{Failure, Result};

/// Longest message, bytes; as OpenSSH.
const LONGEST: usize = 256 * 1024;
/// Largest file of a private key, bytes; as BuildKit.
const LARGEST_KEY: u64 = 100 * 1024;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Flag of a sign request: RSA with SHA-512.
const RSA_SHA2_512: u32 = 4;

/// An agent that steps may ask.
#[derive(Debug)]
pub(super) enum Agent {
    /// One of the caller's.
    Socket(PathBuf),
    /// Ours.
    Keys(Vec<PrivateKey>),
}

/// The agents that were given, by id.
#[derive(Debug, Default)]
pub struct Agents(BTreeMap<String, Agent>);

impl Agents {
    /// Looks for the agents and reads the keys.
    pub fn read(sources: &[AgentSource], environment: &BTreeMap<String, String>) -> Result<Self> {
        let mut agents = BTreeMap::new();
        for source in sources {
            agents.insert(source.id.clone(), read_agent(source, environment)?);
        }
        Ok(Self(agents))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Agent> {
        self.0.get(id)
    }
}

/// Returns the failure of a step that requires an agent which was not given.
pub(super) fn missing(id: &str) -> Failure {
    let error = Diagnostic::error("missing-ssh", format!("the SSH agent `{id}` was not given"));
    Failure::user(error.with_hint(format!(
        "lend yours with `--ssh {id}` (SSH_AUTH_SOCK must be set), or a key with `--ssh {id}=KEYFILE`"
    )))
}

fn fault(id: &str, why: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error("ssh", format!("cannot lend the SSH agent `{id}`: {why}"))
}

fn read_agent(source: &AgentSource, environment: &BTreeMap<String, String>) -> Result<Agent> {
    let id = &source.id;
    if source.paths.is_empty() {
        let socket = environment.get("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
        let Some(socket) = socket else {
            return Err(Failure::user(fault(id, "SSH_AUTH_SOCK is not set").with_hint(format!(
                "start an agent (`eval $(ssh-agent) && ssh-add`), or give a key: `--ssh {id}=KEYFILE`"
            ))));
        };
        return socket_of(id, Path::new(socket));
    }
    let mut keys = Vec::new();
    for path in &source.paths {
        let metadata = std::fs::metadata(path)
            .map_err(|error| Failure::user(fault(id, format_args!("{}: {error}", path.display()))))?;
        if metadata.file_type().is_socket() {
            if source.paths.len() > 1 {
                return Err(Failure::user(fault(id, "a socket cannot be combined with other paths")));
            }
            return socket_of(id, path);
        }
        keys.push(read_key(id, path)?);
    }
    Ok(Agent::Keys(keys))
}

fn socket_of(id: &str, path: &Path) -> Result<Agent> {
    match UnixStream::connect(path) {
        Ok(_) => Ok(Agent::Socket(path.to_owned())),
        Err(error) => Err(Failure::user(fault(id, format_args!("{}: {error}", path.display())))),
    }
}

fn read_key(id: &str, path: &Path) -> Result<PrivateKey> {
    let refuse = |why: String| fault(id, format_args!("{}: {why}", path.display()));
    let mut text = String::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(LARGEST_KEY + 1).read_to_string(&mut text));
    match read {
        Ok(count) if count as u64 > LARGEST_KEY => {
            return Err(Failure::user(refuse("too large for a private key".to_owned())));
        }
        Ok(_) => {}
        Err(error) => return Err(Failure::user(refuse(error.to_string()))),
    }
    let shown = path.display();
    if text.contains("BEGIN ") && !text.contains("BEGIN OPENSSH PRIVATE KEY") {
        return Err(Failure::user(
            refuse("the key is not in OpenSSH's own format".to_owned())
                .with_hint(format!("convert a copy of it: `ssh-keygen -p -N '' -f {shown}`"))
                .with_hint("or add it to an agent and lend that: `ssh-add KEYFILE`, `--ssh default`"),
        ));
    }
    let key = PrivateKey::from_openssh(&text)
        .map_err(|error| Failure::user(refuse(format!("not a private key: {error}"))))?;
    if key.is_encrypted() {
        return Err(Failure::user(
            refuse("the key is encrypted, and nobody is asked for its passphrase".to_owned())
                .with_hint(format!("add it to an agent and lend that: `ssh-add {shown}`, then `--ssh {id}`")),
        ));
    }
    Ok(key)
}

/// Serves one client until it goes. `upstream` is told of the connection to the caller's agent, so that it can be cut.
pub(super) fn serve(
    agent: &Agent,
    client: &mut UnixStream,
    upstream: &mut dyn FnMut(&UnixStream),
) -> io::Result<()> {
    let mut caller = match agent {
        Agent::Socket(path) => {
            let stream = UnixStream::connect(path)?;
            upstream(&stream);
            Some(stream)
        }
        Agent::Keys(_) => None,
    };
    while let Some(request) = read_message(client)? {
        let kind = request.first().copied();
        let answer = match (agent, &mut caller) {
            _ if !matches!(kind, Some(REQUEST_IDENTITIES | SIGN_REQUEST)) => vec![FAILURE],
            (Agent::Keys(keys), _) => answer(keys, &request).unwrap_or_else(|| vec![FAILURE]),
            (Agent::Socket(_), Some(stream)) => {
                write_message(stream, &request)?;
                match read_message(stream)? {
                    Some(answer) => answer,
                    None => return Ok(()),
                }
            }
            (Agent::Socket(_), None) => vec![FAILURE],
        };
        write_message(client, &answer)?;
    }
    Ok(())
}

fn read_message(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

fn write_message(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let mut whole = Vec::with_capacity(message.len() + 4);
    put(&mut whole, message);
    stream.write_all(&whole)
}

/// Appends a string as the protocol writes it: its length, then its bytes.
fn put(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    into.extend_from_slice(bytes);
}

/// Takes such a string.
fn take<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let (taken, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Returns the signature as the protocol writes it.
fn sign<K: SigningKey>(key: &K, data: &[u8]) -> Option<Vec<u8>> {
    Vec::try_from(key.try_sign(data).ok()?).ok()
}

/// Answers as an agent that holds `keys`; `None` is a refusal.
fn answer(keys: &[PrivateKey], request: &[u8]) -> Option<Vec<u8>> {
    let (kind, mut rest) = request.split_first()?;
    let mut answer = Vec::new();
    match *kind {
        REQUEST_IDENTITIES => {
            answer.push(IDENTITIES_ANSWER);
            answer.extend_from_slice(&(keys.len() as u32).to_be_bytes());
            for key in keys {
                put(&mut answer, &key.public_key().to_bytes().ok()?);
                put(&mut answer, key.comment().as_bytes());
            }
        }
        SIGN_REQUEST => {
            let (blob, data) = (take(&mut rest)?, take(&mut rest)?);
            let flags = u32::from_be_bytes(rest.try_into().ok()?);
            let key = keys.iter().find(|key| key.public_key().to_bytes().is_ok_and(|own| own == blob))?;
            if matches!(key.algorithm(), Algorithm::Rsa { .. }) && flags & RSA_SHA2_512 == 0 {
                // The older hashes are not for new software, and every OpenSSH of this decade asks for this one first.
                return None;
            }
            let signature = sign(key, data)?;
            answer.push(SIGN_RESPONSE);
            put(&mut answer, &signature);
        }
        _ => return None,
    }
    Some(answer)
}

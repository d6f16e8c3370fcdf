//! Programs that keep credentials: `docker-credential-NAME` (docker-credential-helpers, "Development").

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::credentials::Credentials;

/// The largest answer that is read, bytes.
const LARGEST: u64 = 1 << 20;
/// The user name under which helpers keep an identity token.
const TOKEN: &str = "<token>";

/// Why a helper gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The program is missing or cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// Its name.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It failed.
    #[error("{program}: {message}")]
    Failed {
        /// Its name.
        program: String,
        /// Its own words.
        message: String,
    },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Returns whether a name is one of a helper; it becomes a part of a program's name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Asks a helper for a server's credentials; `None` when it has none.
pub(crate) fn get(helper: &str, server: &str) -> Result<Option<Credentials>, HelperError> {
    let program = format!("docker-credential-{helper}");
    let failed = |message: String| HelperError::Failed { program: program.clone(), message };
    if !is_name(helper) {
        return Err(failed("this is no name of a helper".to_owned()));
    }
    let run = |source| HelperError::Run { program: program.clone(), source };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(run)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read has its reasons; its answer tells.
        let _ = input.write_all(server.as_bytes());
    }
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(LARGEST).read_to_end(&mut text).map_err(run)?;
    }
    let status = child.wait().map_err(run)?;
    if !status.success() {
        let said = String::from_utf8_lossy(&text);
        let said = said.trim();
        // The protocol's words for "nothing here".
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(said.chars().filter(|letter| !letter.is_control()).take(200).collect()));
    }
    let answer: Answer = serde_json::from_slice(&text)
        .map_err(|_| failed("its answer is not what the protocol says".to_owned()))?;
    Ok(Some(if answer.username == TOKEN {
        Credentials::IdentityToken(answer.secret)
    } else {
        Credentials::Basic { username: answer.username, password: answer.secret }
    }))
}

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
    if !is_name(helper) {
        let message = "this is no name of a helper".to_owned();
        return Err(HelperError::Failed { program, message });
    }
    ask(&program, server)
}

fn ask(program: &str, server: &str) -> Result<Option<Credentials>, HelperError> {
    let failed = |message: String| HelperError::Failed { program: program.to_owned(), message };
    let run = |source| HelperError::Run { program: program.to_owned(), source };
    let mut child = Command::new(program)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Asks a program that is this script.
    fn answer(script: &str) -> Result<Option<Credentials>, HelperError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // A file that another thread's child still holds open for writing cannot be run: a moment later it can.
        for _ in 0..100 {
            match ask(path.to_str().unwrap(), "lab.example:5000") {
                Err(HelperError::Run { source, .. }) if source.raw_os_error() == Some(26) => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                answer => return answer,
            }
        }
        panic!("the script stays busy");
    }

    #[test]
    fn programs_that_keep_credentials_are_asked() {
        let basic = answer(
            r#"read server; echo "{\"ServerURL\": \"$server\", \"Username\": \"$1 $server\", \"Secret\": \"s\"}""#,
        );
        let wanted =
            Credentials::Basic { username: "get lab.example:5000".to_owned(), password: "s".to_owned() };
        assert_eq!(basic.unwrap(), Some(wanted));
        let token = answer(r#"echo '{"Username": "<token>", "Secret": "t"}'"#);
        assert_eq!(token.unwrap(), Some(Credentials::IdentityToken("t".to_owned())));
        assert_eq!(answer("echo credentials not found in native keychain; exit 1").unwrap(), None);
    }

    #[test]
    fn what_goes_wrong_is_told_and_no_secret_is() {
        let error = answer("echo locked; exit 1").unwrap_err().to_string();
        assert!(error.ends_with("docker-credential-test: locked"), "{error}");
        let error = answer("echo '{\"Secret\": \"hunter2\"'").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(matches!(get("no-such-program", "x"), Err(HelperError::Run { .. })));
        assert!(matches!(get("../../bin/sh", "x"), Err(HelperError::Failed { .. })));
    }
}

//! Git repositories by the host's `git`, kept from doing anything but fetching.
//!
//! No configuration of the user's or the system's, no hooks, no filters, no helper programs; only the protocols
//! below; nothing from a Dockerfile can become an option; it never asks on a terminal.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coracle_build::{GitSource, is_full_commit};
use coracle_report::Diagnostic;

use super::git_auth::{GitAuth, SecretValue};
use crate::{Failure, Result};

/// Protocols that are spoken. A file's is not: a repository's submodules could name any of this machine.
const PROTOCOLS: &str = "http:https:ssh:git";
/// Variables of the caller that git and ssh are given.
const PASSED: [&str; 15] = [
    "PATH",
    "HOME",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "TMPDIR",
];
/// Time of one command, after which a server counts as dead.
const LONGEST: Duration = Duration::from_mins(20);
/// Most bytes of output that are kept.
const OUTPUT: u64 = 16 << 20;

/// The host's git.
pub struct Git<'e> {
    environment: &'e BTreeMap<String, String>,
    cancel: &'e AtomicBool,
    secret: SecretValue<'e>,
}

impl<'e> Git<'e> {
    /// Returns the git of a caller with these variables and secrets.
    pub fn new(
        environment: &'e BTreeMap<String, String>,
        secret: SecretValue<'e>,
        cancel: &'e AtomicBool,
    ) -> Self {
        Self { environment, cancel, secret }
    }

    /// Returns the whole id of the commit that the reference names now.
    pub fn resolve(&self, source: &GitSource) -> Result<String> {
        let wanted = source.reference.as_deref();
        let commit = match wanted.filter(|reference| is_full_commit(reference)) {
            Some(commit) => commit.to_owned(),
            None => self.look_up(source)?,
        };
        if let Some(checksum) = source.checksum.as_ref().filter(|checksum| !commit.starts_with(*checksum)) {
            let message = format!("{source} is not at the commit that was asked for");
            let error = Diagnostic::error("checksum-mismatch", message)
                .with_note(format!("wanted {checksum}"))
                .with_note(format!("got    {commit}"));
            return Err(Failure::user(error));
        }
        Ok(commit)
    }

    fn look_up(&self, source: &GitSource) -> Result<String> {
        let mut command = self.command(None, source);
        command.args(["ls-remote", "--", &source.remote]);
        let listed = self.run(command, source)?;
        let references: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
        let find = |name: &str| references.iter().find(|(_, own)| *own == name).map(|(commit, _)| *commit);
        let wanted = source.reference.as_deref().unwrap_or("HEAD");
        let names = if wanted == "HEAD" || wanted.starts_with("refs/") {
            vec![wanted.to_owned()]
        } else {
            vec![format!("refs/heads/{wanted}"), format!("refs/tags/{wanted}"), format!("refs/{wanted}")]
        };
        // An annotated tag is an object of its own; `^{}` is the commit that it names.
        let found = names.iter().find_map(|name| find(&format!("{name}^{{}}")).or_else(|| find(name)));
        if let Some(commit) = found.filter(|commit| is_full_commit(commit)) {
            return Ok(commit.to_owned());
        }
        let short = |name: &'_ str| {
            let name = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"))?;
            (!name.ends_with("^{}")).then(|| name.to_owned())
        };
        let known: Vec<String> = references.iter().filter_map(|(_, name)| short(name)).collect();
        let message = format!(
            "{} has no branch or tag `{wanted}`",
            source.shown().split('#').next().unwrap_or_default()
        );
        let error = Failure::user(Diagnostic::error("no-such-ref", message));
        if coracle_build::is_commit_prefix(wanted) {
            return Err(error.with_hint("if a commit is meant, give all of its 40 digits"));
        }
        if let Some(near) = crate::near::nearest(wanted, known.iter().map(String::as_str)) {
            return Err(error.with_hint(format!("did you mean `#{near}`?")));
        }
        let some: Vec<&str> = known.iter().take(10).map(String::as_str).collect();
        Err(if some.is_empty() {
            error.with_hint("the repository is empty")
        } else {
            error.with_hint(format!("it has {}", some.join(", ")))
        })
    }

    /// Fetches a commit's files into the empty directory `target`.
    pub fn check_out(&self, source: &GitSource, commit: &str, target: &Path) -> Result<()> {
        let run = |words: &[&str]| {
            let mut command = self.command(Some(target), source);
            command.args(words);
            self.run(command, source)
        };
        let format = if commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        run(&["init", "--quiet", "--template=", format, "--initial-branch=main", "."])?;
        run(&["remote", "add", "--", "origin", &source.remote])?;
        let alone = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "origin"];
        let mut refused = true;
        // By what it is called first: some servers give no commits by their ids.
        let by_name = source.reference.as_deref().filter(|name| !is_full_commit(name)).unwrap_or("HEAD");
        for name in [commit, by_name] {
            let mut words = alone.to_vec();
            words.push(name);
            refused =
                run(&words).is_err() || run(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_err();
            self.check_cancelled()?;
            if !refused {
                break;
            }
        }
        if refused {
            run(&[
                "fetch",
                "--quiet",
                "--tags",
                "--no-recurse-submodules",
                "origin",
                "+refs/heads/*:refs/remotes/origin/*",
            ])?;
            if run(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_err() {
                let message = format!(
                    "{} has no commit {commit}",
                    source.shown().split('#').next().unwrap_or_default()
                );
                return Err(Failure::user(Diagnostic::error("no-such-ref", message)));
            }
        }
        run(&["checkout", "--quiet", "--detach", "--force", commit])?;
        if source.submodules && target.join(".gitmodules").symlink_metadata().is_ok() {
            run(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"])?;
        }
        Ok(())
    }

    fn command(&self, directory: Option<&Path>, source: &GitSource) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(PASSED.iter().filter_map(|name| Some((*name, self.environment.get(*name)?))));
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS", "/bin/false")
            .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("LC_ALL", "C");
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.symlinks=true",
            "core.autocrlf=false",
            "protocol.ext.allow=never",
            "protocol.file.allow=never",
            "credential.helper=",
            "submodule.recurse=false",
            "gc.auto=0",
            "maintenance.auto=false",
            "advice.detachedHead=false",
            "http.lowSpeedLimit=1",
            "http.lowSpeedTime=30",
        ] {
            command.args(["-c", setting]);
        }
        match directory {
            Some(directory) => {
                command.current_dir(directory);
                // Never a repository above it.
                command.env("GIT_CEILING_DIRECTORIES", directory.parent().unwrap_or(directory));
            }
            None => {
                command.current_dir("/").env("GIT_DIR", "/dev/null");
            }
        }
        GitAuth::of(&source.remote, self.secret).lend(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Its helpers (git-remote-https, ssh) must end with it.
        command.process_group(0);
        command
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Failure::user(Diagnostic::error("cancelled", "the build was cancelled")));
        }
        Ok(())
    }

    /// Runs git to its end and returns what it printed.
    fn run(&self, mut command: Command, source: &GitSource) -> Result<String> {
        let mut child = command.spawn().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                let error =
                    Diagnostic::error("no-git", format!("{source} needs the program git, which is not here"));
                return Failure::user(
                    error.with_hint("install it: apt-get install git (or dnf, apk add, ...)"),
                );
            }
            Failure::ours("starting git", &error)
        })?;
        let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut stream) = stream {
                    let _ = stream.by_ref().take(OUTPUT).read_to_end(&mut bytes);
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                }
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let output = read(child.stdout.take().map(|stream| Box::new(stream) as _));
        let errors = read(child.stderr.take().map(|stream| Box::new(stream) as _));
        let end = Instant::now() + LONGEST;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if self.cancel.load(Ordering::Relaxed) || Instant::now() > end => {
                    let group = rustix::process::Pid::from_child(&child);
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                    break child.wait();
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => break Err(error),
            }
        };
        let (output, errors) = (output.join().unwrap_or_default(), errors.join().unwrap_or_default());
        self.check_cancelled()?;
        let status = status.map_err(|error| Failure::ours("waiting for git", &error))?;
        if status.success() {
            return Ok(output);
        }
        Err(failed(source, &errors))
    }
}

/// Explains a failure in git's words.
fn failed(source: &GitSource, errors: &str) -> Failure {
    let said = errors.trim().lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<String> =
        said.map(|line| line.chars().filter(|c| !c.is_control()).take(300).collect()).take(8).collect();
    let mut error = Diagnostic::error("git-failed", format!("git cannot fetch {source}"));
    for line in &lines {
        error = error.with_note(line.replace(&source.remote, &source.shown()));
    }
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    let hint = if has("Could not resolve host")
        || has("unable to look up")
        || has("Name or service not known")
    {
        "the host's name is not known here: check the spelling and the network"
    } else if has("could not read Username")
        || has("Authentication failed")
        || has("terminal prompts disabled")
    {
        "the repository does not exist, or needs a login: give a token with `--secret id=GIT_AUTH_TOKEN,env=VARIABLE`, or use ssh (git@HOST:PATH) with your agent running"
    } else if has("Permission denied (publickey") || has("Host key verification failed") {
        "log in with ssh once by hand: the host's key must be known and your agent hold a key"
    } else if has("certificate") {
        "the server's certificate is not trusted here: name your authority's bundle with SSL_CERT_FILE"
    } else if has("not found")
        || has("does not exist")
        || has("not exported")
        || has("not appear to be a git")
    {
        "check the repository's address"
    } else if has("transport") && has("not allowed") {
        "repositories are fetched by https, http, ssh or git"
    } else {
        "try it by hand: git ls-remote"
    };
    Failure::user(error.with_hint(hint))
}

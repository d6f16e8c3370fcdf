//! What a step is made of, by names that people know.

use std::collections::{BTreeMap, BTreeSet};

use coracle_oci::Digest;
use serde::{Deserialize, Serialize};

use super::cause::Cause;
use crate::ExecMountKind;
use crate::graph::{CopyOp, ExecOp, Op, OpItem, Vertex};
use crate::step::Fetched;

/// The settings of a step: everything that decides its result but files and what it builds upon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts(BTreeMap<String, Value>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Value {
    Shown(String),
    /// Of something whose name sounds like a secret's: only whether it changed is known.
    Hidden(Digest),
}

/// Words in names of variables whose values are not shown.
const SECRET: [&str; 8] =
    ["SECRET", "TOKEN", "PASSW", "PASSPHRASE", "CREDENTIAL", "PRIVATE", "APIKEY", "_KEY"];

/// The name of the instruction's text among the settings.
const TEXT: &str = "instruction";

impl Facts {
    fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), Value::Shown(value.into()));
    }

    fn set_variable(&mut self, name: &str, value: &str, arguments: &BTreeSet<String>) {
        let what = if arguments.contains(name) { "build argument" } else { "variable" };
        let upper = name.to_ascii_uppercase();
        let secret = SECRET.iter().any(|word| upper.contains(word));
        let value = if secret { Value::Hidden(Digest::of(value)) } else { Value::Shown(value.to_owned()) };
        self.0.insert(format!("{what} {name}"), value);
    }

    /// Returns what differs from `old`.
    pub(crate) fn compare(&self, old: &Self) -> Vec<Cause> {
        let names: BTreeSet<&String> = old.0.keys().chain(self.0.keys()).collect();
        let mut causes = Vec::new();
        for name in names {
            let (was, is) = (old.0.get(name), self.0.get(name));
            if was == is {
                continue;
            }
            let shown = |value: Option<&Value>| match value {
                Some(Value::Shown(text)) => Some(shorten(text)),
                Some(Value::Hidden(_)) | None => None,
            };
            let hidden = [was, is].iter().any(|value| matches!(value, Some(Value::Hidden(_))));
            causes.push(match (shown(was), shown(is)) {
                (Some(old), Some(new)) if name == TEXT => Cause::Instruction { old, new },
                (old, new) => Cause::Setting { name: name.clone(), old, new, hidden },
            });
        }
        // The text first: it is what the user wrote.
        causes.sort_by_key(|cause| !matches!(cause, Cause::Instruction { .. }));
        causes
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 120;
    let line = text.replace('\n', " ");
    if line.chars().count() <= LONGEST {
        line
    } else {
        line.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

/// Returns a vertex's settings. `arguments` are the names that some `ARG` declares.
pub(crate) fn facts(vertex: &Vertex, downloads: &[Fetched], arguments: &BTreeSet<String>) -> Facts {
    let mut facts = Facts::default();
    match &vertex.op {
        Op::Base { .. } => {}
        Op::Directory { path, owner } => {
            facts.set(TEXT, format!("WORKDIR {path}"));
            facts.set("user", owner.as_deref().unwrap_or("root"));
        }
        Op::Copy(copy) => copy_facts(&mut facts, copy, downloads),
        Op::Exec(exec) => exec_facts(&mut facts, exec, arguments),
    }
    facts
}

fn copy_facts(facts: &mut Facts, copy: &CopyOp, downloads: &[Fetched]) {
    let mut sources = Vec::new();
    let mut downloads = downloads.iter();
    for item in &copy.items {
        match item {
            OpItem::Path(path) => sources.push(if path.path.is_empty() { "." } else { &path.path }),
            OpItem::Inline(file) => {
                sources.push(&file.name);
                facts.set(format!("heredoc {}", file.name), &file.content);
            }
            OpItem::Url { url, .. } => {
                sources.push(url);
                if let Some(Fetched::File(download)) = downloads.next() {
                    facts.set(format!("content of {url}"), download.digest.to_string());
                }
            }
            OpItem::Git(source) => {
                sources.push(&source.remote);
                if let Some(Fetched::Commit(commit)) = downloads.next() {
                    facts.set(format!("commit of {source}"), commit);
                }
            }
        }
    }
    facts.set(TEXT, format!("COPY {} {}", sources.join(" "), copy.dest));
    for pattern in &copy.exclude {
        facts.set(format!("--exclude={pattern}"), "set");
    }
    for (name, value) in [("--chown", &copy.chown), ("--chmod", &copy.chmod)] {
        if let Some(value) = value {
            facts.set(name, value);
        }
    }
    for (name, set) in [("--parents", copy.parents), ("--link", copy.link)] {
        if set {
            facts.set(name, "set");
        }
    }
}

fn exec_facts(facts: &mut Facts, exec: &ExecOp, arguments: &BTreeSet<String>) {
    let command = match exec.args.as_slice() {
        [_, flag, command] if flag == "-c" => command.clone(),
        args => args.join(" "),
    };
    facts.set(TEXT, format!("RUN {command}"));
    if let [shell, flag, _] = exec.args.as_slice() {
        facts.set("shell", format!("{shell} {flag}"));
    }
    for variable in &exec.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        facts.set_variable(name, value, arguments);
    }
    for secret in &exec.secret_env {
        facts.set(format!("secret variable {}", secret.name), &secret.id);
    }
    facts.set("working directory", &exec.cwd);
    facts.set("user", if exec.user.is_empty() { "root" } else { &exec.user });
    facts.set("--network", exec.network.as_str());
    facts.set("--security", exec.security.as_str());
    if let Some(sandbox) = exec.sandbox.of_key() {
        facts.set("hosts and limits", format!("{sandbox:?}"));
    }
    for mount in &exec.mounts {
        let kind = match &mount.kind {
            ExecMountKind::Bind { path, writable, .. } => format!("bind {path} writable={writable}"),
            ExecMountKind::Cache { id, sharing, read_only, .. } => {
                format!("cache id={id} sharing={sharing:?} readonly={read_only}")
            }
            ExecMountKind::Tmpfs { size } => format!("tmpfs size={size:?}"),
            ExecMountKind::Secret { id, .. } => format!("secret id={id}"),
            ExecMountKind::Ssh { id, .. } => format!("ssh id={id}"),
            ExecMountKind::Script { content } => format!("heredoc {}", Digest::of(content)),
        };
        facts.set(format!("mount {}", mount.target), kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_and_secrets_kept_back() {
        let arguments: BTreeSet<String> = ["VERSION".to_owned(), "NPM_TOKEN".to_owned()].into();
        let make = |pairs: &[(&str, &str)]| {
            let mut facts = Facts::default();
            for (name, value) in pairs {
                facts.set_variable(name, value, &arguments);
            }
            facts
        };
        let old = make(&[("VERSION", "1"), ("NPM_TOKEN", "hunter2"), ("LANG", "C"), ("A", "same")]);
        let new = make(&[("VERSION", "2"), ("NPM_TOKEN", "hunter3"), ("EXTRA", "x"), ("A", "same")]);
        let told: Vec<String> = new.compare(&old).iter().map(Cause::to_string).collect();
        assert_eq!(
            told,
            [
                "build argument NPM_TOKEN changed (values are not shown)",
                "build argument VERSION changed: `1` -> `2`",
                "variable EXTRA was added: `x`",
                "variable LANG was removed: `C`",
            ]
        );
        let kept = serde_json::to_string(&old).unwrap();
        assert!(!kept.contains("hunter2"), "{kept}");
        assert_eq!(serde_json::from_str::<Facts>(&kept).unwrap(), old);
    }
}

//! Relative paths to absolute ones, and the two ways to write a path without `.` and `..`.

use std::path::{Component, Path, PathBuf};

use coracle_report::Diagnostic;

use crate::source::Findings;
use crate::tree::{Mapping, Node, Scalar, Value};

/// Where relative paths start, and what `~` is.
pub(super) struct Bases<'b> {
    pub(super) directory: &'b Path,
    pub(super) home: Option<&'b str>,
}

impl Bases<'_> {
    /// Makes the paths of a project start at the directory.
    pub(super) fn resolve(&self, root: &mut Node, findings: &Findings, unreadable: &mut Vec<Diagnostic>) {
        let Some(root) = root.mapping_mut() else { return };
        if let Some(services) = root.get_mut("services").and_then(|entry| entry.node.mapping_mut()) {
            for service in services.values_mut().filter_map(|entry| entry.node.mapping_mut()) {
                self.service(service, findings, unreadable);
            }
        }
        for section in ["configs", "secrets"] {
            if let Some(objects) = root.get_mut(section).and_then(|entry| entry.node.mapping_mut()) {
                for object in objects.values_mut() {
                    if let Some(file) = object.node.get_mut("file") {
                        self.change(file, Self::unix);
                    }
                }
            }
        }
        if let Some(volumes) = root.get_mut("volumes").and_then(|entry| entry.node.mapping_mut()) {
            for entry in volumes.values_mut() {
                let volume = &mut entry.node;
                let local = volume.get("driver").and_then(Node::text) == Some("local");
                let Some(options) = volume.get_mut("driver_opts").filter(|_| local) else { continue };
                if options.get("o").and_then(Node::text) == Some("bind")
                    && let Some(device) = options.get_mut("device")
                {
                    self.change(device, Self::unix);
                }
            }
        }
    }

    fn service(&self, service: &mut Mapping, findings: &Findings, unreadable: &mut Vec<Diagnostic>) {
        for (key, entry) in service.iter_mut() {
            let node = &mut entry.node;
            match key.as_str() {
                "build" => self.build(node),
                "env_file" => each(node, |file| {
                    if let Some(path) = file.get_mut("path") {
                        self.change(path, Self::absolute);
                    }
                }),
                "label_file" => each(node, |file| self.change(file, Self::absolute)),
                "extends" => {
                    if let Some(file) = node.get_mut("file") {
                        self.change(file, Self::absolute);
                    }
                }
                "develop" => {
                    if let Some(watch) = node.get_mut("watch") {
                        each(watch, |trigger| {
                            if let Some(path) = trigger.get_mut("path") {
                                self.change(path, Self::absolute);
                            }
                        });
                    }
                }
                "volumes" => each(node, |mount| {
                    if mount.get("type").and_then(Node::text) != Some("bind") {
                        return;
                    }
                    let mark = mount.mark;
                    if let Some(source) = mount.get_mut("source") {
                        self.change(source, Self::unix);
                    } else {
                        let message = "a mount of type `bind` needs a `source`";
                        unreadable.push(findings.fault("missing-key", mark, message));
                    }
                }),
                _ => {}
            }
        }
    }

    fn build(&self, build: &mut Node) {
        if let Some(context) = build.get_mut("context") {
            self.change(context, Self::context);
        }
        for (key, change) in [
            ("additional_contexts", Self::context as fn(&Self, &str) -> String),
            ("ssh", Self::unix as fn(&Self, &str) -> String),
        ] {
            if let Some(entries) = build.get_mut(key).and_then(Node::mapping_mut) {
                entries.values_mut().for_each(|entry| self.change(&mut entry.node, change));
            }
        }
    }

    fn change(&self, node: &mut Node, change: fn(&Self, &str) -> String) {
        if let Value::Scalar(Scalar { text, .. }) = &mut node.value {
            *text = change(self, text);
        }
    }

    fn context(&self, text: &str) -> String {
        let remote = ["https://", "http://", "git://", "ssh://", "github.com/", "git@", "service:"];
        if text.contains("://") || remote.iter().any(|prefix| text.starts_with(prefix)) {
            return text.to_owned();
        }
        self.absolute(text)
    }

    fn absolute(&self, text: &str) -> String {
        let text = self.expand(text);
        if text.is_empty() || text.starts_with('/') { text } else { self.join(&text) }
    }

    /// A path of a Unix host or of a Windows one, whichever the engine runs on.
    fn unix(&self, text: &str) -> String {
        let text = self.expand(text);
        if text.starts_with('/') || is_windows(&text) { text } else { self.join(&text) }
    }

    fn expand(&self, text: &str) -> String {
        match (text.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => clean_unix(&format!("{home}/{rest}")),
            _ => text.to_owned(),
        }
    }

    fn join(&self, text: &str) -> String {
        clean(&self.directory.join(text)).to_string_lossy().into_owned()
    }
}

fn each(node: &mut Node, work: impl FnMut(&mut Node)) {
    if let Value::Sequence(items) = &mut node.value {
        items.iter_mut().for_each(work);
    }
}

/// Says whether a path is absolute on Windows: `C:\x`, `C:/x`, `\\server\share`.
fn is_windows(text: &str) -> bool {
    let bytes = text.as_bytes();
    let slash = |byte: Option<&u8>| matches!(byte, Some(b'\\' | b'/'));
    let drive = bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.get(1) == Some(&b':');
    (drive && slash(bytes.get(2))) || text.starts_with(r"\\")
}

/// Returns a path without `.` and `..`, by its text alone.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                let real = matches!(out.components().next_back(), Some(Component::Normal(_)));
                if real {
                    out.pop();
                } else if !out.has_root() {
                    out.push("..");
                }
            }
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

/// As [`clean`], for the text of a path inside a container.
pub(super) fn clean_unix(text: &str) -> String {
    if text.is_empty() { String::new() } else { clean(Path::new(text)).to_string_lossy().into_owned() }
}

/// Returns `path` as seen from `base`; both are clean and absolute.
pub(super) fn relative(path: &Path, base: &Path) -> PathBuf {
    let (mut ours, mut theirs) = (path.components().peekable(), base.components().peekable());
    while ours.peek().is_some() && ours.peek() == theirs.peek() {
        ours.next();
        theirs.next();
    }
    let up = theirs.map(|_| Component::ParentDir);
    let out: PathBuf = up.chain(ours).collect();
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

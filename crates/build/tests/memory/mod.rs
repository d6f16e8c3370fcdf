//! A host in memory: snapshots are maps of paths to contents, commands are a toy language, every piece of work is
//! counted.
//!
//! Commands, joined by `&&`: `put PATH TEXT`, `keep PATH SOURCE`, `say TEXT`, `env NAME`, `fail CODE`, `hang`
//! (until cancelled), `meet` (until another command does too, or somebody waits for a lock).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use coracle_build::{
    BuildHost, CacheKey, CacheRecord, CopyItem, CopyRequest, DirectoryRequest, Downloaded, ExecMountKind,
    ExecOutcome, ExecRequest, GitSource, HashAlgorithm, KeyLock, Memory, MissingCause, OutputSink,
    ResolvedBase, Selection, SnapshotRef, SourceEntry, SourceFault, SourcePlace,
};
use coracle_dockerfile::{Glob, IgnoreFile, Verdict};
use coracle_oci::{DiffId, Digest, ImageConfig, Platform, Reference};
use coracle_report::{Diagnostic, Event, Outcome, Reporter, Stream, TaskId};

pub type Files = BTreeMap<String, String>;

#[derive(Default)]
struct Locks {
    taken: Mutex<BTreeSet<CacheKey>>,
    freed: Condvar,
}

struct Taken(Arc<Locks>, CacheKey);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.lock().unwrap().remove(&self.1);
        self.0.freed.notify_all();
    }
}

#[derive(Default)]
pub struct MemoryHost {
    pub context: Mutex<Files>,
    pub ignore: IgnoreFile,
    pub elsewhere: Option<String>,
    images: HashMap<String, (ImageConfig, Files)>,
    snapshots: Mutex<Vec<Files>>,
    unpacked: Mutex<HashMap<Digest, SnapshotRef>>,
    cache: Mutex<HashMap<CacheKey, CacheRecord>>,
    locks: Arc<Locks>,
    pub memories: Mutex<HashMap<String, Vec<u8>>>,
    log: Mutex<Vec<String>>,
    meeting: Mutex<usize>,
    met: Condvar,
}

impl MemoryHost {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let host = Self::default();
        for (path, text) in files {
            host.write(path, text);
        }
        host.with_image("base", &[("/etc/os-release", "toy")], |_| {})
    }

    pub fn with_image(mut self, name: &str, files: &[(&str, &str)], edit: impl Fn(&mut ImageConfig)) -> Self {
        let mut config = ImageConfig::scratch();
        config.config.env.push("PATH=/bin".to_owned());
        config.rootfs.diff_ids.push(DiffId::new(Digest::of(name)));
        edit(&mut config);
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let reference: Reference = name.parse().unwrap();
        self.images.insert(reference.to_string(), (config, files));
        self
    }

    pub fn write(&self, path: &str, text: &str) {
        self.context.lock().unwrap().insert(path.to_owned(), text.to_owned());
    }

    /// Returns what was done since the last call.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    pub fn files(&self, snapshot: &SnapshotRef) -> Files {
        self.snapshots.lock().unwrap()[snapshot.as_str().parse::<usize>().unwrap()].clone()
    }

    /// Loses all results.
    pub fn collect(&self) {
        self.cache.lock().unwrap().clear();
    }

    fn note(&self, text: impl Into<String>) {
        self.log.lock().unwrap().push(text.into());
    }

    fn commit(&self, files: Files) -> SnapshotRef {
        let mut snapshots = self.snapshots.lock().unwrap();
        snapshots.push(files);
        SnapshotRef::new((snapshots.len() - 1).to_string())
    }

    fn start(&self, parent: Option<&SnapshotRef>) -> Files {
        parent.map_or_else(Files::new, |parent| self.files(parent))
    }

    fn place(&self, place: &SourcePlace) -> Files {
        match place {
            SourcePlace::Empty => Files::new(),
            SourcePlace::Named(number) => [("file".to_owned(), format!("of context {number}"))].into(),
            SourcePlace::Snapshot(snapshot) => {
                let files = self.files(snapshot).into_iter();
                files.map(|(path, text)| (path.trim_start_matches('/').to_owned(), text)).collect()
            }
            SourcePlace::Context => {
                let files = self.context.lock().unwrap().clone().into_iter();
                files.filter(|(path, _)| !self.ignore.verdict(path).is_hidden()).collect()
            }
        }
    }

    /// Returns for each source the matching files: relative name and content.
    fn select(&self, place: &SourcePlace, selection: &Selection) -> Result<Vec<Files>, SourceFault> {
        let all = self.place(place);
        let mut selected = Vec::new();
        for source in &selection.paths {
            let glob = Glob::source(&source.path).unwrap();
            let mut files = Files::new();
            for (path, text) in &all {
                let below = path.strip_prefix(&source.path).filter(|_| !source.path.is_empty());
                let name = if source.path.is_empty() {
                    Some(path.as_str())
                } else if *path == source.path || (!source.literal && glob.matches(path)) {
                    path.rsplit('/').next()
                } else {
                    below.and_then(|below| below.strip_prefix('/'))
                };
                if let Some(name) = name {
                    files.insert(name.to_owned(), text.clone());
                }
            }
            if files.is_empty() && !source.path.is_empty() {
                return Err(self.missing(place, &source.path, &all));
            }
            selected.push(files);
        }
        Ok(selected)
    }

    fn missing(&self, place: &SourcePlace, path: &str, all: &Files) -> SourceFault {
        let exists = self.context.lock().unwrap().keys().any(|file| file.starts_with(path));
        let cause = match self.ignore.verdict(path) {
            Verdict::Hidden(rule) if exists && *place == SourcePlace::Context => {
                MissingCause::Hidden { line: rule.line.clone(), span: rule.span.clone() }
            }
            _ => MissingCause::Absent {
                siblings: all.keys().cloned().collect(),
                elsewhere: self.elsewhere.as_ref().map(|root| Path::new(root).join(path)),
            },
        };
        SourceFault::Missing { path: path.to_owned(), cause }
    }
}

impl BuildHost for MemoryHost {
    fn resolve_base(
        &self,
        reference: &Reference,
        _: &Platform,
        _: TaskId,
    ) -> Result<ResolvedBase, Diagnostic> {
        self.note(format!("resolve {}", reference.familiar()));
        let (config, files) = self.images.get(&reference.to_string()).ok_or_else(|| {
            Diagnostic::error("no-image", format!("there is no image {}", reference.familiar()))
        })?;
        let key = config.id().digest();
        // One lock over looking and unpacking: an image has one snapshot, however many ask at once.
        let mut unpacked = self.unpacked.lock().unwrap();
        let snapshot = unpacked.entry(key).or_insert_with(|| self.commit(files.clone())).clone();
        drop(unpacked);
        Ok(ResolvedBase { config: config.clone(), key, snapshot: Some(snapshot) })
    }

    fn cache_get(&self, key: &CacheKey) -> Option<CacheRecord> {
        self.cache.lock().unwrap().get(key).cloned()
    }

    fn cache_put(&self, key: &CacheKey, record: &CacheRecord) -> Result<(), Diagnostic> {
        self.cache.lock().unwrap().insert(*key, record.clone());
        Ok(())
    }

    fn lock(&self, key: &CacheKey, _: &AtomicBool) -> Result<KeyLock, Diagnostic> {
        let mut taken = self.locks.taken.lock().unwrap();
        if taken.contains(key) {
            *self.meeting.lock().unwrap() += 1;
            self.met.notify_all();
        }
        while !taken.insert(*key) {
            taken = self.locks.freed.wait(taken).unwrap();
        }
        Ok(KeyLock::new(Taken(Arc::clone(&self.locks), *key)))
    }

    fn digest_sources(&self, place: &SourcePlace, selection: &Selection) -> Result<Digest, SourceFault> {
        if *place != SourcePlace::Context {
            self.note("digest of a snapshot");
        }
        Ok(Digest::of(format!("{:?}", self.select(place, selection)?)))
    }

    fn list_sources(
        &self,
        place: &SourcePlace,
        selection: &Selection,
    ) -> Result<Vec<SourceEntry>, SourceFault> {
        let all = self.select(place, selection)?.into_iter().flatten();
        let entries = all.map(|(path, text)| SourceEntry {
            path,
            kind: 'f',
            mode: 0o644,
            size: text.len() as u64,
            content: Digest::of(text).hex(),
        });
        Ok(entries.collect())
    }

    fn recall(&self, memory: Memory<'_>) -> Option<Vec<u8>> {
        self.memories.lock().unwrap().get(&format!("{memory:?}")).cloned()
    }

    fn remember(&self, memory: Memory<'_>, content: &[u8]) {
        self.memories.lock().unwrap().insert(format!("{memory:?}"), content.to_owned());
    }

    fn download(&self, url: &str, _: TaskId, _: &AtomicBool) -> Result<Downloaded, Diagnostic> {
        self.note(format!("download {url}"));
        let name = url.rsplit('/').next().unwrap().to_owned();
        Ok(Downloaded { file: url.to_owned(), name, digest: Digest::of(url) })
    }

    fn hash_download(&self, download: &Downloaded, algorithm: HashAlgorithm) -> Result<String, Diagnostic> {
        Ok(format!("{} of {}", algorithm.as_str(), download.file))
    }

    fn resolve_git(&self, source: &GitSource, _: TaskId, _: &AtomicBool) -> Result<String, Diagnostic> {
        self.note(format!("resolve {source}"));
        Ok("0".repeat(40))
    }

    fn copy(&self, request: &CopyRequest, _cancel: &AtomicBool) -> Result<Option<SnapshotRef>, SourceFault> {
        self.note(format!("copy to {}", request.dest));
        let mut files = self.start(request.parent.as_ref());
        for item in &request.items {
            let (selected, directory) = match item {
                CopyItem::Path(path) => {
                    let selection = Selection { paths: vec![path.clone()], exclude: request.exclude.clone() };
                    let selected = self.select(&request.place, &selection)?.remove(0);
                    let single = selected.len() == 1 && path.path.ends_with(selected.keys().next().unwrap());
                    (selected, !single)
                }
                CopyItem::Inline(file) => ([(file.name.clone(), file.content.clone())].into(), false),
                CopyItem::Git(checkout) => (
                    [("README".to_owned(), format!("{} at {}", checkout.source, checkout.commit))].into(),
                    true,
                ),
                CopyItem::Download(file) => ([(file.name.clone(), file.file.clone())].into(), false),
            };
            for (name, text) in selected {
                let target = if request.dest.ends_with('/') {
                    format!("{}{name}", request.dest)
                } else if directory {
                    format!("{}/{name}", request.dest)
                } else {
                    request.dest.clone()
                };
                files.insert(target, text);
            }
        }
        Ok(Some(self.commit(files)))
    }

    fn stack(&self, layer: &SnapshotRef, parent: &SnapshotRef) -> Result<SnapshotRef, Diagnostic> {
        self.note(format!("stack {layer} on {parent}"));
        let mut files = self.files(parent);
        files.extend(self.files(layer));
        Ok(self.commit(files))
    }

    fn make_directory(&self, request: &DirectoryRequest) -> Result<Option<SnapshotRef>, Diagnostic> {
        self.note(format!("mkdir {}", request.path));
        let mut files = self.start(request.parent.as_ref());
        let owner = request.owner.clone().unwrap_or_default();
        if files.insert(format!("{}/", request.path), owner).is_some() {
            return Ok(request.parent.clone());
        }
        Ok(Some(self.commit(files)))
    }

    fn exec(&self, request: &ExecRequest<'_>, output: OutputSink<'_>) -> Result<ExecOutcome, Diagnostic> {
        let command = request.args.last().unwrap().clone();
        self.note(format!("exec {command}"));
        let mut files = self.start(request.parent.as_ref());
        let mut mounted = Files::new();
        for mount in &request.mounts {
            if let ExecMountKind::Bind { place, path, .. } = &mount.kind {
                for (file, text) in self.place(place) {
                    if file.starts_with(path.as_str()) {
                        mounted.insert(format!("{}/{file}", mount.target), text);
                    }
                }
            }
        }
        for part in command.split("&&") {
            let words: Vec<&str> = part.split_whitespace().collect();
            match words.as_slice() {
                ["put", path, text @ ..] => {
                    files.insert((*path).to_owned(), text.join(" "));
                }
                ["keep", path, source] => {
                    let text = mounted.get(*source).or_else(|| files.get(*source)).unwrap().clone();
                    files.insert((*path).to_owned(), text);
                }
                ["say", text @ ..] => output(Stream::Stderr, &text.join(" ")),
                ["env", name] => {
                    let value = request.env.iter().find_map(|e| e.strip_prefix(name)?.strip_prefix('='));
                    output(Stream::Stdout, value.unwrap_or("unset"));
                }
                ["fail", code] => return Ok(ExecOutcome::Failed(code.parse().unwrap())),
                ["hang"] => {
                    *self.meeting.lock().unwrap() += 1;
                    self.met.notify_all();
                    while !request.cancel.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    return Ok(ExecOutcome::Cancelled);
                }
                ["meet"] => self.wait_for(2),
                other => panic!("toy command {other:?}"),
            }
        }
        Ok(ExecOutcome::Succeeded(self.commit(files)))
    }

    fn diff_id(&self, snapshot: &SnapshotRef) -> Result<DiffId, Diagnostic> {
        self.note("diff id");
        Ok(DiffId::new(Digest::of(format!("{:?}", self.files(snapshot)))))
    }
}

impl MemoryHost {
    /// Counts the caller in and waits until `count` commands met or hang.
    pub fn wait_for(&self, count: usize) {
        let mut meeting = self.meeting.lock().unwrap();
        *meeting += 1;
        self.met.notify_all();
        while *meeting < count {
            let (guard, timeout) = self.met.wait_timeout(meeting, Duration::from_mins(1)).unwrap();
            assert!(!timeout.timed_out(), "nobody came");
            meeting = guard;
        }
    }
}

/// Records how every task ended, and the output.
#[derive(Default)]
pub struct Recorder {
    labels: Mutex<HashMap<TaskId, String>>,
    pub lines: Mutex<Vec<String>>,
}

impl Recorder {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

impl Reporter for Recorder {
    fn event(&self, event: Event) {
        let mut labels = self.labels.lock().unwrap();
        let line = match event {
            Event::Started { task, label, .. } => {
                labels.insert(task, label);
                return;
            }
            Event::Finished { task, outcome } => {
                let end = match outcome {
                    Outcome::Done => "done".to_owned(),
                    Outcome::Cached => "cached".to_owned(),
                    Outcome::Skipped(why) => format!("skipped: {why}"),
                    Outcome::Failed(why) => format!("failed: {why}"),
                };
                format!("{}: {end}", labels[&task])
            }
            Event::Output { line, .. } => format!("> {line}"),
            Event::Notice(diagnostic) => format!("! {diagnostic}"),
            Event::State { .. } | Event::Progress { .. } | Event::About { .. } => return,
        };
        self.lines.lock().unwrap().push(line);
    }
}

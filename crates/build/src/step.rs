//! One vertex: its cache keys, the look-up, and the work when nothing serves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use coracle_dockerfile::{MountOwner, Security, Sharing};
use coracle_oci::Digest;
use coracle_report::{About, Diagnostic, Stream, Task};
use serde::Serialize;

use crate::failure::{Tail, cancelled, run_failed, source_fault};
use crate::graph::{CopyOp, ExecOp, Op, OpItem, OpSource, Vertex, VertexId, mount_source};
use crate::why::{Explainer, FilesMemory, Miss, one_line};
use crate::{
    BuildHost, CacheKey, CachePolicy, CacheRecord, Cause, Checkout, Checksum, CopyItem, CopyRequest,
    DirectoryRequest, Downloaded, ExecMount, ExecMountKind, ExecOutcome, ExecRequest, HashAlgorithm,
    InlineFile, Sandbox, SecretVariable, Selection, SnapshotRef, SourcePath, SourcePlace, Unpack,
};

/// What a vertex came to.
#[derive(Clone, Debug)]
pub(crate) struct Solved {
    pub snapshot: Option<SnapshotRef>,
    /// What dependents build upon.
    pub key: CacheKey,
    pub hit: Hit,
}

/// Where a result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Cached,
    Made,
    /// Of a build that only looks: it would be made.
    Would,
    /// It would be made, unless the files that it takes come out as before.
    Maybe,
}

impl Hit {
    /// Returns whether there is no result.
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Would | Self::Maybe)
    }
}

/// What one step needs besides its vertex.
pub(crate) struct Step<'s> {
    pub host: &'s dyn BuildHost,
    pub policy: CachePolicy,
    /// Set when the build must stop.
    pub stop: &'s AtomicBool,
    pub vertex: &'s Vertex,
    /// The vertex's number in the graph.
    pub index: usize,
    /// Set when nothing is done, only looked at.
    pub look: bool,
    /// The option by which the caller wants the step done though it may be cached.
    pub asked: Option<String>,
    pub explainer: &'s Explainer<'s>,
    /// The result of a dependency.
    pub solved: &'s dyn Fn(VertexId) -> Solved,
}

/// What identifies the files that a vertex takes from one source.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Files {
    /// By what they hold.
    Content(Digest),
    /// By what made them, and which they are. Coarser: the same files may have many of these.
    Made { by: CacheKey, selection: Selection },
    /// None.
    Empty,
}

#[derive(Serialize)]
struct ExecParts<'k> {
    parent: CacheKey,
    args: &'k [String],
    env: &'k [String],
    secret_env: Vec<(&'k str, &'k str)>,
    cwd: &'k str,
    user: &'k str,
    network: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<&'k Sandbox>,
    mounts: Vec<MountParts<'k>>,
}

#[derive(Serialize)]
struct MountParts<'k> {
    target: &'k str,
    #[serde(flatten)]
    kind: MountKindParts<'k>,
    files: Option<Files>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum MountKindParts<'k> {
    Bind { writable: bool },
    Cache { id: &'k str, sharing: &'static str, read_only: bool, owner: [Option<u32>; 3] },
    Tmpfs { size: Option<u64> },
    Secret { id: &'k str, owner: [Option<u32>; 3] },
    Ssh { id: &'k str, owner: [Option<u32>; 3] },
    Script { content: &'k str },
}

#[derive(Serialize)]
struct CopyParts<'k> {
    parent: CacheKey,
    files: Option<Files>,
    /// Where each source goes depends on whether it was written as a directory or file, pattern or name.
    items: Vec<ItemParts<'k>>,
    exclude: &'k [String],
    dest: &'k str,
    chown: Option<&'k str>,
    chmod: Option<&'k str>,
    parents: bool,
    unpack: Unpack,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum ItemParts<'k> {
    Path(&'k SourcePath),
    Inline(&'k InlineFile),
    Url { name: String, digest: Digest },
    Git(GitParts<'k>),
}

/// A commit names all of its files; where it was fetched from shows only in `.git`.
#[derive(Serialize)]
struct GitParts<'k> {
    commit: String,
    subdir: &'k str,
    submodules: bool,
    remote: Option<&'k str>,
}

/// What an item of `ADD` came to that lies elsewhere.
pub(crate) enum Fetched {
    File(Downloaded),
    Commit(String),
}

#[derive(Serialize)]
struct DirectoryParts<'k> {
    parent: CacheKey,
    path: &'k str,
    owner: Option<&'k str>,
}

/// Whether keys look at the content of other stages, or only at what made them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Made,
    Content,
}

impl Step<'_> {
    /// Returns the vertex's result, from the cache or by doing the work.
    pub(crate) fn solve(&self, task: Option<&Task<'_>>) -> Result<Solved, Diagnostic> {
        let layer = self.solve_layer(task)?;
        if self.is_independent() { self.stack(layer) } else { Ok(layer) }
    }

    /// Puts a layer that was made on nothing (`COPY --link`) on top of the parent, or finds that it was.
    fn stack(&self, layer: Solved) -> Result<Solved, Diagnostic> {
        let (parent_key, Some(parent)) = self.parent() else { return Ok(layer) };
        let key = CacheKey::of("link", &(parent_key, layer.key));
        let Some(made) = &layer.snapshot else { return Ok(Solved { snapshot: Some(parent), ..layer }) };
        let known = |record: &CacheRecord| record.parent.as_ref() == Some(&parent);
        let find = || match self.policy {
            CachePolicy::Use => self.host.cache_get(&key).filter(known),
            CachePolicy::Ignore => None,
        };
        if let Some(record) = find() {
            return Ok(Solved { snapshot: record.snapshot, key, hit: layer.hit });
        }
        if self.look {
            return Ok(Solved { snapshot: None, key, hit: Hit::Would });
        }
        // Closes the race of two builds that both missed.
        let lock = self.host.lock(&key, self.stop)?;
        if let Some(record) = find() {
            return Ok(Solved { snapshot: record.snapshot, key, hit: layer.hit });
        }
        let stacked = self.host.stack(made, &parent).map_err(|error| self.vertex.place(error))?;
        let record = CacheRecord { snapshot: Some(stacked), parent: Some(parent), key };
        self.host.cache_put(&key, &record)?;
        drop(lock);
        Ok(Solved { snapshot: record.snapshot, key, hit: layer.hit })
    }

    fn solve_layer(&self, task: Option<&Task<'_>>) -> Result<Solved, Diagnostic> {
        if let Op::Base { key, snapshot, .. } = &self.vertex.op {
            let key = CacheKey::of_base(key);
            self.explainer.found(self.index, key);
            return Ok(Solved { snapshot: snapshot.clone(), key, hit: Hit::Cached });
        }
        let task = task.expect("every vertex but a base has a task");
        let downloads = self.downloads(task)?;
        if self.look && self.waits_for_work() {
            return self.would(self.key(Depth::Made, &downloads)?, &downloads);
        }
        // First by what made the other stages' files: no need to read them. A hit says under which key the
        // content was known.
        let quick = if self.takes_from_vertices() { Some(self.key(Depth::Made, &downloads)?) } else { None };
        if let Some(record) = quick.and_then(|key| self.cached(&key)) {
            self.explainer.found(self.index, record.key);
            return Ok(Solved { snapshot: record.snapshot, key: record.key, hit: Hit::Cached });
        }
        let key = self.key(Depth::Content, &downloads)?;
        let found = |record: CacheRecord| -> Result<Solved, Diagnostic> {
            if let Some(quick) = quick {
                self.host.cache_put(&quick, &record)?;
            }
            self.explainer.found(self.index, key);
            Ok(Solved { snapshot: record.snapshot, key, hit: Hit::Cached })
        };
        if let Some(record) = self.cached(&key) {
            return found(record);
        }
        self.check_stop()?;
        if self.look {
            return self.would(key, &downloads);
        }
        // Closes the race of two builds that both missed: the second waits here and then finds the first's result.
        let lock = self.host.lock(&key, self.stop)?;
        if let Some(record) = self.cached(&key) {
            return found(record);
        }
        self.check_stop()?;
        let miss = self.explainer.miss(self.index, key, &downloads, self.asked.as_deref());
        task.about(About::Cause(one_line(&miss.causes)));
        let started = Instant::now();
        let (result, listed) = self.work_and_list(task, &downloads, &miss);
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.explainer.failed(self.index, miss.causes);
                return Err(error);
            }
        };
        self.explainer.made(self.index, key, miss, listed, started.elapsed());
        let record = CacheRecord { snapshot, parent: self.base().1, key };
        self.host.cache_put(&key, &record)?;
        if let Some(quick) = quick {
            self.host.cache_put(&quick, &record)?;
        }
        drop(lock);
        Ok(Solved { snapshot: record.snapshot, key, hit: Hit::Made })
    }

    /// Does the work; meanwhile lists the files of the context that it takes, for those who ask later what changed.
    fn work_and_list(
        &self,
        task: &Task<'_>,
        downloads: &[Fetched],
        miss: &Miss,
    ) -> (Result<Option<SnapshotRef>, Diagnostic>, Option<Vec<FilesMemory>>) {
        if !self.explainer.wants_manifests(self.index, miss) {
            return (self.work(task, downloads), None);
        }
        let (explainer, index) = (self.explainer, self.index);
        thread::scope(|scope| {
            let listed = scope.spawn(move || explainer.manifests(index));
            let result = self.work(task, downloads);
            // What cannot be listed is not explained later.
            (result, listed.join().ok())
        })
    }

    /// Returns whether something that the step needs would have to be made first.
    fn waits_for_work(&self) -> bool {
        self.vertex.dependencies().into_iter().any(|id| (self.solved)(id).hit.is_open())
    }

    /// Notes that the step would be done.
    fn would(&self, key: CacheKey, downloads: &[Fetched]) -> Result<Solved, Diagnostic> {
        let miss = self.explainer.miss(self.index, key, downloads, self.asked.as_deref());
        let parent = self.vertex.parent.map(|parent| (self.solved)(parent).hit);
        let own =
            miss.causes.iter().any(|cause| !matches!(cause, Cause::Earlier { .. } | Cause::Stage { .. }));
        let maybe = !own && self.waits_for_work() && parent != Some(Hit::Would);
        self.explainer.would(self.index, miss, maybe);
        let hit = if maybe { Hit::Maybe } else { Hit::Would };
        Ok(Solved { snapshot: None, key, hit })
    }

    fn check_stop(&self) -> Result<(), Diagnostic> {
        if self.stop.load(Ordering::Relaxed) { Err(cancelled()) } else { Ok(()) }
    }

    fn cached(&self, key: &CacheKey) -> Option<CacheRecord> {
        match self.policy {
            CachePolicy::Use => self.host.cache_get(key).filter(|record| record.parent == self.base().1),
            CachePolicy::Ignore => None,
        }
    }

    fn parent(&self) -> (CacheKey, Option<SnapshotRef>) {
        match self.vertex.parent {
            None => (CacheKey::of_scratch(), None),
            Some(parent) => {
                let solved = (self.solved)(parent);
                (solved.key, solved.snapshot)
            }
        }
    }

    /// Returns what the layer is made on: the parent, or nothing when it is independent of it.
    fn base(&self) -> (CacheKey, Option<SnapshotRef>) {
        if self.is_independent() { (CacheKey::of_scratch(), None) } else { self.parent() }
    }

    fn is_independent(&self) -> bool {
        matches!(&self.vertex.op, Op::Copy(copy) if copy.is_independent())
    }

    fn takes_from_vertices(&self) -> bool {
        let from_vertex = |source: &OpSource| matches!(source, OpSource::Vertex(_));
        match &self.vertex.op {
            Op::Base { .. } | Op::Directory { .. } => false,
            Op::Copy(copy) => from_vertex(&copy.source),
            Op::Exec(exec) => {
                exec.mounts.iter().filter_map(mount_source).any(|(source, _)| from_vertex(source))
            }
        }
    }

    fn place(&self, source: OpSource) -> SourcePlace {
        match source {
            OpSource::Context => SourcePlace::Context,
            OpSource::Named(number) => SourcePlace::Named(number),
            OpSource::Empty => SourcePlace::Empty,
            OpSource::Vertex(id) => {
                (self.solved)(id).snapshot.map_or(SourcePlace::Empty, SourcePlace::Snapshot)
            }
        }
    }

    fn files(&self, source: OpSource, selection: Selection, depth: Depth) -> Result<Files, Diagnostic> {
        if let (OpSource::Vertex(id), Depth::Made) = (source, depth) {
            return Ok(Files::Made { by: (self.solved)(id).key, selection });
        }
        let whole = selection.paths.iter().all(|path| path.path.is_empty()) && selection.exclude.is_empty();
        let place = self.place(source);
        if place == SourcePlace::Empty && whole {
            return Ok(Files::Empty);
        }
        let digest = self.host.digest_sources(&place, &selection);
        digest.map(Files::Content).map_err(|fault| source_fault(self.vertex, fault))
    }

    fn key(&self, depth: Depth, downloads: &[Fetched]) -> Result<CacheKey, Diagnostic> {
        let (parent, _) = self.base();
        match &self.vertex.op {
            Op::Base { key, .. } => Ok(CacheKey::of_base(key)),
            Op::Directory { path, owner } => {
                Ok(CacheKey::of("directory", &DirectoryParts { parent, path, owner: owner.as_deref() }))
            }
            Op::Copy(copy) => Ok(CacheKey::of("copy", &self.copy_parts(parent, copy, depth, downloads)?)),
            Op::Exec(exec) => Ok(CacheKey::of("exec", &self.exec_parts(parent, exec, depth)?)),
        }
    }

    fn exec_parts<'k>(
        &self,
        parent: CacheKey,
        exec: &'k ExecOp,
        depth: Depth,
    ) -> Result<ExecParts<'k>, Diagnostic> {
        let mut mounts = Vec::new();
        for mount in &exec.mounts {
            let files = match mount_source(mount) {
                None => None,
                Some((source, path)) => {
                    let selection = Selection { paths: vec![literal(path)], exclude: Vec::new() };
                    Some(self.files(*source, selection, depth)?)
                }
            };
            mounts.push(MountParts { target: &mount.target, kind: kind_parts(&mount.kind), files });
        }
        Ok(ExecParts {
            parent,
            args: &exec.args,
            env: &exec.env,
            secret_env: exec
                .secret_env
                .iter()
                .map(|secret| (secret.name.as_str(), secret.id.as_str()))
                .collect(),
            cwd: &exec.cwd,
            user: &exec.user,
            network: exec.network.as_str(),
            security: (exec.security != Security::default()).then_some(exec.security.as_str()),
            sandbox: exec.sandbox.of_key(),
            mounts,
        })
    }

    fn copy_parts<'k>(
        &self,
        parent: CacheKey,
        copy: &'k CopyOp,
        depth: Depth,
        downloads: &[Fetched],
    ) -> Result<CopyParts<'k>, Diagnostic> {
        let paths: Vec<SourcePath> = copy.items.iter().filter_map(path_of).cloned().collect();
        let files = if paths.is_empty() {
            None
        } else {
            let selection = Selection { paths, exclude: copy.exclude.clone() };
            Some(self.files(copy.source, selection, depth)?)
        };
        let mut downloads = downloads.iter();
        let items = copy.items.iter().map(|item| match item {
            OpItem::Path(path) => ItemParts::Path(path),
            OpItem::Inline(file) => ItemParts::Inline(file),
            OpItem::Url { .. } | OpItem::Git(_) => {
                match (downloads.next().expect("one answer for each source elsewhere"), item) {
                    (Fetched::Commit(commit), OpItem::Git(source)) => ItemParts::Git(GitParts {
                        commit: commit.clone(),
                        subdir: &source.subdir,
                        submodules: source.submodules,
                        remote: source.keep_git_dir.then_some(source.remote.as_str()),
                    }),
                    (Fetched::File(file), _) => {
                        ItemParts::Url { name: file.name.clone(), digest: file.digest }
                    }
                    (Fetched::Commit(_), _) => unreachable!("commits answer repositories"),
                }
            }
        });
        Ok(CopyParts {
            parent,
            files,
            items: items.collect(),
            exclude: &copy.exclude,
            dest: &copy.dest,
            chown: copy.chown.as_deref(),
            chmod: copy.chmod.as_deref(),
            parents: copy.parents,
            unpack: copy.unpack,
        })
    }

    /// Downloads the URLs of an `ADD` and resolves its repositories, in order; what they hold is a part of the key.
    fn downloads(&self, task: &Task<'_>) -> Result<Vec<Fetched>, Diagnostic> {
        let Op::Copy(copy) = &self.vertex.op else {
            return Ok(Vec::new());
        };
        let mut downloads = Vec::new();
        for item in &copy.items {
            if let OpItem::Git(source) = item {
                task.state("asking for the commit");
                let commit = self.host.resolve_git(source, task.id(), self.stop);
                downloads.push(Fetched::Commit(commit.map_err(|error| self.vertex.place(error))?));
            }
            let OpItem::Url { url, checksum } = item else { continue };
            task.state("downloading");
            let download = match self.host.download(url, task.id(), self.stop) {
                // Only looked at: what it holds shows when it is fetched, so that the step would be done.
                Err(_) if self.look => {
                    downloads.push(Fetched::File(unknown(url)));
                    continue;
                }
                download => download.map_err(|error| self.vertex.place(error))?,
            };
            if let Some(wanted) = checksum {
                let got = match wanted.algorithm {
                    HashAlgorithm::Sha256 => Ok(download.digest.hex()),
                    algorithm => self.host.hash_download(&download, algorithm),
                };
                let got = Checksum {
                    algorithm: wanted.algorithm,
                    hex: got.map_err(|error| self.vertex.place(error))?,
                };
                if got != *wanted {
                    let message = format!("{url} is not what `--checksum` says");
                    let error = Diagnostic::error("checksum-mismatch", message)
                        .with_note(format!("wanted {wanted}"))
                        .with_note(format!("got    {got}"));
                    return Err(self.vertex.place(error));
                }
            }
            downloads.push(Fetched::File(download));
        }
        Ok(downloads)
    }

    fn work(&self, task: &Task<'_>, downloads: &[Fetched]) -> Result<Option<SnapshotRef>, Diagnostic> {
        let (_, parent) = self.base();
        match &self.vertex.op {
            Op::Base { snapshot, .. } => Ok(snapshot.clone()),
            Op::Directory { path, owner } => {
                let request = DirectoryRequest { parent, path: path.clone(), owner: owner.clone() };
                self.host.make_directory(&request).map_err(|error| self.vertex.place(error))
            }
            Op::Copy(copy) => {
                let mut downloads = downloads.iter();
                let items = copy.items.iter().map(|item| match item {
                    OpItem::Path(path) => CopyItem::Path(path.clone()),
                    OpItem::Inline(file) => CopyItem::Inline(file.clone()),
                    OpItem::Url { .. } | OpItem::Git(_) => {
                        match (downloads.next().expect("one answer for each source elsewhere"), item) {
                            (Fetched::Commit(commit), OpItem::Git(source)) => {
                                CopyItem::Git(Checkout { source: source.clone(), commit: commit.clone() })
                            }
                            (Fetched::File(file), _) => CopyItem::Download(file.clone()),
                            (Fetched::Commit(_), _) => unreachable!("commits answer repositories"),
                        }
                    }
                });
                let request = CopyRequest {
                    parent,
                    place: self.place(copy.source),
                    items: items.collect(),
                    exclude: copy.exclude.clone(),
                    dest: copy.dest.clone(),
                    chown: copy.chown.clone(),
                    chmod: copy.chmod.clone(),
                    parents: copy.parents,
                    unpack: copy.unpack,
                };
                self.host.copy(&request, self.stop).map_err(|fault| source_fault(self.vertex, fault))
            }
            Op::Exec(exec) => self.exec(task, exec, parent).map(Some),
        }
    }

    fn exec(
        &self,
        task: &Task<'_>,
        exec: &ExecOp,
        parent: Option<SnapshotRef>,
    ) -> Result<SnapshotRef, Diagnostic> {
        let mounts = exec.mounts.iter().map(|mount| self.exec_mount(mount)).collect();
        let request = ExecRequest {
            parent,
            args: exec.args.clone(),
            env: exec.env.iter().chain(&exec.proxy_env).cloned().collect(),
            secret_env: exec.secret_env.iter().map(SecretVariable::clone).collect(),
            cwd: exec.cwd.clone(),
            user: exec.user.clone(),
            mounts,
            network: exec.network,
            security: exec.security,
            sandbox: &exec.sandbox,
            cancel: self.stop,
            task: task.id(),
        };
        let tail = Tail::default();
        let output = |stream: Stream, line: &str| {
            tail.push(line);
            task.output(stream, line);
        };
        match self.host.exec(&request, &output).map_err(|error| self.vertex.place(error))? {
            ExecOutcome::Succeeded(snapshot) => Ok(snapshot),
            ExecOutcome::Failed(code) => Err(run_failed(self.vertex, exec, code, &tail, Vec::new())),
            ExecOutcome::Explained(code, hints) => Err(run_failed(self.vertex, exec, code, &tail, hints)),
            ExecOutcome::Cancelled => Err(cancelled()),
        }
    }

    fn exec_mount(&self, mount: &ExecMount<OpSource>) -> ExecMount {
        let kind = match &mount.kind {
            ExecMountKind::Bind { place, path, writable } => {
                ExecMountKind::Bind { place: self.place(*place), path: path.clone(), writable: *writable }
            }
            ExecMountKind::Cache { id, sharing, seed, read_only, owner } => ExecMountKind::Cache {
                id: id.clone(),
                sharing: *sharing,
                seed: seed.as_ref().map(|(place, path)| (self.place(*place), path.clone())),
                read_only: *read_only,
                owner: *owner,
            },
            ExecMountKind::Tmpfs { size } => ExecMountKind::Tmpfs { size: *size },
            ExecMountKind::Secret { id, owner, required } => {
                ExecMountKind::Secret { id: id.clone(), owner: *owner, required: *required }
            }
            ExecMountKind::Ssh { id, owner, required } => {
                ExecMountKind::Ssh { id: id.clone(), owner: *owner, required: *required }
            }
            ExecMountKind::Script { content } => ExecMountKind::Script { content: content.clone() },
        };
        ExecMount { target: mount.target.clone(), kind }
    }
}

/// Stands for a file that is not fetched: equal to no file.
fn unknown(url: &str) -> Downloaded {
    let digest = Digest::of(format!("not fetched: {url}"));
    Downloaded { file: String::new(), name: String::new(), digest }
}

fn literal(path: &str) -> SourcePath {
    SourcePath { path: path.to_owned(), literal: true, trailing_slash: false, pivot: None }
}

const fn path_of(item: &OpItem) -> Option<&SourcePath> {
    match item {
        OpItem::Path(path) => Some(path),
        OpItem::Inline(_) | OpItem::Url { .. } | OpItem::Git(_) => None,
    }
}

const fn owner_parts(owner: MountOwner) -> [Option<u32>; 3] {
    [owner.uid, owner.gid, owner.mode]
}

fn kind_parts(kind: &ExecMountKind<OpSource>) -> MountKindParts<'_> {
    match kind {
        ExecMountKind::Bind { writable, .. } => MountKindParts::Bind { writable: *writable },
        ExecMountKind::Cache { id, sharing, read_only, owner, .. } => {
            let sharing = match sharing {
                Sharing::Shared => "shared",
                Sharing::Private => "private",
                Sharing::Locked => "locked",
            };
            MountKindParts::Cache { id, sharing, read_only: *read_only, owner: owner_parts(*owner) }
        }
        ExecMountKind::Tmpfs { size } => MountKindParts::Tmpfs { size: *size },
        ExecMountKind::Secret { id, owner, .. } => MountKindParts::Secret { id, owner: owner_parts(*owner) },
        ExecMountKind::Ssh { id, owner, .. } => MountKindParts::Ssh { id, owner: owner_parts(*owner) },
        ExecMountKind::Script { content } => MountKindParts::Script { content },
    }
}

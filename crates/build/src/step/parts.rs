//! What a step's cache key is made of.

use coracle_dockerfile::{Glob, MountOwner, Security, Sharing};
use coracle_oci::Digest;
use coracle_report::Diagnostic;
use serde::Serialize;

use super::{Fetched, Step};
use crate::failure::source_fault;
use crate::graph::{CopyOp, ExecOp, Op, OpItem, OpSource, mount_source};
use crate::{CacheKey, ExecMountKind, InlineFile, Sandbox, Selection, SourcePath, SourcePlace, Unpack};

/// Whether keys look at the content of other stages, or only at what made them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Made,
    Content,
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
    Path(PathParts<'k>),
    Inline(&'k InlineFile),
    Url { name: String, digest: Digest },
    Git(GitParts<'k>),
}

/// What of a source's text decides where its files go. What they are called is in their digest, so that a directory
/// may be moved and renamed.
#[derive(Serialize)]
struct PathParts<'k> {
    pattern: bool,
    trailing_slash: bool,
    /// The path and its part that is not repeated, when the others are.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<(&'k str, &'k str)>,
}

impl<'k> PathParts<'k> {
    fn of(source: &'k SourcePath) -> Self {
        let SourcePath { path, literal, trailing_slash, pivot } = source;
        let pattern = !literal && Glob::is_pattern(path);
        let kept = pivot.as_deref().map(|pivot| (path.as_str(), pivot));
        Self { pattern, trailing_slash: *trailing_slash, kept }
    }
}

/// A commit names all of its files; where it was fetched from shows only in `.git`.
#[derive(Serialize)]
struct GitParts<'k> {
    commit: String,
    subdir: &'k str,
    submodules: bool,
    remote: Option<&'k str>,
}

#[derive(Serialize)]
struct DirectoryParts<'k> {
    parent: CacheKey,
    path: &'k str,
    owner: Option<&'k str>,
}

impl Step<'_> {
    pub(super) fn key(&self, depth: Depth, downloads: &[Fetched]) -> Result<CacheKey, Diagnostic> {
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
            OpItem::Path(path) => ItemParts::Path(PathParts::of(path)),
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

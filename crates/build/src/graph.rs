//! The build graph: vertices that change file systems, and the image that comes of the last.

use coracle_dockerfile::{NetworkMode, Security};
use coracle_oci::{Digest, History, ImageConfig, Reference};
use coracle_report::{Diagnostic, Span};

use crate::{
    Checksum, ExecMount, ExecMountKind, GitSource, InlineFile, Sandbox, SecretVariable, Selection,
    SnapshotRef, SourcePath, Unpack,
};

/// Names a vertex of one graph. A vertex comes after all that it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(pub(crate) usize);

impl VertexId {
    /// Returns the index into [`BuildGraph::vertices`].
    pub const fn index(self) -> usize {
        self.0
    }
}

/// One step that yields a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// What it does.
    pub op: Op,
    /// The file system it starts with; `None` is empty.
    pub parent: Option<VertexId>,
    /// What people see, e.g. `[builder 3/5] RUN pip install -r requirements.txt`.
    pub name: String,
    /// The instruction.
    pub span: Span,
    /// The line that the span begins on.
    pub source_line: Option<String>,
    /// Where its sources (by [`SourcePath::path`], a download by its URL) and flags (as `--chown`) are written.
    pub words: Vec<(String, Span)>,
    /// Set for a trigger of a base image.
    pub brought: Option<Brought>,
}

/// An instruction that comes with a base image (`ONBUILD`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Its first line.
    pub text: String,
    /// Says whose it is.
    pub note: String,
}

impl Brought {
    /// Adds to a diagnostic what instruction it speaks of.
    pub(crate) fn tell(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        if !diagnostic.notes.contains(&self.note) {
            diagnostic.notes.push(self.note.clone());
        }
        diagnostic.source_line.get_or_insert_with(|| self.text.clone());
        diagnostic
    }
}

impl Vertex {
    /// Returns all vertices whose results this one needs.
    pub fn dependencies(&self) -> Vec<VertexId> {
        let mut all: Vec<VertexId> = self.parent.into_iter().collect();
        let mut add = |source: &OpSource| {
            if let OpSource::Vertex(id) = source {
                all.push(*id);
            }
        };
        match &self.op {
            Op::Base { .. } | Op::Directory { .. } => {}
            Op::Copy(copy) => add(&copy.source),
            Op::Exec(exec) => exec.mounts.iter().filter_map(mount_source).for_each(|(source, _)| add(source)),
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns `diagnostic` at a word of this vertex's instruction, unless it has a place of its own; at the
    /// instruction when the word is not known.
    pub fn place_at(&self, word: &str, mut diagnostic: Diagnostic) -> Diagnostic {
        let found = self.words.iter().find(|(name, _)| name == word);
        if let (None, Some((_, span))) = (&diagnostic.span, found) {
            diagnostic.span = Some(span.clone());
            if span.start.line == self.span.start.line {
                diagnostic.source_line.clone_from(&self.source_line);
            }
        }
        self.place(diagnostic)
    }

    /// Returns `diagnostic` at this vertex's instruction, unless it has a place of its own.
    pub fn place(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        if diagnostic.span.is_none() {
            diagnostic.span = Some(self.span.clone());
            diagnostic.source_line.clone_from(&self.source_line);
        }
        let own = diagnostic.span.as_ref().is_some_and(|span| span.file() == self.span.file());
        match &self.brought {
            Some(brought) if own => brought.tell(diagnostic),
            _ => diagnostic,
        }
    }
}

/// Where a vertex takes files from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpSource {
    /// The build context.
    Context,
    /// The files of a named context, by its place in [`BuildRequest::contexts`](crate::BuildRequest::contexts).
    Named(usize),
    /// Another vertex's result.
    Vertex(VertexId),
    /// Nothing: a stage from scratch without steps.
    Empty,
}

/// What a vertex does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// An image that is ready.
    Base {
        /// The image.
        reference: Reference,
        /// What its content is known by.
        key: Digest,
        /// Its file system.
        snapshot: Option<SnapshotRef>,
    },
    /// `RUN`
    Exec(ExecOp),
    /// `COPY`, `ADD`
    Copy(CopyOp),
    /// `WORKDIR`
    Directory {
        /// Absolute path.
        path: String,
        /// `user[:group]` that owns it; `None` is root.
        owner: Option<String>,
    },
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOp {
    /// Program and arguments, the shell included.
    pub args: Vec<String>,
    /// Variables as `NAME=value` that decide the result.
    pub env: Vec<String>,
    /// Proxy variables, which do not.
    pub proxy_env: Vec<String>,
    /// Variables with secret values.
    pub secret_env: Vec<SecretVariable>,
    /// Absolute working directory.
    pub cwd: String,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Mounts.
    pub mounts: Vec<ExecMount<OpSource>>,
    /// The network.
    pub network: NetworkMode,
    /// How far it is confined.
    pub security: Security,
    /// What surrounds it.
    pub sandbox: Sandbox,
}

/// `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOp {
    /// Where paths are found.
    pub source: OpSource,
    /// What is copied.
    pub items: Vec<OpItem>,
    /// `--exclude`
    pub exclude: Vec<String>,
    /// Absolute destination.
    pub dest: String,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<String>,
    /// `--parents`
    pub parents: bool,
    /// Whether archives are unpacked.
    pub unpack: Unpack,
    /// `--link`: whether the layer is made on nothing and then put on top of the parent.
    pub link: bool,
}

impl CopyOp {
    /// Returns whether the layer is made without a look at the parent. A mode (as in BuildKit) and the name of an owner,
    /// which only the parent knows, ask for an ordinary layer.
    pub(crate) fn is_independent(&self) -> bool {
        let numbers = |text: &str| text.split(':').all(|part| part.parse::<u32>().is_ok());
        self.link && self.chmod.is_none() && self.chown.as_deref().is_none_or(numbers)
    }
}

/// One source of a [`CopyOp`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpItem {
    /// A path or pattern.
    Path(SourcePath),
    /// A heredoc.
    Inline(InlineFile),
    /// A URL.
    Url {
        /// The URL.
        url: String,
        /// What its content must hash to.
        checksum: Option<Checksum>,
    },
    /// A directory of a git repository.
    Git(GitSource),
}

/// A history entry and the vertex that may have made a layer for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHistory {
    /// The entry.
    pub entry: History,
    /// The vertex; `None` for instructions that change only the configuration, and for the base's entries.
    pub vertex: Option<VertexId>,
}

/// The image of the target stage, but for its layers' ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlan {
    /// The configuration; `rootfs` holds the base's layers only and `history` is empty.
    pub config: ImageConfig,
    /// The history.
    pub history: Vec<PlannedHistory>,
    /// The vertices above the base, lowest first.
    pub layers: Vec<VertexId>,
    /// The vertex whose file system the image has; `None` is an empty one.
    pub top: Option<VertexId>,
}

/// All that a build does.
#[derive(Clone, Debug)]
pub struct BuildGraph {
    /// The vertices, each after its dependencies. Only those that the target needs.
    pub vertices: Vec<Vertex>,
    /// The image.
    pub image: ImagePlan,
    /// What works but should be written otherwise.
    pub warnings: Vec<Diagnostic>,
}

/// Returns the place and path that a mount reads.
pub(crate) fn mount_source(mount: &ExecMount<OpSource>) -> Option<(&OpSource, &str)> {
    match &mount.kind {
        ExecMountKind::Bind { place, path, .. } => Some((place, path)),
        ExecMountKind::Cache { seed, .. } => seed.as_ref().map(|(place, path)| (place, path.as_str())),
        ExecMountKind::Tmpfs { .. }
        | ExecMountKind::Secret { .. }
        | ExecMountKind::Ssh { .. }
        | ExecMountKind::Script { .. } => None,
    }
}

/// Returns what a vertex takes files from, with which of them; in a fixed order.
pub(crate) fn sources(op: &Op) -> Vec<(OpSource, Selection)> {
    match op {
        Op::Base { .. } | Op::Directory { .. } => Vec::new(),
        Op::Copy(copy) => {
            let paths: Vec<SourcePath> = copy
                .items
                .iter()
                .filter_map(|item| match item {
                    OpItem::Path(path) => Some(path.clone()),
                    OpItem::Inline(_) | OpItem::Url { .. } | OpItem::Git(_) => None,
                })
                .collect();
            let exclude = copy.exclude.clone();
            if paths.is_empty() { Vec::new() } else { vec![(copy.source, Selection { paths, exclude })] }
        }
        Op::Exec(exec) => exec
            .mounts
            .iter()
            .filter_map(mount_source)
            .map(|(source, path)| {
                let path =
                    SourcePath { path: path.to_owned(), literal: true, trailing_slash: false, pivot: None };
                (*source, Selection { paths: vec![path], exclude: Vec::new() })
            })
            .collect(),
    }
}

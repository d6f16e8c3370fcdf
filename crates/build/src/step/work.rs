//! The work of a step: what is fetched for it, copied and run.

use coracle_oci::Digest;
use coracle_report::{Diagnostic, Stream, Task};

use super::{Fetched, Step};
use crate::failure::{NO_SUCH_USER, Tail, cancelled, run_failed, source_fault};
use crate::graph::{ExecOp, Op, OpItem, OpSource};
use crate::{
    Checkout, Checksum, CopyItem, CopyRequest, DirectoryRequest, Downloaded, ExecMount, ExecMountKind,
    ExecOutcome, ExecRequest, HashAlgorithm, SecretVariable, SnapshotRef,
};

impl Step<'_> {
    /// Downloads the URLs of an `ADD` and resolves its repositories, in order; what they hold is a part of the key.
    pub(super) fn downloads(&self, task: &Task<'_>) -> Result<Vec<Fetched>, Diagnostic> {
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
                download => download.map_err(|error| self.vertex.place_at(url, error))?,
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
                    return Err(self.vertex.place_at("--checksum", error));
                }
            }
            downloads.push(Fetched::File(download));
        }
        Ok(downloads)
    }

    pub(super) fn work(
        &self,
        task: &Task<'_>,
        downloads: &[Fetched],
    ) -> Result<Option<SnapshotRef>, Diagnostic> {
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
        match self.host.exec(&request, &output).map_err(|error| self.place_exec(error))? {
            ExecOutcome::Succeeded(snapshot) => Ok(snapshot),
            ExecOutcome::Failed(code) => Err(run_failed(self.vertex, exec, code, &tail, Vec::new())),
            ExecOutcome::Explained(code, hints) => Err(run_failed(self.vertex, exec, code, &tail, hints)),
            ExecOutcome::Cancelled => Err(cancelled()),
        }
    }

    /// Puts a fault that is not the command's own at the instruction that brought it about.
    fn place_exec(&self, error: Diagnostic) -> Diagnostic {
        if error.code == NO_SUCH_USER {
            self.vertex.place_at("USER", error.with_note(self.vertex.name.clone()))
        } else {
            self.vertex.place(error)
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

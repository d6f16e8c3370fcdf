//! Every path of the data root and the run root. Nobody else joins paths below them.
//!
//! ```text
//! data root (/var/lib/coracle)                     run root (/run/coracle), gone after a reboot
//! ├── blobs/sha256/<hex>      content              ├── containers/<id>/
//! ├── blobs/partial/<hex>     downloads under way  │   ├── shim.sock      the shim's requests
//! ├── compressed/<hex>        layer -> its compressed forms   (see crate `engine`, `cache`)
//! ├── images/<hex>            id -> manifest       │   ├── shim.lock      held while the shim lives
//! ├── references/<name>       name -> manifest     │   └── bundle/        runtime bundle
//! ├── cache/<key hex>         build steps          ├── keepers/<scope>/
//! ├── cache/locks/<key hex>   steps under way      │   ├── keeper.sock
//! ├── context-digests/<hex>   digests of a build context's files
//! ├── build-memories/{builds,steps}/<hex>   what builds were made of, for `--why`
//! ├── leases/<name>           work under way       │   └── lock
//! ├── gc.lock                 mutators shared, collector alone
//! ├── snapshots/              see crate `snapshot`
//! ├── volumes/<name>/{_data/,record.json}
//! ├── containers/<id>/{container.json,state.json,etc/,log/}
//! ├── container-names/<name>  the id                ├── network/state.json  who has which address
//! ├── kept-logs/<project>/<service>/<id>/   of replaced containers
//! ├── networks/<name>.json                         └── network/lock        one change at a time
//! ├── bases/{<plan>.json,cache/,work/}
//! ├── downloads/              `ADD` of URLs
//! ├── tmp/                    outlives no command
//! ├── quarantine/<time>/      what was damaged, under the path that it had; see `coracle doctor --repair`
//! ├── projects/<name>/{lock,project.json}
//! ├── cache-usage.json        how large the build cache was when it was last measured
//! └── cache-mounts/<id>/      `RUN --mount=type=cache`
//! ```
//!
//! Names from outside are percent-encoded, so that no name can be a path.

use std::path::{Path, PathBuf};

use coracle_oci::{Digest, ImageId, Reference};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The places of everything that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    data: PathBuf,
    run: PathBuf,
}

/// Longest name that is used as it is; longer ones are hashed (file systems allow 255 bytes).
const LONGEST: usize = 200;

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Returns a name as one component of a path. Different names give different components.
pub fn encode(name: &str) -> String {
    let mut encoded = utf8_percent_encode(name, PLAIN).to_string();
    // No hidden files, and neither `.` nor `..`.
    if encoded.starts_with('.') {
        encoded.replace_range(..1, "%2E");
    }
    if encoded.is_empty() || encoded.len() > LONGEST {
        // `%` begins no other encoding of this length: two digits always follow it.
        return format!("%sha256-{}", Digest::of(name).hex());
    }
    encoded
}

/// Returns the name that [`encode`] was given; `None` when it was hashed or is no encoding.
pub fn decode(component: &str) -> Option<String> {
    if component.starts_with("%sha256-") {
        return None;
    }
    Some(percent_decode_str(component).decode_utf8().ok()?.into_owned())
}

impl Layout {
    /// Returns the layout below two roots.
    pub fn new(data: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), run: run.into() }
    }

    /// Returns the data root.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the run root.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Returns the directory of finished blobs.
    pub fn blobs(&self) -> PathBuf {
        self.data.join("blobs/sha256")
    }

    /// Returns the place of one blob.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Returns the directory of blobs that are being written.
    pub fn partial_blobs(&self) -> PathBuf {
        self.data.join("blobs/partial")
    }

    /// Returns the directory of what is known about layers' compressed forms.
    pub fn compressed_layers(&self) -> PathBuf {
        self.data.join("compressed")
    }

    /// Returns the record of one layer's compressed forms, by the digest of its uncompressed archive.
    pub fn compressed_layer(&self, layer: &Digest) -> PathBuf {
        self.compressed_layers().join(layer.hex())
    }

    /// Returns the directory of image records.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Returns the record of one image.
    pub fn image(&self, id: &ImageId) -> PathBuf {
        self.images().join(id.digest().hex())
    }

    /// Returns the directory of references.
    pub fn references(&self) -> PathBuf {
        self.data.join("references")
    }

    /// Returns the record of one reference.
    pub fn reference(&self, reference: &Reference) -> PathBuf {
        self.references().join(encode(&reference.to_string()))
    }

    /// Returns the directory of build-cache records.
    pub fn cache(&self) -> PathBuf {
        self.data.join("cache")
    }

    /// Returns the record of one build step.
    pub fn cache_record(&self, key: &Digest) -> PathBuf {
        self.cache().join(key.hex())
    }

    /// Returns the directory of locks of build steps.
    pub fn cache_locks(&self) -> PathBuf {
        self.cache().join("locks")
    }

    /// Returns the lock of one build step.
    pub fn cache_lock(&self, key: &Digest) -> PathBuf {
        self.cache_locks().join(key.hex())
    }

    /// Returns the directory of files that builds downloaded.
    pub fn downloads(&self) -> PathBuf {
        self.data.join("downloads")
    }

    /// Returns the directory of what is known of build contexts' files.
    pub fn context_digests(&self) -> PathBuf {
        self.data.join("context-digests")
    }

    /// Returns the directory of what is remembered of builds, to explain later ones.
    pub fn build_memories(&self) -> PathBuf {
        self.data.join("build-memories")
    }

    /// Returns the directory of leases.
    pub fn leases(&self) -> PathBuf {
        self.data.join("leases")
    }

    /// Returns the lock between those who add and the garbage collector.
    pub fn collector_lock(&self) -> PathBuf {
        self.data.join("gc.lock")
    }

    /// Returns the directory of snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.data.join("snapshots")
    }

    /// Returns the directory of volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// Returns the directory of one volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes().join(encode(name))
    }

    /// Returns the content of one volume.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volume(name).join("_data")
    }

    /// Returns the record of one volume.
    pub fn volume_record(&self, name: &str) -> PathBuf {
        self.volume(name).join("record.json")
    }

    /// Returns the directory of containers.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// Returns the directory of one container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(encode(id))
    }

    /// Returns what a container was wanted to be.
    pub fn container_record(&self, id: &str) -> PathBuf {
        self.container(id).join("container.json")
    }

    /// Returns what has become of a container.
    pub fn container_state(&self, id: &str) -> PathBuf {
        self.container(id).join("state.json")
    }

    /// Returns the directory of a container's output.
    pub fn container_log(&self, id: &str) -> PathBuf {
        self.container(id).join("log")
    }

    /// Returns the directory of logs that replaced containers left.
    pub fn kept_logs(&self) -> PathBuf {
        self.data.join("kept-logs")
    }

    /// Returns the directory of containers' names.
    pub fn container_names(&self) -> PathBuf {
        self.data.join("container-names")
    }

    /// Returns the file that holds the id of the container with a name.
    pub fn container_name(&self, name: &str) -> PathBuf {
        self.container_names().join(encode(name))
    }

    /// Returns the directory of a container's `/etc` files.
    pub fn container_etc(&self, id: &str) -> PathBuf {
        self.container(id).join("etc")
    }

    /// Returns the directory of baked bases: records, fetched packages, work.
    pub fn bases(&self) -> PathBuf {
        self.data.join("bases")
    }

    /// Returns the directory of files that outlive no command.
    pub fn temporary(&self) -> PathBuf {
        self.data.join("tmp")
    }

    /// Returns the state of all attachments to networks.
    pub fn network_state(&self) -> PathBuf {
        self.run.join("network/state.json")
    }

    /// Returns the lock of all changes of networks.
    pub fn network_lock(&self) -> PathBuf {
        self.run.join("network/lock")
    }

    /// Returns the directory of networks.
    pub fn networks(&self) -> PathBuf {
        self.data.join("networks")
    }

    /// Returns the record of one network.
    pub fn network_record(&self, name: &str) -> PathBuf {
        self.networks().join(format!("{}.json", encode(name)))
    }

    /// Returns the directory of projects.
    pub fn projects(&self) -> PathBuf {
        self.data.join("projects")
    }

    /// Returns the directory of one project.
    pub fn project(&self, name: &str) -> PathBuf {
        self.projects().join(encode(name))
    }

    /// Returns the lock that one command on a project holds.
    pub fn project_lock(&self, name: &str) -> PathBuf {
        self.project(name).join("lock")
    }

    /// Returns the record of one project.
    pub fn project_record(&self, name: &str) -> PathBuf {
        self.project(name).join("project.json")
    }

    /// Returns the directory of directories that build steps keep between runs.
    pub fn cache_mounts(&self) -> PathBuf {
        self.data.join("cache-mounts")
    }

    /// Returns what was last measured of the build cache.
    pub fn cache_usage(&self) -> PathBuf {
        self.data.join("cache-usage.json")
    }

    /// Returns one directory that build steps keep between runs.
    pub fn cache_mount(&self, id: &str) -> PathBuf {
        self.cache_mounts().join(encode(id))
    }

    /// Returns the journal of events.
    pub fn journal(&self) -> PathBuf {
        self.run.join("events/journal")
    }

    /// Returns the directory of running containers.
    pub fn run_containers(&self) -> PathBuf {
        self.run.join("containers")
    }

    /// Returns the run directory of one container.
    pub fn run_container(&self, id: &str) -> PathBuf {
        self.run_containers().join(encode(id))
    }

    /// Returns the copy of a running container's record, for when the record itself is damaged.
    pub fn running_container_record(&self, id: &str) -> PathBuf {
        self.run_container(id).join("container.json")
    }

    /// Returns the directory of what was damaged and put aside.
    pub fn quarantine(&self) -> PathBuf {
        self.data.join("quarantine")
    }

    /// Returns the socket of a container's shim.
    pub fn shim_socket(&self, id: &str) -> PathBuf {
        self.run_container(id).join("shim.sock")
    }

    /// Returns the lock that a shim holds as long as it lives.
    pub fn shim_lock(&self, id: &str) -> PathBuf {
        self.run_container(id).join("shim.lock")
    }

    /// Returns the runtime bundle of a container.
    pub fn bundle(&self, id: &str) -> PathBuf {
        self.run_container(id).join("bundle")
    }

    /// Returns the directory of keepers.
    pub fn keepers(&self) -> PathBuf {
        self.run.join("keepers")
    }

    /// Returns the run directory of a scope's keeper.
    pub fn keeper(&self, scope: &str) -> PathBuf {
        self.keepers().join(encode(scope))
    }

    /// Returns the socket of a scope's keeper.
    pub fn keeper_socket(&self, scope: &str) -> PathBuf {
        self.keeper(scope).join("keeper.sock")
    }

    /// Returns the lock that a keeper holds as long as it lives.
    pub fn keeper_lock(&self, scope: &str) -> PathBuf {
        self.keeper(scope).join("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_stay_readable() {
        let layout = Layout::new("/data", "/run");
        assert_eq!(layout.volume_data("app_db-data.1"), Path::new("/data/volumes/app_db-data.1/_data"));
        let reference: Reference = "python:3.11-slim".parse().unwrap();
        let expected = "/data/references/docker.io%2Flibrary%2Fpython%3A3.11-slim";
        assert_eq!(layout.reference(&reference), Path::new(expected));
    }

    proptest! {
        #[test]
        fn no_name_is_a_path(name in "\\PC{0,300}|[./]{1,5}") {
            let encoded = encode(&name);
            prop_assert!(!encoded.contains('/') && !encoded.starts_with('.') && !encoded.is_empty());
            prop_assert!(encoded.len() <= 255);
            if let Some(decoded) = decode(&encoded) {
                prop_assert_eq!(decoded, name);
            } else {
                prop_assert!(encoded.starts_with("%sha256-"));
            }
        }
    }
}

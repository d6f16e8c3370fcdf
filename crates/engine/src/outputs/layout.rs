//! Image layouts and archives: the OCI image layout, as a tar archive or directory, and what `docker load` reads.
//!
//! Members are sorted by name and have no time, owner or name of an owner: equal content gives equal bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use coracle_oci::Reference;
use serde_json::{Value, json};

use super::content::{Blob, Bytes, Content};
use crate::{During, Result};

/// Who reads the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Tools that know the OCI image layout.
    Oci,
    /// `docker load`, which wants `manifest.json`. The layout is there, too.
    Docker,
}

/// Images that go into one archive, each with its names.
pub type Named<'a> = (&'a Content, &'a [Reference]);

/// Returns the members of an archive by name.
fn members(images: &[Named<'_>], reader: Reader) -> BTreeMap<String, Blob> {
    let mut all = BTreeMap::new();
    let mut descriptors = Vec::new();
    let mut docker = Vec::new();
    for (content, names) in images {
        for (digest, blob) in &content.blobs {
            all.insert(format!("blobs/sha256/{}", digest.hex()), blob.clone());
        }
        descriptors.extend(root_descriptors(content, names));
        for image in &content.images {
            let path = |digest: &coracle_oci::Digest| format!("blobs/sha256/{}", digest.hex());
            let layers: Vec<String> = image.layers.iter().map(|layer| path(&layer.digest)).collect();
            let tags: Vec<String> =
                names.iter().filter(|name| name.tag().is_some()).map(Reference::familiar).collect();
            docker.push(json!({"Config": path(&image.config.digest), "RepoTags": tags, "Layers": layers}));
        }
    }
    let mut put = |name: &str, value: &Value| {
        let bytes = serde_json::to_vec(value).expect("JSON values can be written");
        all.insert(name.to_owned(), Blob { size: bytes.len() as u64, bytes: Bytes::Memory(bytes) });
    };
    put("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
    put(
        "index.json",
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": descriptors,
        }),
    );
    if reader == Reader::Docker {
        put("manifest.json", &Value::Array(docker));
    }
    all
}

/// Returns the descriptors of an image for `index.json`, one a name.
fn root_descriptors(content: &Content, names: &[Reference]) -> Vec<Value> {
    if names.is_empty() {
        return vec![content.root.to_json()];
    }
    let named = |name: &Reference| {
        let mut root = content.root.clone();
        root.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
        if let Some(tag) = name.tag() {
            root.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.to_owned());
        }
        root.to_json()
    };
    names.iter().map(named).collect()
}

/// Writes an archive.
pub fn write_archive(images: &[Named<'_>], reader: Reader, out: &mut dyn Write) -> Result<()> {
    let what = "writing an image archive";
    let mut tar = tar::Builder::new(out);
    for directory in ["blobs/", "blobs/sha256/"] {
        let mut header = header(0, tar::EntryType::Directory, 0o755);
        tar.append_data(&mut header, directory, io::empty()).during(what)?;
    }
    for (name, blob) in members(images, reader) {
        let mut header = header(blob.size, tar::EntryType::Regular, 0o644);
        tar.append_data(&mut header, &name, blob.open().during(what)?).during(what)?;
    }
    tar.into_inner().during(what)?;
    Ok(())
}

/// Returns a member's header, but for its name.
pub fn header(size: u64, kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Writes a directory. Blobs that are there already stay; other images named in its index do, too.
pub fn write_directory(images: &[Named<'_>], reader: Reader, directory: &Path) -> Result<()> {
    let what = format!("writing {}", directory.display());
    std::fs::create_dir_all(directory.join("blobs/sha256")).during(&what)?;
    let mut members = members(images, reader);
    if let Some(older) = older_index(directory) {
        merge_index(&mut members, older);
    }
    // The index last: it names what is there.
    let (documents, blobs): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|(name, _)| name.as_str() == "index.json");
    for (name, blob) in blobs.into_iter().chain(documents) {
        let path = directory.join(&name);
        if name.starts_with("blobs/") && path.metadata().is_ok_and(|metadata| metadata.len() == blob.size) {
            continue;
        }
        let folder = path.parent().unwrap_or(directory);
        let mut file = tempfile::Builder::new()
            .prefix(".coracle-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .during(&what)?;
        let out: &mut File = file.as_file_mut();
        io::copy(&mut blob.open().during(&what)?, out).during(&what)?;
        file.persist(&path).map_err(|error| error.error).during(&what)?;
    }
    Ok(())
}

/// Reads the index of a layout that is there already; one that cannot be read is replaced.
fn older_index(directory: &Path) -> Option<Vec<Value>> {
    let bytes = std::fs::read(directory.join("index.json")).ok()?;
    let index: Value = serde_json::from_slice(&bytes).ok()?;
    Some(index.get("manifests")?.as_array()?.clone())
}

fn merge_index(members: &mut BTreeMap<String, Blob>, older: Vec<Value>) {
    let Some(Blob { bytes: Bytes::Memory(bytes), .. }) = members.get("index.json") else { return };
    let Ok(mut index) = serde_json::from_slice::<Value>(bytes) else { return };
    let Some(own) = index["manifests"].as_array_mut() else { return };
    let name = |descriptor: &Value| {
        descriptor["annotations"]["io.containerd.image.name"].as_str().map(str::to_owned)
    };
    // An older image without a name cannot be asked for once another one is there.
    let names: Vec<Option<String>> = own.iter().map(name).collect();
    let stays = |descriptor: &Value| name(descriptor).is_some_and(|name| !names.contains(&Some(name)));
    own.extend(older.into_iter().filter(stays));
    let bytes = serde_json::to_vec(&index).expect("JSON values can be written");
    members.insert("index.json".to_owned(), Blob { size: bytes.len() as u64, bytes: Bytes::Memory(bytes) });
}

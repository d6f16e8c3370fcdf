//! The same against Debian's `docker-registry`, where it is installed.

use coracle_oci::{Digest, ImageConfig, Platform, RootFs};
use coracle_registry::{CredentialStore, PushBlob};
use coracle_report::Quiet;
use coracle_testkit::Registry;

use crate::{MANIFEST, NEVER, client, noise, target};

#[test]
fn an_image_goes_there_and_comes_back() {
    let Some(debian) = Registry::start() else { return };
    let client = client(CredentialStore::default());
    let target = target(debian.host());
    let layers = [noise(2_000_000), noise(300), noise(700_000)];
    let config = ImageConfig {
        rootfs: RootFs {
            diff_ids: layers.iter().map(|layer| coracle_oci::DiffId::new(Digest::of(layer))).collect(),
            ..RootFs::default()
        },
        ..ImageConfig::scratch()
    };
    let config_bytes = config.to_bytes();
    let blobs =
        [blob(&layers[0], false), blob(&layers[1], true), blob(&layers[2], true), blob(&config_bytes, true)];
    let pushed = client.push_blobs(&target, &blobs, &Quiet, None, &NEVER).unwrap();
    assert!(pushed.iter().all(|blob| blob.sent));
    let entries: Vec<String> = layers
        .iter()
        .map(|layer| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}"#,
                Digest::of(layer),
                layer.len()
            )
        })
        .collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{}]}}"#,
        Digest::of(&config_bytes),
        config_bytes.len(),
        entries.join(",")
    );
    let digest = client.push_manifest(&target, "1", MANIFEST, manifest.as_bytes(), &NEVER).unwrap();
    assert!(client.has_manifest(&target, &digest).unwrap());
    let resolved = client.resolve(&target, &Platform::host()).unwrap();
    assert_eq!((resolved.manifest_digest, resolved.image), (digest, config));
    // Nothing twice; and another repository of the same registry takes what this one has.
    let again = [blob(&layers[0], true), blob(&layers[1], true)];
    assert!(client.push_blobs(&target, &again, &Quiet, None, &NEVER).unwrap().iter().all(|blob| !blob.sent));
    let other = format!("{}/other/app:1", debian.host()).parse().unwrap();
    let mount = PushBlob { mount_from: vec!["team/app".to_owned()], ..blob(&layers[2], true) };
    assert!(!client.push_blobs(&other, &[mount], &Quiet, None, &NEVER).unwrap()[0].sent);
    // A manifest whose blobs are not there is refused, in words.
    let error = client.push_manifest(&other, "2", MANIFEST, manifest.as_bytes(), &NEVER).unwrap_err();
    assert!(error.to_string().contains("blob unknown"), "{error}");
}

fn blob(bytes: &Vec<u8>, known: bool) -> PushBlob<'_> {
    PushBlob {
        label: "it".to_owned(),
        known: known.then(|| (Digest::of(bytes), bytes.len() as u64)),
        mount_from: vec!["nobody/nothing".to_owned()],
        source: bytes,
    }
}

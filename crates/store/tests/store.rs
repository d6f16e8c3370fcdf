//! The store on a real file system: content, names, images, leases, collection, many processes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use coracle_oci::{ChainId, DiffId, Digest, ImageConfig, Platform, Reference};
use coracle_store::{CacheRecord, FileLock, Image, ImagePolicy, Layout, Policy, Roots, Store, StoreError};

struct World {
    store: Store,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        Self { store, directory }
    }

    fn image(&self, layers: &[&str], name: Option<&str>) -> Image {
        let layers: Vec<_> =
            layers.iter().map(|layer| (DiffId::new(Digest::of(layer)), layer.len() as u64)).collect();
        let mut config = ImageConfig::scratch();
        config.rootfs.diff_ids = layers.iter().map(|(layer, _)| *layer).collect();
        let image = self.store.put_image(&config, &layers).unwrap();
        if let Some(name) = name {
            self.store.set_reference(&reference(name), &image.manifest_digest).unwrap();
        }
        self.store.image_by_id(&image.id).unwrap().unwrap()
    }
}

#[test]
fn a_name_stands_for_several_platforms() {
    let world = World::new();
    let store = &world.store;
    let made = |platform: &str| {
        let platform: Platform = platform.parse().unwrap();
        let mut config = ImageConfig::scratch();
        (config.architecture, config.variant) = (platform.architecture, platform.variant);
        store.put_image(&config, &[]).unwrap()
    };
    let host = Platform::host().to_string();
    let (own, arm, riscv) = (made(&host), made("linux/arm/v7"), made("linux/riscv64"));
    let name = reference("app:1");
    store.set_reference(&name, &arm.manifest_digest).unwrap();
    assert_eq!(store.image(&name).unwrap().unwrap().id, arm.id);
    store.add_reference(&name, &own).unwrap();
    store.add_reference(&name, &riscv).unwrap();
    // Asked for no platform it is the host's; each platform's image has the name.
    assert_eq!(store.image(&name).unwrap().unwrap().id, own.id);
    let of =
        |platform: &str| store.image_for(&name, &platform.parse().unwrap()).unwrap().map(|image| image.id);
    assert_eq!((of("linux/arm"), of("linux/riscv64")), (Some(arm.id), Some(riscv.id)));
    assert_eq!(of("linux/s390x"), None);
    let named = store.images_named(&name).unwrap();
    assert!(named.len() == 3 && named.iter().all(|image| image.references == [name.clone()]));
    assert!(store.copy_reference(&name, &reference("app:2")).unwrap());
    assert_eq!(store.images_named(&reference("app:2")).unwrap().len(), 3);
    // Nothing of it is collected as long as the name is there.
    store.remove_reference(&reference("app:2")).unwrap();
    let policy = Policy { images: ImagePolicy::Nameless, ..at_once() };
    assert_eq!(store.collect(&policy, &Roots::default()).unwrap().blobs.len(), 1, "an index of two");
    assert_eq!(store.images_named(&name).unwrap().len(), 3);
    // One of the same platform takes the other's place.
    let mut config = arm.config.clone();
    config.author = Some("me".to_owned());
    let newer = store.put_image(&config, &[]).unwrap();
    store.add_reference(&name, &newer).unwrap();
    assert_eq!(of("linux/arm"), Some(newer.id));
    store.remove_reference(&name).unwrap();
    assert_eq!(store.collect(&policy, &Roots::default()).unwrap().images.len(), 4);
    assert_eq!(store.blobs().unwrap(), []);
}

fn open(directory: &Path) -> Store {
    Store::open(Layout::new(directory.join("data"), directory.join("run"))).unwrap()
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn at_once() -> Policy {
    Policy { grace: Duration::ZERO, ..Policy::default() }
}

struct Broken;

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("broken"))
    }
}

#[test]
fn blobs_are_stored_whole_and_verified() {
    let world = World::new();
    let store = &world.store;
    let content = vec![5; 1_000_000];
    let (digest, size) = store.put_blob(content.as_slice()).unwrap();
    assert_eq!((digest, size), (Digest::of(&content), 1_000_000));
    assert_eq!(store.put_blob(content.as_slice()).unwrap().0, digest);
    assert_eq!(store.read_blob(&digest, 1_000_000).unwrap(), content);
    assert!(matches!(store.read_blob(&digest, 999_999), Err(StoreError::TooLarge { .. })));
    assert!(matches!(store.read_blob(&Digest::of("x"), 9), Err(StoreError::Missing(_))));
    std::fs::write(store.blob_path(&digest), "rotten").unwrap();
    assert!(matches!(store.read_blob(&digest, 10), Err(StoreError::Mismatch { .. })));
    assert!(matches!(store.put_blob(Broken), Err(StoreError::Source(_))));
    assert_eq!(std::fs::read_dir(store.layout().partial_blobs()).unwrap().count(), 0);
    assert_eq!(store.blobs().unwrap(), [(digest, 6)]);
}

#[test]
fn a_download_goes_on_where_it_stopped() {
    let world = World::new();
    let digest = Digest::of("hello world");
    let mut first = world.store.resume_blob(&digest).unwrap().unwrap();
    first.write_all(b"hello ").unwrap();
    drop(first);
    let mut second = world.store.resume_blob(&digest).unwrap().unwrap();
    assert_eq!(second.written(), 6);
    second.write_all(b"world").unwrap();
    assert_eq!(second.commit().unwrap(), 11);
    assert!(world.store.resume_blob(&digest).unwrap().is_none());
    assert_eq!(world.store.read_blob(&digest, 100).unwrap(), b"hello world");

    let other = Digest::of("other");
    let mut wrong = world.store.resume_blob(&other).unwrap().unwrap();
    wrong.write_all(b"wrong").unwrap();
    assert!(matches!(wrong.commit(), Err(StoreError::Mismatch { .. })));
    let mut again = world.store.resume_blob(&other).unwrap().unwrap();
    assert_eq!(again.written(), 0, "wrong content is not gone on with");
    again.write_all(b"bad").unwrap();
    again.restart().unwrap();
    again.write_all(b"other").unwrap();
    again.commit().unwrap();
}

#[test]
fn two_downloads_of_the_same_blob_share_the_work() {
    let world = World::new();
    let content = vec![3; 100_000];
    let digest = Digest::of(&content);
    let written = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                if let Some(mut blob) = world.store.resume_blob(&digest).unwrap() {
                    blob.write_all(&content).unwrap();
                    blob.commit().unwrap();
                    written.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(written.into_inner(), 1);
}

#[test]
fn images_are_found_by_every_name() {
    let world = World::new();
    let store = &world.store;
    let image = world.image(&["base", "app"], Some("app:1"));
    store.set_reference(&reference("localhost:5000/team/app:stable"), &image.manifest_digest).unwrap();
    let image = store.image_by_id(&image.id).unwrap().unwrap();
    assert_eq!(image.references, [reference("app:1"), reference("localhost:5000/team/app:stable")]);
    let by_digest = format!("app@{}", image.manifest_digest);
    let hex = image.id.digest().hex();
    for text in ["app:1", "docker.io/library/app:1", &by_digest, &hex, &hex[..5], &image.id.to_string()] {
        assert_eq!(store.find_image(text).unwrap().as_ref(), Some(&image), "{text}");
    }
    for text in ["app", "app:2", "", "sha256:", "not hex!", &format!("other@{}", image.manifest_digest)] {
        assert_eq!(store.find_image(text).unwrap(), None, "{text}");
    }
    let manifest = store.manifest(&image.manifest_digest).unwrap();
    assert_eq!(manifest.layers[1].size(), 3);
    assert_eq!(manifest.layers[1].media_type().to_string(), "application/vnd.oci.image.layer.v1.tar");
    // Seventeen images: two ids begin with the same digit.
    for number in 0..16 {
        world.image(&[&format!("layer {number}")], None);
    }
    let ids: Vec<_> = store.list_images().unwrap().iter().map(|image| image.id.digest().hex()).collect();
    assert_eq!(ids.len(), 17);
    let digit = (0..16)
        .map(|digit| format!("{digit:x}"))
        .find(|digit| ids.iter().filter(|id| id.starts_with(digit)).count() > 1)
        .unwrap();
    assert!(matches!(store.find_image(&digit), Err(StoreError::Ambiguous { .. })));
}

#[test]
fn a_moved_name_leaves_the_old_image_nameless() {
    let world = World::new();
    let old = world.image(&["old"], Some("app"));
    let new = world.image(&["new"], Some("app"));
    assert_eq!(world.store.image(&reference("app")).unwrap().unwrap().id, new.id);
    assert_eq!(world.store.image_by_id(&old.id).unwrap().unwrap().references, []);
    assert!(world.store.remove_reference(&reference("app")).unwrap());
    assert!(!world.store.remove_reference(&reference("app")).unwrap());
    assert_eq!(world.store.image(&reference("app")).unwrap(), None);
}

#[test]
fn layers_that_are_not_the_configurations_are_refused() {
    let world = World::new();
    let layer = (DiffId::new(Digest::of("a")), 1);
    let error = world.store.put_image(&ImageConfig::scratch(), &[layer]).unwrap_err();
    assert!(matches!(error, StoreError::Layers { expected: 0, actual: 1 }));
    let image = world.image(&["a"], None);
    let manifest = world.store.read_blob(&image.manifest_digest, 10_000).unwrap();
    let error = world.store.put_manifest(&manifest, b"{}").unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }));
}

#[test]
fn removing_an_image_with_several_names_needs_force() {
    let world = World::new();
    let image = world.image(&["a"], Some("a:1"));
    world.store.set_reference(&reference("a:2"), &image.manifest_digest).unwrap();
    assert!(matches!(world.store.remove_image(&image.id, false), Err(StoreError::Referenced { .. })));
    assert!(world.store.remove_image(&image.id, true).unwrap());
    assert!(!world.store.remove_image(&image.id, true).unwrap());
    assert_eq!(world.store.references().unwrap(), []);
}

#[test]
fn an_image_whose_documents_are_lost_can_be_removed() {
    let world = World::new();
    let image = world.image(&["a"], None);
    std::fs::remove_file(world.store.blob_path(&image.id.digest())).unwrap();
    assert_eq!(world.store.list_images().unwrap(), []);
    assert!(matches!(world.store.image_by_id(&image.id), Err(StoreError::Missing(_))));
    assert!(world.store.remove_image(&image.id, false).unwrap());
    assert_eq!(world.store.image_by_id(&image.id).unwrap(), None);
}

fn record(key: &str, snapshot: &str) -> CacheRecord {
    let now = jiff::Timestamp::now();
    CacheRecord {
        key: Digest::of(key),
        snapshot: snapshot.to_owned(),
        content: None,
        created: now,
        last_used: now,
        description: format!("RUN {key}"),
    }
}

/// Makes a file look as if it was written a long time ago.
fn age(path: &Path) {
    let then = std::time::SystemTime::now() - Duration::from_hours(1000);
    std::fs::File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn steps_are_remembered_by_their_last_use() {
    let world = World::new();
    let store = &world.store;
    for key in ["a", "b"] {
        store.put_cached(&record(key, key)).unwrap();
        age(&store.layout().cache_record(&Digest::of(key)));
    }
    store.touch_cached(&Digest::of("b")).unwrap();
    store.touch_cached(&Digest::of("unknown")).unwrap();
    std::fs::write(store.layout().cache_record(&Digest::of("c")), "damaged").unwrap();
    let all = store.cached_all().unwrap();
    assert_eq!(all.iter().map(|record| &*record.snapshot).collect::<Vec<_>>(), ["b", "a"]);
    assert!(all[1].last_used < all[0].last_used);
    let policy = Policy { cache_unused_for: Some(Duration::from_hours(24)), ..at_once() };
    let collected = store.collect(&policy, &Roots::default()).unwrap();
    assert_eq!(collected.cache.len(), 1);
    assert_eq!(collected.live_snapshots, BTreeSet::from(["b".to_owned()]));
    assert!(store.cached(&Digest::of("a")).unwrap().is_none());
    drop(collected);
    let policy = Policy { cache_at_most: Some(0), ..at_once() };
    assert_eq!(store.collect(&policy, &Roots::default()).unwrap().cache.len(), 1);
}

#[test]
fn a_step_runs_once_even_when_two_builds_want_it() {
    let world = World::new();
    let key = Digest::of("step");
    let runs = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let _lock = world.store.lock_key(&key).unwrap();
                if world.store.cached(&key).unwrap().is_none() {
                    runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    world.store.put_cached(&record("step", "1")).unwrap();
                }
            });
        }
    });
    assert_eq!(runs.into_inner(), 1);
}

#[test]
fn only_what_nothing_refers_to_is_collected() {
    let world = World::new();
    let store = &world.store;
    let named = world.image(&["base", "app"], Some("app"));
    let nameless = world.image(&["base", "old"], None);
    let rooted = world.image(&["rooted"], None);
    let (stray, _) = store.put_blob(&b"stray"[..]).unwrap();
    let (leased, _) = store.put_blob(&b"leased"[..]).unwrap();
    let mut lease = store.lease("build").unwrap();
    lease.add_blob(leased).unwrap();
    lease.add_snapshot("1k").unwrap();
    store.put_cached(&record("step", "7")).unwrap();

    let roots = Roots { images: BTreeSet::from([rooted.id]), snapshots: BTreeSet::from(["c1".to_owned()]) };
    let young = store.collect(&Policy::default(), &roots).unwrap();
    assert_eq!(young.blobs, [], "young blobs stay");
    drop(young);
    let collected = store.collect(&at_once(), &roots).unwrap();
    assert_eq!(collected.blobs, [stray]);
    assert_eq!(collected.bytes, 5);
    drop(collected);

    let policy = Policy { images: ImagePolicy::Nameless, ..at_once() };
    let collected = store.collect(&policy, &roots).unwrap();
    assert_eq!(collected.images.iter().map(|image| image.id).collect::<Vec<_>>(), [nameless.id]);
    assert_eq!(
        BTreeSet::from_iter(collected.blobs.clone()),
        BTreeSet::from([nameless.id.digest(), nameless.manifest_digest])
    );
    let snapshots = ["1k", "7", "c1"].map(str::to_owned);
    assert_eq!(collected.live_snapshots, BTreeSet::from(snapshots));
    let layer = |name| DiffId::new(Digest::of(name));
    let base = ChainId::extend(None, layer("base"));
    let chains = [base, ChainId::extend(Some(base), layer("app")), ChainId::extend(None, layer("rooted"))];
    assert_eq!(collected.live_chains, BTreeSet::from(chains));
    assert!(store.try_collect(&policy, &roots).unwrap().is_none(), "a collection is alone");
    drop(collected);

    let adding = store.adding().unwrap();
    assert!(store.try_collect(&policy, &roots).unwrap().is_none(), "nothing goes while somebody adds");
    drop(adding);
    drop(lease);
    let policy = Policy { images: ImagePolicy::Unused, ..at_once() };
    let collected = store.try_collect(&policy, &Roots::default()).unwrap().unwrap();
    assert_eq!(collected.images.len(), 2);
    assert!(collected.images.iter().any(|image| image.id == named.id));
    assert_eq!(store.blobs().unwrap(), []);
    assert_eq!(std::fs::read_dir(store.layout().leases()).unwrap().count(), 0);
}

const ROOT: &str = "CORACLE_TEST_STORE";

#[test]
fn child_leases_and_dies() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let store = open(Path::new(&root));
    let mut lease = store.lease("doomed").unwrap();
    lease.add_blob(Digest::of("x")).unwrap();
    let _lock = FileLock::exclusive(&store.layout().project_lock("p")).unwrap();
    let mut partial = store.resume_blob(&Digest::of("never")).unwrap().unwrap();
    partial.write_all(b"nev").unwrap();
    // As by SIGKILL: no destructor runs.
    std::process::abort();
}

#[test]
fn what_a_dead_process_held_is_free() {
    let world = World::new();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_leases_and_dies", "--nocapture"])
        .env(ROOT, world.directory.path())
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
    assert_eq!(std::fs::read_dir(world.store.layout().leases()).unwrap().count(), 2, "it left its lease");
    let living = world.store.lease("living").unwrap();
    assert_eq!(world.store.leased().unwrap(), [living.leased().clone()]);
    let lock = FileLock::try_exclusive(&world.store.layout().project_lock("p")).unwrap();
    assert!(lock.is_some());
    assert_eq!(world.store.resume_blob(&Digest::of("never")).unwrap().unwrap().written(), 3);
    let collected = world.store.collect(&at_once(), &Roots::default()).unwrap();
    assert_eq!(collected.bytes, 3, "an abandoned download goes");
}

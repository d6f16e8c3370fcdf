//! Records, blobs and layers that are damaged or gone: one hides no other, and the doctor mends them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Container, Outcome, coracle, inspect, text_at, unique};
use crate::world::{BYSTANDER, IMAGE, Shape, World, in_world};

/// In what ways a record is damaged.
const WAYS: [&[u8]; 3] = [b"", b"{\"version\":1,\"bo", b"\0\0\0 no JSON at all \xff\xfe"];

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    paths
}

/// Fails unless the doctor finds `text`, changes nothing unasked, mends it, and then finds nothing.
#[track_caller]
fn doctor_mends(text: &str) -> Outcome {
    let found = coracle(["doctor"]).run();
    assert_eq!(found.code(), 1, "something is found: {found}");
    assert!(found.stderr.contains(text) && found.stderr.contains("a repair would"), "{text}: {found}");
    let again = coracle(["doctor"]).run();
    assert_eq!((again.code(), &again.stdout), (1, &found.stdout), "looking changes nothing: {again}");
    let mended = coracle(["doctor", "--repair"]).run().ok();
    let healthy = coracle(["doctor"]).run();
    assert_eq!(healthy.code(), 0, "all is mended: {healthy}\nafter {mended}");
    mended
}

#[test]
fn damaged_records_hide_nothing_and_are_mended() {
    let shape = Shape { worlds: WAYS.len(), ..Shape::default() };
    in_world("damage::damaged_records_hide_nothing_and_are_mended", shape, |world| {
        coracle(["doctor"]).run().ok();
        for way in WAYS.into_iter().enumerate().filter_map(|(number, way)| world.does(number).then_some(way))
        {
            a_stopped_container(world, way);
            a_running_container(world, way);
            a_volume(world, way);
            a_network(world, way);
        }
        coracle(["doctor"]).run().ok();
    });
}

/// Damages a file, sees that its path is told, and that all else is answered.
#[track_caller]
fn damage(world: &World, path: &Path, way: &[u8]) {
    assert!(path.is_file(), "{} is a record", path.display());
    fs::write(path, way).expect("a file can be written");
    world.bystander_lives();
    world.commands_answer();
    coracle(["run", "--rm", IMAGE, "true"]).run().ok();
}

fn a_stopped_container(world: &World, way: &[u8]) {
    let name = unique("damaged");
    coracle(["run", "--name", &name, IMAGE, "sh", "-c", "echo precious > /written"]).run().ok();
    let id = text_at(&inspect(&name), "Id").to_owned();
    let record = world.data().join("containers").join(&id).join("container.json");
    damage(world, &record, way);
    let path = record.to_string_lossy().into_owned();
    let listed = coracle(["ps", "-a"]).run().ok();
    assert!(listed.stderr.contains(&path) && listed.stderr.contains("coracle doctor --repair"), "{listed}");
    for words in [&["inspect", &name][..], &["start", &name], &["rm", "-f", &name]] {
        let refused = coracle(words).run();
        assert_ne!(refused.code(), 0, "{refused}");
        assert!(refused.stderr.contains(&path), "which file: {refused}");
        assert!(refused.stderr.contains("coracle doctor --repair"), "what to do: {refused}");
    }
    doctor_mends(&path);
    // What it wrote is kept, and its name is free.
    let kept =
        files(&world.data().join("quarantine")).into_iter().map(|time| time.join("containers").join(&id));
    let kept = kept.map(|place| place.join("files/written")).find(|file| file.is_file());
    let kept = kept.expect("what the container wrote is kept");
    assert_eq!(fs::read_to_string(kept).expect("a file can be read"), "precious\n");
    coracle(["run", "--rm", "--name", &name, IMAGE, "true"]).run().ok();
}

fn a_running_container(world: &World, way: &[u8]) {
    let id = text_at(&inspect(BYSTANDER), "Id").to_owned();
    let record = world.data().join("containers").join(&id).join("container.json");
    let whole = fs::read(&record).expect("a record can be read");
    damage(world, &record, way);
    assert_eq!(coracle(["exec", BYSTANDER, "echo", "on"]).run().ok().line(), "on");
    doctor_mends(&record.to_string_lossy());
    let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("a record is JSON");
    assert_eq!(value(&fs::read(&record).expect("a record can be read")), value(&whole), "as it was");
    world.bystander_lives();
}

fn a_volume(world: &World, way: &[u8]) {
    let name = unique("damaged");
    let mount = format!("{name}:/data");
    coracle(["run", "--rm", "-v", &mount, IMAGE, "sh", "-c", "echo precious > /data/file"]).run().ok();
    let record = world.data().join("volumes").join(&name).join("record.json");
    damage(world, &record, way);
    doctor_mends(&record.to_string_lossy());
    let read = coracle(["run", "--rm", "-v", &mount, IMAGE, "cat", "/data/file"]).run().ok();
    assert_eq!(read.line(), "precious");
    coracle(["volume", "rm", &name]).run().ok();
}

fn a_network(world: &World, way: &[u8]) {
    let name = unique("damaged");
    coracle(["network", "create", &name]).run().ok();
    let record = world.data().join("networks").join(format!("{name}.json"));
    damage(world, &record, way);
    doctor_mends(&record.to_string_lossy());
    coracle(["network", "create", &name]).run().ok();
    coracle(["network", "rm", &name]).run().ok();
}

/// Builds an image beside the one that everything is made of, and returns its name.
#[track_caller]
fn build(world: &World) -> String {
    let name = unique("image");
    let directory = world.root().join(&name);
    fs::create_dir(&directory).expect("a directory can be made");
    fs::write(directory.join("Dockerfile"), format!("FROM {IMAGE}\nRUN echo {name} > /name\n"))
        .expect("a file can be written");
    coracle(["build", "-t", &name, "."]).dir(&directory).run().ok();
    name
}

/// Builds an image again after it was mended, and runs it.
#[track_caller]
fn works_again(world: &World, name: &str) {
    coracle(["build", "-t", name, "."]).dir(world.root().join(name)).run().ok();
    assert_eq!(coracle(["run", "--rm", name, "cat", "/name"]).run().ok().line(), name);
    coracle(["rmi", name]).run().ok();
}

#[test]
fn damaged_images_and_layers_are_mended() {
    let shape = Shape { worlds: WAYS.len(), ..Shape::default() };
    in_world("damage::damaged_images_and_layers_are_mended", shape, |world| {
        let data = world.data();
        for way in WAYS.into_iter().enumerate().filter_map(|(number, way)| world.does(number).then_some(way))
        {
            // The image's record, its name, and each of its documents.
            for directory in ["images", "references", "blobs/sha256"] {
                let before = files(&data.join(directory));
                let name = build(world);
                let made: Vec<PathBuf> =
                    files(&data.join(directory)).into_iter().filter(|path| !before.contains(path)).collect();
                assert!(!made.is_empty(), "an image has files in {directory}");
                for path in made {
                    let whole = fs::read(&path).expect("a file can be read");
                    damage(world, &path, way);
                    let used = coracle(["run", "--rm", "--pull", "never", &name, "true"]).run();
                    assert!(!used.stderr.contains("panicked"), "{used}");
                    if directory == "blobs/sha256" && used.code() == 0 {
                        fs::write(&path, &whole).expect("a file can be written");
                        continue;
                    }
                    doctor_mends(&path.to_string_lossy());
                    works_again(world, &name);
                    build_named(world, &name);
                }
                let _ = coracle(["rmi", "-f", &name]).run();
            }
        }
    });
}

#[track_caller]
fn build_named(world: &World, name: &str) {
    coracle(["build", "-t", name, "."]).dir(world.root().join(name)).run().ok();
}

#[test]
fn lost_layers_and_a_lost_store_are_mended() {
    in_world("damage::lost_layers_and_a_lost_store_are_mended", Shape::default(), |world| {
        let data = world.data();
        let snapshots = || files(&data.join("snapshots"));
        // A layer's record, then its files.
        for lost in ["record.json", "fs"] {
            let before = snapshots();
            let name = build(world);
            let made =
                snapshots().into_iter().find(|path| !before.contains(path)).expect("a build makes a layer");
            let path = made.join(lost);
            if lost == "fs" {
                fs::remove_dir_all(&path).expect("a directory can be removed");
                world.commands_answer();
            } else {
                damage(world, &path, b"{");
            }
            let used = coracle(["run", "--rm", "--pull", "never", &name, "true"]).run();
            assert_ne!(used.code(), 0, "a lost layer is noticed: {used}");
            assert!(used.stderr.contains("error:"), "{used}");
            doctor_mends(&path.to_string_lossy());
            works_again(world, &name);
        }
        // A container's own record of its files.
        let container = Container::named("layer");
        coracle(["run", "--name", &container.0, IMAGE, "sh", "-c", "echo precious > /written; sleep 0.1"])
            .run()
            .ok();
        let record = held_by(&data, &text_at(&container.inspect(), "Id")[..12]);
        damage(world, &record, b"");
        doctor_mends(&record.to_string_lossy());
        assert_eq!(coracle(["cp", &format!("{}:/written", container.0), "-"]).run().code(), 0);
        coracle(["start", &container.0]).run().ok();
        drop(container);
        // All of the store: images are gone, what runs runs on, and they can be had again.
        for directory in ["blobs/sha256", "images", "references", "cache"] {
            fs::remove_dir_all(data.join(directory)).expect("a directory can be removed");
        }
        world.bystander_lives();
        coracle(["ps", "-a"]).run().ok();
        coracle(["images"]).run().ok();
        coracle(["doctor", "--repair"]).run().ok();
        coracle(["doctor"]).run().ok();
        let image = std::env::var("CORACLE_FAULTS_IMAGE").expect("a world knows its image");
        coracle(["load", "-i", &image]).run().ok();
        coracle(["run", "--rm", IMAGE, "true"]).run().ok();
        world.commands_answer();
    });
}

/// Returns the record of the snapshot that a container holds.
#[track_caller]
fn held_by(data: &Path, short: &str) -> PathBuf {
    let held = format!("container {short}");
    let records = files(&data.join("snapshots")).into_iter().map(|path| path.join("record.json"));
    records
        .into_iter()
        .find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(&held)))
        .expect("a container holds a snapshot")
}

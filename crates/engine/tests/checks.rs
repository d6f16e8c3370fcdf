//! What rules are told of images that are here: programs, owners, texts, and nothing from outside of them.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use coracle_check::{Bases as _, Images as _, Ownership};
use coracle_engine::{BuildOptions, Engine, Options, StoredImages};
use coracle_report::Quiet;
use coracle_testkit::privileged;

const DOCKERFILE: &str = "FROM scratch\n\
    COPY --chmod=755 <<EOF /usr/bin/tool\nx\nEOF\n\
    COPY --chmod=644 <<EOF /usr/bin/data\nx\nEOF\n\
    COPY --chmod=755 <<EOF /opt/own/bin/mine\nx\nEOF\n\
    COPY --chown=7:8 --chmod=640 <<EOF /etc/os-release\nID=test\nEOF\n\
    COPY links /links\n\
    ENV PATH=/opt/own/bin:/usr/bin\n\
    USER 7\n\
    EXPOSE 80\n";

fn build(engine: &Engine, context: &std::path::Path, tag: &str, more: &str) {
    let options = BuildOptions {
        context: context.to_owned().into(),
        dockerfile_inline: Some(format!("{DOCKERFILE}{more}")),
        tags: vec![tag.to_owned()],
        ..BuildOptions::default()
    };
    engine.builds().build(&options, &AtomicBool::new(false)).unwrap();
}

#[test]
fn images_are_looked_into() {
    if !privileged() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let context = directory.path().join("context");
    std::fs::create_dir_all(context.join("links")).unwrap();
    symlink("/usr/bin/tool", context.join("links/tool")).unwrap();
    symlink("../../../../../../etc/hostname", context.join("links/outside")).unwrap();
    symlink("loop", context.join("links/loop")).unwrap();
    let engine = Engine::open(Options {
        data_root: Some(directory.path().join("data")),
        run_root: Some(directory.path().join("run")),
        reporter: Arc::new(Quiet),
        environment: BTreeMap::new(),
    })
    .unwrap();
    build(&engine, &context, "app:1", "");
    build(&engine, &context, "other:1", "LABEL coracle.stand-in=true\n");

    let images = StoredImages::new(&engine);
    for (program, there) in [
        ("tool", Some(true)),
        ("mine", Some(true)),
        ("data", Some(false)),
        ("curl", Some(false)),
        ("/links/tool", Some(true)),
        ("/links/outside", Some(false)),
        ("/usr/bin", Some(false)),
        ("bin/tool", None),
        ("", None),
    ] {
        assert_eq!(images.has_program("app:1", program), there, "{program}");
    }
    assert_eq!(images.has_program("unknown:1", "tool"), None);
    let file = Ownership { uid: 7, gid: 8, mode: 0o640, directory: false };
    assert_eq!(images.ownership("app:1", "/etc/os-release"), Some(Some(file)));
    assert_eq!(
        images.ownership("app:1", "/links/outside"),
        Some(None),
        "the host's file is none of the image"
    );
    assert_eq!(images.text("app:1", "/etc/os-release").as_deref(), Some("ID=test\n"));
    assert_eq!(images.text("app:1", "/links/outside"), None);
    let facts = images.base("app:1", None).unwrap();
    assert_eq!((facts.user.as_str(), facts.exposed), ("7", vec!["80/tcp".to_owned()]));

    // What a stand-in lacks is not known of the image that it stands for.
    assert_eq!(images.has_program("other:1", "tool"), Some(true));
    assert_eq!(images.has_program("other:1", "curl"), None);
    assert_eq!(images.ownership("other:1", "/missing"), None);
    assert_eq!(images.text("other:1", "/etc/os-release"), None);

    let configurations = StoredImages::configurations(&engine);
    assert!(configurations.base("app:1", None).is_some());
    assert_eq!(configurations.has_program("app:1", "tool"), None);
}

//! Whatever a tree of files is: its digest is that of every copy of it, and of no other tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    File { bytes: Vec<u8>, mode: u32 },
    Link(String),
}

type Tree = BTreeMap<String, Node>;

fn node() -> impl Strategy<Value = Node> {
    let mode = prop::sample::select(vec![0o644, 0o755, 0o600]);
    let file = (prop::collection::vec(any::<u8>(), 0..20), mode);
    prop_oneof![
        4 => file.prop_map(|(bytes, mode)| Node::File { bytes, mode }),
        1 => "[a-z/.]{1,8}".prop_map(Node::Link),
    ]
}

/// Directories and files have names of their own, so that no file stands where a directory must.
fn tree() -> impl Strategy<Value = Tree> {
    prop::collection::btree_map("(d[0-2]/){0,2}f[0-4]( ü)?", node(), 1..8)
}

/// Writes a tree, in the order of names or against it, at another time and with another owner of its files.
fn write(tree: &Tree, root: &Path, backwards: bool) {
    fs::create_dir(root).unwrap();
    let mut nodes: Vec<_> = tree.iter().collect();
    if backwards {
        nodes.reverse();
    }
    for (path, node) in nodes {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match node {
            Node::File { bytes, mode } => {
                fs::write(&path, bytes).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                if backwards {
                    touch(&path);
                    // Only root may; anyone else's copy has one owner as well as another.
                    let _ = std::os::unix::fs::chown(&path, Some(1234), Some(1234));
                }
            }
            Node::Link(target) => symlink(target, &path).unwrap(),
        }
    }
}

fn touch(path: &Path) {
    let early = SystemTime::UNIX_EPOCH + Duration::from_hours(300_000);
    fs::File::open(path).unwrap().set_modified(early).unwrap();
}

fn digest(root: &Path, directory: &str) -> Digest {
    let sources = Sources::context(root, &root.join("Dockerfile")).unwrap();
    let path = SourcePath { path: directory.to_owned(), literal: true, trailing_slash: false, pivot: None };
    sources.digest(&Selection { paths: vec![path], exclude: Vec::new() }).unwrap()
}

/// Returns trees that differ from this one in one node.
fn others(tree: &Tree, at: prop::sample::Index) -> Vec<Tree> {
    let (name, node) = tree.iter().nth(at.index(tree.len())).unwrap();
    let with = |name: &str, node: Node| {
        let mut other = tree.clone();
        other.insert(name.to_owned(), node);
        other
    };
    let mut gone = tree.clone();
    gone.remove(name);
    let mut renamed = gone.clone();
    renamed.insert(format!("{name}x"), node.clone());
    let mut all = vec![gone, renamed];
    match node {
        Node::File { bytes, mode } => {
            let mut longer = bytes.clone();
            longer.push(0);
            all.push(with(name, Node::File { bytes: longer, mode: *mode }));
            if let Some((first, rest)) = bytes.split_first() {
                let other = [&[first ^ 1], rest].concat();
                all.push(with(name, Node::File { bytes: other, mode: *mode }));
            }
            all.push(with(name, Node::File { bytes: bytes.clone(), mode: mode ^ 0o100 }));
            all.push(with(name, Node::Link("f".to_owned())));
        }
        Node::Link(target) => {
            all.push(with(name, Node::Link(format!("{target}x"))));
            all.push(with(name, Node::File { bytes: target.clone().into_bytes(), mode: 0o644 }));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_digest_is_that_of_the_content(tree in tree(), at in any::<prop::sample::Index>()) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        write(&tree, &root.join("here"), false);
        write(&tree, &root.join("there"), true);
        let whole = digest(root, "here");
        prop_assert_eq!(digest(root, "there"), whole, "a copy, touched, of another owner");
        prop_assert_eq!(digest(&root.join("here"), ""), whole, "the context itself");
        fs::create_dir(root.join("deep")).unwrap();
        fs::rename(root.join("here"), root.join("deep/moved")).unwrap();
        prop_assert_eq!(digest(root, "deep/moved"), whole, "moved and renamed");
        for (number, other) in others(&tree, at).iter().enumerate() {
            let name = format!("other{number}");
            write(other, &root.join(&name), false);
            prop_assert_ne!(digest(root, &name), whole, "{:?} is not {:?}", other, tree);
        }
    }
}

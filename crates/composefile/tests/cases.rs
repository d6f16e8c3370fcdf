//! What Docker Compose reads, the engine reads too: each case of `tests/compose` that Docker Compose takes loads, with
//! every attribute honoured, warned of, or refused by name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use coracle_composefile::{CommandLine, Loader, load, locate};
use coracle_report::Severity;

/// Faults that say what the engine cannot do, and not that the file is wrong.
const REFUSED: &[&str] = &[
    "not supported",
    "neither tcp nor udp",
    "the project has no services",
    "is not an IPv4 subnet",
    "a device is an absolute path of the host",
    // `provider`.
    "neither `image` nor `build`",
    // Docker Compose says these two only when it makes the container.
    "is not an absolute path inside the container",
    "is not set",
];

struct Files(HashMap<PathBuf, String>);

impl Loader for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

#[test]
fn what_docker_compose_reads_is_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/compose");
    let mut faults = Vec::new();
    let mut read = 0;
    for entry in fs::read_dir(directory.join("cases")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let record = fs::read_to_string(directory.join("recorded").join(format!("{name}.json"))).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        if record.contains("\"fails\": true") || text.contains("-- words --") {
            continue;
        }
        let (mut files, mut process) = (HashMap::new(), indexmap::IndexMap::new());
        for part in format!("\n{text}").split("\n-- ").skip(1) {
            let (header, content) = part.split_once(" --\n").unwrap_or((part.trim_end_matches(" --"), ""));
            if header == "environment" {
                process.extend(content.lines().filter_map(|line| {
                    line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
                }));
            } else {
                files.insert(Path::new("/project").join(header), format!("{content}\n"));
            }
        }
        let files = Files(files);
        let line = CommandLine { here: "/project".into(), process, ..CommandLine::default() };
        let request = locate(&line, &files).unwrap_or_else(|error| panic!("{name}: {error}"));
        read += 1;
        if let Err(errors) = load(&request, &files) {
            let errors = errors.iter().filter(|error| error.severity == Severity::Error);
            let new = errors.filter(|error| !REFUSED.iter().any(|word| error.message.contains(word)));
            faults.extend(new.map(|error| format!("{name}: {error}")));
        }
    }
    assert!(read > 150, "only {read} cases were read");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

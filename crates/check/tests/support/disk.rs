//! Projects on disk.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle_check::{FileKind, Files, NoImages, ProjectReport, Selection, Subject, check_project, gather};
use coracle_composefile::{
    LoadRequest, Loader, combine_environment_with_origins, discover, load_with_provenance,
};
use indexmap::IndexMap;

/// A project's directory, read from disk.
pub struct Disk {
    root: PathBuf,
    /// What git tracks below it; `None` outside of a repository.
    tracked: Option<BTreeSet<PathBuf>>,
}

impl Disk {
    /// Opens a directory of this repository.
    pub fn open(below_the_repository: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(below_the_repository);
        let root = root.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", root.display()));
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(&root).output();
        let tracked = listed.ok().filter(|output| output.status.success()).map(|output| {
            let text = String::from_utf8(output.stdout).expect("UTF-8 names");
            text.split('\0').filter(|name| !name.is_empty()).map(|name| root.join(name)).collect()
        });
        Self { root, tracked }
    }

    /// Checks it for an environment, without images and without a machine.
    pub fn check(&self, environment: Option<&str>) -> ProjectReport {
        let found = discover(&self.root, environment, self).expect("a project");
        let process: IndexMap<String, String> = IndexMap::new();
        let (variables, sources) =
            combine_environment_with_origins(&process, &found.env_files, self).expect("a good env file");
        let request = LoadRequest {
            files: found.files,
            project_directory: found.directory,
            environment: variables,
            environment_name: environment.map(str::to_owned),
            ..LoadRequest::default()
        };
        let loaded = load_with_provenance(&request, sources, self)
            .unwrap_or_else(|refused| panic!("{:#?}", refused.diagnostics));
        let (builds, faulty) = gather(&loaded.project, self);
        let subject = Subject {
            directory: &self.root,
            environment,
            production: environment.is_some_and(Subject::is_production),
            loaded: Some(&loaded),
            builds: &builds,
            files: self,
            images: &NoImages,
            host: None,
            today: 20_781,
        };
        let mut report = check_project(&subject, faulty, &Selection::default());
        report.relative_to(&self.root);
        report
    }
}

impl Files for Disk {
    fn text(&self, path: &Path) -> Option<String> {
        let small = path.metadata().ok()?.len() <= 1 << 20;
        small.then(|| std::fs::read_to_string(path).ok()).flatten()
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        let kind = path.metadata().ok()?.file_type();
        Some(match () {
            () if kind.is_file() => FileKind::File,
            () if kind.is_dir() => FileKind::Directory,
            () => FileKind::Other,
        })
    }

    fn list(&self, directory: &Path) -> Vec<String> {
        let mut names = Loader::list(self, directory).unwrap_or_default();
        names.sort();
        names
    }

    fn mode(&self, path: &Path) -> Option<(u32, u64)> {
        use std::os::unix::fs::MetadataExt;
        let metadata = path.metadata().ok()?;
        Some((metadata.mode() & 0o7777, metadata.len()))
    }

    fn tracked(&self, path: &Path) -> Option<bool> {
        self.tracked.as_ref().map(|tracked| tracked.contains(path))
    }

    fn ignored(&self, path: &Path) -> Option<bool> {
        self.tracked.as_ref()?;
        let asked =
            Command::new("git").args(["check-ignore", "-q"]).arg(path).current_dir(&self.root).status();
        Some(asked.ok()?.success())
    }
}

impl Loader for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(path)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

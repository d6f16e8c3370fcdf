//! Projects in memory, written as text: see `tests/rules/README.md`.

mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use coracle_check::{
    BaseFacts, Bases, Build, FileKind, Files, HostFacts, Images, NoImages, Ownership, ProjectReport,
    Selection, Subject, check_project, gather,
};
use coracle_composefile::{
    LoadRequest, Loader, combine_environment_with_origins, discover, load_with_provenance,
};
use indexmap::IndexMap;

/// Where the files of a case lie.
pub const ROOT: &str = "/project";

/// One case: files and circumstances.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Its heading.
    pub title: String,
    /// Whether it has findings of the rule.
    pub bad: bool,
    /// Texts by path below the root; a name that ends with `/` is an empty directory.
    pub files: BTreeMap<PathBuf, String>,
    /// `key=value` or words.
    pub options: Vec<(String, String)>,
    /// Images by name.
    pub images: BTreeMap<String, Image>,
    /// The machine, when it is looked at.
    pub host: Option<HostFacts>,
    /// Lines of `expect`.
    pub expected: Vec<String>,
    /// Files after the rule's fixes.
    pub fixed: BTreeMap<PathBuf, String>,
}

/// An image of a case.
#[derive(Clone, Debug, Default)]
pub struct Image {
    facts: BaseFacts,
    programs: BTreeSet<String>,
    paths: BTreeMap<String, Ownership>,
    texts: BTreeMap<String, String>,
}

impl Case {
    /// Reads the cases of a file.
    pub fn read_all(text: &str) -> Vec<Self> {
        format!("\n{text}").split("\n== ").skip(1).map(Self::read).collect()
    }

    fn read(text: &str) -> Self {
        let (heading, body) = text.split_once('\n').unwrap_or((text, ""));
        let (kind, title) = heading.split_once(':').unwrap_or((heading, ""));
        let bad = match kind.trim() {
            "bad" => true,
            "good" => false,
            other => panic!("a case is bad or good, not `{other}`"),
        };
        let mut case = Self { title: title.trim().to_owned(), bad, ..Self::default() };
        for part in format!("\n{body}").split("\n-- ").skip(1) {
            let (header, content) =
                part.split_once(" --\n").unwrap_or((part.trim_end().trim_end_matches(" --"), ""));
            let content = if content.is_empty() || content.ends_with('\n') {
                content.to_owned()
            } else {
                format!("{content}\n")
            };
            case.part(header.trim(), content);
        }
        case
    }

    fn part(&mut self, header: &str, content: String) {
        let lines = content.lines().map(str::trim).filter(|line| !line.is_empty());
        match header.split_once(' ') {
            None if header == "options" => {
                let pair = |line: &str| {
                    let (key, value) = line.split_once('=').unwrap_or((line, ""));
                    (key.trim().to_owned(), value.trim().to_owned())
                };
                self.options.extend(lines.map(pair));
            }
            None if header == "host" => self.host = Some(host::read(lines)),
            None if header == "expect" => self.expected.extend(lines.map(str::to_owned)),
            Some(("image", name)) => {
                self.images.insert(name.to_owned(), Image::read(lines));
            }
            Some(("fixed", path)) => {
                self.fixed.insert(Path::new(ROOT).join(path), content);
            }
            _ => {
                self.files.insert(Path::new(ROOT).join(header), content);
            }
        }
    }

    fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    /// Checks the case's project; without a compose file, its Dockerfiles.
    pub fn check(&self) -> ProjectReport {
        let root = Path::new(ROOT);
        let environment = self.option("env");
        let names: Vec<String> = Loader::list(self, root).unwrap();
        let composed = names.iter().any(|name| {
            ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"]
                .contains(&name.as_str())
        });
        let loaded = composed.then(|| {
            let found =
                discover(root, environment, self).unwrap_or_else(|error| panic!("{}: {error:?}", self.title));
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
            load_with_provenance(&request, sources, self)
                .unwrap_or_else(|refused| panic!("{}: {:#?}", self.title, refused.diagnostics))
        });
        let (builds, faulty) = if let Some(loaded) = &loaded {
            gather(&loaded.project, self)
        } else {
            let files = self.files.keys().filter(|path| {
                path.file_name().is_some_and(|name| {
                    let name = name.to_string_lossy();
                    name.starts_with("Dockerfile") && !name.ends_with(".dockerignore")
                })
            });
            let alone = files.map(|path| Build::alone(path, path.parent(), self));
            let alone = alone.collect::<Result<Vec<_>, _>>();
            (alone.unwrap_or_else(|error| panic!("{}: {error}", self.title)), Vec::new())
        };
        let production = environment.is_some_and(Subject::is_production);
        let today = self.option("today").map_or(20_781, |days| days.parse().expect("days"));
        let subject = Subject {
            directory: root,
            environment,
            production,
            loaded: loaded.as_ref(),
            builds: &builds,
            files: self,
            images: if self.images.is_empty() { &NoImages } else { self },
            host: self.host.as_ref(),
            today,
        };
        let mut report = check_project(&subject, faulty, &Selection::default());
        report.relative_to(root);
        report
    }
}

impl Image {
    fn read<'l>(lines: impl Iterator<Item = &'l str>) -> Self {
        let mut image = Self::default();
        let host = coracle_oci::Platform::host();
        image.facts.platform = (host.os, host.architecture);
        for line in lines {
            let (key, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.trim();
            let words = || value.split_whitespace().map(str::to_owned);
            match key {
                "env" => image.facts.env.push(value.to_owned()),
                "user" => value.clone_into(&mut image.facts.user),
                "workdir" => value.clone_into(&mut image.facts.working_dir),
                "cmd" => image.facts.cmd = words().collect(),
                "entrypoint" => image.facts.entrypoint = words().collect(),
                "exposed" => image.facts.exposed = words().collect(),
                "volumes" => image.facts.volumes = words().collect(),
                "healthcheck" => image.facts.healthcheck = true,
                "programs" => image.programs.extend(words()),
                // `path: /srv 33:33 755 dir`
                "path" => {
                    let words: Vec<&str> = value.split_whitespace().collect();
                    let (uid, gid) = words[1].split_once(':').expect("uid:gid");
                    let owner = Ownership {
                        uid: uid.parse().expect("a number"),
                        gid: gid.parse().expect("a number"),
                        mode: u32::from_str_radix(words[2], 8).expect("octal"),
                        directory: words.get(3) == Some(&"dir"),
                    };
                    image.paths.insert(words[0].to_owned(), owner);
                }
                // `text: /etc/os-release ID=debian`
                "text" => {
                    let (path, text) = value.split_once(' ').expect("path and text");
                    image.texts.insert(path.to_owned(), text.replace("\\n", "\n"));
                }
                other => panic!("`{other}` is nothing that is said of an image"),
            }
        }
        image
    }
}

impl Bases for Case {
    fn base(&self, image: &str, _platform: Option<&str>) -> Option<BaseFacts> {
        self.images.get(image).map(|image| image.facts.clone())
    }
}

impl Images for Case {
    fn has_program(&self, image: &str, program: &str) -> Option<bool> {
        self.images.get(image).map(|image| image.programs.contains(program))
    }

    fn ownership(&self, image: &str, path: &str) -> Option<Option<Ownership>> {
        self.images.get(image).map(|image| image.paths.get(path).copied())
    }

    fn text(&self, image: &str, path: &str) -> Option<String> {
        self.images.get(image)?.texts.get(path).cloned()
    }
}

impl Files for Case {
    fn text(&self, path: &Path) -> Option<String> {
        self.files.get(path).cloned()
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        if self.files.contains_key(path) && !path.to_string_lossy().ends_with('/') {
            return Some(FileKind::File);
        }
        let below = self.files.keys().any(|own| own.starts_with(path));
        below.then_some(FileKind::Directory)
    }

    fn list(&self, directory: &Path) -> Vec<String> {
        let names: BTreeSet<String> = self
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(directory).ok()?.components().next())
            .map(|name| name.as_os_str().to_string_lossy().into_owned())
            .collect();
        names.into_iter().collect()
    }

    fn mode(&self, path: &Path) -> Option<(u32, u64)> {
        let text = self.files.get(path)?;
        let shown = path.strip_prefix(ROOT).ok()?.display().to_string();
        let mode =
            self.option(&format!("mode {shown}")).map_or(0o644, |mode| u32::from_str_radix(mode, 8).unwrap());
        Some((mode, text.len() as u64))
    }

    fn tracked(&self, path: &Path) -> Option<bool> {
        self.option("git")?;
        let shown = path.strip_prefix(ROOT).ok()?.display().to_string();
        Some(self.files.contains_key(path) && self.option(&format!("untracked {shown}")).is_none())
    }

    fn ignored(&self, path: &Path) -> Option<bool> {
        self.option("git")?;
        let shown = path.strip_prefix(ROOT).ok()?.display().to_string();
        Some(self.option(&format!("ignored {shown}")).is_some())
    }
}

impl Loader for Case {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Ok(Files::list(self, path))
    }
}

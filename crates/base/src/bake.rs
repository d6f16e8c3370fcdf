//! The baker: runs a plan with `mmdebstrap`, writes the layer, composes the image configuration.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::{fs, thread};

use coracle_oci::{DiffId, Digest, Empty, History, ImageConfig, RunConfig};
use coracle_report::{Diagnostic, Outcome, Reporter, Stream, Task, TaskId};

use crate::archive::ArchiveError;
use crate::debian::{self, PackageList, Places};
use crate::layer::{self, EPOCH, EPOCH_TEXT, LayerError};
use crate::plan::{self, LABEL_PACKAGES, LABEL_RECIPE, LABEL_STAND_IN, Plan};
use crate::recipes::Match;
use crate::stage::Stage;
use crate::workspace::Workspace;

/// How many of the last lines of `mmdebstrap` a failure shows.
const SHOWN_LINES: usize = 25;

/// Why a bake failed. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// A program that baking needs is not installed.
    #[error("cannot bake `{name}`: `{tool}` is not installed")]
    MissingTool {
        /// The recipe.
        name: String,
        /// The program.
        tool: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// Baking makes devices, mounts and files of any owner.
    #[error("cannot bake `{name}`: baking needs root")]
    NotRoot {
        /// The recipe.
        name: String,
    },
    /// `mmdebstrap` failed.
    #[error("baking `{name}` failed: mmdebstrap {how}")]
    Debian {
        /// The recipe.
        name: String,
        /// How it ended.
        how: String,
        /// Its last lines.
        output: Vec<String>,
    },
    /// An archive could not be had.
    #[error("cannot bake `{name}`")]
    Archive {
        /// The recipe.
        name: String,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// The layer could not be written.
    #[error("cannot bake `{name}`")]
    Layer {
        /// The recipe.
        name: String,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The recipe asks for the version of a package that the tree was not made of.
    #[error("recipe `{name}` asks for the version of `{package}`, which the image does not have")]
    NoSuchPackage {
        /// The recipe.
        name: String,
        /// The package.
        package: String,
    },
    /// Working files could not be read or written.
    #[error("cannot bake `{name}`: working on `{path}` failed")]
    Io {
        /// The recipe.
        name: String,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl BaseError {
    /// Returns the failure with its evidence and advice.
    pub fn to_diagnostic(&self) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(self.code(), self.to_string());
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            diagnostic = diagnostic.with_note(error.to_string());
            cause = error.source();
        }
        match self {
            Self::MissingTool { package, .. } => diagnostic.with_hint(format!("apt-get install {package}")),
            Self::NotRoot { .. } => diagnostic.with_hint("run the same command with sudo"),
            Self::Debian { output, .. } => {
                let diagnostic = output.iter().fold(diagnostic, |it, line| it.with_note(line.as_str()));
                diagnostic
                    .with_hint("check that the Debian mirror can be reached, then run the same command again")
            }
            Self::Archive { source: ArchiveError::Fetch { .. }, .. } => diagnostic
                .with_hint("check that the npm registry can be reached, then run the same command again"),
            Self::Archive { .. } | Self::Layer { .. } | Self::NoSuchPackage { .. } => diagnostic,
            Self::Io { .. } => diagnostic.with_hint("check free space with `df`, and permissions"),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::MissingTool { .. } => "base-missing-tool",
            Self::NotRoot { .. } => "base-not-root",
            Self::Debian { .. } => "base-debian",
            Self::Archive { .. } => "base-archive",
            Self::Layer { .. } => "base-layer",
            Self::NoSuchPackage { .. } => "base-no-such-package",
            Self::Io { .. } => "base-io",
        }
    }
}

/// Where packages come from and are kept.
#[derive(Clone, Debug)]
pub struct BakeOptions {
    /// The Debian mirror: the address above `debian` and `debian-security`.
    pub mirror: String,
    /// The npm registry.
    pub npm_registry: String,
    /// A directory that keeps fetched packages for the next bake; none keeps nothing.
    pub cache: Option<PathBuf>,
}

impl Default for BakeOptions {
    fn default() -> Self {
        Self {
            mirror: "http://deb.debian.org".to_owned(),
            npm_registry: "https://registry.npmjs.org".to_owned(),
            cache: None,
        }
    }
}

/// A baked image: one uncompressed layer and its configuration.
#[derive(Clone, Debug)]
pub struct Baked {
    /// The layer, in the work directory that was given; the caller moves or removes it.
    pub layer_tar: PathBuf,
    /// The layer's digest.
    pub diff_id: DiffId,
    /// The layer's size, bytes.
    pub layer_size: u64,
    /// The image configuration, with the layer in it.
    pub config: ImageConfig,
    /// What the image is made of.
    pub package_list: PackageList,
    /// [`Plan::key`] of what was baked.
    pub plan_key: Digest,
}

/// Bakes plans.
#[derive(Clone, Debug, Default)]
pub struct Baker {
    options: BakeOptions,
}

/// Bakes what `found` stands for, with the default options. See [`Baker::bake`].
pub fn bake(found: &Match, work_dir: &Path, reporter: &dyn Reporter) -> Result<Baked, BaseError> {
    Baker::default().bake(found, work_dir, reporter, None)
}

impl Baker {
    /// Returns a baker with these options.
    pub fn new(options: BakeOptions) -> Self {
        Self { options }
    }

    /// Bakes what `found` stands for, as a task below `parent`.
    ///
    /// Works in a new directory of `work_dir` (which must be on a file system with devices allowed), and leaves
    /// only the layer there; on failure nothing.
    pub fn bake(
        &self,
        found: &Match,
        work_dir: &Path,
        reporter: &dyn Reporter,
        parent: Option<TaskId>,
    ) -> Result<Baked, BaseError> {
        let task = Task::start(reporter, parent, format!("base {}", found.reference.familiar()));
        let result = self.bake_plan(&found.plan, work_dir, &task);
        task.finish(match &result {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::Failed(error.to_string()),
        });
        result
    }

    fn bake_plan(&self, plan: &Plan, work_dir: &Path, task: &Task<'_>) -> Result<Baked, BaseError> {
        let name = || plan.recipe.clone();
        let failed = |path: &Path, source| BaseError::Io { name: name(), path: path.to_owned(), source };
        if !rustix::process::geteuid().is_root() {
            return Err(BaseError::NotRoot { name: name() });
        }
        let key = plan.key();
        let workspace = Workspace::create(work_dir, key).map_err(|error| failed(work_dir, error))?;
        let stage_path = workspace.path().join("stage.tar");
        self.write_stage(plan, &stage_path, task)?;
        let tree = workspace.path().join("tree");
        let debs = self.options.cache.as_ref().map(|cache| cache.join("deb").join(plan.suite.as_str()));
        if let Some(debs) = &debs {
            fs::create_dir_all(debs).map_err(|error| failed(debs, error))?;
        }
        let places = Places { tree: &tree, stage: &stage_path, packages: debs.as_deref() };
        task.state(format!("Debian {}", plan.suite));
        run_mmdebstrap(plan, debian::arguments(plan, &places, &self.options.mirror), workspace.path(), task)?;
        task.state("layer");
        let mut package_list = debian::package_list(&tree).map_err(|error| failed(&tree, error))?;
        package_list
            .extend(plan.archives.iter().map(|archive| (archive.npm.clone(), archive.version.clone())));
        let layer_tar = workspace.layer();
        let (diff_id, layer_size) = layer::write(&tree, &plan.exclude, &layer_tar).map_err(|source| {
            // Half a layer is of no use to anyone; that it cannot be removed adds nothing to the first failure.
            let _ = fs::remove_file(&layer_tar);
            BaseError::Layer { name: name(), source }
        })?;
        let config = image_config(plan, &package_list, diff_id)?;
        Ok(Baked { layer_tar, diff_id, layer_size, config, package_list, plan_key: key })
    }

    fn write_stage(&self, plan: &Plan, path: &Path, task: &Task<'_>) -> Result<(), BaseError> {
        let name = || plan.recipe.clone();
        let failed = |source| BaseError::Io { name: name(), path: path.to_owned(), source };
        let mut stage = Stage::create(path).map_err(failed)?;
        let cache = self.options.cache.as_ref().map(|cache| cache.join("npm"));
        for archive in &plan.archives {
            task.state(archive.label());
            archive
                .fetch(&self.options.npm_registry, cache.as_deref())
                .and_then(|bytes| archive.append_to(&bytes, &mut stage))
                .map_err(|source| BaseError::Archive { name: name(), source })?;
        }
        stage.add_plan(plan).map_err(failed)?;
        stage.finish().map_err(failed)
    }
}

fn run_mmdebstrap(
    plan: &Plan,
    arguments: Vec<std::ffi::OsString>,
    temporary: &Path,
    task: &Task<'_>,
) -> Result<(), BaseError> {
    let missing = |tool, package| BaseError::MissingTool { name: plan.recipe.clone(), tool, package };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => missing("setpriv", "util-linux"),
        _ => BaseError::Io { name: plan.recipe.clone(), path: "mmdebstrap".into(), source },
    };
    // In namespaces of its own that die with us: mmdebstrap mounts proc, sys and dev into the tree, and nobody
    // would unmount them, or stop it, after a SIGKILL.
    let mut child = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg("mmdebstrap")
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .env("TMPDIR", temporary)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let last = Mutex::new(VecDeque::new());
    let stdout = child.stdout.take().expect("asked for above");
    let stderr = child.stderr.take().expect("asked for above");
    thread::scope(|scope| {
        scope.spawn(|| pass_on(stdout, Stream::Stdout, task, &last));
        scope.spawn(|| pass_on(stderr, Stream::Stderr, task, &last));
    });
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    // What unshare, as a shell, says of a program that is not there.
    if status.code() == Some(127) {
        return Err(missing("mmdebstrap", "mmdebstrap"));
    }
    let output = last.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into();
    Err(BaseError::Debian { name: plan.recipe.clone(), how: describe(status), output })
}

fn pass_on(from: impl Read, stream: Stream, task: &Task<'_>, last: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            continue;
        }
        if let Some(state) = line.strip_prefix("I: ") {
            let state = state.split(" in shell:").next().unwrap_or(state);
            task.state(state.trim_end_matches("..."));
        } else {
            task.output(stream, line.as_str());
        }
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.len() == SHOWN_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// Returns the image configuration of a plan whose tree holds `packages`.
fn image_config(plan: &Plan, packages: &[(String, String)], layer: DiffId) -> Result<ImageConfig, BaseError> {
    let version = |package: &str| {
        let found = packages.iter().find(|(name, _)| name == package);
        found.map(|(_, version)| debian::upstream_version(version).to_owned())
    };
    let env = plan::environment(&plan.image.env, &version)
        .map_err(|package| BaseError::NoSuchPackage { name: plan.recipe.clone(), package })?;
    let set =
        |items: &[String]| items.iter().map(|item| (item.clone(), Empty {})).collect::<BTreeMap<_, _>>();
    let mut labels = plan.image.labels.clone();
    labels.insert(LABEL_STAND_IN.to_owned(), "true".to_owned());
    labels.insert(LABEL_RECIPE.to_owned(), plan.recipe.clone());
    labels.insert(LABEL_PACKAGES.to_owned(), debian::digest_of(packages).to_string());
    let mut config = ImageConfig::scratch();
    config.created = Some(EPOCH_TEXT.to_owned());
    config.config = RunConfig {
        user: plan.image.user.clone().unwrap_or_default(),
        exposed_ports: set(&plan.image.ports),
        env,
        entrypoint: plan.image.entrypoint.clone(),
        cmd: plan.image.cmd.clone(),
        volumes: set(&plan.image.volumes),
        working_dir: plan.image.workdir.clone().unwrap_or_default(),
        labels,
        stop_signal: plan.image.stop_signal.clone(),
        ..RunConfig::default()
    };
    config.rootfs.diff_ids = vec![layer];
    config.history = vec![History {
        created: Some(EPOCH_TEXT.to_owned()),
        created_by: Some(format!("coracle base build {}", plan.recipe)),
        comment: Some(format!("stand-in from Debian {}", plan.suite)),
        ..History::default()
    }];
    Ok(config)
}

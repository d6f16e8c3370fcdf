//! `coracle install` and `coracle uninstall`: the program in its place and a systemd unit that brings containers back
//! after a reboot. Running containers are left alone by both.

mod unit;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;
use unit::Unit;

use super::Done;
use crate::context::Context;

const UNIT: &str = "coracle.service";

const EXAMPLES: &str = "\
Examples:
  sudo coracle install                      /usr/local/bin/coracle and a unit of the system
  coracle install                           ~/.local/bin/coracle and a unit of your own
  coracle install --root /mnt/image         into a file system that is not running
";

/// Where things go.
#[derive(Debug, clap::Args)]
pub struct Places {
    /// Directory above `bin`; /usr/local, or ~/.local for who is not root.
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<PathBuf>,
    /// File system to install into, as if it were the root.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A unit of this user's, even for root.
    #[arg(long)]
    pub user: bool,
}

/// Options of `coracle install`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct InstallArgs {
    #[command(flatten)]
    pub places: Places,
    /// Link to this program instead of copying it.
    #[arg(long)]
    pub link: bool,
    /// Write the unit, but do not enable it.
    #[arg(long)]
    pub no_enable: bool,
}

/// Options of `coracle uninstall`.
#[derive(Debug, clap::Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    pub places: Places,
}

/// The places, settled.
struct Settled {
    /// Prepended to all paths; empty for the running system.
    root: PathBuf,
    /// The program as the unit names it.
    program: PathBuf,
    /// The directory of units.
    units: PathBuf,
    user: bool,
}

impl Settled {
    fn of(context: &Context, places: &Places) -> Result<Self> {
        let variables = context.variables();
        let user = places.user || !rustix::process::geteuid().is_root();
        let home = || {
            let home = variables.get("HOME").filter(|home| home.starts_with('/'));
            home.map(PathBuf::from).ok_or_else(|| {
                refused("HOME is not set".to_owned(), "say where to: --prefix DIR, or run it as root")
            })
        };
        let prefix = match (&places.prefix, user) {
            (Some(prefix), _) => std::path::absolute(prefix).map_err(|error| broken(prefix, &error))?,
            (None, true) => home()?.join(".local"),
            (None, false) => PathBuf::from("/usr/local"),
        };
        let units = if user {
            let config = variables.get("XDG_CONFIG_HOME").filter(|path| path.starts_with('/'));
            match config {
                Some(config) => PathBuf::from(config),
                None => home()?.join(".config"),
            }
            .join("systemd/user")
        } else {
            PathBuf::from("/etc/systemd/system")
        };
        let root = match &places.root {
            Some(root) if !root.is_dir() => {
                return Err(refused(format!("{} is no directory", root.display()), "make it first"));
            }
            Some(root) => std::path::absolute(root).map_err(|error| broken(root, &error))?,
            None => PathBuf::new(),
        };
        Ok(Self { root, program: prefix.join("bin/coracle"), units, user })
    }

    /// Returns a path within the root.
    fn within(&self, path: &Path) -> PathBuf {
        if self.root.as_os_str().is_empty() {
            return path.to_owned();
        }
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn unit(&self) -> PathBuf {
        self.within(&self.units.join(UNIT))
    }

    /// Returns the link that makes systemd start the unit.
    fn wanted(&self) -> PathBuf {
        let target = if self.user { "default.target.wants" } else { "multi-user.target.wants" };
        self.within(&self.units.join(target).join(UNIT))
    }

    /// Returns whether systemd runs here and is to be told.
    fn live(&self) -> bool {
        self.root.as_os_str().is_empty() && Path::new("/run/systemd/system").is_dir()
    }

    fn systemctl(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new("systemctl");
        command.args(self.user.then_some("--user")).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        let output = command.output().map_err(|error| broken(Path::new("systemctl"), &error))?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let hint = "the files are in place; enable the unit by hand";
        Err(refused(format!("systemctl {}: {why}", words.join(" ")), hint))
    }
}

/// Runs `coracle install`.
pub fn install(context: &Context, args: InstallArgs) -> Result<Done> {
    let settled = Settled::of(context, &args.places)?;
    let unit = settled.unit();
    if let Some(text) = read(&unit)?
        && !unit::is_ours(&text)
    {
        let message = format!("{} is there and not of our writing", unit.display());
        return Err(refused(message, "move it away first"));
    }
    place_program(&settled.within(&settled.program), args.link)?;
    let text = Unit {
        program: settled.program.clone(),
        user: settled.user,
        data_root: absolute(context.data_root.as_deref())?,
        run_root: absolute(context.run_root.as_deref())?,
    }
    .text();
    replace(&unit, |new| fs::write(new, text).and_then(|()| mode(new, 0o644)))?;
    context.printer.data(settled.within(&settled.program).display().to_string());
    context.printer.data(unit.display().to_string());
    if !args.no_enable {
        let target = settled.units.join(UNIT);
        replace(&settled.wanted(), |new| std::os::unix::fs::symlink(&target, new))?;
    }
    if settled.live() {
        settled.systemctl(&["daemon-reload"])?;
        if !args.no_enable {
            // So that a shutdown ends the containers: what runs already is left as it is.
            settled.systemctl(&["start", UNIT])?;
        }
    }
    if settled.user {
        context.printer.status("so that it starts without a login: loginctl enable-linger");
    }
    Ok(Done::Ok)
}

/// Runs `coracle uninstall`.
pub fn uninstall(context: &Context, args: UninstallArgs) -> Result<Done> {
    let settled = Settled::of(context, &args.places)?;
    let unit = settled.unit();
    let Some(text) = read(&unit)? else {
        let message = format!("{} is not there", unit.display());
        return Err(refused(message, "give the --prefix, --root and --user of the installation"));
    };
    if !unit::is_ours(&text) {
        let message = format!("{} is not of our writing", unit.display());
        return Err(refused(message, "remove it by hand if it is to go"));
    }
    remove(&settled.wanted())?;
    remove(&unit)?;
    context.printer.data(unit.display().to_string());
    // Only the program that the unit speaks of.
    if text.contains(&settled.program.display().to_string()) {
        let program = settled.within(&settled.program);
        remove(&program)?;
        context.printer.data(program.display().to_string());
    }
    if settled.live() {
        settled.systemctl(&["daemon-reload"])?;
    }
    Ok(Done::Ok)
}

/// Puts this program at `place`, in one step: whoever runs the old one there goes on with it.
fn place_program(place: &Path, link: bool) -> Result<()> {
    let ours = std::env::current_exe().map_err(|error| broken(Path::new("/proc/self/exe"), &error))?;
    if fs::canonicalize(place).is_ok_and(|there| there == ours) {
        return Ok(());
    }
    replace(place, |new| {
        if link {
            return std::os::unix::fs::symlink(&ours, new);
        }
        fs::copy(&ours, new)?;
        mode(new, 0o755)
    })
}

/// Makes a file under another name and renames it into place; the directory is made when it is missing.
fn replace(place: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let directory = place.parent().unwrap_or(Path::new("/"));
    let new = directory.join(format!(".coracle-install-{}", std::process::id()));
    let made = fs::create_dir_all(directory).and_then(|()| make(&new)).and_then(|()| fs::rename(&new, place));
    made.map_err(|error| {
        let _ = fs::remove_file(&new);
        broken(place, &error)
    })
}

fn mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(path, &error)),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(broken(path, &error)),
        _ => Ok(()),
    }
}

fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>> {
    path.map(|path| std::path::absolute(path).map_err(|error| broken(path, &error))).transpose()
}

fn refused(message: String, hint: &str) -> Failure {
    Failure::user(Diagnostic::error("install", message).with_hint(hint))
}

fn broken(path: &Path, error: &io::Error) -> Failure {
    let mut diagnostic = Diagnostic::error("install", format!("{}: {error}", path.display()));
    if error.kind() == io::ErrorKind::PermissionDenied {
        diagnostic = diagnostic.with_hint("run it as root, or say where to: --prefix DIR");
    }
    Failure::user(diagnostic)
}

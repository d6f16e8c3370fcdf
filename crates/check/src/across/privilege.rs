//! What a user who is not root cannot do.

use std::path::Path;

use coracle_dockerfile::Instruction;
use coracle_report::Severity;

use super::nginx::{self, configurations};
use crate::image::{Made, Origin, Owner, running};
use crate::project::{Build, Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static BUILDS: Check =
    Check { rules: &[&INSTALL_AFTER_USER, &HOME_NOT_OWNED], run: Run::Build(of_build) };
pub(super) static SERVICES: Check =
    Check { rules: &[&PRIVILEGED_PORT, &UNWRITABLE_PATH], run: Run::Subject(of_services) };

static INSTALL_AFTER_USER: Rule = Rule {
    id: "InstallAfterUser",
    family: Family::Across,
    severity: Severity::Error,
    title: "Packages are installed after `USER`, by a user who may not write where they go",
    explanation: "After `USER app` every `RUN` is run by that user. `apt-get` and `apk` need root; `npm install -g` writes below `/usr/local`; `pip install` writes there too, or into a home that the user must own. The build ends with \"Permission denied\". Install before `USER`, or in a build stage.",
    example: Some(("USER app\nRUN pip install gunicorn", "RUN pip install gunicorn\nUSER app")),
    ..Rule::PLAIN
};

static HOME_NOT_OWNED: Rule = Rule {
    id: "HomeNotOwned",
    family: Family::Across,
    severity: Severity::Warning,
    title: "The user owns nothing in their own home",
    explanation: "Without `--chown`, `COPY` gives files to root, and makes missing directories above them for root too: the home of a user who was made without one (`useradd -r`) then belongs to root. Everything that writes there (caches, `pip install --user`, history files) fails. Give `--chown=USER:GROUP`, or make the home with `useradd -m`.",
    example: Some((
        "RUN useradd -r app\nCOPY --from=build /root/.local /home/app/.local\nUSER app",
        "RUN useradd -r -m app\nCOPY --from=build --chown=app:app /root/.local /home/app/.local\nUSER app",
    )),
    ..Rule::PLAIN
};

static PRIVILEGED_PORT: Rule = Rule {
    id: "PrivilegedPort",
    family: Family::Across,
    severity: Severity::Warning,
    title: "A user who is not root is to bind a port below 1024",
    explanation: "Ports below 1024 are root's unless the engine lowers `net.ipv4.ip_unprivileged_port_start` inside the container: Docker does since 20.10, Kubernetes, containerd and others do not by themselves. Serve on a port such as 8080 and map it: `ports: [\"80:8080\"]`.",
    example: Some(("USER app\nEXPOSE 80", "USER app\nEXPOSE 8080")),
    ..Rule::PLAIN
};

static UNWRITABLE_PATH: Rule = Rule {
    id: "UnwritablePath",
    family: Family::Across,
    severity: Severity::Error,
    title: "A program is to write where its user may not",
    explanation: "nginx writes its pid file to `/run/nginx.pid`, and temporary files below `/var/cache/nginx`. Both belong to root in the official image, so that nginx started by another user ends with \"open() /run/nginx.pid failed (13: Permission denied)\". Set `pid /tmp/nginx.pid;` and the `*_temp_path`s in a configuration of your own, or use `nginxinc/nginx-unprivileged`.",
    example: Some(("FROM nginx:1.28-alpine\nUSER nginx", "FROM nginxinc/nginx-unprivileged:1.28-alpine")),
    ..Rule::PLAIN
};

fn of_build(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let made = Made::of(build, subject.images);
    install_after_user(&made, findings);
    home_not_owned(&made, findings);
}

fn install_after_user(made: &Made<'_>, findings: &mut Findings) {
    for (number, step) in made.steps.iter().enumerate() {
        if step.before.is_root() != Some(false) {
            continue;
        }
        let Some(user) = step.before.user.as_deref() else { continue };
        let user_word =
            made.steps[..number].iter().rev().find_map(|step| match &step.statement.instruction {
                Instruction::User(word) => Some(word),
                _ => None,
            });
        // A base that ends with a user of its own may have prepared everything for them.
        let Some(user_word) = user_word else { continue };
        for words in step.commands() {
            let Some((what, why)) = refused(made, number, user, &words) else { continue };
            let span = made.build.place_of(step.statement, &words[0]);
            let message = format!("`{what}` is run by `{user}`, who {why}");
            let finding = findings.add(&INSTALL_AFTER_USER, &span, message);
            finding.lines = step.statement.span.clone();
            finding
                .also(&user_word.span, format!("`{user}` from here on"))
                .hint("install before `USER`, or in a build stage");
            break;
        }
    }
}

/// Returns what a command installs and why that is refused.
fn refused(made: &Made<'_>, number: usize, user: &str, words: &[String]) -> Option<(String, &'static str)> {
    let program = words.first()?.rsplit('/').next()?;
    let verb = words.iter().skip(1).find(|word| !word.starts_with('-'))?.as_str();
    let flag = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    let what = format!("{program} {verb}");
    let before = &made.steps[number].before;
    match program {
        "apt-get" | "apt" if matches!(verb, "install" | "update" | "upgrade") => Some((what, "is not root")),
        "apk" if matches!(verb, "add" | "update" | "upgrade") => Some((what, "is not root")),
        "dnf" | "yum" | "microdnf" | "zypper" if verb == "install" => Some((what, "is not root")),
        "npm" if matches!(verb, "install" | "i") && flag(&["-g", "--global"]) => {
            let official = made.base.as_deref().is_some_and(|base| super::is_official(base, "node"));
            let moved = before.variables.contains_key("NPM_CONFIG_PREFIX")
                || before.variables.contains_key("npm_config_prefix")
                || made.says("prefix")
                || made.owner("/usr/local/lib/node_modules").is_some();
            (official && !moved)
                .then(|| (format!("{what} -g"), "may not write below /usr/local/lib/node_modules"))
        }
        // What is installed beside the sources goes into the working directory.
        "npm" | "pnpm" if matches!(verb, "ci" | "install" | "i") => {
            not_theirs(made, number, "node_modules").then_some((what, IN_WORKDIR))
        }
        "yarn" if verb == "install" => not_theirs(made, number, "node_modules").then_some((what, IN_WORKDIR)),
        "composer" if verb == "install" => not_theirs(made, number, "vendor").then_some((what, IN_WORKDIR)),
        "pip" | "pip3" if verb == "install" => {
            // An environment of the application's, or a place of its own.
            let elsewhere = flag(&["--target", "-t", "--prefix", "--root", "--python"])
                || before.variables.contains_key("VIRTUAL_ENV")
                || words[0].contains('/')
                || made.says("venv")
                || before.variables.contains_key("PYTHONUSERBASE")
                || before.variables.contains_key("HOME");
            let official = made.base.as_deref().is_some_and(|base| super::is_official(base, "python"));
            if elsewhere || !official {
                return None;
            }
            // pip falls back to the home when it may not write to the system's place.
            let account = made.accounts.iter().find(|account| made.same_user(&account.name, user))?;
            let home = format!("{}/.local", account.home);
            let writable = match made.owner(&home) {
                Some(Owner::User(owner)) => made.same_user(&owner, user),
                Some(Owner::Anybody) => true,
                Some(Owner::Root(_)) => false,
                None => account.home_made != Some(false),
            };
            (!writable).then_some((what, "may write neither to the system's packages nor to their home"))
        }
        _ => None,
    }
}

const IN_WORKDIR: &str = "may not write to the working directory, which `WORKDIR` made for root";

/// Says whether a directory that is to be made belongs to root for certain: `WORKDIR` made the one above it while the user
/// was root, nothing gave it away, and no official image has it.
fn not_theirs(made: &Made<'_>, number: usize, name: &str) -> bool {
    let step = &made.steps[number];
    let Some(workdir) = step.before.workdir.as_deref() else { return false };
    let fresh = ["/app", "/code", "/usr/src/app", "/usr/app", "/workspace", "/srv/app", "/opt/app"];
    if !fresh.iter().any(|root| Path::new(workdir).starts_with(root)) {
        return false;
    }
    let official = made.base.as_deref().and_then(crate::knowledge::official::of);
    let plain = official.is_some_and(|official| official.ports.is_empty());
    let by_root = made.steps[..number].iter().any(|before| {
        matches!(before.statement.instruction, Instruction::Workdir(_))
            && before.before.is_root() == Some(true)
    });
    let by_other = made.steps[..number].iter().any(|before| {
        matches!(before.statement.instruction, Instruction::Workdir(_))
            && before.before.is_root() != Some(true)
    });
    let says = made.says("mkdir") || made.says("install -d") || made.says("chmod");
    let theirs = |path: &str| matches!(made.owner(path), Some(Owner::User(_) | Owner::Anybody));
    plain
        && by_root
        && !by_other
        && !says
        && step.before.user.is_some()
        && !theirs(workdir)
        && !theirs(&format!("{workdir}/{name}"))
        && !made.copied.iter().any(|copied| copied.owner.is_some())
}

fn home_not_owned(made: &Made<'_>, findings: &mut Findings) {
    if made.last.is_root() != Some(false) {
        return;
    }
    let Some(user) = made.last.user.as_deref() else { return };
    let Some(account) = made.accounts.iter().find(|account| made.same_user(&account.name, user)) else {
        return;
    };
    let inside = |path: &str| Path::new(path).starts_with(&account.home);
    let mut done = Vec::new();
    for copied in &made.copied {
        let Some(dest) = copied.dest.as_deref().filter(|dest| inside(dest)) else { continue };
        if copied.owner.is_some() || done.contains(&copied.step) {
            continue;
        }
        done.push(copied.step);
        // Read-only code of root's in a home is a choice where the home itself is the user's; what programs write to is not.
        let path = dest.trim_end_matches('/');
        if !matches!(made.owner(path), Some(Owner::Root(number)) if number == copied.step) {
            continue;
        }
        let written = path
            .strip_prefix(&account.home)
            .is_some_and(|rest| rest.trim_start_matches('/').starts_with('.'));
        let homeless = account.home_made == Some(false) && made.owner(&account.home).is_none();
        if !written && !homeless {
            continue;
        }
        let name = &account.name;
        let mut message = format!("`{path}` belongs to root, and `{name}` is to work with it");
        if homeless {
            message =
                format!("`{path}` and the home `{}` above it belong to root, not to `{name}`", account.home);
        }
        let span = made.build.place_of(copied.statement, dest_word(copied.statement));
        let keyword = copied.statement.instruction.keyword();
        let finding = findings.add(&HOME_NOT_OWNED, &span, message);
        finding.lines = copied.statement.span.clone();
        if let Some(word) = made.user_at {
            finding.also(&word.span, format!("runs as `{name}`"));
        }
        finding.hint(format!("write `{keyword} --chown={name}:{name} ...`, and make the home: `useradd -m`"));
    }
}

fn dest_word(statement: &coracle_dockerfile::Statement) -> &str {
    match &statement.instruction {
        Instruction::Copy(copy) => &copy.dest.value,
        Instruction::Add(add) => &add.dest.value,
        _ => "",
    }
}

fn of_services(subject: &Subject<'_>, findings: &mut Findings) {
    for running in &running(subject) {
        let Some(made) = &running.made else { continue };
        let Some(user) = running.user().filter(|user| !matches!(user.as_str(), "" | "root" | "0")) else {
            continue;
        };
        let chosen = match (&running.service.user, made.user_at) {
            (Some(_), _) => {
                subject.loaded.and_then(|loaded| loaded.span_of(&["services", &running.service.name, "user"]))
            }
            (None, Some(word)) => Some(word.span.clone()),
            (None, None) => None,
        };
        let Some(chosen) = chosen else { continue };
        let own = running.service;
        let lowered = own.sysctls.contains_key("net.ipv4.ip_unprivileged_port_start")
            || own.cap_add.iter().any(|capability| capability == "NET_BIND_SERVICE" || capability == "ALL")
            || made.says("setcap")
            || made.says("cap_net_bind_service");
        let configurations = if running.is_nginx() { configurations(running, subject) } else { Vec::new() };
        if !lowered {
            let listened = configurations.iter().flat_map(nginx::Configuration::all).find_map(|directive| {
                let port = nginx::listened(directive)?;
                (port < 1024).then(|| (port, directive.span.clone()))
            });
            // A configuration of its own says better than `EXPOSE` where it listens.
            let exposed = made.exposed.iter().find(|(port, _)| *port < 1024).cloned();
            let command = running.command_ports().into_iter().find(|port| *port < 1024);
            let commanded = command.filter(|_| running.program().is_some_and(|program| program != "nginx"));
            let own_listen =
                configurations.iter().any(|one| one.all().iter().any(|one| one.name == "listen"));
            let found = match (listened, exposed, commanded) {
                (_, Some(exposed), _) if !own_listen || listened_is(&configurations, exposed.0) => {
                    Some(exposed)
                }
                (Some(listened), _, _) => Some(listened),
                (None, _, Some(port)) => made.cmd.map(|(statement, _)| (port, statement.span.clone())),
                _ => None,
            };
            if let Some((port, span)) = found {
                let message =
                    format!("port {port} is to be bound by `{user}`, which not every engine allows");
                findings
                    .add(&PRIVILEGED_PORT, &span, message)
                    .of(&own.name)
                    .also(&chosen, format!("runs as `{user}`"))
                    .hint("serve on 8080 and map it: `ports: [\"80:8080\"]`");
            }
        }
        unwritable(&running.service.name, &user, made, &configurations, running, &chosen, findings);
    }
}

fn listened_is(configurations: &[nginx::Configuration], port: u16) -> bool {
    configurations.iter().flat_map(nginx::Configuration::all).any(|one| nginx::listened(one) == Some(port))
}

fn unwritable(
    service: &str,
    user: &str,
    made: &Made<'_>,
    configurations: &[nginx::Configuration],
    running: &crate::image::Running<'_>,
    chosen: &coracle_report::Span,
    findings: &mut Findings,
) {
    let official = made.base.as_deref().is_some_and(|base| super::is_official(base, "nginx"));
    if !official || !running.is_nginx() {
        return;
    }
    // A main configuration of its own, a command line or an edit says where the pid goes.
    let words = running.words().unwrap_or_default();
    let said = words.iter().any(|word| word.contains("pid ") || word == "-c")
        || configurations.iter().flat_map(nginx::Configuration::all).any(|one| one.name == "pid");
    let main = made.copied.iter().any(|copied| {
        copied
            .dest
            .as_deref()
            .is_some_and(|dest| matches!(dest, "/etc/nginx/" | "/etc/nginx" | "/etc/nginx/nginx.conf"))
            && (copied.origin != Origin::Context
                || !configurations.iter().any(|one| one.target == "/etc/nginx/nginx.conf"))
    });
    let mounted = running.service.mounts.iter().any(|mount| {
        matches!(
            mount.target.trim_end_matches('/'),
            "/run"
                | "/var/run"
                | "/etc/nginx"
                | "/etc/nginx/nginx.conf"
                | "/run/nginx.pid"
                | "/var/run/nginx.pid"
        )
    });
    let changed =
        ["nginx.pid", "/run", "/var/run", "/etc/nginx/nginx.conf"].iter().any(|path| made.says(path))
            || made.owner("/run").is_some()
            || made.owner("/var/run").is_some();
    if said || main || mounted || changed || user == "nginx" && made.says("chown") && made.says("/var/run") {
        return;
    }
    let message = format!("nginx, started by `{user}`, may not write `/run/nginx.pid` and does not start");
    findings
        .add(&UNWRITABLE_PATH, chosen, message)
        .of(service)
        .note("open() \"/run/nginx.pid\" failed (13: Permission denied)")
        .hint("start from `nginxinc/nginx-unprivileged`, or write `pid /tmp/nginx.pid;` in a nginx.conf of your own");
}

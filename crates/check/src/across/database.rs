//! Databases: who uses them, where rows are kept, who brings tables, who knows the password.

use std::path::{Path, PathBuf};

use coracle_composefile::{MountSource, Service};
use coracle_report::{Severity, Span};

use super::sources_of::{self, texts};
use crate::compose::facts;
use crate::image::{Running, running};
use crate::knowledge::images::{Role, known};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check {
    rules: &[&DATABASE_UNUSED, &SQLITE_IN_CONTAINER, &MIGRATIONS_NEVER_RUN, &DATABASE_PASSWORD_UNKNOWN],
    run: Run::Subject(run),
};

static DATABASE_UNUSED: Rule = Rule {
    id: "DatabaseUnused",
    family: Family::Across,
    title: "A database runs, and the application is told to use a SQLite file",
    explanation: "A service waits for a database, and the address it is given is `sqlite:`: rows go to a file in its own container, and the database stays empty. As a rule a default (`${DATABASE_URL:-sqlite:///...}`) won because nothing sets the variable. Give the address of the service, or take the database out.",
    example: Some((
        "DATABASE_URL: ${DATABASE_URL:-sqlite:///./app.db}\ndepends_on: [database]",
        "DATABASE_URL: postgresql://app@database/app",
    )),
    ..Rule::PLAIN
};

static SQLITE_IN_CONTAINER: Rule = Rule {
    id: "SqliteInContainer",
    family: Family::Across,
    title: "A SQLite file lies in the container, and is gone with it",
    explanation: "What a process writes beside mounts goes into the container's own layer, which is thrown away whenever the container is replaced: at every new image and every change of its configuration. Put the file below a volume.",
    example: Some((
        "environment:\n  DATABASE_URL: sqlite:///./app.db",
        "environment:\n  DATABASE_URL: sqlite:////data/app.db\nvolumes:\n  - data:/data",
    )),
    ..Rule::PLAIN
};

static MIGRATIONS_NEVER_RUN: Rule = Rule {
    id: "MigrationsNeverRun",
    family: Family::Across,
    title: "The project has migrations, and nothing runs them",
    explanation: "No command, entry point, script or source of the project runs the migrations that are here, so that on a fresh database the first request ends with \"no such table\". Run them in a service of their own that others wait for with `condition: service_completed_successfully`.",
    example: Some((
        "services:\n  backend:\n    build: .",
        "services:\n  migrate:\n    build: .\n    command: [\"alembic\", \"upgrade\", \"head\"]\n  backend:\n    build: .\n    depends_on:\n      migrate: { condition: service_completed_successfully }",
    )),
    ..Rule::PLAIN
};

static DATABASE_PASSWORD_UNKNOWN: Rule = Rule {
    id: "DatabasePasswordUnknown",
    family: Family::Across,
    title: "A service depends on a database whose password it is not given",
    explanation: "The database takes its password from a secret, and the service that depends on it has neither that secret nor any variable that could hold a password or an address. It cannot log in. Grant the same secret to both, and name its file in a variable that the application reads.",
    example: Some((
        "backend:\n  depends_on: [database]",
        "backend:\n  depends_on: [database]\n  secrets: [db_password]\n  environment:\n    DATABASE_PASSWORD_FILE: /run/secrets/db_password",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let all = running(subject);
    for one in &all {
        sqlite(subject, one, &all, findings);
        password(subject, one, &all, findings);
    }
    migrations(subject, &all, findings);
}

/// Says whether a service is a database, as it comes.
fn is_database(one: &Running<'_>) -> bool {
    one.made.is_none() && known(&one.service.image).is_some_and(|known| known.role == Role::Database)
}

/// Returns the path of a SQLite address, as the application will see it; `None` for one in memory.
fn sqlite_path(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(':')?;
    let sqlite = scheme == "sqlite" || scheme.starts_with("sqlite+") || scheme == "sqlite3";
    let path = match rest.strip_prefix("//") {
        // Three slashes are relative, four absolute.
        Some(rest) if sqlite => rest.strip_prefix('/').unwrap_or(rest),
        None if sqlite
            || (scheme == "file"
                && [".db", ".sqlite", ".sqlite3"]
                    .iter()
                    .any(|end| rest.split('?').next().is_some_and(|path| path.ends_with(end)))) =>
        {
            rest
        }
        _ => return None,
    };
    let path = path.split('?').next().unwrap_or(path);
    (!path.is_empty() && !path.contains(":memory:")).then(|| path.to_owned())
}

fn sqlite(subject: &Subject<'_>, one: &Running<'_>, all: &[Running<'_>], findings: &mut Findings) {
    let service = one.service;
    for (name, value) in &service.environment {
        let Some(path) = sqlite_path(value) else { continue };
        let span = facts::variable(subject, service, name);
        // A database that nobody else speaks of, although this service waits for it.
        let database = all.iter().find(|other| {
            is_database(other)
                && service.depends_on.contains_key(&other.service.name)
                && !mentioned(subject, &other.service.name, all)
        });
        if let Some(database) = database {
            let message =
                format!("`{name}` is `{value}`: `{}` is started and never used", database.service.name);
            findings
                .add(&DATABASE_UNUSED, &span, message)
                .of(&service.name)
                .also(&database.service.span, "the database that nobody uses")
                .hint(format!("{name}: postgresql://USER@{}/NAME", database.service.name));
        }
        if let Some(lost) = in_container(one, &path) {
            let message = format!(
                "`{lost}` lies in the container of `{}`: its rows are gone when that is replaced",
                service.name
            );
            let finding = findings.add(&SQLITE_IN_CONTAINER, &span, message);
            finding.of(&service.name);
            if subject.production {
                finding.severity(Severity::Error);
            }
            finding.hint(format!(
                "{name}: sqlite:////data/{}  # and `- data:/data` in `volumes`",
                lost.rsplit('/').next().unwrap_or("app.db")
            ));
        }
    }
}

/// Returns the path of a file if it lies in the container's own layer.
fn in_container(one: &Running<'_>, path: &str) -> Option<String> {
    let service = one.service;
    let workdir =
        service.working_dir.clone().or_else(|| one.made.as_ref().and_then(|made| made.last.workdir.clone()));
    let writable = |mount: &&coracle_composefile::Mount| {
        !mount.read_only && !matches!(mount.source, MountSource::Tmpfs { .. })
    };
    let path = match (path.starts_with('/'), workdir) {
        (true, _) => path.to_owned(),
        (false, Some(workdir)) => {
            let rest = path.trim_start_matches("./");
            format!("{}/{rest}", workdir.trim_end_matches('/'))
        }
        // Not knowing where, any writable mount may be it.
        (false, None) => {
            return service.mounts.iter().find(writable).is_none().then(|| path.to_owned());
        }
    };
    let kept = service
        .mounts
        .iter()
        .filter(writable)
        .any(|mount| Path::new(&path).starts_with(mount.target.trim_end_matches('/')));
    (!kept).then_some(path)
}

/// Says whether anything that runs speaks of a service by its name.
fn mentioned(subject: &Subject<'_>, name: &str, all: &[Running<'_>]) -> bool {
    all.iter().filter(|other| other.service.name != name).any(|other| {
        other.service.environment.iter().any(|(_, value)| names_host(value, name))
            || other.commands().iter().flatten().any(|word| names_host(word, name))
            || other.service.mounts.iter().any(|mount| match &mount.source {
                MountSource::Bind { path, .. } if subject.files.is_file(path) => subject
                    .files
                    .text(path)
                    .is_some_and(|text| text.lines().any(|line| names_host(line, name))),
                _ => false,
            })
    })
}

/// Says whether a text names a host: alone, before a port, after `@`, `/` or `=`.
pub(super) fn names_host(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        let starts = matches!(before, None | Some('@' | '/' | '=' | ' ' | ',' | '"' | '\'' | '(' | '['));
        let ends = matches!(after, None | Some(':' | '/' | ' ' | ',' | '"' | '\'' | ';' | '?' | ')' | ']'));
        starts && ends && (before != Some('/') || text[..at].ends_with("//"))
    })
}

fn password(subject: &Subject<'_>, one: &Running<'_>, all: &[Running<'_>], findings: &mut Findings) {
    let service = one.service;
    for (name, dependency) in &service.depends_on {
        let Some(database) = all.iter().find(|other| other.service.name == *name && is_database(other))
        else {
            continue;
        };
        let secret = database.service.environment.iter().find(|(key, value)| {
            key.contains("PASSWORD") && key.ends_with("_FILE") && value.starts_with("/run/secrets/")
        });
        let Some((variable, _)) = secret else { continue };
        if knows_a_password(service) || service.environment.values().any(|value| names_host(value, name)) {
            continue;
        }
        // Who proxies, shows or waits for the application behind it needs none.
        if one.is_nginx() || !may_use(subject, one) {
            continue;
        }
        let message = format!("`{}` depends on `{name}` and never learns its password", service.name);
        let source = database.service.secrets.first().map_or("PASSWORD", |grant| grant.source.as_str());
        findings
            .add(&DATABASE_PASSWORD_UNKNOWN, &dependency.span, message)
            .of(&service.name)
            .also(&facts::variable(subject, database.service, variable), "the database's password")
            .hint(format!(
                "secrets: [{source}] and DATABASE_PASSWORD_FILE: /run/secrets/{source} for `{}`",
                service.name
            ));
    }
}

/// Says whether anything that a service is given may hold a password.
fn knows_a_password(service: &Service) -> bool {
    let telling = |name: &str, value: &str| {
        let upper = name.to_uppercase();
        ["PASSWORD", "PASSWD", "PASS", "SECRET", "CREDENTIAL", "TOKEN", "DSN", "PGPASSFILE"]
            .iter()
            .any(|word| upper.contains(word))
            || (value.contains("://") && value.contains('@'))
    };
    !service.secrets.is_empty()
        || !service.configs.is_empty()
        || service.environment.iter().any(|(name, value)| telling(name, value))
        || service.mounts.iter().any(|mount| {
            matches!(mount.source, MountSource::Bind { .. })
                && ["secret", "config", "conf", ".env", "settings"]
                    .iter()
                    .any(|word| mount.target.contains(word))
        })
}

/// Says whether the sources of a service speak to databases, as far as they are here.
fn may_use(subject: &Subject<'_>, one: &Running<'_>) -> bool {
    let Some(made) = &one.made else { return false };
    let Some(context) = made.build.context.as_deref() else { return false };
    let words = [
        "psycopg",
        "asyncpg",
        "sqlalchemy",
        "django",
        "mysql",
        "mariadb",
        "pymongo",
        "mongoose",
        "sequelize",
        "prisma",
        "typeorm",
        "knex",
        "\"pg\"",
        "lib/pq",
        "pgx",
        "diesel",
        "sqlx",
        "gorm",
        "activerecord",
        "jdbc",
    ];
    let manifests = [
        "requirements.txt",
        "pyproject.toml",
        "Pipfile",
        "package.json",
        "go.mod",
        "Cargo.toml",
        "Gemfile",
        "pom.xml",
        "build.gradle",
        "composer.json",
    ];
    manifests.iter().any(|name| {
        subject.files.text(&context.join(name)).is_some_and(|text| {
            let lower = text.to_lowercase();
            words.iter().any(|word| lower.contains(word))
        })
    })
}

/// A tool that migrates: its mark in a directory, and what running it looks like.
struct Migrator {
    name: &'static str,
    marks: &'static [&'static str],
    runs: &'static [&'static str],
    command: &'static str,
}

static MIGRATORS: &[Migrator] = &[
    Migrator {
        name: "Alembic",
        marks: &["alembic.ini"],
        runs: &[
            "alembic upgrade",
            "alembic\", \"upgrade",
            "alembic', 'upgrade",
            "alembic -c",
            "alembic --",
            "command.upgrade",
            "alembic.command",
            "alembic.config",
            "alembic/env",
            "db upgrade",
        ],
        command: "[\"alembic\", \"upgrade\", \"head\"]",
    },
    Migrator {
        name: "Prisma",
        marks: &["prisma/migrations/migration_lock.toml"],
        runs: &["prisma migrate", "prisma db push", "migrate deploy", "migrate\", \"deploy"],
        command: "[\"npx\", \"prisma\", \"migrate\", \"deploy\"]",
    },
    Migrator {
        name: "Knex",
        marks: &["knexfile.js", "knexfile.ts"],
        runs: &["knex migrate", "migrate:latest", "migrate.latest", "migrate:up"],
        command: "[\"npx\", \"knex\", \"migrate:latest\"]",
    },
    Migrator {
        name: "Django",
        marks: &["manage.py"],
        runs: &[
            "manage.py migrate",
            "manage.py\", \"migrate",
            "call_command(\"migrate",
            "call_command('migrate",
            "django-admin migrate",
            " migrate",
        ],
        command: "[\"python\", \"manage.py\", \"migrate\"]",
    },
    Migrator {
        name: "Flyway",
        marks: &["flyway.conf", "flyway.toml"],
        runs: &["flyway migrate", "flyway", "\"migrate\""],
        command: "[\"flyway\", \"migrate\"]",
    },
];

fn migrations(subject: &Subject<'_>, all: &[Running<'_>], findings: &mut Findings) {
    let mut done: Vec<PathBuf> = Vec::new();
    for one in all {
        let Some(context) = one.made.as_ref().and_then(|made| made.build.context.clone()) else { continue };
        for migrator in MIGRATORS {
            let Some(mark) =
                migrator.marks.iter().map(|mark| context.join(mark)).find(|path| subject.files.is_file(path))
            else {
                continue;
            };
            if done.contains(&mark) {
                continue;
            }
            done.push(mark.clone());
            // Others call a program of theirs `manage.py` too.
            if migrator.name == "Django"
                && !subject.files.text(&mark).is_some_and(|text| text.contains("django"))
            {
                continue;
            }
            // A project without a database of its own may be migrated by who runs it.
            if migrator.name == "Django" && !all.iter().any(is_database) {
                continue;
            }
            if runs(subject, &context, all, migrator, &mark) {
                continue;
            }
            let message = format!("{} has migrations here, and nothing runs them", migrator.name);
            findings
                .add(
                    &MIGRATIONS_NEVER_RUN,
                    &facts::place(subject, one.service, &["build", "context"]),
                    message,
                )
                .of(&one.service.name)
                .also(&Span::at(&mark, 1, 1), "the migrations")
                .hint(format!(
                    "migrate:\n  build: {}\n  command: {}",
                    shown(subject, &context),
                    migrator.command
                ));
        }
    }
}

fn shown(subject: &Subject<'_>, context: &Path) -> String {
    let rest = context.strip_prefix(subject.directory).unwrap_or(context).display().to_string();
    format!("./{rest}")
}

/// Says whether anything of the project runs a migrator.
fn runs(
    subject: &Subject<'_>,
    context: &Path,
    all: &[Running<'_>],
    migrator: &Migrator,
    mark: &Path,
) -> bool {
    let says = |text: &str| migrator.runs.iter().any(|run| text.contains(run));
    let commands = all.iter().flat_map(Running::commands).any(|words| says(&words.join(" ")));
    let inactive =
        subject.project().into_iter().flat_map(|project| project.inactive_services.values()).any(|service| {
            let lists = service.command.iter().chain(&service.entrypoint);
            lists.into_iter().any(|words| says(&words.join(" ")))
        });
    let compose = subject.project().into_iter().flat_map(|project| &project.files);
    let files = compose.filter_map(|path| subject.files.text(path)).any(|text| says(&text));
    if commands || inactive || files {
        return true;
    }
    // A step that people are told to take is one that somebody takes.
    let told = sources_of::documents(subject).into_iter();
    let of_project = sources_of::scripts(subject)
        .into_iter()
        .chain(told)
        .any(|path| subject.files.text(&path).is_some_and(|text| says(&text)));
    of_project || texts(subject, context).any(|(path, text)| path != mark && !is_test(&path) && says(&text))
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| {
        let part = part.to_string_lossy();
        part == "tests" || part == "test" || part.starts_with("test_") || part == "README.md"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_addresses() {
        let table = [
            ("sqlite:///./app.db", Some("./app.db")),
            ("sqlite:////data/app.db", Some("/data/app.db")),
            ("sqlite+aiosqlite:///app.db?x=1", Some("app.db")),
            ("sqlite://", None),
            ("sqlite:///:memory:", None),
            ("file:./dev.db", Some("./dev.db")),
            ("file:///etc/passwd", None),
            ("postgresql://a", None),
        ];
        for (value, expected) in table {
            assert_eq!(sqlite_path(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn hosts_in_texts() {
        for text in ["db", "postgres://u:p@db/x", "db:5432", "host=db port=1", "http://db", "\"db\""] {
            assert!(names_host(text, "db"), "{text}");
        }
        for text in ["/data/db", "orders_db", "db_name", "sqlite:///app.db", "dbs"] {
            assert!(!names_host(text, "db"), "{text}");
        }
    }
}

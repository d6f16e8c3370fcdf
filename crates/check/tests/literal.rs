//! The requirement's own stack, word for word (`tests/literal` of the repository): every fault that its files show is
//! found at its place, and nothing else is.
//!
//! `tests/literal/FAMILY.txt` lists what is found: number of the fault (several with commas), rule, environments (`-` is
//! none, `*` all), `file:line`. A finding that is none of the faults (`-`) has a reason instead, after ` : `, and is true
//! for that reason.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/disk.rs"]
mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use disk::Disk;

const ENVIRONMENTS: [Option<&str>; 3] = [None, Some("dev"), Some("prod")];

/// The faults by number, and whether files alone show them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Static {
    /// They do.
    Yes,
    /// They give a part of it away.
    Partly,
    /// A package index of the base does; a table of what releases no longer have stands for it.
    WithTheIndex,
    /// They do not.
    No,
}

use Static::{No, Partly, WithTheIndex, Yes};

/// What is wrong with the stack; numbers and column as in the list that was made when it was run.
const FAULTS: &[(u8, Static, &str)] = &[
    (1, Yes, "the build's tools are left out by `npm ci --only=production`"),
    (2, Yes, "`COPY docker/nginx/nginx.conf` lies outside of the context"),
    (3, Yes, "`USER appuser` with nginx: /run/nginx.pid, port 80"),
    (4, Yes, "the page's image proxies to `backend` and `frontend`"),
    (5, Yes, "the page's image serves the proxy's rules"),
    (6, Yes, "exec-form `CMD` with `${WORKERS}`"),
    (7, Partly, "worker class gevent with an ASGI application"),
    (8, Yes, "`pip install` after `USER appuser`"),
    (9, Yes, "`gunicorn[gevent]` unpinned, outside of requirements.txt"),
    (10, Yes, "`/home/appuser/.local` belongs to root"),
    (11, WithTheIndex, "`software-properties-common` is not in Debian 13"),
    (12, Yes, "`FROM ... as`"),
    (13, Yes, "`apt-get install` without `--no-install-recommends`, unpinned"),
    (14, Yes, "`pip install` in a build stage without a cache mount"),
    (15, Yes, "`HEALTHCHECK ... curl` where there may be no curl"),
    (16, Yes, "bases that are unpinned or out of support"),
    (17, Yes, "`version:` is obsolete"),
    (18, Yes, "port 5173 published by nginx and by frontend"),
    (19, Yes, "nginx' ports are appended in development"),
    (20, Yes, "nginx still publishes 5173 in production"),
    (21, Yes, "`POSTGRES_PASSWORD` and `POSTGRES_PASSWORD_FILE`"),
    (22, Yes, "`DATABASE_URL` is SQLite although a database runs"),
    (23, Yes, "relative SQLite path in the container's layer"),
    (24, Partly, "migrations are never run"),
    (25, Yes, "`depends_on` without conditions, no health check on the database"),
    (26, Yes, "no health checks"),
    (27, Yes, "nginx resolves `backend` once"),
    (28, Yes, "the password's default is in the file"),
    (29, Yes, "the database is published on 0.0.0.0:5432"),
    (30, Yes, "`./backend/tests` is mounted but absent"),
    (31, Yes, "`./frontend/index.html` mounted as a single file"),
    (32, Partly, "Vite behind nginx"),
    (33, Yes, "variables that nothing reads"),
    (34, Yes, "a fixed host port forbids scaling"),
    (35, Yes, "docker-compose.staging.yml and deploy-staging.sh are absent"),
    (36, Yes, "`./docker/nginx/prod.conf` is absent"),
    (37, Yes, "`./docker/nginx/ssl` is absent, 443 has no certificate"),
    (38, Yes, "the secret's file is absent"),
    (39, Yes, "the backend never learns the database's password"),
    (40, Yes, "prometheus and grafana published to the world, nothing provisioned, nothing kept"),
    (41, Partly, "no alerts, exporters"),
    (42, Yes, "monitoring without limits, no log limits"),
    (43, Partly, "`restart: always` of what cannot start"),
    (44, Yes, "one network for everything"),
    (45, Yes, "`export $(cat .env.dev | xargs)`"),
    (46, Yes, "`sleep 10` for readiness"),
    (47, Partly, "printed addresses that are not honoured"),
    (48, Yes, "`docker images | grep` under `set -e`; images built twice"),
    (49, Yes, "`docker-compose`, no shebang on line 1"),
    (50, No, "tests need the working directory"),
    (51, No, "a test fails on the official Python base"),
    (52, No, "tests look at the image that is not used"),
    (53, Partly, "no signal handling as pid 1"),
    (54, Yes, "the context holds `.env`, `.git`, databases"),
];

/// Rule, environment, place.
type Found = (String, String, String);

/// What is listed, with the numbers of the faults.
fn listed() -> (BTreeMap<Found, String>, BTreeSet<u8>) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/literal");
    let (mut expected, mut numbers) = (BTreeMap::new(), BTreeSet::new());
    for entry in fs::read_dir(directory).expect("the lists") {
        let path = entry.expect("an entry").path();
        for line in fs::read_to_string(&path).expect("a list").lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (facts, argument) = line.split_once(" : ").unwrap_or((line, ""));
            let words: Vec<&str> = facts.split_whitespace().collect();
            let [number, rule, environments, place] = words[..] else { panic!("{}: {line}", path.display()) };
            assert!(number != "-" || argument.len() > 20, "{line}: why is that true?");
            for number in number.split(',').filter(|number| *number != "-") {
                let number: u8 = number.parse().expect("a number");
                assert!(FAULTS.iter().any(|(own, ..)| *own == number), "{line}");
                numbers.insert(number);
            }
            // `*` is every environment.
            let environments = if environments == "*" { "-,dev,prod" } else { environments };
            for environment in environments.split(',') {
                let key = (rule.to_owned(), environment.to_owned(), place.to_owned());
                assert!(expected.insert(key, line.to_owned()).is_none(), "listed twice: {line}");
            }
        }
    }
    (expected, numbers)
}

fn found() -> BTreeMap<Found, String> {
    let disk = Disk::open("tests/literal");
    let mut found = BTreeMap::new();
    for environment in ENVIRONMENTS {
        let report = disk.check(environment);
        let findings = report.findings.iter().map(|finding| &finding.diagnostic);
        for diagnostic in findings.chain(&report.faults) {
            let span = diagnostic.span.as_ref();
            let place = span.map(|span| format!("{}:{}", span.file.display(), span.start.line));
            let key = (
                diagnostic.code.clone(),
                environment.unwrap_or("-").to_owned(),
                place.unwrap_or_else(|| "-".to_owned()),
            );
            found.insert(key, diagnostic.message.clone());
        }
    }
    found
}

/// Writes findings as the lists have them.
fn lines<'f>(found: impl Iterator<Item = (&'f Found, &'f String)>) -> String {
    let mut lines: BTreeMap<(&str, &str), (Vec<&str>, &str)> = BTreeMap::new();
    for ((rule, environment, place), text) in found {
        let line = lines.entry((place, rule)).or_insert((Vec::new(), text));
        line.0.push(environment);
    }
    let line = |((place, rule), (environments, text)): ((&str, &str), (Vec<&str>, &str))| {
        let all = environments.len() == ENVIRONMENTS.len();
        let environments = if all { "*".to_owned() } else { environments.join(",") };
        format!("? {rule} {environments} {place} : {text}\n")
    };
    lines.into_iter().map(line).collect()
}

#[test]
fn what_is_found_is_true_and_listed() {
    let (expected, found) = (listed().0, found());
    let news = lines(found.iter().filter(|(key, _)| !expected.contains_key(*key)));
    assert!(news.is_empty(), "found but not listed, with a number or a reason:\n{news}");
    let lost = lines(expected.iter().filter(|(key, _)| !found.contains_key(*key)));
    assert!(lost.is_empty(), "listed but not found:\n{lost}");
}

#[test]
fn every_fault_that_the_files_show_is_found() {
    let numbers = listed().1;
    let missing: Vec<String> = FAULTS
        .iter()
        .filter(|(number, shown, _)| {
            matches!(shown, Yes | Partly | WithTheIndex) && !numbers.contains(number)
        })
        .map(|(number, _, what)| format!("{number}: {what}"))
        .collect();
    assert!(missing.is_empty(), "no rule finds\n{}", missing.join("\n"));
    let hidden = FAULTS.iter().filter(|(_, shown, _)| matches!(shown, No));
    assert!(hidden.into_iter().all(|(number, ..)| !numbers.contains(number)));
    assert_eq!(FAULTS.len(), 54);
}

//! Variables that exclude one another: the images refuse to start.

use coracle_report::Severity;

use super::facts::{image_of, runs_server, variable};
use crate::knowledge::images::known;
use crate::knowledge::support::is_repository;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&EXCLUSIVE_VARIABLES], run: Run::Subject(run) };

static EXCLUSIVE_VARIABLES: Rule = Rule {
    id: "ExclusiveVariables",
    family: Family::Compose,
    severity: Severity::Error,
    title: "A variable and its `_FILE` are not set both",
    explanation: "The entry points of several official images read a value from the variable or from the file that the variable with `_FILE` names, and refuse to start when both are set: `error: both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set (but are exclusive)`. As a rule one of them comes from the base file and the other from an override. Take it out of the base, or reset it in the override.",
    example: Some((
        "environment:\n  POSTGRES_PASSWORD: x\n  POSTGRES_PASSWORD_FILE: /run/secrets/password",
        "environment:\n  POSTGRES_PASSWORD_FILE: /run/secrets/password",
    )),
    ..Rule::PLAIN
};

/// Repositories, the beginning of their variables, and what marks the variable that names a file. Their entry points
/// compare each pair (`file_env` of the official images, `run.sh` of Grafana).
const IMAGES: &[(&[&str], &[&str], &str)] = &[
    (
        &["library/postgres", "postgis/postgis", "timescale/timescaledb", "pgvector/pgvector"],
        &["POSTGRES_"],
        "_FILE",
    ),
    (&["library/mysql"], &["MYSQL_"], "_FILE"),
    (&["library/mariadb"], &["MARIADB_", "MYSQL_"], "_FILE"),
    (&["library/mongo"], &["MONGO_INITDB_ROOT_"], "_FILE"),
    (&["library/redmine"], &["REDMINE_"], "_FILE"),
    (&["grafana/grafana", "grafana/grafana-oss", "grafana/grafana-enterprise"], &["GF_"], "__FILE"),
];

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    for service in subject.services() {
        let Some(image) = image_of(subject, service) else { continue };
        let own = |repositories: &[&str]| repositories.iter().any(|own| is_repository(&image, own));
        let Some((_, prefixes, suffix)) = IMAGES.iter().find(|(repositories, ..)| own(repositories)) else {
            continue;
        };
        // A tool of the same image never comes to the comparison.
        if known(&image).is_some_and(|known| !runs_server(service, known)) {
            continue;
        }
        for (name, value) in &service.environment {
            let Some(plain) = name.strip_suffix(suffix) else { continue };
            let set = |value: &str| !value.is_empty();
            let both = set(value) && service.environment.get(plain).is_some_and(|value| set(value));
            if !both || !prefixes.iter().any(|prefix| plain.starts_with(prefix)) {
                continue;
            }
            let (here, there) = (variable(subject, service, name), variable(subject, service, plain));
            let message = format!(
                "`{}` gets `{plain}` and `{name}`: the image refuses to start with both",
                service.name
            );
            let finding = findings.add(&EXCLUSIVE_VARIABLES, &here, message);
            finding.also(&there, format!("`{plain}` is set here")).of(&service.name);
            if here.file == there.file {
                finding.hint(format!("take `{plain}` out"));
            } else {
                finding.hint(format!(
                    "take `{plain}` out of the earlier file, or say `{plain}: !reset null` in the later one"
                ));
            }
        }
    }
}

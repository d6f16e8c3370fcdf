//! Passwords that anybody would try: as defaults in the files, as values, and those that images come with.

use coracle_composefile::{Outcome, Service, VariableOrigin};
use coracle_report::{Severity, Span};

use super::lines::masked;
use super::secret::{is_guessable, is_secret_name, password_of_address};
use crate::compose::facts::{is_public, known_service, place, view};
use crate::compose::is_meant_to_last;
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&DEFAULT_PASSWORD, &WEAK_PASSWORD, &DEFAULT_ADMIN_PASSWORD], run: Run::Subject(run) };

static DEFAULT_PASSWORD: Rule = Rule {
    id: "DefaultPassword",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "A password has no default in the file",
    explanation: "`${DATABASE_PASSWORD:-postgres}` works everywhere, also in production when the variable was forgotten: the service then runs with a password that stands in the repository. Write `${DATABASE_PASSWORD:?}`, which is an error without a value, or a secret that is read from a file.",
    example: Some((
        "POSTGRES_PASSWORD: ${DATABASE_PASSWORD:-postgres}",
        "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password",
    )),
    ..Rule::PLAIN
};

static WEAK_PASSWORD: Rule = Rule {
    id: "WeakPassword",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "A password that others can reach is not one of those that are tried first",
    explanation: "`postgres`, `admin`, `changeme` and their kin head every list of passwords, and machines try them day and night on every port that answers. Where a service is published, and in production, make one by chance and keep it out of the files: `openssl rand -base64 32 > secrets/password.txt`.",
    example: Some((
        "ports: [\"5432:5432\"]\nenvironment:\n  POSTGRES_PASSWORD: postgres",
        "ports: [\"127.0.0.1:5432:5432\"]\nenvironment:\n  POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password",
    )),
    ..Rule::PLAIN
};

static DEFAULT_ADMIN_PASSWORD: Rule = Rule {
    id: "DefaultAdminPassword",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "An administrator's password is not the one that the image comes with",
    explanation: "Without a setting Grafana's administrator is `admin` with the password `admin`, and MinIO's is `minioadmin` twice: whoever reaches the service first is its administrator. Set the password, best from a secret's file.",
    example: Some((
        "grafana:\n  image: grafana/grafana:11.6.0",
        "grafana:\n  image: grafana/grafana:11.6.0\n  environment:\n    GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/grafana_admin_password",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let mut found = Vec::new();
    for service in subject.services() {
        for (name, value) in &service.environment {
            collect(subject, service, name, &mut found);
            weak(subject, service, (name, value), findings);
        }
        administrator(subject, service, findings);
    }
    defaults(found, findings);
}

/// One default of one variable, and everywhere it stands.
struct Default {
    variable: String,
    word: String,
    /// Service, its variable, place.
    uses: Vec<(String, String, Span)>,
}

fn collect(subject: &Subject<'_>, service: &Service, name: &str, found: &mut Vec<Default>) {
    let Some(view) = view(subject, service, &["environment", name]) else { return };
    let base = subject.project().and_then(|project| project.files.first());
    for used in view.provenance().uses {
        let secret = is_secret_name(name) || is_secret_name(&used.name);
        let word = used.word.as_str();
        let text =
            !word.is_empty() && !word.contains('$') && !matches!(word, "true" | "false" | "yes" | "no");
        if !used.operator.is_default() || !secret || !text || word.starts_with('/') {
            continue;
        }
        // What is laid over for development alone may be as easy as it likes.
        let development = subject.environment.is_some() && !subject.production;
        if development && base.is_some_and(|base| *base != used.span.file) {
            continue;
        }
        let place = (service.name.clone(), name.to_owned(), used.span.clone());
        match found.iter_mut().find(|own| own.variable == used.name && own.word == used.word) {
            Some(own) => own.uses.push(place),
            None => found.push(Default { variable: used.name, word: used.word, uses: vec![place] }),
        }
    }
}

fn defaults(found: Vec<Default>, findings: &mut Findings) {
    for Default { variable, word, uses } in found {
        let (service, name, span) = &uses[0];
        let finding = findings
            .add(
                &DEFAULT_PASSWORD,
                span,
                format!("`{name}` of `{service}` is `{word}` when `{variable}` is not set"),
            )
            .hint(format!(
                "write `${{{variable}:?}}`, which is an error without a value, or read it from a secret's file"
            ))
            .of(service);
        // A value that is shared by an anchor stands in one place.
        let mut shown = vec![span];
        for (service, name, there) in &uses[1..] {
            if !shown.contains(&there) {
                shown.push(there);
                finding.also(there, format!("`{name}` of `{service}` as well"));
            }
        }
    }
}

/// Says whether others than the project's own services can try passwords on a service.
fn is_reached(subject: &Subject<'_>, service: &Service) -> bool {
    let store = known_service(subject, service).is_some_and(|known| !known.is_base());
    subject.production
        || is_meant_to_last(subject) && service.ports.iter().any(is_public)
        || (store && service.ports.iter().any(is_public))
}

fn weak(subject: &Subject<'_>, service: &Service, (name, value): (&str, &str), findings: &mut Findings) {
    let password = password_of_address(value).or_else(|| is_secret_name(name).then_some(value));
    let Some(password) = password.filter(|password| is_guessable(password)) else { return };
    if !is_reached(subject, service) {
        return;
    }
    let Some(view) = view(subject, service, &["environment", name]) else { return };
    let mut span: Span = view.span();
    let mut secret = false;
    for used in view.provenance().uses {
        match used.outcome {
            Outcome::Value { origin: VariableOrigin::File(there), .. } => (span, secret) = (there, true),
            // The default has a rule of its own, and what the caller sets is nobody's file.
            Outcome::Default | Outcome::Value { .. } => return,
            Outcome::Alternative { .. } | Outcome::Nothing => {}
        }
    }
    let message = format!("`{name}` of `{}` is a password that is tried first", service.name);
    let finding = findings.add(&WEAK_PASSWORD, &span, message);
    finding.hint("openssl rand -base64 32").of(&service.name);
    if secret && let Some(line) = line_of(subject, &span) {
        finding.diagnostic.source_line = Some(masked(&line, password));
    }
    if let Some(port) = service.ports.iter().find(|port| is_public(port)) {
        finding.also(&port.span, "everybody reaches it through this port");
    }
}

/// Returns the line at a place.
pub(super) fn line_of(subject: &Subject<'_>, span: &Span) -> Option<String> {
    let text = subject.files.text(&span.file)?;
    text.lines().nth((span.start.line as usize).checked_sub(1)?).map(str::to_owned)
}

/// Images with an administrator of their own: repositories, variables that set the password, where a configuration
/// may set it instead, the password.
const ADMINISTRATORS: &[(&str, &[&str], &[&str], &str)] = &[
    (
        "Grafana",
        &[
            "GF_SECURITY_ADMIN_PASSWORD",
            "GF_SECURITY_ADMIN_PASSWORD__FILE",
            "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION",
            "GF_AUTH_DISABLE_LOGIN_FORM",
        ],
        &["/etc/grafana/grafana.ini", "/etc/grafana"],
        "admin",
    ),
    (
        "MinIO",
        &[
            "MINIO_ROOT_PASSWORD",
            "MINIO_ROOT_PASSWORD_FILE",
            "MINIO_SECRET_KEY",
            "MINIO_SECRET_KEY_FILE",
            "MINIO_CONFIG_ENV_FILE",
        ],
        &[],
        "minioadmin",
    ),
];

fn administrator(subject: &Subject<'_>, service: &Service, findings: &mut Findings) {
    if !is_meant_to_last(subject) {
        return;
    }
    let Some(known) = known_service(subject, service) else { return };
    let Some((_, variables, files, password)) = ADMINISTRATORS.iter().find(|(name, ..)| *name == known.name)
    else {
        return;
    };
    let set =
        variables.iter().any(|name| service.environment.get(*name).is_some_and(|value| !value.is_empty()));
    let configured = service.mounts.iter().any(|mount| files.contains(&mount.target.as_str()))
        || service.configs.iter().any(|grant| files.contains(&grant.target.as_str()));
    if set || configured {
        return;
    }
    let message =
        format!("the administrator of `{}` ({}) has the password `{password}`", service.name, known.name);
    findings
        .add(&DEFAULT_ADMIN_PASSWORD, &place(subject, service, &["image"]), message)
        .hint(format!(
            "environment: {{{}: /run/secrets/NAME}}, and the secret under `secrets:`",
            variables[1]
        ))
        .of(&service.name);
}

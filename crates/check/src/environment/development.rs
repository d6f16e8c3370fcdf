//! Settings of development in production.

use coracle_composefile::Service;
use coracle_report::Severity;

use crate::compose::facts::{first_process, place, variable};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&DEVELOPMENT_SETTING_IN_PRODUCTION], run: Run::Subject(run) };

static DEVELOPMENT_SETTING_IN_PRODUCTION: Rule = Rule {
    id: "DevelopmentSettingInProduction",
    family: Family::Environment,
    severity: Severity::Warning,
    title: "Production has no settings of development",
    explanation: "Debug modes show sources, variables and consoles to whoever provokes an error; reloading watches files and runs one slow process; `NODE_ENV=development` serves unminified code and skips caches; `*` for CORS lets every page use the API in its visitor's name. As a rule such a setting comes from the base file, and the override forgot it.",
    example: Some(("environment:\n  DEBUG: \"true\"", "environment:\n  DEBUG: \"false\"")),
    ..Rule::PLAIN
};

/// Variables that name the environment.
const NAMES: &[&str] = &[
    "NODE_ENV",
    "APP_ENV",
    "RAILS_ENV",
    "RACK_ENV",
    "FLASK_ENV",
    "DJANGO_ENV",
    "ENVIRONMENT",
    "APP_ENVIRONMENT",
    "GO_ENV",
    "MIX_ENV",
    "ASPNETCORE_ENVIRONMENT",
    "DOTNET_ENVIRONMENT",
    "SPRING_PROFILES_ACTIVE",
    "PYTHON_ENV",
];

/// Servers that are meant for development, as they stand in commands.
const SERVERS: &[&str] = &[
    "npm run dev",
    "npm run start:dev",
    "yarn dev",
    "yarn run dev",
    "pnpm dev",
    "pnpm run dev",
    "manage.py runserver",
    "flask run",
    "nodemon",
];

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    if !subject.production {
        return;
    }
    for service in subject.services() {
        for (name, value) in &service.environment {
            if let Some(why) = meant_for_development(name, value) {
                findings
                    .add(
                        &DEVELOPMENT_SETTING_IN_PRODUCTION,
                        &variable(subject, service, name),
                        format!("`{}` runs with `{name}={value}` in production: {why}", service.name),
                    )
                    .hint("set it for production in the override of that environment")
                    .of(&service.name);
            }
        }
        command(subject, service, findings);
    }
}

fn meant_for_development(name: &str, value: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let lower = value.trim().to_ascii_lowercase();
    let on = matches!(lower.as_str(), "1" | "true" | "yes" | "on" | "*");
    let last = upper.rsplit('_').next().unwrap_or(&upper);
    if last == "DEBUG" && on {
        return Some("errors show their insides");
    }
    if last == "RELOAD" && on {
        return Some("files are watched and reloaded");
    }
    if NAMES.contains(&upper.as_str())
        && matches!(lower.as_str(), "development" | "dev" | "local" | "test" | "testing")
    {
        return Some("the program takes it for another environment");
    }
    let origin = upper.contains("CORS") && (upper.contains("ORIGIN") || upper.contains("HOSTS"));
    if origin && matches!(lower.as_str(), "*" | "[\"*\"]" | "['*']") {
        return Some("every page may use it");
    }
    None
}

fn command(subject: &Subject<'_>, service: &Service, findings: &mut Findings) {
    let Some(words) = first_process(subject, service) else { return };
    let text = words.join(" ");
    let with = |part: &str| format!(" {text} ").contains(&format!(" {part} "));
    let why = if with("--reload") {
        "--reload"
    } else if SERVERS.iter().any(|part| with(part)) {
        "a server of development"
    } else {
        return;
    };
    let span = if service.command.is_some() && service.entrypoint.is_none() {
        place(subject, service, &["command"])
    } else {
        service.span.clone()
    };
    let shown: String = text.chars().take(60).collect();
    findings
        .add(
            &DEVELOPMENT_SETTING_IN_PRODUCTION,
            &span,
            format!("`{}` runs `{shown}` in production: {why}", service.name),
        )
        .hint("build the stage that is meant for production, or give it another command")
        .of(&service.name);
}

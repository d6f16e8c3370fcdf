//! Names of images: what moves, and what is no longer supported.

use coracle_composefile::Service;
use coracle_dockerfile::{BaseRef, StageLookup};
use coracle_oci::Reference;
use coracle_report::{Severity, Span};

use crate::knowledge::images::known;
use crate::knowledge::support::ended;
use crate::project::{Build, Check, Findings, Run, Subject, place_in};
use crate::{Family, Rule};

pub(super) static OF_SERVICES: Check =
    Check { rules: &[&LATEST_TAG, &UNPINNED_IMAGE, &END_OF_LIFE_IMAGE], run: Run::Subject(services) };
/// The same of `FROM`; `latest` there is hadolint's DL3006 and DL3007.
pub(super) static OF_STAGES: Check = Check { rules: &[], run: Run::Build(stages) };

static LATEST_TAG: Rule = Rule {
    id: "LatestTag",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "An image should be named with a version, not `latest`",
    explanation: "`latest`, which also stands for no tag at all, is another image from day to day: two machines that are set up a week apart run different versions, and nobody can say which one was in production when a fault appeared. Name the version that was tested.",
    example: Some(("image: prom/prometheus:latest", "image: prom/prometheus:v3.5.0")),
    ..Rule::PLAIN
};

static UNPINNED_IMAGE: Rule = Rule {
    id: "UnpinnedImage",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "A tag should say which version it is",
    explanation: "A tag such as `alpine`, `slim`, `stable` or `lts` names a variant and no version: it moves on to the next major version without a change in the files. Write the version before the variant. A release is pinned whole by its digest.",
    example: Some(("image: nginx:alpine", "image: nginx:1.28-alpine")),
    ..Rule::PLAIN
};

static END_OF_LIFE_IMAGE: Rule = Rule {
    id: "EndOfLifeImage",
    family: Family::Compose,
    severity: Severity::Warning,
    title: "An image should be of a release that is still supported",
    explanation: "After the end of its support a release gets no more security fixes, and its image is as a rule not built again: what is found in it stays in it. The dates are those of the projects' release pages, as collected by endoflife.date.",
    example: Some(("FROM node:18-alpine", "FROM node:24-alpine")),
    url: Some("https://endoflife.date"),
    ..Rule::PLAIN
};

/// Words of tags that name variants or channels, and no version.
const MOVING: &[&str] = &[
    "alpine",
    "slim",
    "stable",
    "mainline",
    "lts",
    "edge",
    "nightly",
    "main",
    "master",
    "develop",
    "rolling",
    "current",
    "fpm",
    "apache",
    "cli",
    "management",
    "perl",
    "otel",
    "unprivileged",
    "headless",
    "community",
];

/// Words that name a release of a distribution; as much as the distribution's own images need.
const SUITES: &[&str] =
    &["stretch", "buster", "bullseye", "bookworm", "trixie", "bionic", "focal", "jammy", "noble"];

fn services(subject: &Subject<'_>, findings: &mut Findings) {
    for service in subject.services() {
        let Some(span) = image_span(subject, service) else { continue };
        let image = &service.image;
        look(subject, findings, image, span, Some(&service.name));
        if image.digest().is_some() || image.tag() != Some("latest") {
            continue;
        }
        // A bare name that nobody knows is as a rule built on the spot.
        let bare = image.repository().starts_with("library/") && known(image).is_none();
        if !bare {
            let name = image.familiar();
            findings
                .add(&LATEST_TAG, span, format!("`{name}` is another image from day to day"))
                .hint("write the version that was tested, as in `NAME:1.2.3`")
                .of(&service.name);
        }
    }
}

/// Returns where a service names an image that comes from elsewhere.
fn image_span<'a>(subject: &Subject<'a>, service: &'a Service) -> Option<&'a Span> {
    let built = |other: &Service| other.build.is_some() && other.image == service.image;
    let own = service.build.is_some() || subject.services().any(built);
    service.image_span.as_ref().filter(|_| !own)
}

fn stages(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let file = &build.dockerfile;
    for index in build.needed() {
        let stage = &file.stages[index];
        let BaseRef::Image(word) = &stage.base else { continue };
        let name = build.expand_global(&word.value);
        let earlier = matches!(file.look_up_stage(&name, index), StageLookup::Earlier(_));
        let context = build.contexts.iter().any(|context| context.eq_ignore_ascii_case(&name));
        if earlier || context || name.contains('$') {
            continue;
        }
        let Ok(image) = name.parse::<Reference>() else { continue };
        if subject.services().any(|service| service.build.is_some() && service.image == image) {
            continue;
        }
        let span = place_in(&build.text, &stage.span, &word.value);
        look(subject, findings, &image, &span, build.services.first().map(String::as_str));
    }
}

fn look(
    subject: &Subject<'_>,
    findings: &mut Findings,
    image: &Reference,
    span: &Span,
    service: Option<&str>,
) {
    let name = image.familiar();
    if let Some(ended) = ended(image, subject.today) {
        let message = format!("`{name}`: {} is out of support since {}", ended.what, ended.since);
        let finding = findings.add(&END_OF_LIFE_IMAGE, span, message);
        if let Some(better) = ended.better.and_then(|tag| image.with_tag(&tag).ok()) {
            finding.hint(format!("use a supported line: `{}`", better.familiar()));
        }
        finding.service = service.map(str::to_owned);
    }
    let Some(tag) = image.tag().filter(|_| image.digest().is_none()) else { return };
    let distribution = known(image).is_some_and(super::super::knowledge::images::KnownImage::is_base)
        && ["library/debian", "library/ubuntu"].iter().any(|own| image.repository().ends_with(own));
    let moving = |part: &str| MOVING.contains(&part) || (SUITES.contains(&part) && !distribution);
    if tag.split('-').all(moving) {
        let finding = findings
            .add(&UNPINNED_IMAGE, span, format!("`{name}` names no version and moves on to the next"))
            .hint(format!("write the version before it, as in `VERSION-{tag}`"));
        finding.service = service.map(str::to_owned);
    }
}

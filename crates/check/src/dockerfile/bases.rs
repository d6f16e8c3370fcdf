//! What `FROM` names.

use coracle_dockerfile::{BaseRef, StageLookup};
use coracle_report::Severity;

use super::view::View;
use crate::project::Findings;
use crate::{Family, Rule};

pub(super) static RULES: &[&Rule] = &[&UNTAGGED, &LATEST];

static UNTAGGED: Rule = Rule {
    id: "DL3006",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "A base image has no tag",
    explanation: "No tag means `latest`, which is another image from day to day: a build that worked fails, or two machines get different images, and no file has changed. Name the version that was tested.",
    example: Some(("FROM debian", "FROM debian:13-slim")),
    ..Rule::PLAIN
};

static LATEST: Rule = Rule {
    id: "DL3007",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "A base image is taken as `latest`",
    explanation: "`latest` is another image from day to day: a build that worked fails, or two machines get different images, and no file has changed. Name the version that was tested.",
    example: Some(("FROM node:latest", "FROM node:24-slim")),
    ..Rule::PLAIN
};

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (index, stage) in view.file.stages.iter().enumerate() {
        let BaseRef::Image(word) = &stage.base else { continue };
        let text = word.value.trim_matches(['"', '\'']);
        let known = text.contains(['$', '@']) || text == "scratch";
        if known || matches!(view.file.look_up_stage(text, index), StageLookup::Earlier(_)) {
            continue;
        }
        let name = text.rsplit('/').next().unwrap_or(text);
        let (rule, message) = match name.split_once(':') {
            None => (&UNTAGGED, format!("`{text}` has no tag: it is another image from day to day")),
            Some((_, "latest")) => (&LATEST, format!("`{text}` is another image from day to day")),
            Some(_) => continue,
        };
        let finding = findings.add(rule, &word.span, message);
        finding.lines = stage.span.clone();
        let bare = text.strip_suffix(":latest").unwrap_or(text);
        finding.hint(format!("write the version that was tested, as in `{bare}:1.2.3`"));
    }
}

//! Packages that the base's distribution no longer has.

use coracle_report::Severity;

use super::packages;
use crate::dockerfile::view::found;
use crate::knowledge::packages::{Release, gone, release_of_image, release_of_text};
use crate::project::{Build, Check, Findings, Run, Subject};
use crate::shell::{Role, pieces};
use crate::{Family, Rule};

pub(in crate::dockerfile) static CHECK: Check = Check { rules: &[&PACKAGE_GONE], run: Run::Build(run) };

static PACKAGE_GONE: Rule = Rule {
    id: "PackageGone",
    family: Family::Dockerfile,
    severity: Severity::Error,
    title: "The distribution of the base no longer has a package",
    explanation: "A tag such as `python:3.11-slim` moves on to the next release of its distribution, and packages that this one dropped cannot be installed any more: \"Unable to locate package\". Leave it out, take its successor, or name the older release in the tag (`python:3.11-slim-bookworm`) until it is replaced. The release is read from the image when it is here, else from its tag.",
    example: Some((
        "FROM debian:13\nRUN apt-get update && apt-get install -y software-properties-common",
        "FROM debian:13\nRUN apt-get update && apt-get install -y curl",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, build: &Build, findings: &mut Findings) {
    let needed = build.needed();
    for piece in pieces(&build.dockerfile) {
        // Who builds a Dockerfile alone may build any of its stages.
        if piece.role != Role::Run || !(build.services.is_empty() || needed.contains(&piece.stage)) {
            continue;
        }
        let Some(script) = piece.snippet.script() else { continue };
        let installs = script.commands.iter().filter_map(|command| {
            let options = ["-t", "-o", "--virtual", "-X", "--repository"];
            match command.name() {
                "apt-get" | "apt" => packages(command, &["install"], &options),
                "apk" => packages(command, &["add"], &options),
                _ => None,
            }
        });
        let words: Vec<_> = installs.flatten().collect();
        if words.is_empty() || adds_sources(build, piece.stage) {
            continue;
        }
        let Some(image) = build.base_image(piece.stage) else { continue };
        let read = subject.images.text(&image, "/etc/os-release").and_then(|text| release_of_text(&text));
        let Some(release) = read.or_else(|| release_of_image(&image)) else { continue };
        let tool = match release {
            Release::Alpine(_) => "apk",
            Release::Debian(_) | Release::Ubuntu(_) => "apt",
        };
        for word in words {
            let Some(gone) = gone(&word.text, release) else { continue };
            let message = format!("{} has no package `{}`", release.name(), word.text);
            found(findings, &PACKAGE_GONE, &piece, &word.range, message)
                .note(format!("`{image}` is made of {}, and {tool} ends with an error", release.name()))
                .hint(gone.instead);
        }
    }
}

/// Says whether a stage gets packages from elsewhere, so that nothing is certain.
fn adds_sources(build: &Build, stage: usize) -> bool {
    let statements = build.dockerfile.stages[..=stage].iter().flat_map(|stage| &stage.instructions);
    statements.into_iter().any(|statement| {
        ["sources.list", "add-apt-repository", "/etc/apk/repositories", "--repository", "-X http"]
            .iter()
            .any(|mark| statement.text.contains(mark))
    })
}

//! `yum`, `dnf`, `microdnf` and `zypper`.

use coracle_report::Severity;

use super::{listed, packages};
use crate::dockerfile::view::{View, ends_in, found, keeps_out_of_layer};
use crate::project::Findings;
use crate::shell::{Command, Piece, Script, Word};
use crate::{Family, Rule};

pub(in crate::dockerfile) static RULES: &[&Rule] = &[
    &YUM_YES,
    &YUM_CLEAN,
    &YUM_VERSIONS,
    &ZYPPER_YES,
    &ZYPPER_UPGRADE,
    &ZYPPER_CLEAN,
    &ZYPPER_VERSIONS,
    &DNF_YES,
    &DNF_CLEAN,
    &DNF_VERSIONS,
];

const YES: &str = "The manager asks whether to go on, and a build has nobody to answer: the step ends without the packages. Give it the switch that answers for you.";
const CLEAN: &str = "What the manager fetched stays in `/var/cache` and in the layer. Clean up in the same `RUN`, since a later one only hides it, or keep it out of the layer with a cache mount.";
const VERSIONS: &str = "The same Dockerfile gives another image when the distribution has newer packages. Name the version, or pin the base image by its digest. Advice, once for each `RUN`.";

static YUM_YES: Rule = Rule {
    id: "DL3030",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`yum install` asks and nobody answers",
    explanation: YES,
    example: Some(("RUN yum install httpd", "RUN yum install -y httpd")),
    ..Rule::PLAIN
};
static YUM_CLEAN: Rule = Rule {
    id: "DL3032",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`yum clean all` is missing after `yum install`",
    explanation: CLEAN,
    example: Some(("RUN yum install -y httpd", "RUN yum install -y httpd && yum clean all")),
    ..Rule::PLAIN
};
static YUM_VERSIONS: Rule = Rule {
    id: "DL3033",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "Versions of `yum install` are not pinned",
    explanation: VERSIONS,
    example: Some(("RUN yum install -y httpd", "RUN yum install -y httpd-2.4.6")),
    ..Rule::PLAIN
};
static ZYPPER_YES: Rule = Rule {
    id: "DL3034",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`zypper install` asks and nobody answers",
    explanation: YES,
    example: Some(("RUN zypper install httpd", "RUN zypper install -y httpd")),
    ..Rule::PLAIN
};
static ZYPPER_UPGRADE: Rule = Rule {
    id: "DL3035",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`zypper dist-upgrade` should not be run in an image",
    explanation: "It takes the image to another state of the distribution than its tag says, different at every build. Take a newer base image instead.",
    example: Some(("RUN zypper dist-upgrade -y", "FROM opensuse/leap:15.6")),
    ..Rule::PLAIN
};
static ZYPPER_CLEAN: Rule = Rule {
    id: "DL3036",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`zypper clean` is missing after `zypper install`",
    explanation: CLEAN,
    example: Some(("RUN zypper install -y httpd", "RUN zypper install -y httpd && zypper clean")),
    ..Rule::PLAIN
};
static ZYPPER_VERSIONS: Rule = Rule {
    id: "DL3037",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "Versions of `zypper install` are not pinned",
    explanation: VERSIONS,
    example: Some(("RUN zypper install -y httpd", "RUN zypper install -y httpd=2.4.46")),
    ..Rule::PLAIN
};
static DNF_YES: Rule = Rule {
    id: "DL3038",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`dnf install` asks and nobody answers",
    explanation: YES,
    example: Some(("RUN dnf install httpd", "RUN dnf install -y httpd")),
    ..Rule::PLAIN
};
static DNF_CLEAN: Rule = Rule {
    id: "DL3040",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "`dnf clean all` is missing after `dnf install`",
    explanation: CLEAN,
    example: Some(("RUN dnf install -y httpd", "RUN dnf install -y httpd && dnf clean all")),
    ..Rule::PLAIN
};
static DNF_VERSIONS: Rule = Rule {
    id: "DL3041",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "Versions of `dnf install` are not pinned",
    explanation: VERSIONS,
    example: Some(("RUN dnf install -y httpd", "RUN dnf install -y httpd-2.4.24")),
    ..Rule::PLAIN
};

/// A manager and its rules.
struct Manager {
    names: &'static [&'static str],
    install: &'static [&'static str],
    yes: (&'static str, &'static [&'static str]),
    cache: &'static [&'static str],
    clean: &'static str,
    rules: [&'static Rule; 3],
}

static MANAGERS: [Manager; 3] = [
    Manager {
        names: &["yum"],
        install: &["install", "groupinstall", "localinstall", "reinstall"],
        yes: ("y", &["assumeyes"]),
        cache: &["/var/cache/yum"],
        clean: "yum clean all",
        rules: [&YUM_YES, &YUM_CLEAN, &YUM_VERSIONS],
    },
    Manager {
        names: &["zypper"],
        install: &["install", "in"],
        yes: ("yn", &["no-confirm", "non-interactive"]),
        cache: &["/var/cache/zypp"],
        clean: "zypper clean",
        rules: [&ZYPPER_YES, &ZYPPER_CLEAN, &ZYPPER_VERSIONS],
    },
    Manager {
        names: &["dnf", "microdnf", "dnf5"],
        install: &["install", "groupinstall", "localinstall", "reinstall"],
        yes: ("y", &["assumeyes"]),
        cache: &["/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum"],
        clean: "dnf clean all",
        rules: [&DNF_YES, &DNF_CLEAN, &DNF_VERSIONS],
    },
];

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (piece, script) in view.runs() {
        for manager in &MANAGERS {
            manager.check(view, piece, script, findings);
        }
        for command in script.runs(&["zypper"]) {
            if command.has_argument(&["dist-upgrade", "dup"]) {
                let message = "the image leaves the state that its base's tag names";
                found(findings, &ZYPPER_UPGRADE, piece, &command.range, message)
                    .hint("take a newer base image");
            }
        }
    }
}

impl Manager {
    fn check(&self, view: &View<'_>, piece: &Piece<'_>, script: &Script, findings: &mut Findings) {
        let installs: Vec<(&Command, Vec<&Word>)> = script
            .runs(self.names)
            .filter_map(|command| {
                Some((command, packages(command, self.install, &["-c", "-x", "--repo", "-r"])?))
            })
            .collect();
        let Some((first, _)) = installs.first() else { return };
        let name = first.name();
        for (command, _) in &installs {
            let yes = command.has_option(self.yes.0, self.yes.1)
                || command.arguments().iter().any(|word| word.text.starts_with('$'))
                || (command.at > 0 && script.pipeline(command).next().is_some_and(|own| own.name() == "yes"));
            if !yes {
                let message = format!("`{name} install` without `-y` waits for an answer");
                found(findings, self.rules[0], piece, &command.range, message)
                    .hint(format!("write `{name} install -y`"));
            }
        }
        let cleans = script.runs(self.names).any(|command| command.has_argument(&["clean", "cc"]))
            || script.runs(&["rm"]).any(|command| {
                let cache = |word: &Word| self.cache.iter().any(|own| word.text.starts_with(own));
                command.arguments().iter().any(|word| cache(word) || word.text.starts_with("/var/cache/*"))
            });
        if !cleans && !view.is_thrown_away(piece.stage) && !keeps_out_of_layer(piece, self.cache) {
            found(findings, self.rules[1], piece, &first.range, "what was fetched stays in the image")
                .hint(format!("end the same RUN with `&& {}`", self.clean));
        }
        let open: Vec<&Word> = installs
            .iter()
            .flat_map(|(_, packages)| packages.iter().copied())
            .filter(|word| is_open(word))
            .collect();
        if let Some(first) = open.first() {
            let (version, verb) = if open.len() == 1 { ("version", "is") } else { ("versions", "are") };
            let message = format!("the {version} of {} {verb} not pinned", listed(&open));
            found(findings, self.rules[2], piece, &first.range, message)
                .hint("name the version, or pin the base image by its digest");
        }
    }
}

/// Says whether a word names a package whose version is open: no `-` or `=` before a digit, no file, no group.
fn is_open(word: &Word) -> bool {
    let text = word.text.as_str();
    let versioned = text.contains(['=', '<', '>', '/', '@', '*', ':'])
        || ends_in(text, &["rpm"])
        || text.match_indices('-').any(|(at, _)| text[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    !versioned && !word.expands() && !text.is_empty()
}

//! `apk`.

use coracle_report::{Severity, Span};

use super::{listed, packages};
use crate::dockerfile::view::{View, ends_in, found, keeps_out_of_layer};
use crate::project::Findings;
use crate::shell::Word;
use crate::{Edit, Family, Fix, Rule};

pub(in crate::dockerfile) static RULES: &[&Rule] = &[&APK_VERSIONS, &APK_CACHE];

static APK_VERSIONS: Rule = Rule {
    id: "DL3018",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "Versions of Alpine packages are not pinned",
    explanation: "The same Dockerfile gives another image when Alpine has newer packages. `apk add 'curl~8.14'` keeps to one series, but Alpine's mirrors keep only the newest of a release: where a build must work again next month, pin the base image by its digest. Advice, once for each `RUN`.",
    example: Some(("RUN apk add --no-cache curl", "RUN apk add --no-cache 'curl~8.14'")),
    ..Rule::PLAIN
};

static APK_CACHE: Rule = Rule {
    id: "DL3019",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "`apk add` leaves its index in the image",
    explanation: "Without `--no-cache` the index of packages is written to `/var/cache/apk` and stays in the layer, and it must be fetched by `apk update` before. `apk add --no-cache` needs neither.",
    example: Some(("RUN apk update && apk add curl", "RUN apk add --no-cache curl")),
    fixable: true,
    ..Rule::PLAIN
};

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (piece, script) in view.runs() {
        let mut open: Vec<&Word> = Vec::new();
        let cleans = script
            .runs(&["rm"])
            .any(|command| command.arguments().iter().any(|word| word.text.starts_with("/var/cache/apk")))
            || script.runs(&["apk"]).any(|command| command.has_argument(&["cache"]));
        for command in script.runs(&["apk"]) {
            let with_value =
                ["-t", "--virtual", "-X", "--repository", "-p", "--root", "--arch", "--keys-dir"];
            let Some(packages) = packages(command, &["add"], &with_value) else { continue };
            open.extend(packages.into_iter().filter(|word| {
                let pinned = word.text.contains(['=', '~', '<', '>', '/']) || ends_in(&word.text, &["apk"]);
                !pinned && !word.expands() && !word.text.starts_with('.') && !word.text.starts_with('!')
            }));
            let verb = command.arguments().iter().find(|word| word.is("add"));
            let kept = cleans
                || command.has_option("", &["no-cache"])
                || keeps_out_of_layer(piece, &["/var/cache/apk", "/etc/apk/cache"]);
            if let (Some(verb), false, false) = (verb, kept, view.is_thrown_away(piece.stage)) {
                let after = piece.snippet.position(verb.range.end);
                let place = Span::new(view.file.source.file(), after, after);
                found(findings, &APK_CACHE, piece, &verb.range, "the index of packages stays in the image")
                    .hint("write `apk add --no-cache`")
                    .fix(Fix {
                        title: "add `--no-cache`".to_owned(),
                        edits: vec![Edit { span: place, text: " --no-cache".to_owned() }],
                    });
            }
        }
        if let Some(first) = open.first() {
            let (version, verb) = if open.len() == 1 { ("version", "is") } else { ("versions", "are") };
            let message = format!("the {version} of {} {verb} not pinned", listed(&open));
            found(findings, &APK_VERSIONS, piece, &first.range, message)
                .hint(format!("write `'{}~VERSION'`, or pin the base image by its digest", first.text));
        }
    }
}

//! `npm` and `yarn`.

use coracle_report::Severity;

use super::{listed, packages};
use crate::dockerfile::view::{View, ends_in, found, has_cache};
use crate::project::Findings;
use crate::shell::Word;
use crate::{Family, Rule};

pub(in crate::dockerfile) static RULES: &[&Rule] = &[&NPM_VERSIONS, &YARN_CACHE];

static NPM_VERSIONS: Rule = Rule {
    id: "DL3016",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Versions of `npm install` are not pinned",
    explanation: "Each build takes the newest version of that day, outside of what was tested. Write `npm install -g serve@14.2.4`, or put it into package.json and use `npm ci`.",
    example: Some(("RUN npm install -g serve", "RUN npm install -g serve@14.2.4")),
    ..Rule::PLAIN
};

static YARN_CACHE: Rule = Rule {
    id: "DL3060",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "`yarn install` leaves its cache in the image",
    explanation: "What yarn fetched stays in the layer. Keep it beside the layer, which also makes the next build fast: `RUN --mount=type=cache,target=/usr/local/share/.cache yarn install`; or end the same `RUN` with `yarn cache clean`.",
    example: Some(("RUN yarn install", "RUN yarn install && yarn cache clean")),
    ..Rule::PLAIN
};

const WITH_VALUE: &[&str] =
    &["--prefix", "--registry", "--cache", "-C", "--workspace", "-w", "--loglevel", "--omit", "--include"];

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    for (piece, script) in view.runs() {
        for command in script.runs(&["npm"]) {
            let packages = packages(command, &["install", "i", "add"], WITH_VALUE).unwrap_or_default();
            let open: Vec<&Word> = packages.into_iter().filter(|word| is_open(word)).collect();
            if let Some(first) = open.first() {
                let (version, verb) = if open.len() == 1 { ("version", "is") } else { ("versions", "are") };
                let message = format!("the {version} of {} {verb} not pinned", listed(&open));
                let finding = found(findings, &NPM_VERSIONS, piece, &first.range, message);
                finding.hint(format!("write `{}@VERSION`", first.text.trim_end_matches("@latest")));
                if open.iter().all(|word| word.text.starts_with("npm")) {
                    finding.severity(Severity::Note);
                }
            }
        }
        let cleans = script.runs(&["yarn"]).any(|command| command.has_argument(&["clean"]))
            || script.runs(&["rm"]).any(|command| {
                command
                    .arguments()
                    .iter()
                    .any(|word| word.text.contains("cache") || word.text.contains("yarn"))
            });
        let install = script.runs(&["yarn"]).find(|command| {
            let verb = command.plain_arguments().next();
            verb.is_none_or(|word| word.is("install")) && !command.has_option("v", &["version", "help"])
        });
        if let Some(install) = install
            && !cleans
            && !view.is_thrown_away(piece.stage)
            && !has_cache(piece, &["yarn", "cache"])
        {
            found(findings, &YARN_CACHE, piece, &install.range, "yarn's cache stays in the image")
                .hint("end the same RUN with `&& yarn cache clean`");
        }
    }
}

/// Says whether a word names a package whose version is open.
fn is_open(word: &Word) -> bool {
    let text = word.text.as_str();
    // `@scope/name` has its version after a second `@`.
    let name = text.strip_prefix('@').unwrap_or(text);
    let versioned = name.split_once('@').is_some_and(|(_, version)| version != "latest");
    let elsewhere = text.starts_with(['.', '/', '~'])
        || text.contains(':')
        || (!text.starts_with('@') && text.contains('/'))
        || ends_in(text, &["tgz"])
        || text.ends_with(".tar.gz");
    !versioned && !elsewhere && !word.expands() && !text.is_empty()
}

//! `gem`, `go install`, `curl` and `wget`.

use coracle_report::Severity;

use super::packages;
use crate::dockerfile::view::{View, ends_in, found};
use crate::project::Findings;
use crate::shell::Word;
use crate::{Family, Rule};

pub(in crate::dockerfile) static RULES: &[&Rule] =
    &[&GEM_VERSIONS, &GO_VERSIONS, &WGET_PROGRESS, &ONE_FETCHER, &CURL_FAIL];

static GEM_VERSIONS: Rule = Rule {
    id: "DL3028",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Versions of `gem install` are not pinned",
    explanation: "Each build takes the newest version of that day, outside of what was tested. Write `gem install bundler:2.6.2`, or use a Gemfile.lock.",
    example: Some(("RUN gem install bundler", "RUN gem install bundler:2.6.2")),
    ..Rule::PLAIN
};

static GO_VERSIONS: Rule = Rule {
    id: "DL3062",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Versions of `go install` are not pinned",
    explanation: "`@latest`, or no version, is another program tomorrow. Write `go install example.org/tool@v1.2.3`.",
    example: Some(("RUN go install example.org/tool@latest", "RUN go install example.org/tool@v1.2.3")),
    ..Rule::PLAIN
};

static WGET_PROGRESS: Rule = Rule {
    id: "DL3047",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "`wget` writes thousands of lines of progress into the build's log",
    explanation: "Without a terminal each line of dots of `wget` is a line of the log. Write `wget -nv` or `wget --progress=dot:giga`.",
    example: Some(("RUN wget https://example.org/big.iso", "RUN wget -nv https://example.org/big.iso")),
    ..Rule::PLAIN
};

static ONE_FETCHER: Rule = Rule {
    id: "DL4001",
    family: Family::Dockerfile,
    severity: Severity::Note,
    title: "Both `wget` and `curl` are used in one stage",
    explanation: "One of them is enough, and each brings libraries with it that must be kept up to date. Use one.",
    example: Some(("RUN wget URL && curl -fO URL", "RUN curl -fO URL && curl -fO URL")),
    ..Rule::PLAIN
};

static CURL_FAIL: Rule = Rule {
    id: "CurlWithoutFail",
    family: Family::Shell,
    severity: Severity::Warning,
    title: "`curl` without `-f` takes an error page for the file",
    explanation: "Without `-f` curl ends with 0 when the server answers 404 or 500: the error page is saved as the file, piped into the next program, or counted as health. Write `curl -fsSL`.",
    example: Some((
        "RUN curl -sSLo /tool https://example.org/tool",
        "RUN curl -fsSLo /tool https://example.org/tool",
    )),
    ..Rule::PLAIN
};

pub(super) fn run(view: &View<'_>, findings: &mut Findings) {
    let mut wget: Vec<Option<usize>> = vec![None; view.file.stages.len()];
    let mut curl = wget.clone();
    for (index, piece) in view.pieces.iter().enumerate() {
        let Some(script) = piece.snippet.script() else { continue };
        for command in &script.commands {
            let healthcheck = piece.role == crate::shell::Role::Healthcheck;
            if command.name() == "curl" && fetches(command) && !fails(command) && !looks_at_status(command) {
                let saved = command.has_option("oO", &["output", "remote-name", "remote-name-all"])
                    || command
                        .redirects
                        .iter()
                        .any(|own| own.target.text != "/dev/null" && own.target.text.len() > 1);
                if healthcheck || saved || command.is_piped() {
                    let message = if healthcheck {
                        "`curl` without `-f` is content with an error page: the check passes whatever the server answers"
                    } else {
                        "`curl` without `-f` goes on with an error page when the server has no such file"
                    };
                    found(findings, &CURL_FAIL, piece, &command.range, message).hint("write `curl -fsSL`");
                }
            }
            if piece.role != crate::shell::Role::Run {
                continue;
            }
            match command.name() {
                "wget" => {
                    wget[piece.stage].get_or_insert(index);
                    let quiet = command.has_option(
                        "q",
                        &["quiet", "no-verbose", "progress", "output-file", "append-output", "spider"],
                    ) || command.arguments().iter().any(|word| {
                        matches!(word.text.as_str(), "-nv" | "-o" | "-a" | "-S")
                            || word.text.starts_with("-nv")
                            || word.text.starts_with('$')
                    });
                    if fetches(command) && !quiet {
                        let message = "`wget` writes its progress into the log, line by line";
                        found(findings, &WGET_PROGRESS, piece, &command.range, message)
                            .hint("write `wget -nv`");
                    }
                }
                "curl" => {
                    curl[piece.stage].get_or_insert(index);
                }
                "gem" => {
                    let options =
                        ["-v", "--version", "-n", "--bindir", "-i", "--install-dir", "--source", "-s", "-P"];
                    let versioned = command.has_option("v", &["version"]) || command.has_argument(&["-v"]);
                    let open: Vec<&Word> = packages(command, &["install", "i"], &options)
                        .unwrap_or_default()
                        .into_iter()
                        .filter(|word| {
                            !word.text.contains(':') && !ends_in(&word.text, &["gem"]) && !word.expands()
                        })
                        .take_while(|word| !word.is("--"))
                        .collect();
                    if let (Some(first), false) = (open.first(), versioned) {
                        let message = format!("the version of `{}` is not pinned", first.text);
                        found(findings, &GEM_VERSIONS, piece, &first.range, message)
                            .hint(format!("write `{}:VERSION`", first.text));
                    }
                }
                "go" => {
                    let tools = packages(command, &["install"], &["-ldflags", "-tags", "-o", "-gcflags"]);
                    for word in tools.unwrap_or_default() {
                        let remote = word.text.split('/').next().is_some_and(|host| host.contains('.'));
                        let open = word.text.ends_with("@latest") || !word.text.contains('@');
                        if remote && open && !word.text.starts_with('.') && !word.expands() {
                            let message = format!("the version of `{}` is not pinned", word.text);
                            let name = word.text.trim_end_matches("@latest");
                            found(findings, &GO_VERSIONS, piece, &word.range, message)
                                .hint(format!("write `{name}@VERSION`"));
                        }
                    }
                }
                _ => {}
            }
        }
    }
    for (wget, curl) in wget.into_iter().zip(curl) {
        let (Some(wget), Some(curl)) = (wget, curl) else { continue };
        let place = |index: usize, name: &str| {
            let piece = &view.pieces[index];
            let script = piece.snippet.script()?;
            let command = script.commands.iter().find(|command| command.name() == name)?;
            Some((piece, command.program()?.range.clone()))
        };
        let (Some((one, first)), Some((two, second))) = (place(wget, "wget"), place(curl, "curl")) else {
            continue;
        };
        // Reported at the later of the two.
        let (place, other) =
            if (one.statement.span.start, first.start) > (two.statement.span.start, second.start) {
                ((one, first), (two, second))
            } else {
                ((two, second), (one, first))
            };
        found(findings, &ONE_FETCHER, place.0, &place.1, "both `wget` and `curl` are used in this stage")
            .also(&other.0.snippet.span(&other.1), "the other")
            .hint("use one of them");
    }
}

/// Says whether a command is given an address.
fn fetches(command: &crate::shell::Command) -> bool {
    command.arguments().iter().any(|word| word.text.contains("://") || word.text.contains("localhost"))
}

/// Says whether curl fails when the server does; unknown options count as if.
fn fails(command: &crate::shell::Command) -> bool {
    let named = ["--fail", "--fail-with-body", "--fail-early", "--config", "-K", "-I", "--head", "--version"];
    command.has_argument(&named)
        || command.arguments().iter().any(|word| {
            let short = word.text.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
            short.is_some_and(|letters| {
                letters.split(['o', 'w', 'H', 'd', 'X', 'u']).next().unwrap_or_default().contains('f')
            }) || word.text.starts_with('$')
        })
}

/// Says whether the answer's status is looked at otherwise.
fn looks_at_status(command: &crate::shell::Command) -> bool {
    command.has_option("w", &["write-out"])
        || command
            .arguments()
            .iter()
            .any(|word| word.text.contains("http_code") || word.text.contains("file://"))
}

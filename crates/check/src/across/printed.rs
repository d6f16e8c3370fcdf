//! Addresses that scripts print, against what is published.

use coracle_composefile::HostPorts;
use coracle_report::{Position, Span};

use super::sources_of::{has_extension, scripts};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check = Check { rules: &[&PRINTED_ADDRESS], run: Run::Subject(run) };

static PRINTED_ADDRESS: Rule = Rule {
    id: "PrintedAddress",
    family: Family::Across,
    title: "A script prints an address that the compose files do not publish",
    explanation: "The script tells people where the application is, by a variable or a number that no `ports:` uses: who sets the variable is sent to a port on which nothing answers. Use the same variable in both (`ports: [\"${API_PORT:-8000}:8000\"]`), or print what was published (`docker compose port SERVICE PORT`).",
    example: Some((
        "echo \"API: http://localhost:${API_PORT:-8000}\"  # ports: [\"8000:8000\"]",
        "echo \"API: http://localhost:${API_PORT:-8000}\"  # ports: [\"${API_PORT:-8000}:8000\"]",
    )),
    ..Rule::PLAIN
};

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(project) = subject.project() else { return };
    let loaded: Vec<String> = project
        .files
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let texts: Vec<String> = project.files.iter().filter_map(|path| subject.files.text(path)).collect();
    let published = |port: u16| {
        project.services.values().flat_map(|service| &service.ports).any(|own| match own.published {
            HostPorts::Any => true,
            HostPorts::One(one) => one == port,
            HostPorts::Range(first, last) => (first..=last).contains(&port),
        })
    };
    // The variable must stand where ports are: before a colon, in an item of a list or in `published`.
    let in_ports = |name: &str| {
        texts.iter().flat_map(|text| text.lines()).any(|line| {
            let trimmed = line.trim_start();
            let uses = line.contains(&format!("${{{name}")) || line.contains(&format!("${name}"));
            uses && (trimmed.starts_with("published")
                || trimmed.starts_with("ports")
                || (trimmed.starts_with("- ") && !trimmed.contains('=')))
        })
    };
    for path in scripts(subject) {
        if path.extension().is_none_or(|extension| extension != "sh" && extension != "bash") {
            continue;
        }
        let Some(text) = subject.files.text(&path) else { continue };
        // Only a script that starts just these files says where they are.
        let named: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || c == '"' || c == '\'' || c == '=')
            .filter(|word| word.contains("compose") && has_extension(word, &["yml", "yaml"]))
            .map(|word| word.rsplit('/').next().unwrap_or(word))
            .collect();
        let starts = text.contains("compose") && text.contains(" up");
        let same = named.iter().all(|name| loaded.iter().any(|own| own == name))
            && (named.is_empty() || loaded.iter().all(|own| named.contains(&own.as_str())));
        if !starts || !same {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            let printed = ["echo ", "printf "].iter().any(|word| line.trim_start().starts_with(word));
            if !printed {
                continue;
            }
            for host in ["localhost:", "127.0.0.1:"] {
                let Some(at) = line.find(host) else { continue };
                let rest = &line[at + host.len()..];
                let name: String = rest
                    .trim_start_matches(['$', '{'])
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                let variable = rest.starts_with('$') && !name.is_empty();
                let wrong = if variable {
                    !in_ports(&name)
                } else {
                    name.parse::<u16>().is_ok_and(|port| !published(port))
                };
                let (shown, used) = if variable {
                    (format!("${name}"), format!("${{{name}:-8000}}"))
                } else {
                    (name.clone(), name)
                };
                if !wrong {
                    continue;
                }
                let column = line[..at + host.len()].chars().count() as u32 + 1;
                let start = Position::new(index as u32 + 1, column);
                let end = Position::new(start.line, column + shown.chars().count() as u32);
                let message = format!("`{shown}` is printed as a port, and no `ports:` uses it");
                findings.add(&PRINTED_ADDRESS, &Span::new(&path, start, end), message).hint(format!(
                    "publish by it, e.g. `ports: [\"{used}:8000\"]`, or print what was published"
                ));
            }
        }
    }
}

//! nginx' configurations: their directives with places, and the services that use them.

use std::path::Path;

use coracle_composefile::MountSource;
use coracle_report::{Position, Span};

use crate::image::{Origin, Running};
use crate::project::Subject;

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// Its name.
    pub name: String,
    /// Its arguments, without quotes.
    pub words: Vec<String>,
    /// Where its name and arguments stand.
    pub span: Span,
    /// Where each argument stands.
    pub places: Vec<Span>,
    /// What stands in its braces.
    pub block: Vec<Directive>,
}

impl Directive {
    /// Returns itself and everything within, from above to below.
    pub(super) fn all<'d>(&'d self, out: &mut Vec<&'d Self>) {
        out.push(self);
        self.block.iter().for_each(|inner| inner.all(out));
    }
}

/// A configuration that a service uses.
pub(super) struct Configuration {
    /// Where it is in the container.
    pub target: String,
    /// The `COPY` that puts it there; `None` when it is mounted.
    pub copied: Option<Span>,
    /// What it says.
    pub directives: Vec<Directive>,
}

impl Configuration {
    /// Returns every directive, however deep.
    pub(super) fn all(&self) -> Vec<&Directive> {
        let mut all = Vec::new();
        self.directives.iter().for_each(|directive| directive.all(&mut all));
        all
    }
}

/// Returns the TCP port of a `listen`.
pub(super) fn listened(directive: &Directive) -> Option<u16> {
    let first = directive.words.first().filter(|_| directive.name == "listen")?;
    if first.starts_with("unix:") {
        return None;
    }
    let port = match first.rsplit_once(':') {
        Some((_, port)) => port,
        // An address alone listens on 80.
        None if first.contains('.') || first.starts_with('[') => "80",
        None => first,
    };
    port.parse().ok()
}

/// Returns the configurations that an nginx uses: mounted ones, and those copied into its image that no mount hides.
pub(super) fn configurations(running: &Running<'_>, subject: &Subject<'_>) -> Vec<Configuration> {
    let mut found = Vec::new();
    let mut add = |path: &Path, target: &str, copied: Option<Span>| {
        let template = target.starts_with("/etc/nginx/templates/") && target.ends_with(".template");
        let used = target == "/etc/nginx/nginx.conf"
            || (target.starts_with("/etc/nginx/")
                && [".conf", ".inc"].iter().any(|end| target.ends_with(end)));
        if !template && !used {
            return;
        }
        let Some(mut text) = subject.files.text(path) else { return };
        if template {
            for (name, value) in &running.service.environment {
                text = text.replace(&format!("${{{name}}}"), value);
            }
        }
        let directives = parse(path, &text);
        found.push(Configuration { target: target.to_owned(), copied, directives });
    };
    let mounts = &running.service.mounts;
    for mount in mounts {
        let MountSource::Bind { path, .. } = &mount.source else { continue };
        if !mount.target.starts_with("/etc/nginx") {
            continue;
        }
        if subject.files.is_file(path) {
            add(path, &mount.target, None);
        } else {
            for file in subject.files.walk(path, &[], 200) {
                if let Ok(rest) = file.strip_prefix(path) {
                    let target = format!("{}/{}", mount.target.trim_end_matches('/'), rest.display());
                    add(&file, &target, None);
                }
            }
        }
    }
    let hidden = |target: &str| {
        mounts.iter().any(|mount| Path::new(target).starts_with(mount.target.trim_end_matches('/')))
    };
    let made = running.made.as_ref();
    for copied in made.into_iter().flat_map(|made| &made.copied) {
        let (Some(made), Some(source), Some(dest)) = (made, &copied.source, &copied.dest) else { continue };
        let Some(context) = made.build.context.as_deref().filter(|_| copied.origin == Origin::Context) else {
            continue;
        };
        let clean = source.trim_start_matches(['/', '.']).trim_end_matches('/');
        let mut path = context.join(clean);
        if !subject.files.exists(&path) {
            // What was meant may lie elsewhere: see `CopySourceMissing`.
            path = subject.directory.join(clean);
        }
        let span = copied.word.span.clone();
        if subject.files.is_file(&path) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let target = if dest.ends_with('/') { format!("{dest}{name}") } else { dest.clone() };
            if !hidden(&target) {
                add(&path, &target, Some(span));
            }
        } else if subject.files.is_directory(&path) && !clean.is_empty() {
            for file in subject.files.walk(&path, &[], 200) {
                if let Ok(rest) = file.strip_prefix(&path) {
                    let target = format!("{}/{}", dest.trim_end_matches('/'), rest.display());
                    if !hidden(&target) {
                        add(&file, &target, Some(span.clone()));
                    }
                }
            }
        }
    }
    found
}

/// One token with its place.
struct Token {
    text: String,
    quoted: bool,
    start: Position,
    end: Position,
}

/// Parses a configuration; what is unbalanced ends where the text does.
pub(super) fn parse(path: &Path, text: &str) -> Vec<Directive> {
    let tokens = tokens(text);
    let mut at = 0;
    block(path, &tokens, &mut at, 0)
}

fn block(path: &Path, tokens: &[Token], at: &mut usize, depth: usize) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut pending: Vec<&Token> = Vec::new();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token.text.as_str() {
            ";" | "{" if !token.quoted => {
                let inner = if token.text == "{" && depth < 64 {
                    block(path, tokens, at, depth + 1)
                } else {
                    Vec::new()
                };
                if let Some((name, words)) = pending.split_first() {
                    let last = pending[pending.len() - 1];
                    directives.push(Directive {
                        name: name.text.clone(),
                        words: words.iter().map(|word| word.text.clone()).collect(),
                        span: Span::new(path, name.start, last.end),
                        places: words.iter().map(|word| Span::new(path, word.start, word.end)).collect(),
                        block: inner,
                    });
                }
                pending.clear();
            }
            "}" if !token.quoted => break,
            _ => pending.push(token),
        }
    }
    directives
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index as u32 + 1;
        let characters: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < characters.len() {
            let start = at;
            let character = characters[at];
            let mut word = String::new();
            let mut quoted = false;
            match character {
                c if c.is_whitespace() => {
                    at += 1;
                    continue;
                }
                '#' => break,
                ';' | '{' | '}' => {
                    word.push(character);
                    at += 1;
                }
                '"' | '\'' => {
                    quoted = true;
                    at += 1;
                    while at < characters.len() && characters[at] != character {
                        if characters[at] == '\\' && at + 1 < characters.len() {
                            at += 1;
                        }
                        word.push(characters[at]);
                        at += 1;
                    }
                    at += 1;
                }
                _ => {
                    while at < characters.len() {
                        let c = characters[at];
                        // `${name}` belongs to the word.
                        if c == '{' && word.ends_with('$') {
                            while at < characters.len() && characters[at] != '}' {
                                word.push(characters[at]);
                                at += 1;
                            }
                            if at < characters.len() {
                                word.push('}');
                                at += 1;
                            }
                            continue;
                        }
                        if c.is_whitespace() || matches!(c, ';' | '{' | '}') {
                            break;
                        }
                        word.push(c);
                        at += 1;
                    }
                }
            }
            let place = |column: usize| Position::new(number, column as u32 + 1);
            tokens.push(Token { text: word, quoted, start: place(start), end: place(at) });
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        let text = "server {\n  listen 80; # x\n  location / { proxy_pass http://a:${PORT}/; }\n  add_header X 'a;b';\n}\n";
        let found = parse(Path::new("f"), text);
        assert_eq!(found.len(), 1);
        let mut all = Vec::new();
        found[0].all(&mut all);
        let shown: Vec<String> = all
            .iter()
            .map(|one| {
                format!(
                    "{}:{} {} {}",
                    one.span.start.line,
                    one.span.start.column,
                    one.name,
                    one.words.join("|")
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "1:1 server ",
                "2:3 listen 80",
                "3:3 location /",
                "3:16 proxy_pass http://a:${PORT}/",
                "4:3 add_header X|a;b"
            ]
        );
        assert_eq!(all[3].places[0].start, Position::new(3, 27));
    }

    #[test]
    fn unbalanced_text_ends() {
        assert_eq!(parse(Path::new("f"), "a { b { c").len(), 1);
        assert_eq!(parse(Path::new("f"), "} } x;").len(), 0);
        parse(Path::new("f"), &"a {".repeat(10_000));
    }
}

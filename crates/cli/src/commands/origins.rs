//! Where values come from, in words and as JSON: what `config --why` and the commands of `env` share.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use coracle_engine::{
    Beaten, Masks, Outcome, Provenance, Reason, Step, ValueKind, ValuePath, VariableOrigin, VariableUse,
    View, Way, short_form,
};
use coracle_report::Span;
use serde_json::{Value, json};

/// How places and values are spelled.
pub struct Origins {
    /// Files below it are named from here.
    pub here: PathBuf,
    /// What is done with secrets.
    pub masks: Masks,
}

impl Origins {
    /// Returns the spelling for this process; secrets are hidden unless `reveal`.
    pub fn new(reveal: bool) -> Self {
        let masks = if reveal { Masks::Reveal } else { Masks::Hide };
        Self { here: std::env::current_dir().unwrap_or_default(), masks }
    }

    /// Returns a file's name.
    pub fn file(&self, path: &Path) -> String {
        path.strip_prefix(&self.here).unwrap_or(path).display().to_string()
    }

    /// Returns a place as `file:line`.
    pub fn line(&self, span: &Span) -> String {
        format!("{}:{}", self.file(&span.file), span.start.line)
    }

    /// Returns a place as `file:line:column`.
    pub fn place(&self, span: &Span) -> String {
        format!("{}:{}", self.line(span), span.start.column)
    }

    /// Returns where a variable's value comes from.
    pub fn origin(&self, origin: &VariableOrigin) -> String {
        match origin {
            VariableOrigin::Process => "the shell".to_owned(),
            VariableOrigin::File(span) => self.line(span),
            VariableOrigin::ProjectName => "the project's name".to_owned(),
        }
    }

    /// Returns a value's place and the variables that went into it, on one line.
    pub fn summary(&self, provenance: &Provenance<'_>) -> String {
        let mut text = match provenance.how.first() {
            Some(Way::Implied { by }) => format!("implied at {}", self.line(by)),
            _ => self.line(&provenance.span),
        };
        let mut uses = Vec::new();
        for used in &provenance.uses {
            let (Outcome::Value { origin, .. } | Outcome::Alternative { origin }) = &used.outcome else {
                continue;
            };
            let origin = self.origin(origin);
            if origin != text {
                uses.push(format!("{} from {origin}", used.name));
            }
        }
        for way in &provenance.how {
            match way {
                Way::Extends { service, at } => {
                    uses.push(format!("extended from {service} at {}", self.line(at)));
                }
                Way::Include { at } => uses.push(format!("included at {}", self.line(at))),
                Way::File { .. } | Way::EnvFile { .. } | Way::Caller { .. } | Way::Implied { .. } => {}
            }
        }
        uses.dedup();
        if !uses.is_empty() {
            let _ = write!(text, " ({})", uses.join(", "));
        }
        text
    }

    /// Returns the text of a value that is called `name`.
    pub fn value(&self, name: &str, shown: &str, provenance: &Provenance<'_>) -> String {
        let text = self.masks.replaced(name, shown, &provenance.uses);
        one_line(&self.relative(&text))
    }

    /// Writes paths below the current directory as `./path`: they start the text, or stand behind nothing else of a
    /// mount than they do there.
    fn relative(&self, text: &str) -> String {
        let here = self.here.to_string_lossy();
        match text.strip_prefix(&*here) {
            Some("") => ".".to_owned(),
            Some(rest) if here.len() > 1 && rest.starts_with('/') => format!(".{rest}"),
            Some(rest) if here.len() > 1 && rest.starts_with(':') => format!(".{rest}"),
            _ => text.to_owned(),
        }
    }

    /// Returns a value's text before its variables were replaced, when that tells anything.
    pub fn written(&self, name: &str, written: Option<&str>, shown: &str) -> Option<String> {
        let written = without_name(name, written?);
        let masked = self.masks.written(name, written);
        (written != shown && written != name).then(|| one_line(&masked))
    }

    /// Returns what a value beat.
    pub fn beaten(&self, path: &ValuePath, beaten: &Beaten<'_>) -> String {
        let name = name_of(path);
        let shown = match beaten.value.kind() {
            ValueKind::Mapping if matches!(path.steps().last(), Some(Step::Item(_))) => {
                self.relative(&short_form(path, beaten.value))
            }
            ValueKind::List | ValueKind::Mapping => self.masks.shown(name, beaten.value),
            _ => self.masks.text(name, without_name(name, &beaten.shown)),
        };
        let written = self.written(name, beaten.written, without_name(name, &beaten.shown));
        let value = match written {
            Some(written) => format!("{written} = {}", one_line(&shown)),
            None => one_line(&shown),
        };
        format!("{value} ({})", reason(beaten.reason))
    }

    /// Returns the lines that tell a value's story: a label, a place and what is there.
    pub fn story(&self, path: &ValuePath, shown: &str, provenance: &Provenance<'_>) -> Vec<[String; 3]> {
        let name = name_of(path);
        let mut lines = Vec::new();
        let mut say = |label: &str, place: String, text: String| lines.push([label.to_owned(), place, text]);
        for way in &provenance.how {
            match way {
                Way::File { at } => {
                    say(
                        "set",
                        self.place(at),
                        self.written(name, provenance.written, shown).unwrap_or_default(),
                    );
                }
                Way::EnvFile { at, named } => {
                    say(
                        "set",
                        self.place(at),
                        self.written(name, provenance.written, shown).unwrap_or_default(),
                    );
                    say("via", self.place(named), "env_file".to_owned());
                }
                Way::Caller { at } => {
                    say("named", self.place(at), "the variable's own value is taken".to_owned());
                }
                Way::Implied { by } => {
                    say("set", self.place(by), "not written: its attribute implies it".to_owned());
                }
                Way::Extends { service, at } => say("via", self.place(at), format!("extends {service}")),
                Way::Include { at } => say("via", self.place(at), "include".to_owned()),
            }
        }
        for used in &provenance.uses {
            let (place, text) = self.used(used);
            say("with", place, text);
        }
        for beaten in &provenance.beaten {
            let place = self.place(&beaten.span);
            say("beat", place, self.beaten(path, beaten));
        }
        lines
    }

    /// Returns where a variable's value is from and what it is.
    fn used(&self, used: &VariableUse) -> (String, String) {
        let name = &used.name;
        let word = || self.masks.written(name, &used.word);
        let (place, mut text) = match &used.outcome {
            Outcome::Value { value, origin } => {
                let value = one_line(&self.masks.text(name, value));
                (self.origin_place(origin), format!("{name}={value}"))
            }
            Outcome::Alternative { origin } => {
                (self.origin_place(origin), format!("{name} is set, so `{}` is taken", word()))
            }
            Outcome::Default => {
                (self.place(&used.span), format!("{name} has no value, so the default `{}` is taken", word()))
            }
            Outcome::Nothing => (self.place(&used.span), format!("{name} has no value")),
        };
        for shadowed in &used.shadowed {
            let value = self.masks.text(name, shadowed.value.as_deref().unwrap_or_default());
            let _ = write!(text, ", not `{}` of {}", one_line(&value), self.line(&shadowed.span));
        }
        (place, text)
    }

    fn origin_place(&self, origin: &VariableOrigin) -> String {
        match origin {
            VariableOrigin::File(span) => self.place(span),
            VariableOrigin::Process | VariableOrigin::ProjectName => self.origin(origin),
        }
    }

    /// Returns a value and its story.
    pub fn json(&self, name: &str, shown: &str, provenance: &Provenance<'_>) -> Value {
        let mut value = json!({
            "value": self.masks.replaced(name, shown, &provenance.uses),
            "at": self.json_place(&provenance.span),
        });
        let how: Vec<Value> = provenance.how.iter().map(|way| self.json_way(way)).collect();
        value["how"] = how.into();
        if let Some(written) = provenance.written {
            value["written"] = self.masks.written(name, without_name(name, written)).into();
        }
        let variables: Vec<Value> = provenance.uses.iter().map(|used| self.json_use(used)).collect();
        value["variables"] = variables.into();
        let beaten = provenance.beaten.iter().map(|beaten| {
            let shown = match beaten.value.kind() {
                ValueKind::List | ValueKind::Mapping => self.masks.shown(name, beaten.value),
                _ => self.masks.text(name, without_name(name, &beaten.shown)),
            };
            let how: Vec<Value> = beaten.how.iter().map(|way| self.json_way(way)).collect();
            let written = beaten.written.map(|text| self.masks.written(name, without_name(name, text)));
            json!({
                "value": shown, "at": self.json_place(&beaten.span), "written": written,
                "reason": reason(beaten.reason), "how": how,
            })
        });
        value["beaten"] = beaten.collect::<Vec<_>>().into();
        value
    }

    /// Returns a place as JSON.
    pub fn json_place(&self, span: &Span) -> Value {
        json!({"file": self.file(&span.file), "line": span.start.line, "column": span.start.column})
    }

    /// Returns a variable's origin as JSON.
    pub fn json_origin(&self, origin: &VariableOrigin) -> Value {
        match origin {
            VariableOrigin::Process => json!({"from": "shell"}),
            VariableOrigin::File(span) => json!({"from": "file", "at": self.json_place(span)}),
            VariableOrigin::ProjectName => json!({"from": "project-name"}),
        }
    }

    fn json_way(&self, way: &Way) -> Value {
        match way {
            Way::File { at } => json!({"by": "file", "at": self.json_place(at)}),
            Way::EnvFile { at, named } => {
                json!({"by": "env_file", "at": self.json_place(at), "named": self.json_place(named)})
            }
            Way::Caller { at } => json!({"by": "caller", "at": self.json_place(at)}),
            Way::Implied { by } => json!({"by": "implied", "at": self.json_place(by)}),
            Way::Extends { service, at } => {
                json!({"by": "extends", "service": service, "at": self.json_place(at)})
            }
            Way::Include { at } => json!({"by": "include", "at": self.json_place(at)}),
        }
    }

    fn json_use(&self, used: &VariableUse) -> Value {
        let hidden = |text: &str| self.masks.text(&used.name, text);
        let mut value = json!({"name": used.name, "at": self.json_place(&used.span)});
        match &used.outcome {
            Outcome::Value { value: text, origin } => {
                value["value"] = hidden(text).into();
                value["origin"] = self.json_origin(origin);
            }
            Outcome::Alternative { origin } => {
                value["alternative"] = self.masks.written(&used.name, &used.word).into();
                value["origin"] = self.json_origin(origin);
            }
            Outcome::Default => value["default"] = self.masks.written(&used.name, &used.word).into(),
            Outcome::Nothing => {}
        }
        let shadowed = used.shadowed.iter().map(|variable| {
            json!({"value": variable.value.as_deref().map(hidden), "at": self.json_place(&variable.span)})
        });
        value["shadowed"] = shadowed.collect::<Vec<_>>().into();
        value
    }

    /// Returns the text of a leaf: its short form, or itself.
    pub fn leaf(&self, name: &str, shown: &str, view: View<'_>) -> String {
        self.value(name, shown, &view.provenance())
    }
}

/// Returns the name of a value, which may say that it is secret; items of lists have none.
pub fn name_of(path: &ValuePath) -> &str {
    match path.steps().last() {
        Some(Step::Key(name)) => name,
        Some(Step::Item(_)) | None => "",
    }
}

/// Returns why a value gave way.
fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::EarlierFile => "earlier file",
        Reason::EarlierItem => "further up in the file",
        Reason::ExtendedService => "the service that is extended",
        Reason::Override => "dropped by !override",
        Reason::EnvFile => "environment is stronger than env_file",
        Reason::MergeKey => "merged by <<",
        Reason::ProjectName => "COMPOSE_PROJECT_NAME is stronger than name",
    }
}

/// Returns the value of `NAME=value`, as lists of variables have them.
fn without_name<'t>(name: &str, text: &'t str) -> &'t str {
    text.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).unwrap_or(text)
}

/// Returns text on one line; an empty one is two quotes.
fn one_line(text: &str) -> String {
    if text.is_empty() { "\"\"".to_owned() } else { text.replace('\n', "\\n") }
}

//! `coracle config ENV --why PATH`: which file and line won, what it beat, and which variables went into it.

use coracle_engine::{Failure, NoSuchValue, ResolvedEnvironment, Result, ValuePath, leaves};
use coracle_report::Diagnostic;
use serde_json::{Value, json};

use super::Done;
use super::origins::{Origins, name_of};
use crate::printer::{DIM, Printer, STRONG, paint};

/// Prints the story of the values at and below `path`.
pub fn run(
    printer: Printer,
    environment: &ResolvedEnvironment,
    path: &str,
    json: bool,
    origins: &Origins,
) -> Result<Done> {
    let path: ValuePath = path.parse().map_err(|error| {
        let hint = "write names between dots, e.g. services.backend.environment.DEBUG";
        Failure::user(Diagnostic::error("value-path", format!("{error}")).with_hint(hint))
    })?;
    let loaded = &environment.loaded;
    let (view, path) = match path.find(loaded.root()) {
        Ok(found) => found,
        Err(missing) => return Err(unknown(environment, &path, &missing, origins)),
    };
    let leaves = leaves(&path, view);
    if json {
        let mut all: Vec<Value> = Vec::new();
        for leaf in &leaves {
            let name = name_of(&leaf.path);
            let mut value = json!({"path": leaf.path.to_string()});
            let story = origins.json(name, &leaf.shown, &leaf.value.provenance());
            if let (Value::Object(value), Value::Object(story)) = (&mut value, story) {
                value.extend(story);
            }
            all.push(value);
        }
        // One value is itself; what holds several is a list.
        let one = if all.len() == 1 && all[0]["path"] == path.to_string() { all.pop() } else { None };
        let text = serde_json::to_string_pretty(&one.unwrap_or(Value::Array(all)));
        printer.data(text.map_err(|error| Failure::ours("writing JSON", &error))?);
        return Ok(Done::Ok);
    }
    let provenance = view.provenance();
    let shown_whole = leaves.iter().any(|leaf| leaf.path == path);
    if !shown_whole && !provenance.beaten.is_empty() {
        printer.data(paint(STRONG, &path));
        for beaten in &provenance.beaten {
            printer.data(format!(
                "  beat   {}   {}",
                origins.place(&beaten.span),
                origins.beaten(&path, beaten)
            ));
        }
    }
    for leaf in &leaves {
        let name = name_of(&leaf.path);
        let provenance = leaf.value.provenance();
        let value = origins.value(name, &leaf.shown, &provenance);
        printer.data(format!("{} = {value}", paint(STRONG, &leaf.path)));
        let lines = origins.story(&leaf.path, &leaf.shown, &provenance);
        let width = lines.iter().map(|[_, place, _]| place.chars().count()).max().unwrap_or_default();
        for [label, place, text] in lines {
            let line = format!("  {}   {place:width$}   {text}", paint(DIM, format_args!("{label:5}")));
            printer.data(line.trim_end());
        }
    }
    Ok(Done::Ok)
}

/// Says that there is no such value, and what there is instead.
fn unknown(
    environment: &ResolvedEnvironment,
    asked: &ValuePath,
    missing: &NoSuchValue,
    origins: &Origins,
) -> Failure {
    let removed = environment.loaded.removed();
    let asked_for = asked.names().join(".");
    let is_it = |path: &[String]| {
        let path = path.join(".");
        let short = path.strip_prefix("services.").unwrap_or(&path);
        [path.as_str(), short].into_iter().any(|path| {
            asked_for.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    if let Some(removed) = removed.iter().rev().find(|removed| is_it(&removed.path)) {
        let path = removed.path.join(".");
        let message = format!("{path} was removed by `!reset`");
        let name = removed.path.last().map(String::as_str).unwrap_or_default();
        let shown = origins.masks.shown(name, removed.value);
        let mut diagnostic = Diagnostic::error("value-removed", message)
            .with_span(removed.at.clone())
            .with_note(format!("it was {shown} at {}", origins.place(&removed.span)));
        diagnostic.source_line = environment.loaded.written().source_line(&removed.at);
        return Failure::user(diagnostic);
    }
    let mut diagnostic = Diagnostic::error("unknown-value", missing.to_string());
    if let Some(near) = &missing.near {
        diagnostic = diagnostic.with_hint(format!("did you mean `{near}`?"));
    } else if missing.known.is_empty() {
        diagnostic = diagnostic.with_note("it holds nothing that has a name".to_owned());
    }
    if !missing.known.is_empty() {
        diagnostic = diagnostic.with_note(format!("it has {}", missing.known.join(", ")));
    }
    Failure::user(diagnostic)
}

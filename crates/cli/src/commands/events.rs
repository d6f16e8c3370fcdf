//! `coracle events`: what happens to containers, images, networks and volumes, as it happens.

use std::collections::BTreeMap;

use coracle_engine::{Engine, EventQuery, Failure, JournalEntry, Result};
use coracle_report::Diagnostic;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Done;
use super::flag_error::bad_flag;
use super::logs::time;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::template::Template;

const EXAMPLES: &str = "\
Examples:
  coracle events                                      from now on, until Ctrl-C
  coracle events --since 10m --until 0s               what happened in the last ten minutes
  coracle events --filter type=container --filter event=die --format json
";

/// Options of `coracle events`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Begin with what happened since then: a time, or how long ago, e.g. 10m.
    #[arg(long)]
    pub since: Option<String>,
    /// End with what happened until then.
    #[arg(long)]
    pub until: Option<String>,
    /// Only some: container=, event=, image=, label=, network=, service=, type=, volume=; the same key twice means either.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub filters: Vec<String>,
    /// `json` or a template such as '{{.Type}} {{.Action}}'; nothing, or `text`, is a line to read.
    #[arg(long, default_value = "")]
    pub format: String,
}

/// Keys of `--filter`.
const KEYS: [&str; 8] = ["container", "event", "image", "label", "network", "service", "type", "volume"];

/// Which events are shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    wanted: Vec<(String, String)>,
}

impl Filter {
    /// Reads `KEY=VALUE`s.
    pub fn read(texts: &[String]) -> Result<Self> {
        let read = |text: &String| {
            let (key, value) =
                text.split_once('=').filter(|(key, _)| KEYS.contains(key)).ok_or_else(|| {
                    let message = format!("--filter: `{text}` is no filter of events");
                    Failure::user(
                        Diagnostic::error("bad-filter", message)
                            .with_hint(format!("write KEY=VALUE; keys are {}", KEYS.join(", "))),
                    )
                })?;
            Ok((key.to_owned(), value.to_owned()))
        };
        Ok(Self { wanted: texts.iter().map(read).collect::<Result<_>>()? })
    }

    /// Says whether an event is wanted: one value of each key must hold.
    pub fn holds(&self, entry: &JournalEntry) -> bool {
        let keys = self.wanted.iter().map(|(key, _)| key);
        keys.into_iter().all(|key| {
            self.wanted
                .iter()
                .filter(|(own, _)| own == key)
                .any(|(_, value)| Self::matches(entry, key, value))
        })
    }

    fn matches(entry: &JournalEntry, key: &str, value: &str) -> bool {
        let attribute = |name: &str| entry.attributes.get(name).map(String::as_str);
        match key {
            "type" => entry.kind == value,
            // `health_status` means every verdict, `exec_start` every command.
            "event" => entry.action == value || entry.action.split(':').next() == Some(value),
            "image" => attribute("image") == Some(value) || (entry.kind == "image" && entry.id == value),
            "service" => attribute("com.docker.compose.service") == Some(value),
            "label" => match value.split_once('=') {
                Some((name, value)) => attribute(name) == Some(value),
                None => entry.attributes.contains_key(value),
            },
            kind => {
                let named = attribute("name") == Some(value);
                entry.kind == kind && (named || (value.len() >= 2 && entry.id.starts_with(value)))
            }
        }
    }
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let filter = Filter::read(&args.filters)?;
    let format = if args.format == "text" { "" } else { args.format.as_str() };
    let template = Template::parse(format).map_err(|why| bad_flag("--format", &why))?;
    let rendered = |entry: &JournalEntry| match &template {
        None => Ok(as_text(entry)),
        Some(Template::Json) => Ok(as_json(entry).to_string()),
        Some(template) => {
            template.render(&[with_names(as_json(entry))]).map(|text| text.trim_end_matches('\n').to_owned())
        }
    };
    // A field that no event has is told before one comes.
    let sample = JournalEntry::now("container", "start", "", BTreeMap::new());
    rendered(&sample).map_err(|why| bad_flag("--format", &why))?;
    follow(context, &engine, (args.since.as_deref(), args.until.as_deref()), &|entry| {
        if filter.holds(entry) { rendered(entry).ok() } else { None }
    })
}

/// Prints the lines that `show` makes of events, until `until` or Ctrl-C.
pub fn follow(
    context: &Context,
    engine: &Engine,
    (since, until): (Option<&str>, Option<&str>),
    show: &dyn Fn(&JournalEntry) -> Option<String>,
) -> Result<Done> {
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let now = Timestamp::now();
    let since = since.map(time).transpose()?.unwrap_or(now);
    let until = until.map(time).transpose()?;
    // What is past need not be waited for.
    let query = EventQuery { since: Some(since), until, follow: until.is_none_or(|until| until > now) };
    engine.events().read(&query, cancel.flag(), &mut |entry| {
        if let Some(line) = show(&entry) {
            context.printer.data(line);
        }
        true
    })?;
    Ok(Done::Ok)
}

/// Adds the names that Docker's templates have beside those of its JSON.
fn with_names(mut event: Value) -> Value {
    for (name, key) in
        [("ID", "id"), ("Status", "status"), ("From", "from"), ("Time", "time"), ("TimeNano", "timeNano")]
    {
        event[name] = event.get(key).cloned().unwrap_or_default();
    }
    if event["ID"].is_null() {
        event["ID"] = event["Actor"]["ID"].clone();
    }
    event["Scope"] = event["scope"].clone();
    event
}

/// Returns an event as Docker prints it: `TIME TYPE ACTION ID (name=value, ...)`.
pub fn as_text(entry: &JournalEntry) -> String {
    let attributes = entry.attributes.iter().map(|(name, value)| format!("{name}={value}"));
    let attributes = attributes.collect::<Vec<_>>().join(", ");
    format!("{:.9} {} {} {} ({attributes})", entry.time, entry.kind, entry.action, entry.id)
}

/// Returns an event in the shape of Docker's JSON.
pub fn as_json(entry: &JournalEntry) -> Value {
    let mut value = json!({
        "Type": entry.kind, "Action": entry.action,
        "Actor": { "ID": entry.id, "Attributes": entry.attributes },
        "scope": "local", "time": entry.time.as_second(),
        "timeNano": i64::try_from(entry.time.as_nanosecond()).unwrap_or(i64::MAX),
    });
    if entry.kind == "container" {
        value["status"] = entry.action.clone().into();
        value["id"] = entry.id.clone().into();
        value["from"] = entry.attributes.get("image").cloned().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, action: &str, attributes: &[(&str, &str)]) -> JournalEntry {
        let attributes: BTreeMap<String, String> =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        JournalEntry::now(kind, action, "abcdef", attributes)
    }

    #[test]
    fn values_of_one_key_are_alternatives() {
        let filter = |texts: &[&str]| {
            Filter::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
        };
        let die = entry("container", "die", &[("name", "web"), ("image", "nginx"), ("tier", "front")]);
        let health = entry("container", "health_status: healthy", &[("name", "db")]);
        assert!(filter(&[]).holds(&die));
        assert!(filter(&["event=start", "event=die"]).holds(&die));
        assert!(!filter(&["event=start", "type=container"]).holds(&die));
        assert!(filter(&["event=health_status"]).holds(&health));
        assert!(filter(&["container=web"]).holds(&die) && !filter(&["container=web"]).holds(&health));
        assert!(filter(&["container=abc"]).holds(&die) && !filter(&["network=abc"]).holds(&die));
        assert!(filter(&["label=tier=front", "image=nginx"]).holds(&die));
        assert!(Filter::read(&["colour=red".to_owned()]).is_err());
    }
}

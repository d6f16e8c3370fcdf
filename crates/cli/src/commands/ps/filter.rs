//! `--filter` of listings of containers: of one key, one value must hold (of `label`, all); of different keys, all.

use coracle_container::{ContainerState, HealthStatus, MountKind, Protocol, PublishedPort};
use coracle_engine::{ContainerView, Engine, Images, Result};
use jiff::Timestamp;

use crate::commands::flag_error::bad_flag;

/// Keys of `coracle ps --filter`.
pub const KEYS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] = ["created", "dead", "exited", "paused", "removing", "restarting", "running"];
const VERDICTS: [&str; 4] = ["healthy", "none", "starting", "unhealthy"];

/// What is asked for: keys and values as they were given.
#[derive(Clone, Debug, Default)]
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Reads `KEY=VALUE`s of these keys, and `label!=...` where that is one.
    pub fn read(texts: &[String], keys: &[&str]) -> Result<Self> {
        let read = |text: &String| {
            let split = text.split_once("!=").filter(|(key, _)| *key == "label" && keys.contains(&"label!"));
            let split = split.map(|(_, value)| ("label!", value)).or_else(|| text.split_once('='));
            let (key, value) = split.filter(|(key, _)| keys.contains(key)).ok_or_else(|| {
                bad_flag(
                    "--filter",
                    &format!("`{text}` is none; write KEY=VALUE with a key of {}", keys.join(", ")),
                )
            })?;
            check(key, value).map_err(|why| bad_flag("--filter", &format!("`{text}`: {why}")))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        texts.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Returns the values of a key.
    pub fn values<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Returns whether containers are asked for that may not run.
    pub fn concern_all(&self) -> bool {
        ["exited", "status"].iter().any(|key| self.values(key).next().is_some())
    }

    /// Returns whether a container has the labels, and none that it must not have.
    pub fn hold_labels(&self, view: &ContainerView) -> bool {
        self.values("label").all(|wanted| has_label(view, wanted))
            && !self.values("label!").any(|wanted| has_label(view, wanted))
    }

    /// Takes out what is not asked for.
    pub fn retain(&self, engine: &Engine, views: &mut Vec<ContainerView>) -> Result<()> {
        let made = |key: &str| -> Result<Vec<Timestamp>> {
            self.values(key).map(|name| Ok(engine.containers().find(name)?.record.created)).collect()
        };
        let (before, since) = (made("before")?, made("since")?);
        let images: Vec<Ancestor> = self.values("ancestor").map(|name| Ancestor::of(engine, name)).collect();
        views.retain(|view| {
            let created = view.record.created;
            (before.is_empty() || before.iter().any(|limit| created < *limit))
                && (since.is_empty() || since.iter().any(|limit| created > *limit))
                && (images.is_empty() || images.iter().any(|image| image.holds(view)))
                && self.hold_labels(view)
                && self.hold_rest(view)
        });
        Ok(())
    }

    fn hold_rest(&self, view: &ContainerView) -> bool {
        let keys = [
            "exited",
            "expose",
            "health",
            "id",
            "is-task",
            "isolation",
            "name",
            "network",
            "publish",
            "status",
            "volume",
        ];
        keys.iter().all(|key| {
            let mut values = self.values(key).peekable();
            values.peek().is_none() || values.any(|value| holds(key, value, view))
        })
    }
}

fn check(key: &str, value: &str) -> std::result::Result<(), String> {
    let one_of = |words: &[&str]| {
        words
            .contains(&value)
            .then_some(())
            .ok_or_else(|| format!("`{value}` is none; write one of {}", words.join(", ")))
    };
    match key {
        "status" => one_of(&STATES),
        "health" => one_of(&VERDICTS),
        "exited" => {
            value.parse::<i32>().map(drop).map_err(|_| "an exit code is a number; write exited=0".to_owned())
        }
        "publish" | "expose" => {
            ports(value).map(drop).ok_or_else(|| "it is no port; write 80, 80/udp or 80-90".to_owned())
        }
        "is-task" => one_of(&["true", "false"]),
        _ => Ok(()),
    }
}

fn holds(key: &str, value: &str, view: &ContainerView) -> bool {
    let spec = &view.record.spec;
    match key {
        "exited" => matches!(&view.state, ContainerState::Exited { code, .. } if value.parse() == Ok(*code)),
        "status" => view.state.word() == value,
        "health" => verdict(&view.state) == value,
        "id" => view.record.id.as_str().starts_with(value),
        "name" => names(value, &spec.name),
        "network" => {
            spec.networks.iter().any(|network| network.network == value)
                || matches!(
                    (&spec.network_mode, value),
                    (coracle_container::NetworkMode::None, "none")
                        | (coracle_container::NetworkMode::Host, "host")
                )
        }
        "volume" => spec.mounts.iter().any(|mount| {
            mount.target == value
                || match &mount.kind {
                    MountKind::Volume { name, .. } => name == value,
                    MountKind::Bind { source, .. } => source.as_os_str() == value,
                    MountKind::Tmpfs { .. } | MountKind::Image { .. } => false,
                }
        }),
        "publish" => view.ports.iter().chain(&spec.ports).any(|port| is_in(value, port)),
        "expose" => {
            let exposed = spec.exposed.iter().filter_map(|text| ports(text));
            exposed.into_iter().any(|(first, _, protocol)| {
                ports(value)
                    .is_some_and(|(from, to, wanted)| wanted == protocol && (from..=to).contains(&first))
            }) || spec.ports.iter().any(|port| is_in(value, port))
        }
        // There are no tasks of a swarm.
        "is-task" => value == "false",
        // Linux knows only one.
        "isolation" => value == "default",
        _ => true,
    }
}

fn verdict(state: &ContainerState) -> &'static str {
    match state.health().map(|health| health.status) {
        None => "none",
        Some(HealthStatus::Starting) => "starting",
        Some(HealthStatus::Healthy) => "healthy",
        Some(HealthStatus::Unhealthy) => "unhealthy",
    }
}

fn has_label(view: &ContainerView, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => view.record.spec.labels.get(name).is_some_and(|have| have == value),
        None => view.record.spec.labels.contains_key(wanted),
    }
}

/// Returns whether a name has this part; `^` and `$` tie it to an end, and a slash before it is passed over.
fn names(pattern: &str, name: &str) -> bool {
    let start = pattern.starts_with('^');
    let bare = pattern.trim_start_matches('^');
    let end = bare.ends_with('$');
    let bare = bare.trim_end_matches('$').trim_start_matches('/');
    match (start, end) {
        (true, true) => name == bare,
        (true, false) => name.starts_with(bare),
        (false, true) => name.ends_with(bare),
        (false, false) => name.contains(bare),
    }
}

fn ports(text: &str) -> Option<(u16, u16, Protocol)> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last, protocol))
}

fn is_in(text: &str, port: &PublishedPort) -> bool {
    ports(text).is_some_and(|(first, last, protocol)| {
        let range = first..=last;
        protocol == port.protocol
            && (range.contains(&port.container_port)
                || port.host_port.is_some_and(|port| range.contains(&port)))
    })
}

/// An image whose containers are asked for.
struct Ancestor {
    name: String,
    id: Option<coracle_oci::ImageId>,
}

impl Ancestor {
    fn of(engine: &Engine, name: &str) -> Self {
        Self { name: name.to_owned(), id: engine.images().find(name).ok().map(|image| image.id) }
    }

    fn holds(&self, view: &ContainerView) -> bool {
        let spec = &view.record.spec;
        let same =
            |a: &str, b: &str| matches!((Images::parse(a), Images::parse(b)), (Ok(a), Ok(b)) if a == b);
        self.id.is_some_and(|id| id == spec.image_id) || same(&self.name, &spec.image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_filters_are_refused() {
        let read = |text: &str| Filters::read(&[text.to_owned()], &KEYS);
        for text in
            ["colour=red", "name", "status=alive", "exited=many", "health=good", "publish=x", "label!=a"]
        {
            let failure = read(text).expect_err(text);
            assert!(failure.first().message.contains("--filter"), "{text}");
        }
        assert!(read("status=paused").unwrap().concern_all());
        assert!(Filters::read(&["label!=a".to_owned()], &["label", "label!"]).is_ok());
    }

    #[test]
    fn names_by_their_parts() {
        assert!(names("web", "my-web-1") && names("^/web$", "web") && names("^web", "web-1"));
        assert!(!names("^web$", "web-1") && !names("^eb", "web") && names("1$", "web-1"));
        assert_eq!(ports("80-90/udp"), Some((80, 90, Protocol::Udp)));
        assert_eq!(ports("9-8"), None);
    }
}

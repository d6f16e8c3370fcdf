//! What tells the items of a list apart when two projects are compared, and what items are shown as.

use crate::view::{ValueKind, View, shown};

/// Which list this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Ports,
    Mounts,
    Devices,
    Grants,
    EnvFiles,
    /// Names, each at most once, whose order means nothing.
    Names,
    /// Everything else: the order matters.
    Ordered,
}

fn list(path: &[&str]) -> List {
    let ["services", _, rest @ ..] = path else { return List::Ordered };
    match rest {
        ["ports"] => List::Ports,
        ["volumes"] => List::Mounts,
        ["devices"] => List::Devices,
        ["secrets" | "configs"] | ["build", "secrets"] => List::Grants,
        ["env_file"] => List::EnvFiles,
        [
            "cap_add" | "cap_drop" | "expose" | "group_add" | "profiles" | "security_opt" | "tmpfs" | "links"
            | "volumes_from",
        ]
        | ["build", "tags" | "platforms"]
        | ["networks", _, "aliases"] => List::Names,
        _ => List::Ordered,
    }
}

/// Says whether the items of the list at `path` are compared one by one.
pub(crate) fn is_told_apart(path: &[&str]) -> bool {
    list(path) != List::Ordered
}

/// Returns a label for each item of the list at `path`; no two are the same.
pub(crate) fn labels(path: &[&str], view: View<'_>) -> Vec<String> {
    let list = list(path);
    let short: Vec<String> = view.items().enumerate().map(|(index, item)| label(list, index, item)).collect();
    let twice = |label: &String| short.iter().filter(|other| *other == label).count() > 1;
    let items = view.items().enumerate().zip(&short);
    items
        .map(|((index, item), label)| match list {
            _ if !twice(label) => label.clone(),
            // A port of the container that is published more than once.
            List::Ports => summary(path, item),
            _ => index.to_string(),
        })
        .enumerate()
        .fold(Vec::new(), |mut all, (index, label)| {
            let known = all.contains(&label);
            all.push(if known { index.to_string() } else { label });
            all
        })
}

fn label(list: List, index: usize, item: View<'_>) -> String {
    let field = |key: &str| item.get(&[key]).map(|value| shown(value.node()));
    let found = match list {
        List::Ports => field("target")
            .map(|target| format!("{target}/{}", field("protocol").unwrap_or_else(|| "tcp".to_owned()))),
        List::Mounts | List::Devices => field("target"),
        List::Grants => field("source"),
        List::EnvFiles => field("path"),
        List::Names => item.text().map(str::to_owned),
        List::Ordered => None,
    };
    found.unwrap_or_else(|| index.to_string())
}

/// Returns an item or another value on one line, in its short form where it has one.
pub(crate) fn summary(path: &[&str], view: View<'_>) -> String {
    let field = |key: &str| view.get(&[key]).map(|value| shown(value.node())).filter(|text| !text.is_empty());
    match view.kind() {
        // A network that is only named, a volume without options.
        ValueKind::Null => return "(nothing further)".to_owned(),
        ValueKind::Mapping => {}
        _ => return view.shown(),
    }
    let short = match list(path) {
        List::Ports => field("target").map(|target| {
            let address = field("host_ip").map(|address| {
                if address.contains(':') { format!("[{address}]:") } else { format!("{address}:") }
            });
            let published = field("published").map(|published| format!("{published}:"));
            let published = published.or_else(|| address.as_ref().map(|_| ":".to_owned()));
            let protocol = field("protocol").filter(|protocol| protocol != "tcp");
            let protocol = protocol.map(|protocol| format!("/{protocol}"));
            [address, published, Some(target), protocol].into_iter().flatten().collect::<String>()
        }),
        List::Mounts => field("target").map(|target| {
            let source = field("source").map(|source| format!("{source}:")).unwrap_or_default();
            let read_only = view.get(&["read_only"]).and_then(View::boolean) == Some(true);
            format!("{source}{target}{}", if read_only { ":ro" } else { "" })
        }),
        List::Devices => {
            field("target").map(|target| format!("{}:{target}", field("source").unwrap_or_default()))
        }
        List::Grants => field("source").map(|source| match field("target") {
            Some(target) => format!("{source} at {target}"),
            None => source,
        }),
        List::EnvFiles => field("path"),
        List::Names | List::Ordered => match path {
            ["services", _, "depends_on"] => field("condition"),
            _ => None,
        },
    };
    short.unwrap_or_else(|| view.shown())
}

//! What a build's context holds: per top-level entry, what the ignore file hides, what no step takes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use coracle_build::Selection;
use coracle_dockerfile::Verdict;
use coracle_snapshot::rootfs::FileKind;
use serde::Serialize;

use super::EngineHost;
use crate::{During, Result};

/// Unused paths that are proposed to be hidden, at most.
const HINTS: usize = 20;

/// A number of files and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Amount {
    /// Bytes of content.
    pub bytes: u64,
    /// Files, links and such; directories are not counted.
    pub files: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.files += 1;
    }
}

/// One entry at the top of a context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContextEntry {
    /// Its name.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// What steps may take of it.
    pub shown: Amount,
    /// What the ignore file hides of it.
    pub hidden: Amount,
    /// What no step takes of what is shown; `None` when that is not known.
    pub unused: Option<Amount>,
}

/// One line of an ignore file that hides something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HidingLine {
    /// The line.
    pub line: String,
    /// Its number.
    pub number: u32,
    /// What it hides.
    pub hidden: Amount,
}

/// What a context holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ContextReport {
    /// All that steps may take.
    pub shown: Amount,
    /// All that is hidden.
    pub hidden: Amount,
    /// All that no step takes; `None` when that is not known.
    pub unused: Option<Amount>,
    /// The entries at the top, the largest first.
    pub entries: Vec<ContextEntry>,
    /// The ignore file, when there is one.
    pub ignore_file: Option<PathBuf>,
    /// Its lines that hide something, in order.
    pub lines: Vec<HidingLine>,
    /// Lines to add to the ignore file, so that what no step takes is hidden.
    pub hints: Vec<String>,
}

impl EngineHost<'_> {
    /// Says what the context holds. `taken` is what steps take of it; `None` when that is not known.
    pub fn context_report(&self, taken: Option<&[Selection]>, dockerfile: &Path) -> Result<ContextReport> {
        let context = &self.context;
        let mut report = ContextReport { ignore_file: context.ignore_file(), ..ContextReport::default() };
        let used = taken.and_then(|selections| {
            let mut used = BTreeSet::new();
            for selection in selections {
                used.extend(context.list(selection).ok()?.into_iter().map(|entry| entry.path));
            }
            Some(used)
        });
        report.unused = used.as_ref().map(|_| Amount::default());
        let mut entries: BTreeMap<PathBuf, ContextEntry> = BTreeMap::new();
        let mut lines: BTreeMap<u32, HidingLine> = BTreeMap::new();
        let mut unused: BTreeMap<PathBuf, bool> = BTreeMap::new();
        for found in context.root.walk(Path::new("")).during("reading the build context")? {
            let Some(top) = found.path.components().next() else { continue };
            let directory = found.metadata.kind == FileKind::Directory;
            let top = Path::new(top.as_os_str());
            let entry = entries.entry(top.to_owned()).or_insert_with(|| ContextEntry {
                name: top.to_string_lossy().into_owned(),
                directory,
                unused: used.as_ref().map(|_| Amount::default()),
                ..ContextEntry::default()
            });
            if directory {
                continue;
            }
            let bytes = if found.metadata.kind == FileKind::File { found.metadata.size } else { 0 };
            if let Verdict::Hidden(rule) = context.verdict(&found.path) {
                entry.hidden.add(bytes);
                report.hidden.add(bytes);
                let number = rule.span.start.line;
                let line = lines.entry(number).or_insert_with(|| HidingLine {
                    line: rule.line.clone(),
                    number,
                    hidden: Amount::default(),
                });
                line.hidden.add(bytes);
                continue;
            }
            entry.shown.add(bytes);
            report.shown.add(bytes);
            let Some(used) = &used else { continue };
            let is_used = used.contains(&found.path);
            // The builder itself reads these two.
            let own = dockerfile.ends_with(&found.path) || found.path.ends_with(".dockerignore");
            if !is_used && !own {
                for amount in [&mut entry.unused, &mut report.unused].into_iter().flatten() {
                    amount.add(bytes);
                }
            }
            let all_unused = unused.entry(top.to_owned()).or_insert(true);
            *all_unused &= !is_used && !own;
        }
        report.entries = entries.into_values().collect();
        report.entries.sort_by(|a, b| {
            let weight = |entry: &ContextEntry| entry.shown.bytes + entry.hidden.bytes;
            weight(b).cmp(&weight(a)).then_with(|| a.name.cmp(&b.name))
        });
        report.lines = lines.into_values().collect();
        let mut wholly: Vec<&ContextEntry> =
            report.entries.iter().filter(|entry| unused.get(Path::new(&entry.name)) == Some(&true)).collect();
        wholly.truncate(HINTS);
        report.hints = wholly.into_iter().map(|entry| escaped(&entry.name)).collect();
        Ok(report)
    }
}

/// Returns a name as a pattern that matches only it.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    if text.starts_with(['#', '!']) { format!("./{text}") } else { text }
}

//! Fixes written into files: in one step each, with the file's permissions, owner and line ends kept.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use coracle_check::{Edit, Files as _, Finding, apply};
use coracle_report::Position;
use rustix::fs::{Gid, Uid};

use super::DiskFiles;
use crate::{During, Result};

/// A file with the fixes of its findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedFile {
    /// The file, as findings name it.
    pub path: PathBuf,
    /// Its text.
    pub before: String,
    /// Its text with the fixes.
    pub after: String,
    /// What is done: line, rule, title.
    pub done: Vec<(u32, &'static str, String)>,
}

/// Applies the fixes of findings to the texts of their files. A fix that touches what an earlier one changes waits for
/// the next time.
pub fn fix<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Vec<FixedFile> {
    let files = DiskFiles::default();
    let mut chosen: BTreeMap<&Path, Vec<&Edit>> = BTreeMap::new();
    let mut done: BTreeMap<&Path, Vec<(u32, &'static str, String)>> = BTreeMap::new();
    for finding in findings {
        let Some(fix) = &finding.fix else { continue };
        let free = |edit: &Edit| {
            let others = chosen.get(&*edit.span.file).into_iter().flatten();
            others.copied().all(|other| other == edit || !touches(edit, other))
        };
        let Some(first) = fix.edits.first() else { continue };
        if !fix.edits.iter().all(free) {
            continue;
        }
        for edit in &fix.edits {
            chosen.entry(&edit.span.file).or_default().push(edit);
        }
        let line = first.span.start.line;
        done.entry(&first.span.file).or_default().push((line, finding.rule.id, fix.title.clone()));
    }
    let mut fixed = Vec::new();
    for (path, edits) in chosen {
        let Some(before) = files.text(path) else { continue };
        let carriage = before.contains("\r\n");
        let edits: Vec<Edit> = edits
            .into_iter()
            .map(|edit| {
                let text = if carriage {
                    edit.text.replace("\r\n", "\n").replace('\n', "\r\n")
                } else {
                    edit.text.clone()
                };
                Edit { span: edit.span.clone(), text }
            })
            .collect();
        let (after, _) = apply(&before, &edits.iter().collect::<Vec<_>>());
        if after != before {
            let mut done = done.remove(path).unwrap_or_default();
            done.sort();
            done.dedup();
            fixed.push(FixedFile { path: path.to_owned(), before, after, done });
        }
    }
    fixed
}

/// Says whether two changes share a character, or begin at the same place.
fn touches(a: &Edit, b: &Edit) -> bool {
    let place = |position: Position| (position.line, position.column);
    let (a, b) = ((place(a.span.start), place(a.span.end)), (place(b.span.start), place(b.span.end)));
    a.0 == b.0 || (a.0 < b.1 && b.0 < a.1)
}

impl FixedFile {
    /// Writes the text with the fixes. Links are followed: the file they lead to is replaced, not the link.
    pub fn write(&self) -> Result<()> {
        let during = format!("writing {}", self.path.display());
        let path = self.path.canonicalize().during(&during)?;
        let metadata = fs::metadata(&path).during(&during)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut file =
            tempfile::Builder::new().prefix(".coracle-fix-").tempfile_in(directory).during(&during)?;
        file.write_all(self.after.as_bytes()).during(&during)?;
        // A user who may write the file need not be able to give it away: then it becomes theirs, as with an editor.
        let _ = rustix::fs::fchown(
            file.as_file(),
            Some(Uid::from_raw(metadata.uid())),
            Some(Gid::from_raw(metadata.gid())),
        );
        file.as_file().set_permissions(metadata.permissions()).during(&during)?;
        file.as_file().sync_all().during(&during)?;
        file.persist(&path).map(drop).map_err(|error| error.error).during(&during)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use coracle_check::{Fix, find_any};
    use coracle_report::{Diagnostic, Span};

    use super::*;

    fn finding(path: &Path, (line, from, to): (u32, u32, u32), text: &str) -> Finding {
        let rule = find_any("ObsoleteVersion").unwrap();
        let span = Span::new(path, Position::new(line, from), Position::new(line, to));
        let diagnostic = Diagnostic::warning(rule.id, "m").with_span(span.clone());
        let fix = Some(Fix::replace("write it so", &span, text));
        Finding { rule, diagnostic, lines: span, service: None, fix }
    }

    #[test]
    fn line_ends_mode_and_links_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "one two\r\nthree\r\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        let findings = [
            finding(&link, (1, 5, 8), "2\nmore"),
            finding(&link, (1, 6, 8), "overlaps"),
            finding(&link, (2, 1, 6), "3"),
        ];
        let fixed = fix(&findings);
        assert_eq!(fixed.len(), 1);
        assert_eq!(fixed[0].after, "one 2\r\nmore\r\n3\r\n");
        assert_eq!(fixed[0].done.len(), 2);
        fixed[0].write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one 2\r\nmore\r\n3\r\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left");
    }
}

//! How an engine operation fails: whose fault it is, and what to tell the user.

use std::fmt;

use coracle_report::Diagnostic;

/// Code of diagnostics that are no fault of the user's.
const INTERNAL: &str = "internal";

/// Whose fault a failure is; it decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The user's input or project: exit code 1.
    User,
    /// Ours, or the machine's: exit code 2.
    Ours,
    /// A container's command could not be run: Docker's exit code 125, 126 or 127.
    Container(u8),
}

/// A failed operation: one or more diagnostics, the decisive one first.
#[derive(Debug)]
pub struct Failure {
    /// Whose fault it is.
    pub fault: Fault,
    /// What to tell the user; never empty.
    pub diagnostics: Vec<Diagnostic>,
}

/// What engine operations return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Returns a failure that the user's input or project caused.
    pub fn user(diagnostic: Diagnostic) -> Self {
        Self { fault: Fault::User, diagnostics: vec![diagnostic] }
    }

    /// Returns a failure of several findings in the user's files. `diagnostics` must not be empty.
    pub fn findings(diagnostics: Vec<Diagnostic>) -> Self {
        debug_assert!(!diagnostics.is_empty(), "a failure says why");
        Self { fault: Fault::User, diagnostics }
    }

    /// Returns a failure of ours: `what` was being done when `error` happened. The chain of causes becomes notes,
    /// and a full disk or missing privilege its hint.
    pub fn ours(what: impl fmt::Display, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut diagnostic = Diagnostic::error(INTERNAL, format!("{what}: {error}"));
        let mut cause = error.source();
        while let Some(error) = cause {
            diagnostic = diagnostic.with_note(format!("caused by: {error}"));
            cause = error.source();
        }
        if let Some(hint) = hint(error) {
            diagnostic = diagnostic.with_hint(hint);
        }
        Self { fault: Fault::Ours, diagnostics: vec![diagnostic] }
    }

    /// Returns the decisive diagnostic.
    pub fn first(&self) -> &Diagnostic {
        &self.diagnostics[0]
    }

    /// Adds a hint to the decisive diagnostic.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(first) = self.diagnostics.first_mut() {
            first.hints.push(coracle_report::Hint(hint.into()));
        }
        self
    }
}

impl From<Diagnostic> for Failure {
    /// Ports speak in diagnostics: one that [`Failure::ours`] made stays ours on its way back.
    fn from(diagnostic: Diagnostic) -> Self {
        let fault = if diagnostic.code == INTERNAL { Fault::Ours } else { Fault::User };
        Self { fault, diagnostics: vec![diagnostic] }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.first(), f)
    }
}

impl std::error::Error for Failure {}

/// Gives errors of the rooms below their context.
pub trait During<T> {
    /// Turns an error into a failure of ours that says what was being done.
    fn during(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: std::error::Error + 'static> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure::ours(what, &error))
    }
}

/// Passes a point at which a test may make the engine fail.
pub(crate) fn pass(point: coracle_fault::Point) -> Result<()> {
    coracle_fault::hit(point).during(format_args!("at {}", point.name()))
}

/// Returns advice for an error whose chain holds an I/O error that we know.
fn hint(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    use std::io::ErrorKind;
    let mut next = Some(error);
    const DISK_FULL: &str = "the disk is full: free some space (`coracle builder prune`, `coracle rmi`, \
                             `coracle volume rm`) and run it again";
    while let Some(error) = next {
        let snapshot = error.downcast_ref::<coracle_snapshot::SnapshotError>();
        let store = error.downcast_ref::<coracle_store::StoreError>();
        if snapshot.is_some_and(coracle_snapshot::SnapshotError::is_no_space)
            || store.is_some_and(coracle_store::StoreError::is_no_space)
        {
            return Some(DISK_FULL);
        }
        let damaged = matches!(
            store,
            Some(coracle_store::StoreError::Damaged { .. } | coracle_store::StoreError::Mismatch { .. })
        ) || matches!(snapshot, Some(coracle_snapshot::SnapshotError::Record { .. }));
        if damaged {
            return Some(
                "see what is damaged (`coracle doctor`) and have it mended: coracle doctor --repair",
            );
        }
        let kind = error
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind)
            .or_else(|| error.downcast_ref::<rustix::io::Errno>().map(|errno| errno.kind()));
        match kind {
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => return Some(DISK_FULL),
            Some(ErrorKind::PermissionDenied) => return Some("run it as root"),
            Some(ErrorKind::ReadOnlyFilesystem) => {
                return Some("the data root is read-only: choose another with --data-root");
            }
            _ => next = error.source(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_hint() {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let failure = Failure::ours("writing a blob", &error);
        assert_eq!(failure.fault, Fault::Ours);
        assert!(failure.first().message.starts_with("writing a blob: "));
        assert!(failure.first().hints[0].0.contains("free some space"));
    }
}

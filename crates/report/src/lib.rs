//! What a library may say to its caller: diagnostics with spans and hints, and progress events.
//!
//! Owns the shape of messages; refuses to print, to colour and to decide what a user sees (that is `cli`).

mod diagnostic;
mod event;
mod span;

pub use diagnostic::{Diagnostic, Hint, Related, Severity};
pub use event::{About, Event, Outcome, Quiet, Reporter, Stream, Task, TaskId, Unit};
pub use span::{Position, Span};

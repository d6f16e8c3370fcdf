//! Named places where a test makes the program fail, pause or die.
//!
//! Owns the list of places ([`Point`]) and what may happen there. Refuses to read the environment: the binary reads
//! [`VARIABLE`] and hands its text to [`arm`]; whoever starts another process of ours passes it on with [`pass_on`].
//! Without the feature `armed` a point is `Ok(())`, which the compiler removes.
//!
//! ```text
//! CORACLE_FAILPOINTS="start.attached=kill,store.record-written=enospc@3"
//!                     |              |                          `- only the third time
//!                     point          kill | enospc | eio | pause:MILLISECONDS
//! CORACLE_FAILPOINTS_REACHED=FILE    gets the name of each point that acts, a line each, before it does
//! ```

#[cfg(feature = "armed")]
mod armed;
mod point;

pub use point::{Owner, Point};

/// The variable that says which points act, and how.
pub const VARIABLE: &str = "CORACLE_FAILPOINTS";
/// The variable that names the file to which points that act write their names.
pub const REACHED: &str = "CORACLE_FAILPOINTS_REACHED";

#[cfg(feature = "armed")]
pub use armed::{arm, hit, pass_on};

/// Does what was asked for at `point`: nothing, in this build.
#[cfg(not(feature = "armed"))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "a release must not even call it")]
pub fn hit(_point: Point) -> std::io::Result<()> {
    Ok(())
}

/// Arms points by the variables that `read` returns: none, in this build.
#[cfg(not(feature = "armed"))]
#[inline]
pub fn arm(_read: impl Fn(&str) -> Option<String>) {}

/// Gives `command` the variables that armed this process: none, in this build.
#[cfg(not(feature = "armed"))]
#[inline]
pub fn pass_on(_command: &mut std::process::Command) {}

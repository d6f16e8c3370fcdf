//! The keeper: one process a scope (a project, or all containers of `coracle run`) that answers names and holds
//! published ports.
//!
//! ```text
//! <run root>/keepers/<scope>/
//!   state.json    what it serves; written by engine processes, the truth
//!   keeper.sock   control: one JSON line a request, one a reply
//!   lock          held by the keeper while it lives
//!   edit.lock     held by whoever changes state.json
//! ```
//!
//! A keeper knows nothing that is not in `state.json`: killed, the next [`Home::change`] starts another that serves the
//! same. It ends by itself when its scope is empty. No container depends on it for its life.

mod control;
mod home;
mod name_server;
mod process;
mod state;

pub use control::{Reply, Request, Status};
pub use home::{Home, HomeError};
pub use process::{ProcessError, run};
pub use state::KeeperState;

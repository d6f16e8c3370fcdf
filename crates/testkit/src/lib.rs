//! Throwaway namespaces, loopback servers and world fixtures for tests.
//!
//! A test that needs a privilege asks [`privileged`] first: without it the test prints `SKIPPED: reason` and ends,
//! and where the variable `CI` is set it fails instead, so that a green run has tested something.

mod fuzz;
mod namespace;
mod privilege;
mod registry;

pub use fuzz::{Fuzz, outcome};
pub use namespace::{NetworkNamespace, in_private_mounts};
pub use privilege::{privileged, program, skip};
pub use registry::Registry;

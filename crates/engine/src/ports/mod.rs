//! Adapters: the ports of the logic rooms, carried out by the rooms that touch the world.

pub mod build;
pub mod compose;

//! Overlay snapshots: prepare, commit, apply and diff of layers.

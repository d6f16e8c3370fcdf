//! The build graph, its cache keys and its solver, over ports it declares.

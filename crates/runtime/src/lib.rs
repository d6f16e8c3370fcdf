//! Talks to shims: create, start, exec, logs, health, stop.

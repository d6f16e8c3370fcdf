//! Wanted and actual containers, and the pure writer of the OCI runtime specification.

//! Blobs, references, build-cache records and leases; draws the disk layout.

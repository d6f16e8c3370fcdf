//! Compose YAML to a merged, interpolated project whose every value knows its file and line.

//! What is known of well-known images without having them: dates, ports, data, roles.
//!
//! One file a topic. Facts come from the projects' own pages and change slowly; what is not listed is not known, and
//! rules are silent about it.

pub(crate) mod images;
pub(crate) mod official;
pub(crate) mod packages;
pub(crate) mod support;

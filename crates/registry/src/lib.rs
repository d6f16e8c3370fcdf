//! The distribution client: authentication and verified, parallel pull.

//! The supervisor of one container and its wire protocol; the sole user of libcontainer.

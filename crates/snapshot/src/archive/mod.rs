//! The tar format (POSIX ustar with PAX and GNU extensions), bounded on reading and deterministic on writing.
//!
//! Own code instead of a general library because layers come from strangers: names, records and sizes need
//! bounds here, extended attributes must survive byte for byte, and the same directory must always give the
//! same bytes. Sparse files are read, never written.

mod entry;
mod reader;
mod sparse;
mod writer;

pub(crate) use entry::{Entry, Kind, Time};
pub(crate) use reader::{TarError, TarReader};
pub(crate) use writer::TarWriter;

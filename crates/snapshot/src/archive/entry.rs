//! One member of a tar archive as a value.

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file with this many bytes.
    File(u64),
    /// Another name of a file that came before.
    Hardlink(Vec<u8>),
    /// A symbolic link with this text.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// A time stamp: seconds since 1970 (may be negative) and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// A member without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name as the archive has it.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// Extended attributes, sorted by name on writing.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

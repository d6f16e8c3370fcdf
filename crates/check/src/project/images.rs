//! Images as rules see them.

use crate::{BaseFacts, Bases};

/// Who owns a path in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Whether it is a directory.
    pub directory: bool,
}

/// Knows images, and what is in them. Everything may be unknown: rules say nothing then.
pub trait Images: Bases {
    /// Says whether an image has a program: a name looked for in its `PATH`, or an absolute path.
    fn has_program(&self, image: &str, program: &str) -> Option<bool>;

    /// Returns who owns a path of an image; the inner `None` is a path that is not there.
    fn ownership(&self, image: &str, path: &str) -> Option<Option<Ownership>>;

    /// Returns the text of a small file of an image, such as `/etc/os-release` or `/etc/passwd`.
    fn text(&self, image: &str, path: &str) -> Option<String>;
}

/// Knows no image.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoImages;

impl Bases for NoImages {
    fn base(&self, _image: &str, _platform: Option<&str>) -> Option<BaseFacts> {
        None
    }
}

impl Images for NoImages {
    fn has_program(&self, _image: &str, _program: &str) -> Option<bool> {
        None
    }

    fn ownership(&self, _image: &str, _path: &str) -> Option<Option<Ownership>> {
        None
    }

    fn text(&self, _image: &str, _path: &str) -> Option<String> {
        None
    }
}

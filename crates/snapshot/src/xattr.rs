//! Extended attributes of open files and directories: which ones belong to content, and which are overlay's.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

/// Marks a directory in an upper layer whose lower content is hidden (kernel, overlayfs documentation).
const OPAQUE: &str = "trusted.overlay.opaque";
/// The same for an overlay that is mounted in a user namespace, with the option `userxattr` (kernel 5.11).
const USER_OPAQUE: &str = "user.overlay.opaque";

/// Largest value the kernel knows (`XATTR_SIZE_MAX`) and largest list of names (`XATTR_LIST_MAX`).
const MAX: usize = 65536;

/// A name and its value.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// Returns whether an attribute is content that travels with a file from layer to layer.
///
/// `trusted.*` never does: `trusted.overlay.redirect` or `.metacopy` from a stranger's layer could show files
/// of other layers. Labels of the host's security module belong to the host.
pub(crate) fn is_content(name: &[u8]) -> bool {
    if name.starts_with(b"user.overlay.") {
        return false;
    }
    name.starts_with(b"user.")
        || name == b"security.capability"
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
}

/// Returns the attributes that are content, sorted by name. A file system without attributes has none.
pub(crate) fn read(file: impl AsFd) -> io::Result<Vec<Xattr>> {
    let file = file.as_fd();
    // Most files have none: ask with a small buffer first.
    let mut small = [0u8; 256];
    let names = match flistxattr(file, &mut small) {
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut buffer = vec![0u8; MAX];
            let length = flistxattr(file, &mut buffer)?;
            buffer.truncate(length);
            buffer
        }
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut xattrs = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| is_content(name)) {
        if let Some(value) = get(file, name)? {
            xattrs.push((name.to_vec(), value));
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Returns one attribute's value, `None` when the file does not have it.
pub(crate) fn get(file: impl AsFd, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let mut buffer = vec![0u8; MAX];
    match fgetxattr(file, &name, &mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets attributes; what the file system or our rights do not allow is left out, as Docker does.
pub(crate) fn write(file: impl AsFd, xattrs: &[Xattr]) -> io::Result<()> {
    let file = file.as_fd();
    for (name, value) in xattrs.iter().filter(|(name, _)| is_content(name)) {
        let Ok(name) = CString::new(name.as_slice()) else { continue };
        match fsetxattr(file, &name, value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM | Errno::RANGE | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Returns whether overlays are mounted in a user namespace: the kernel then keeps their marks where a user may write.
pub(crate) fn in_user_namespace() -> bool {
    static INSIDE: OnceLock<bool> = OnceLock::new();
    *INSIDE.get_or_init(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        !map.is_empty() && !map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
    })
}

/// Returns whether this user namespace has one user only.
pub(crate) fn is_single() -> bool {
    static SINGLE: OnceLock<bool> = OnceLock::new();
    *SINGLE.get_or_init(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let fields: Vec<&str> = map.split_ascii_whitespace().collect();
        matches!(fields.as_slice(), ["0", _, "1"])
    })
}

fn opaque() -> &'static str {
    if in_user_namespace() { USER_OPAQUE } else { OPAQUE }
}

/// Hides what lower layers have in a directory.
pub(crate) fn set_opaque(directory: impl AsFd) -> io::Result<()> {
    Ok(fsetxattr(directory, opaque(), b"y", XattrFlags::empty())?)
}

/// Returns whether a directory hides what lower layers have in it.
pub(crate) fn is_opaque(directory: impl AsFd) -> io::Result<bool> {
    Ok(get(directory, opaque().as_bytes())?.is_some_and(|value| value == b"y"))
}

//! What a shim does to itself before it takes requests: a session, namespaces and mounts of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::config::{Network, Secret, SecretVariable, ShimConfig};
use crate::{partners, rootfs, syscall};

/// How long a shim waits for the lock of its container.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// The namespaces that the shim left, to start the cleaner in.
pub(crate) struct HostNamespaces {
    pub mount: File,
    pub network: File,
}

/// Takes the lock that says that a shim lives. It ends with the process and with nothing else: every copy of the
/// descriptor is closed at an execution.
///
/// Closes the race of two commands that start the same container at once: the second shim finds the lock taken.
pub(crate) fn lock(config: &ShimConfig) -> io::Result<File> {
    let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&config.lock)?;
    // A command that only looks whether a shim lives holds the lock for a moment.
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Leaves the caller's namespaces and mounts the root file system.
pub(crate) fn enter_own_world(config: &ShimConfig, bundle: &Path) -> io::Result<HostNamespaces> {
    let host =
        HostNamespaces { mount: File::open("/proc/self/ns/mnt")?, network: File::open("/proc/self/ns/net")? };
    let own_network = config.network == Network::Own;
    partners::join_network(config)?;
    syscall::unshare(own_network)?;
    // What the host mounts later still comes in, what is mounted here never gets out.
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", propagation)?;
    if own_network {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
        syscall::loopback_up(socket.as_fd())?;
    }
    if config.network != Network::Inherited {
        for (key, value) in &config.network_sysctls {
            let path = Path::new("/proc/sys").join(key.replace('.', "/"));
            fs::write(&path, value).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot set `{key}` to `{value}`: {error}"))
            })?;
        }
    }
    let target = ShimConfig::rootfs(bundle);
    fs::create_dir_all(&target)?;
    rootfs::mount(&config.overlay, &target).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot mount the root file system: {error}"))
    })?;
    for (number, view) in config.views.iter().enumerate() {
        let place = ShimConfig::view(bundle, number);
        fs::create_dir_all(&place)?;
        rootfs::mount(view, &place).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot mount a bind's source: {error}"))
        })?;
    }
    if let Some(directory) = &config.working_directory {
        rootfs::make_directory(&target, directory).map_err(|error| {
            let path = &directory.path;
            io::Error::new(error.kind(), format!("cannot make the working directory `{path}`: {error}"))
        })?;
    }
    Ok(host)
}

/// Takes the root file system and the secrets away from the shim's own namespace, so that what lies below can be
/// deleted by whoever is told that the container has ended.
pub(crate) fn unmount(config: &ShimConfig, bundle: &Path) {
    partners::unbind(config, bundle);
    let views = (0..config.views.len()).map(|number| ShimConfig::view(bundle, number));
    let sources = (0..config.sources.len()).map(|number| ShimConfig::source(bundle, number));
    for path in sources.chain(views).chain([ShimConfig::rootfs(bundle), ShimConfig::secrets(bundle)]) {
        let _ = rustix::mount::unmount(&path, UnmountFlags::DETACH);
    }
}

/// Puts the secrets on a fresh tmpfs. Their contents are read now, so that a restart sees a new version.
pub(crate) fn place_secrets(secrets: &[Secret], bundle: &Path) -> io::Result<()> {
    if secrets.is_empty() {
        return Ok(());
    }
    let root = ShimConfig::secrets(bundle);
    let _ = rustix::mount::unmount(&root, UnmountFlags::DETACH);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", &root, "tmpfs", flags, c"mode=0755,size=16m,nr_inodes=4096")?;
    for secret in secrets {
        let path = root.join(&secret.place);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let content = fs::read(&secret.source).map_err(|error| {
            let source = secret.source.display();
            io::Error::new(error.kind(), format!("cannot read the secret `{source}`: {error}"))
        })?;
        fs::write(&path, content)?;
        chown(&path, Some(secret.uid), Some(secret.gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(secret.mode))?;
    }
    Ok(())
}

/// Reads the values of secret variables, now, so that a restart sees new ones.
pub(crate) fn secret_environment(config: &ShimConfig) -> io::Result<Vec<(String, OsString)>> {
    let read = |variable: &SecretVariable| {
        let value = fs::read(&variable.source).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot read the secret of `{}`: {error}", variable.name))
        })?;
        Ok((variable.name.clone(), OsString::from_vec(value)))
    };
    config.secret_environment.iter().map(read).collect()
}

/// Points the three standard streams at `/dev/null`.
pub(crate) fn forget_streams() -> io::Result<()> {
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

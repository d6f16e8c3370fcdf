//! A real registry on the loopback interface: Debian's `docker-registry`.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program;

/// A registry process with a directory of its own; both end with it.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    host: String,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// Starts one and waits until it answers; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// Starts one that speaks TLS with a certificate and its key.
    pub fn start_tls(certificate: &Path, key: &Path) -> Option<Self> {
        Self::start_with(&format!(
            ", tls: {{certificate: {}, key: {}}}",
            certificate.display(),
            key.display()
        ))
    }

    fn start_with(http: &str) -> Option<Self> {
        let path = program("docker-registry")?;
        let directory = tempfile::tempdir().expect("a directory for the registry");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let host = format!("127.0.0.1:{}", free.expect("a free port").port());
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'{http}}}\n",
            directory.path().join("data").display()
        );
        std::fs::write(&config, text).expect("the registry's configuration is written");
        let mut command = Command::new(path);
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("the registry starts");
        let registry = Self { child, host, _directory: directory };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < end, "docker-registry does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(registry)
    }

    /// Returns its host and port.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

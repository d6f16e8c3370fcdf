//! What cases fetch: files over HTTP and a git repository, both on the loopback address.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::case::FILE_TIME;

/// The servers of one run.
#[derive(Debug)]
pub struct Servers {
    http: String,
    git: String,
    served: Arc<Mutex<PathBuf>>,
    repositories: tempfile::TempDir,
    daemon: Child,
}

impl Servers {
    /// Starts them.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let http = format!("http://{}", listener.local_addr().expect("a bound address"));
        let served = Arc::new(Mutex::new(PathBuf::new()));
        let root = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &root.lock().unwrap_or_else(PoisonError::into_inner));
            }
        });
        let repositories = tempfile::tempdir().expect("a directory");
        let port = crate::support::free_port();
        let daemon = Command::new("git")
            .args(["daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1"])
            .args([&format!("--port={port}"), &format!("--base-path={}", repositories.path().display())])
            .stderr(Stdio::null())
            // `git` starts the daemon as a child of its own: both end as a group.
            .process_group(0)
            .spawn()
            .expect("git daemon starts");
        Self { http, git: format!("git://127.0.0.1:{port}/case.git"), served, repositories, daemon }
    }

    /// Writes the servers' addresses into a text.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{{http}}", &self.http).replace("{{git}}", &self.git)
    }

    /// Takes them out again, so that two runs can be compared.
    pub fn hide(&self, text: &str) -> String {
        text.replace(&self.http, "{{http}}").replace(&self.git, "{{git}}")
    }

    /// Serves what a case laid out.
    pub fn serve(&self, place: &Path) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = place.join("http");
        let repository = self.repositories.path().join("case.git");
        let _ = fs::remove_dir_all(&repository);
        if !place.join("git").is_dir() {
            return;
        }
        let script = "git init -q -b main && git add -A && git commit -q -m one && git tag v1 && \
                      echo later > later && git add later && git commit -q -m two && \
                      git clone -q --bare . \"$0\"";
        let date = format!("@{FILE_TIME} +0000");
        let status = Command::new("sh")
            .args(["-c", script])
            .arg(&repository)
            .current_dir(place.join("git"))
            .envs([("GIT_AUTHOR_DATE", &date), ("GIT_COMMITTER_DATE", &date)])
            .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "case")))
            .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "case@example.org")))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .status();
        assert!(status.is_ok_and(|status| status.success()), "the case's repository cannot be made");
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", "--", &format!("-{}", self.daemon.id())]).status();
        let _ = self.daemon.wait();
    }
}

fn answer(mut stream: TcpStream, root: &Path) {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
    let _ = reader.read_line(&mut request);
    let mut words = request.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().trim_start_matches('/').to_owned();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
    }
    let (status, body) = match fs::read(root.join(&path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Sat, 03 Feb 2001 04:05:06 GMT\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    if method != "HEAD" {
        let _ = stream.write_all(&body);
    }
}

//! Downloads from servers of this machine, well-behaved and not.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::*;

/// A server that gives each request the next of its answers, the last one for ever, and keeps what was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, log) =
            (answers.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    request.push(byte[0]);
                }
                log.lock().unwrap().push(String::from_utf8_lossy(&request).to_ascii_lowercase());
                let answer = answers.get(number).unwrap_or_else(|| answers.last().unwrap());
                let _ = stream.write_all(
                    answer
                        .replace('\n', "\r\n")
                        .replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")
                        .as_bytes(),
                );
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn get(&self, url: &str, bytes: u64) -> Result<Fetched> {
        let layout = Layout::new(self.root.path(), self.root.path());
        let second = Duration::from_secs(1);
        let bounds = Bounds { connect: second, stall: second, bytes };
        let downloads = Downloads::open(&layout, BTreeMap::new(), bounds)?;
        let fetched = downloads.get(url, &AtomicBool::new(false));
        // Whatever happened, nothing half done is left.
        let left = std::fs::read_dir(layout.temporary()).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something is left in tmp");
        fetched
    }
}

fn code_and_hint(failure: &Failure) -> (String, String) {
    let first = failure.first();
    (first.message.clone(), first.hints.first().map_or_else(String::new, |hint| hint.0.clone()))
}

#[test]
fn an_unchanged_file_costs_one_conditional_request() {
    let time = "Wed, 21 Oct 2015 07:28:00 GMT";
    let server = Server::new(&[
        &format!("HTTP/1.1 200 OK\ncontent-length: 5\netag: \"one\"\nlast-modified: {time}\n\nhello"),
        "HTTP/1.1 304 Not Modified\n\n",
        "HTTP/1.1 200 OK\ncontent-length: 3\n\nnew",
    ]);
    let world = World::new();
    let url = format!("{}/dir/a%20file.txt?x=1#part", server.address);
    let first = world.get(&url, 100).unwrap();
    assert_eq!((first.name.as_str(), first.digest), ("a file.txt", Digest::of("hello")));
    let modified = std::fs::metadata(&first.path).unwrap().modified().unwrap();
    assert_eq!(modified, SystemTime::UNIX_EPOCH + Duration::from_mins(24_090_208));
    assert_eq!(world.get(&url, 100).unwrap(), first);
    assert_eq!(world.get(&url, 100).unwrap().digest, Digest::of("new"));
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(!asked[0].contains("if-none-match") && asked[1].contains("if-none-match: \"one\""), "{asked:?}");
}

#[test]
fn misbehaving_servers_fail_and_leave_nothing() {
    for (answer, message, hint) in [
        ("HTTP/1.1 404 Not Found\ncontent-length: 0\n\n", "404 Not Found", "there is nothing at it"),
        ("HTTP/1.1 403 Forbidden\ncontent-length: 0\n\n", "403", "login"),
        ("HTTP/1.1 302 Found\nlocation: /again\ncontent-length: 0\n\n", "redirects too often", "curl"),
        ("HTTP/1.1 200 OK\ncontent-length: 101\n\n", "larger than 100 bytes", ""),
        ("HTTP/1.1 500 Oops\ncontent-length: 0\n\n", "500", "later"),
        ("HTTP/1.1 200 OK\ncontent-length: 50\n\nshort", "broke off", ""),
        ("no such protocol\n\n", "cannot download", ""),
    ] {
        let server = Server::new(&[answer]);
        let failure = World::new().get(&format!("{}/x", server.address), 100).unwrap_err();
        let (said, hinted) = code_and_hint(&failure);
        assert!(said.contains(message) && hinted.contains(hint), "{answer}: {said}; {hinted}");
    }
}

#[test]
fn what_passes_is_tried_again() {
    let good =
        "HTTP/1.1 200 OK\ncontent-length: 2\ncontent-disposition: attachment; filename=\"../evil.txt\"\n\nok";
    let server = Server::new(&[
        "HTTP/1.1 503 Busy\ncontent-length: 0\n\n",
        "HTTP/1.1 200 OK\ncontent-length: 9\n\nok",
        good,
    ]);
    let fetched = World::new().get(&format!("{}/", server.address), 100).unwrap();
    assert_eq!((fetched.name.as_str(), fetched.digest), ("evil.txt", Digest::of("ok")));
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn an_endless_body_is_bounded() {
    let server = Server::new(&[&format!("HTTP/1.1 200 OK\n\n{}", "x".repeat(100_000))]);
    let failure = World::new().get(&format!("{}/x", server.address), 1000).unwrap_err();
    assert_eq!(failure.first().code, "download-too-large");
}

#[test]
fn names_are_single_parts_of_a_path() {
    for (url, name) in [
        ("http://h/a/b.tar.gz", "b.tar.gz"),
        ("http://h/a/b?x=/y", "b"),
        ("http://h", "download"),
        ("http://h/", "download"),
        ("http://h/a/..", "download"),
        ("http://h/%2e%2e%2fx", "x"),
    ] {
        assert_eq!(name_of(url), name, "{url}");
    }
}

#[test]
fn no_proxy_exempts_hosts() {
    for (host, list, direct) in [
        ("127.0.0.1", "localhost,127.0.0.1", true),
        ("a.example.org", ".example.org", true),
        ("example.org", "*.example.org", true),
        ("badexample.org", "example.org", false),
        ("h", "*", true),
        ("h", "", false),
    ] {
        assert_eq!(is_direct(host, list), direct, "{host} {list}");
    }
}

/// A server that takes a request, sends the beginning of an answer, and then says nothing.
fn silent(beginning: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/x", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(beginning.as_bytes());
        // Until the client is gone.
        while stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
    });
    address
}

#[test]
fn who_cancels_waits_for_no_server() {
    for beginning in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegin"] {
        let url = silent(beginning);
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path(), root.path());
        // Longer than any test may take: only the wish to cancel ends it.
        let hour = Duration::from_hours(1);
        let downloads =
            Downloads::open(&layout, BTreeMap::new(), Bounds { connect: hour, stall: hour, bytes: 1000 })
                .unwrap();
        let cancel = AtomicBool::new(false);
        let failure = std::thread::scope(|scope| {
            let getting = scope.spawn(|| downloads.get(&url, &cancel).unwrap_err());
            std::thread::sleep(Duration::from_millis(100));
            cancel.store(true, Ordering::Relaxed);
            getting.join().unwrap()
        });
        assert_eq!(failure.first().code, "cancelled");
        assert_eq!(std::fs::read_dir(layout.temporary()).map_or(0, Iterator::count), 0);
    }
}

#[test]
fn servers_may_ask_for_a_pause_that_is_not_too_long() {
    let ok = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
    let server = Server::new(&["HTTP/1.1 429 Slow\nretry-after: 0\ncontent-length: 0\n\n", ok]);
    World::new().get(&format!("{}/x", server.address), 100).unwrap();
    let server = Server::new(&["HTTP/1.1 503 Busy\nretry-after: 3600\ncontent-length: 0\n\n", ok]);
    let failure = World::new().get(&format!("{}/x", server.address), 100).unwrap_err();
    assert!(failure.first().notes.iter().any(|note| note.contains("3600 seconds")), "{failure:?}");
    assert_eq!(server.asked().len(), 1);
    assert_eq!(wait_of(" 7 "), Some(Duration::from_secs(7)));
    assert_eq!(wait_of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
    assert_eq!(wait_of("soon"), None);
}

#[test]
fn whoever_only_looks_downloads_nothing() {
    let server = Server::new(&[
        "HTTP/1.1 200 OK\ncontent-length: 5\netag: \"one\"\n\nhello",
        "HTTP/1.1 304 Not Modified\n\n",
        "HTTP/1.1 200 OK\ncontent-length: 5\netag: \"one\"\n\n",
        "HTTP/1.1 200 OK\ncontent-length: 3\netag: \"two\"\n\n",
    ]);
    let world = World::new();
    let url = format!("{}/x", server.address);
    let layout = Layout::new(world.root.path(), world.root.path());
    let downloads = Downloads::open(&layout, BTreeMap::new(), Bounds::default()).unwrap();
    let never = AtomicBool::new(false);
    assert_eq!(downloads.unchanged(&url, &never), None);
    assert_eq!(server.asked().len(), 0);
    let kept = world.get(&url, 100).unwrap();
    assert_eq!(downloads.unchanged(&url, &never).as_ref(), Some(&kept));
    assert_eq!(downloads.unchanged(&url, &never), Some(kept));
    assert_eq!(downloads.unchanged(&url, &never), None);
    assert!(server.asked()[1..].iter().all(|request| request.starts_with("head ")), "{:?}", server.asked());
}

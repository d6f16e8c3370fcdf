//! A registry in this process, on the loopback interface, that can be made to misbehave.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use coracle_oci::Digest;

/// A request as the server saw it; header names are lower case.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: String,
    #[allow(dead_code, reason = "only uploads look at it")]
    pub bytes: Vec<u8>,
}

/// An answer; `cut` ends the connection after so many bytes of the body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub cut: Option<usize>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }
}

type Handler = Box<dyn Fn(&Seen) -> Option<Answer> + Send + Sync>;

#[derive(Default)]
struct State {
    contents: HashMap<String, (String, Vec<u8>)>,
    seen: Vec<Seen>,
}

/// Serves stored documents and blobs, after a handler had its chance to answer otherwise.
pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let handler: Arc<Handler> = Arc::new(Box::new(handler));
        // Ends with the process: a test's server has nothing to clean up.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, handler) = (Arc::clone(&shared), Arc::clone(&handler));
                std::thread::spawn(move || {
                    let _ = serve(stream, &shared, &handler);
                });
            }
        });
        Self { address, state }
    }

    pub fn honest() -> Self {
        Self::start(|_| None)
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn put(&self, path: &str, media_type: &str, bytes: &[u8]) {
        let content = (media_type.to_owned(), bytes.to_vec());
        self.state.lock().unwrap().contents.insert(format!("/v2/{path}"), content);
    }

    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.put(&format!("{repository}/blobs/{digest}"), "application/octet-stream", bytes);
        digest
    }

    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        for name in [tag, &digest.to_string()] {
            self.put(&format!("{repository}/manifests/{name}"), media_type, bytes);
        }
        digest
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, handler: &Handler) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let mut headers: HashMap<String, String> = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        let value = value.trim();
        headers
            .entry(name.to_ascii_lowercase())
            .and_modify(|known| *known = format!("{known}, {value}"))
            .or_insert_with(|| value.to_owned());
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            let from = body.len();
            body.resize(from + length, 0);
            std::io::Read::read_exact(&mut reader, &mut body[from..])?;
            reader.read_line(&mut String::new())?;
            if length == 0 {
                break;
            }
        }
    } else {
        body.resize(headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0), 0);
        std::io::Read::read_exact(&mut reader, &mut body)?;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let seen = Seen { method, path, headers, body: text, bytes: body };
    state.lock().unwrap().seen.push(seen.clone());
    let answer = handler(&seen).unwrap_or_else(|| stored(&seen, state));
    let head = seen.method == "HEAD";
    respond(stream, &answer, head)
}

fn stored(seen: &Seen, state: &Mutex<State>) -> Answer {
    if seen.path == "/v2/" {
        return Answer::new(200, "{}");
    }
    let Some((media_type, bytes)) = state.lock().unwrap().contents.get(&seen.path).cloned() else {
        return Answer::new(404, r#"{"errors": [{"code": "UNKNOWN", "message": "unknown"}]}"#);
    };
    let from = seen
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match from {
        Some(from) if from >= bytes.len() => Answer::new(416, ""),
        Some(from) => Answer::new(206, &bytes[from..])
            .header("content-range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
        None => Answer::new(200, bytes),
    }
    .header("content-type", media_type)
}

fn respond(mut stream: TcpStream, answer: &Answer, head_only: bool) -> std::io::Result<()> {
    use std::fmt::Write as _;
    let mut head = format!("HTTP/1.1 {} Status\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").expect("a string takes everything");
    }
    write!(head, "content-length: {}\r\n\r\n", answer.body.len()).expect("a string takes everything");
    stream.write_all(head.as_bytes())?;
    let end = answer.cut.unwrap_or(answer.body.len()).min(answer.body.len());
    if !head_only {
        stream.write_all(&answer.body[..end])?;
    }
    stream.flush()
}

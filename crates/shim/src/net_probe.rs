//! Probes that need no program of the container: a child of the shim, which is in the container's network already, asks.
//!
//! What answers is the container's and not to be trusted: little of it is read, in bounded time, by a process without
//! privileges that has nothing open.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::NetworkProbe;
use crate::syscall;

/// Bytes of an answer that are read.
const MOST: u64 = 64 * 1024;
/// Bytes of an answer that are told.
const TOLD: usize = 512;
/// The user and group that asks: nobody.
const NOBODY: u32 = 65534;

/// Probes, tells standard output how it went, and returns the exit code: 0 is healthy.
pub(crate) fn run(probe: &NetworkProbe, patience: Duration) -> i32 {
    syscall::close_from(3);
    // Who is not root is nobody much already.
    let _ = syscall::become_user(NOBODY, NOBODY, &[]);
    let (healthy, text) = match ask(probe, patience) {
        Ok(answer) => answer,
        Err(error) => (false, error.to_string()),
    };
    let _ = writeln!(io::stdout(), "{text}");
    i32::from(!healthy)
}

fn ask(probe: &NetworkProbe, patience: Duration) -> io::Result<(bool, String)> {
    match probe {
        NetworkProbe::Tcp { addresses } => {
            let (_, address) = connect(addresses, patience)?;
            Ok((true, format!("{address} accepts connections")))
        }
        NetworkProbe::Http { addresses, host, path } => {
            let begin = Instant::now();
            let (mut stream, _) = connect(addresses, patience)?;
            let left = patience.saturating_sub(begin.elapsed()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left))?;
            stream.set_write_timeout(Some(left))?;
            let agent = concat!("coracle/", env!("CARGO_PKG_VERSION"));
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes())?;
            read_answer(stream)
        }
    }
}

fn connect(addresses: &[SocketAddr], patience: Duration) -> io::Result<(TcpStream, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to probe");
    for address in addresses {
        match TcpStream::connect_timeout(address, patience.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("cannot connect to {address}: {error}"));
            }
        }
    }
    Err(last)
}

/// Reads an answer as far as the verdict needs it.
fn read_answer(stream: impl Read) -> io::Result<(bool, String)> {
    let mut stream = stream.take(MOST);
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    let body = loop {
        if let Some(status) = status(&answer)
            && (200..400).contains(&status)
        {
            return Ok((true, first_line(&answer)));
        }
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut chunk) {
            Ok(0) => break answer.len(),
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let what = if answer.is_empty() { "no answer" } else { "the answer is cut off" };
                return Err(io::Error::new(error.kind(), format!("{what}: {error}")));
            }
        }
    };
    if status(&answer).is_none() {
        let told = printable(&answer[..answer.len().min(TOLD)]);
        return Ok((false, format!("this is no answer in HTTP: {told}")));
    }
    // Why it is not well is worth a little more.
    while answer.len() < body + TOLD {
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => answer.extend_from_slice(&chunk[..count]),
            _ => break,
        }
    }
    let told = printable(&answer[body..answer.len().min(body + TOLD)]);
    Ok((false, format!("{}: {told}", first_line(&answer))))
}

/// Returns the status of an answer whose first line is there.
fn status(answer: &[u8]) -> Option<u16> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&answer[..end]).ok()?;
    let mut words = line.strip_prefix("HTTP/1.")?.split_ascii_whitespace();
    words.next()?;
    words.next()?.parse().ok().filter(|status| (100..600).contains(status))
}

fn first_line(answer: &[u8]) -> String {
    let end = answer.iter().position(|byte| *byte == b'\n').unwrap_or(answer.len());
    printable(&answer[..end.min(TOLD)])
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answer(text: &str) -> (bool, String) {
        read_answer(text.as_bytes()).unwrap()
    }

    #[test]
    fn verdicts() {
        assert_eq!(answer("HTTP/1.1 200 OK\r\n\r\nfine"), (true, "HTTP/1.1 200 OK".to_owned()));
        assert!(answer("HTTP/1.0 302 Found\r\nLocation: /\r\n").0);
        assert_eq!(
            answer("HTTP/1.1 503 Busy\r\nX: y\r\n\r\nno \x1b[31mdatabase\n"),
            (false, "HTTP/1.1 503 Busy: no  [31mdatabase".to_owned())
        );
        assert!(!answer("HTTP/1.1 100 Continue\r\n\r\n").0);
        for text in ["", "hello\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "SSH-2.0-x\r\n"] {
            assert!(!answer(text).0, "{text}");
        }
        // A header without an end is not read without one.
        let (healthy, text) = read_answer(io::repeat(b'x')).unwrap();
        assert!(!healthy && text.len() < 1000, "{text}");
    }

    #[test]
    fn a_server_is_asked_and_a_silent_one_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let probe = NetworkProbe::Http {
            addresses: vec![address],
            host: "localhost".to_owned(),
            path: "/health?x".to_owned(),
        };
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 204 None\r\n\r\n").unwrap();
            // The second client is accepted and left alone.
            (String::from_utf8(request[..count].to_vec()).unwrap(), listener)
        });
        assert!(ask(&probe, Duration::from_secs(5)).unwrap().0);
        let (request, listener) = server.join().unwrap();
        assert!(request.starts_with("GET /health?x HTTP/1.1\r\nHost: localhost\r\n"), "{request}");
        let error = ask(&probe, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("no answer"), "{error}");
        let tcp = NetworkProbe::Tcp { addresses: vec![address] };
        assert!(ask(&tcp, Duration::from_secs(5)).unwrap().0);
        drop(listener);
        let error = ask(&tcp, Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().contains("cannot connect"), "{error}");
    }
}

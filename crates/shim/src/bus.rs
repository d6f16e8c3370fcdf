//! One call to systemd over its D-Bus socket, as bytes.
//!
//! Only root may talk to the private socket of systemd, which needs no bus daemon; the protocol is that of the D-Bus
//! specification ("Message Protocol"), of which one method call and its answer are enough here.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any answer to the calls made here.
const MAX_MESSAGE: usize = 64 * 1024;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;

/// Bytes of a message, each value at a multiple of its size from the message's start.
#[derive(Debug, Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    fn align(&mut self, size: usize) {
        self.0.resize(self.0.len().next_multiple_of(size), 0);
    }

    pub fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).expect("names are short"));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// A type, as the head of a variant.
    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).expect("signatures are short"));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements begin at multiples of `size`.
    pub fn array(&mut self, size: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.0.len() - 4;
        self.align(size);
        let start = self.0.len();
        elements(self);
        let length = u32::try_from(self.0.len() - start).expect("arrays are short");
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn property(&mut self, name: &str, signature: &str) {
        self.align(8);
        self.text(name);
        self.signature(signature);
    }

    pub fn text_property(&mut self, name: &str, value: &str) {
        self.property(name, "s");
        self.text(value);
    }

    pub fn flag_property(&mut self, name: &str, value: bool) {
        self.property(name, "b");
        self.number(u32::from(value));
    }

    pub fn numbers_property(&mut self, name: &str, values: &[u32]) {
        self.property(name, "au");
        self.array(4, |body| values.iter().for_each(|value| body.number(*value)));
    }
}

/// Returns the message that calls a method of systemd's manager.
fn call(member: &str, signature: &str, body: &Body) -> Vec<u8> {
    let mut message = Body::default();
    // Little-endian, no flags, version 1 of the protocol.
    message.0.extend([b'l', METHOD_CALL, 0, 1]);
    message.number(u32::try_from(body.0.len()).expect("calls are short"));
    message.number(1);
    message.array(8, |fields| {
        let texts = [
            (1, "o", "/org/freedesktop/systemd1"),
            (2, "s", "org.freedesktop.systemd1.Manager"),
            (3, "s", member),
        ];
        for (field, kind, value) in texts {
            fields.align(8);
            fields.0.push(field);
            fields.signature(kind);
            fields.text(value);
        }
        fields.align(8);
        fields.0.push(8);
        fields.signature("g");
        fields.signature(signature);
    });
    message.align(8);
    message.0.extend(&body.0);
    message.0
}

/// Calls a method of systemd's manager and waits for its answer.
pub(crate) fn call_manager(socket: &Path, member: &str, signature: &str, body: &Body) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // The user id in decimal, its digits in hexadecimal: those of `0` to `9` are 30 to 39.
    let user = rustix::process::geteuid().as_raw().to_string();
    let user: String = user.chars().flat_map(|digit| ['3', digit]).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").as_bytes())?;
    stream.write_all(&call(member, signature, body))?;
    let greeting = read_line(&mut stream)?;
    if !greeting.starts_with("OK ") {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "systemd does not let this process in"));
    }
    loop {
        // Signals may come before the answer.
        match read_message(&mut stream)? {
            (METHOD_RETURN, _) => return Ok(()),
            (ERROR, body) => {
                return Err(io::Error::other(first_text(&body).unwrap_or("no reason given".to_owned())));
            }
            _ => {}
        }
    }
}

fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") && line.len() < 256 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Reads a message; returns its kind and its body.
fn read_message(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "systemd's answer makes no sense");
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    if head[0] != b'l' {
        return Err(malformed());
    }
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let (body, fields) = (number(4), number(12));
    if body > MAX_MESSAGE || fields > MAX_MESSAGE {
        return Err(malformed());
    }
    // The fields begin at 16 and are filled up to a multiple of 8.
    let mut rest = vec![0; fields.next_multiple_of(8) + body];
    stream.read_exact(&mut rest)?;
    Ok((head[1], rest.split_off(fields.next_multiple_of(8))))
}

fn first_text(body: &[u8]) -> Option<String> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let text = rest.get(..u32::from_le_bytes(*length) as usize)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Answers one call with `answer`; returns what came.
    fn served(answer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut chunk = [0; 4096];
            while !seen.windows(9).any(|window| window == b"after-all") {
                let count = stream.read(&mut chunk).unwrap();
                assert_ne!(count, 0);
                seen.extend(&chunk[..count]);
            }
            stream.write_all(b"OK 0123\r\n").unwrap();
            stream.write_all(&answer).unwrap();
            seen
        });
        let mut body = Body::default();
        body.text("one");
        body.text("after-all");
        (call_manager(&path, "Method", "ss", &body), server.join().unwrap())
    }

    fn message(kind: u8, body: &Body) -> Vec<u8> {
        let mut message = Body(vec![b'l', kind, 0, 1]);
        message.number(u32::try_from(body.0.len()).unwrap());
        message.number(7);
        message.array(8, |fields| {
            fields.0.push(5);
            fields.signature("u");
            fields.number(1);
        });
        message.align(8);
        message.0.extend(&body.0);
        message.0
    }

    #[test]
    fn an_answer_after_a_signal() {
        let mut answer = message(4, &Body::default());
        answer.extend(message(METHOD_RETURN, &Body::default()));
        let (result, seen) = served(answer);
        result.unwrap();
        assert!(seen.starts_with(b"\0AUTH EXTERNAL "));
        let start = seen.windows(2).position(|window| window == b"l\x01").unwrap();
        // The body starts at a multiple of 8 from the message's start and is as long as the head says.
        let length = u32::from_le_bytes(seen[start + 4..start + 8].try_into().unwrap()) as usize;
        assert_eq!((seen.len() - start - length) % 8, 0);
        assert_eq!(&seen[seen.len() - length..][..8], b"\x03\0\0\0one\0");
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let mut reason = Body::default();
        reason.text("Unit x.scope already exists.");
        let (result, _) = served(message(ERROR, &reason));
        assert_eq!(result.unwrap_err().to_string(), "Unit x.scope already exists.");
    }

    #[test]
    fn a_length_from_nowhere_is_refused() {
        let mut bytes = vec![b'l', METHOD_RETURN, 0, 1];
        bytes.extend([255; 12]);
        assert!(read_message(&mut bytes.as_slice()).is_err());
    }

    #[test]
    fn values_lie_where_the_specification_wants_them() {
        let mut body = Body::default();
        body.text("a");
        body.array(8, |body| {
            body.flag_property("Delegate", true);
            body.numbers_property("PIDs", &[7]);
        });
        let expected: &[u8] =
            b"\x01\0\0\0a\0\0\0\x30\0\0\0\0\0\0\0\x08\0\0\0Delegate\0\x01b\0\x01\0\0\0\0\0\0\0\
            \x04\0\0\0PIDs\0\x02au\0\0\0\0\x04\0\0\0\x07\0\0\0";
        assert_eq!(body.0, expected);
    }
}

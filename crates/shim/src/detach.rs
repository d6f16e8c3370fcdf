//! The keys that let go of a container's terminal without ending it, Docker's `--detach-keys`.

use std::str::FromStr;

/// Names of the control characters beside `ctrl-a` to `ctrl-z`, in the order of their codes from 27 on.
const MARKS: [char; 5] = ['[', '\\', ']', '^', '_'];

/// A sequence of keys; empty is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl DetachKeys {
    /// Returns the keys as a terminal sends them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for DetachKeys {
    /// Docker's: ctrl-p, then ctrl-q.
    fn default() -> Self {
        Self(vec![16, 17])
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Reads keys with commas between them: a character, or `ctrl-` and a letter or one of `@ [ \ ] ^ _`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let key = |word: &str| {
            let wrong = || format!("`{word}` is no key; write it as ctrl-p,ctrl-q or as a character");
            if let Some(rest) =
                word.get(..5).filter(|head| head.eq_ignore_ascii_case("ctrl-")).and(word.get(5..))
            {
                let mut characters = rest.chars();
                let (Some(character), None) = (characters.next(), characters.next()) else {
                    return Err(wrong());
                };
                return match (
                    character.to_ascii_lowercase(),
                    MARKS.iter().position(|mark| *mark == character),
                ) {
                    ('@', _) => Ok(0),
                    (letter @ 'a'..='z', _) => Ok(letter as u8 - b'a' + 1),
                    (_, Some(position)) => u8::try_from(27 + position).map_err(|_| wrong()),
                    _ => Err(wrong()),
                };
            }
            match word.as_bytes() {
                [byte] if byte.is_ascii() => Ok(*byte),
                _ if word.eq_ignore_ascii_case("del") => Ok(127),
                _ => Err(wrong()),
            }
        };
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

/// Looks for the keys in what is typed.
#[derive(Clone, Debug)]
pub struct KeyWatch {
    keys: Vec<u8>,
    matched: usize,
}

impl KeyWatch {
    /// Returns a watch for `keys`; none are found when they are empty.
    pub fn new(keys: &[u8]) -> Self {
        Self { keys: keys.to_vec(), matched: 0 }
    }

    /// Appends to `out` what is for the container; returns whether the keys came, behind which nothing is passed on. What
    /// may be their beginning is held back until the next key decides.
    pub fn pass(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in typed {
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return true;
                }
                continue;
            }
            self.give_up(out);
            if self.keys.first() == Some(byte) {
                self.matched = 1;
            } else {
                out.push(*byte);
            }
        }
        false
    }

    /// Returns whether the beginning of the keys is held back.
    pub fn holds_back(&self) -> bool {
        self.matched > 0
    }

    /// Appends what was held back: no further key came in time.
    pub fn give_up(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.keys[..self.matched]);
        self.matched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_docker_writes_them() {
        let read = |text: &str| text.parse::<DetachKeys>().map(|keys| keys.0);
        assert_eq!(read("ctrl-p,ctrl-q"), Ok(DetachKeys::default().0));
        assert_eq!(read("ctrl-@,a,CTRL-A,ctrl-[,ctrl-_,DEL"), Ok(vec![0, b'a', 1, 27, 31, 127]));
        assert_eq!(read(""), Ok(Vec::new()));
        for text in ["ctrl-", "ctrl-ab", "ctrl-1", "ab", "a,", "é"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_whole_sequence_lets_go() {
        let mut watch = KeyWatch::new(&[16, 17]);
        let mut out = Vec::new();
        assert!(!watch.pass(b"a\x10b\x10\x10", &mut out));
        assert_eq!(out, b"a\x10b\x10");
        assert!(watch.holds_back());
        assert!(watch.pass(b"\x11rest", &mut out));
        assert_eq!(out, b"a\x10b\x10");
        assert!(!watch.pass(b"\x10", &mut out) && watch.holds_back());
        watch.give_up(&mut out);
        assert_eq!(out, b"a\x10b\x10\x10");
        assert!(!KeyWatch::new(&[]).pass(b"\x10\x11", &mut out));
    }
}

//! Permission bits as `chmod` writes them: an octal number, or clauses such as `u+x` and `go=rX`.

use std::str::FromStr;

/// What becomes of a file's permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModeChange {
    /// They become these (with set-id and sticky bits).
    Fixed(u32),
    /// They are changed, clause by clause.
    Symbolic(Vec<Clause>),
}

/// A text that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no file mode: it looks like 0755 or u=rwX,go=rX")]
pub struct ModeError(String);

/// One action of one clause, e.g. the `go-w` of `u+x,go-w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clause {
    who: Who,
    action: Action,
    bits: Bits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    user: bool,
    group: bool,
    other: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    /// These: 0o7 for `rwx`, and whether `X`, `s` and `t` are among them.
    Given { plain: u32, conditional: bool, set_id: bool, sticky: bool },
    /// Those that the file has for its user (6), group (3) or others (0): the shift to their place.
    Copied(u32),
}

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

impl Who {
    const ALL: Self = Self { user: true, group: true, other: true };

    /// Spreads three bits over those who are meant.
    fn spread(self, three: u32) -> u32 {
        [(self.user, 6), (self.group, 3), (self.other, 0)]
            .into_iter()
            .filter(|(meant, _)| *meant)
            .fold(0, |bits, (_, shift)| bits | (three << shift))
    }
}

impl ModeChange {
    /// Returns the bits that a file with `mode` gets.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Fixed(mode) => *mode,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, is_directory))
            }
        }
    }

    /// Returns the bits of a number; `None` when the change depends on the file.
    pub fn fixed(&self) -> Option<u32> {
        match self {
            Self::Fixed(mode) => Some(*mode),
            Self::Symbolic(_) => None,
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let who = self.who;
        let bits = match self.bits {
            Bits::Copied(shift) => who.spread((mode >> shift) & 0o7),
            Bits::Given { plain, conditional, set_id, sticky } => {
                let execute = conditional && (is_directory || mode & 0o111 != 0);
                let mut bits = who.spread(plain | u32::from(execute));
                if set_id && who.user {
                    bits |= SET_UID;
                }
                if set_id && who.group {
                    bits |= SET_GID;
                }
                if sticky {
                    bits |= STICKY;
                }
                bits
            }
        };
        match self.action {
            Action::Add => mode | bits,
            Action::Remove => mode & !bits,
            Action::Set => {
                let mut cleared = who.spread(0o7);
                if who.user {
                    cleared |= SET_UID;
                }
                if who.group {
                    cleared |= SET_GID;
                }
                if who == Who::ALL {
                    cleared |= STICKY;
                }
                (mode & !cleared) | bits
            }
        }
    }
}

impl FromStr for ModeChange {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let bad = || ModeError(text.to_owned());
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Fixed).ok_or_else(bad);
        }
        let mut clauses = Vec::new();
        for clause in text.split(',') {
            let start = clause.find(['+', '-', '=']).ok_or_else(bad)?;
            let (people, mut rest) = clause.split_at(start);
            let mut who = Who { user: false, group: false, other: false };
            for person in people.chars() {
                match person {
                    'u' => who.user = true,
                    'g' => who.group = true,
                    'o' => who.other = true,
                    'a' => who = Who::ALL,
                    _ => return Err(bad()),
                }
            }
            // Nobody named means everybody (with no mask, as in BuildKit).
            let who = if people.is_empty() { Who::ALL } else { who };
            while let Some(sign) = rest.chars().next() {
                let action = match sign {
                    '+' => Action::Add,
                    '-' => Action::Remove,
                    '=' => Action::Set,
                    _ => return Err(bad()),
                };
                rest = &rest[1..];
                let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
                let bits = parse_bits(&rest[..end]).ok_or_else(bad)?;
                rest = &rest[end..];
                clauses.push(Clause { who, action, bits });
            }
        }
        Ok(Self::Symbolic(clauses))
    }
}

fn parse_bits(text: &str) -> Option<Bits> {
    match text {
        "u" => return Some(Bits::Copied(6)),
        "g" => return Some(Bits::Copied(3)),
        "o" => return Some(Bits::Copied(0)),
        _ => {}
    }
    let (mut plain, mut conditional, mut set_id, mut sticky) = (0, false, false, false);
    for letter in text.chars() {
        match letter {
            'r' => plain |= 4,
            'w' => plain |= 2,
            'x' => plain |= 1,
            'X' => conditional = true,
            's' => set_id = true,
            't' => sticky = true,
            _ => return None,
        }
    }
    Some(Bits::Given { plain, conditional, set_id, sticky })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_applied_as_chmod_does() {
        let table = [
            ("0755", 0o600, false, 0o755),
            ("4711", 0o600, false, 0o4711),
            ("7", 0o600, false, 0o007),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("a=rX", 0o640, false, 0o444),
            ("a=rX", 0o740, false, 0o555),
            ("a=rX", 0o640, true, 0o555),
            ("go-w", 0o666, false, 0o644),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("ug+s", 0o755, false, 0o6755),
            ("u-s", 0o4755, false, 0o755),
            ("u=rwx", 0o4755, false, 0o755),
            ("+t", 0o777, true, 0o1777),
            ("g=u", 0o750, false, 0o770),
            ("o=g-w", 0o770, false, 0o775),
            ("u+x-w", 0o644, false, 0o544),
            ("a=", 0o777, false, 0),
            ("go=", 0o777, false, 0o700),
            ("u+r,g+w,o+x", 0, false, 0o421),
        ];
        for (text, mode, is_directory, expected) in table {
            let change: ModeChange = text.parse().unwrap();
            assert_eq!(change.apply(mode, is_directory), expected, "{text} on {mode:o}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "8", "77777", "10000", "rwx", "u", "z+x", "u+y", "u+x,", ",u+x", "u~x", "0x1ff", "u+xu"]
        {
            assert!(text.parse::<ModeChange>().is_err(), "{text}");
        }
    }
}

//! Signals by name or number.

/// Why a text is no signal.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a signal")]
pub struct SignalError(pub String);

/// Names of Linux signals in the order of their numbers (signal(7), x86 and ARM), from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Returns the number of a signal written as `SIGTERM`, `term`, `15` or `SIGRTMIN+3`.
pub fn signal_number(text: &str) -> Result<i32, SignalError> {
    let refused = || SignalError(text.to_owned());
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(refused()) };
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|name| *name == bare) {
        return i32::try_from(index + 1).map_err(|_| refused());
    }
    // The C library keeps the first two real-time signals for itself.
    let (base, offset) = match bare {
        "IOT" => (6, ""),
        "CLD" => (17, ""),
        "POLL" => (29, ""),
        _ => match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
            (Some(offset), _) => (34, offset),
            (_, Some(offset)) => (64, offset),
            (None, None) => return Err(refused()),
        },
    };
    let offset: i32 = match offset {
        "" => 0,
        offset if offset.starts_with(['+', '-']) => offset.parse().map_err(|_| refused())?,
        _ => return Err(refused()),
    };
    let number = base + offset;
    if (1..=64).contains(&number) { Ok(number) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGQUIT", 3),
            ("SIGWINCH", 28),
            ("SIGRTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("SYS", 31),
        ] {
            assert_eq!(signal_number(text), Ok(number), "{text}");
        }
        for text in ["", "0", "65", "SIG", "SIGFOO", "RTMIN3", "RTMAX+1"] {
            assert!(signal_number(text).is_err(), "{text}");
        }
    }
}

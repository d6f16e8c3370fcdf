//! Text of strangers made fit for a terminal: what a build, an image or a file's name says must not steer it.

use std::borrow::Cow;

/// Returns whether a character could steer a terminal, or show text in another order than it stands in; line
/// ends and tabs do neither.
pub fn is_hostile(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn spell(text: &mut String, c: char) {
    if is_hostile(c) { text.extend(c.escape_default()) } else { text.push(c) }
}

/// Returns text with all that could steer a terminal spelled out (`\u{1b}`): for names and messages, of which nothing
/// may be hidden. Line ends and tabs stay.
pub fn spelled(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        spell(&mut out, c);
        out
    }))
}

/// Returns a program's output without its escape sequences (colours among them); what is left that could steer a terminal
/// is spelled out. Of a line that was written over (by a carriage return) only the last state stays.
pub fn output(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let shown = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
        let plain = anstream::adapter::strip_str(shown).to_string();
        plain.chars().for_each(|c| spell(&mut out, c));
    }
    Cow::Owned(out)
}

/// Returns our own styled text with everything spelled out but line ends, tabs and styles. The last fence, for text that
/// reached the printer without passing [`spelled`] or [`output`].
pub fn styled(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = style(rest).unwrap_or(0);
        if length > 0 {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            spell(&mut out, c);
            rest = &rest[c.len_utf8()..];
        }
    }
    Cow::Owned(out)
}

/// Returns the length of the style (`ESC [ 1 ; 31 m`) that a text begins with.
fn style(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets the title, clears the screen, writes over a line, rings, hides text, and turns text around.
    const HOSTILE: &str = "\u{1b}]0;owned\u{7}a\u{1b}[2Jb\u{7}c\u{9b}31md\u{202e}e\tf";

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        let all = (0..=0x2fff).filter_map(char::from_u32).collect::<String>();
        for text in [HOSTILE, &all, "\u{1b}", "\u{1b}[", "\u{1b}[31", "\u{1b}[3\u{1b}[31Km"] {
            for shown in [spelled(text), output(text)] {
                assert!(!shown.contains(is_hostile), "{shown:?}");
            }
            let shown = styled(text);
            assert!(!anstream::adapter::strip_str(&shown).to_string().contains(is_hostile), "{shown:?}");
        }
    }

    #[test]
    fn what_people_read_stays() {
        for text in ["", "plain text", "two\nlines\tand tabs", "ünï\u{300}cödé ✔ 漢字"] {
            assert_eq!((spelled(text), output(text), styled(text)), (text.into(), text.into(), text.into()));
        }
        assert_eq!(spelled("a\u{1b}[31mb\r"), "a\\u{1b}[31mb\\r");
        assert_eq!(output("\u{1b}[1;31mred\u{1b}[0m 10%\r\u{1b}[32m100%\u{1b}[0m\r\nnext"), "100%\nnext");
        assert_eq!(output("bell \u{9f}"), "bell \\u{9f}");
        assert_eq!(styled("\u{1b}[1;31mred\u{1b}[0m \u{1b}[2Jx"), "\u{1b}[1;31mred\u{1b}[0m \\u{1b}[2Jx");
    }
}

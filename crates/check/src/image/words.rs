//! Shell text to the words of its simple commands, as far as rules across files need it.

/// Returns the simple commands of a shell text as words without quotes; variables stay as written. What leads a command
/// in (`exec`, `sudo`, assignments, `if`, `then`, `!`, braces) is left out.
pub(crate) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    let mut quote: Option<char> = None;
    while let Some(character) = characters.next() {
        if let Some(open) = quote {
            match character {
                c if c == open => quote = None,
                '\\' if open == '"' => {
                    word.get_or_insert_default().extend(characters.next());
                }
                c => word.get_or_insert_default().push(c),
            }
            continue;
        }
        match character {
            '\'' | '"' => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            '\\' => match characters.next() {
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            '$' if characters.peek() == Some(&'(') => {
                // A substitution is one word, whatever is in it.
                let mut depth = 0;
                let out = word.get_or_insert_default();
                out.push('$');
                for inner in characters.by_ref() {
                    out.push(inner);
                    match inner {
                        '(' => depth += 1,
                        ')' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '#' if word.is_none() => while characters.next_if(|next| *next != '\n').is_some() {},
            '&' if word.as_deref().is_some_and(|word| word.ends_with(['>', '<'])) => {
                word.get_or_insert_default().push('&');
            }
            '&' | ';' | '|' | '\n' | '(' | ')' => {
                words.extend(word.take());
                end(&mut words, &mut commands);
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    end(&mut words, &mut commands);
    commands
}

fn end(words: &mut Vec<String>, commands: &mut Vec<Vec<String>>) {
    let command = stripped(std::mem::take(words));
    if !command.is_empty() {
        commands.push(command);
    }
}

/// Leaves out what leads a command in.
fn stripped(words: Vec<String>) -> Vec<String> {
    let led = |word: &str| {
        matches!(
            word,
            "exec"
                | "sudo"
                | "env"
                | "command"
                | "time"
                | "nohup"
                | "if"
                | "then"
                | "else"
                | "elif"
                | "do"
                | "while"
                | "until"
                | "!"
                | "{"
                | "}"
        ) || assignment(word).is_some()
    };
    let leading = words.iter().take_while(|word| led(word)).count();
    words.into_iter().skip(leading).collect()
}

/// Returns name and value of an assignment `NAME=value`.
pub(crate) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let valid = name.chars().enumerate().all(|(index, character)| {
        character == '_' || character.is_ascii_alphabetic() || (index > 0 && character.is_ascii_digit())
    });
    (valid && !name.is_empty()).then_some((name, value))
}

/// Returns the value of a long or short option: `--name value`, `--name=value`, `-n value`.
pub(crate) fn option<'w>(words: &'w [String], names: &[&str]) -> Option<&'w str> {
    words.iter().enumerate().find_map(|(index, word)| {
        if names.contains(&word.as_str()) {
            return words.get(index + 1).map(String::as_str);
        }
        let (name, value) = word.split_once('=')?;
        (name.starts_with("--") && names.contains(&name)).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        let table: &[(&str, &[&[&str]])] = &[
            ("a b && c 'd e' || f;g", &[&["a", "b"], &["c", "d e"], &["f"], &["g"]]),
            ("X=1 exec gunicorn -w \"$N\" # no\nnext", &[&["gunicorn", "-w", "$N"], &["next"]]),
            ("if ! test -f a; then b; fi", &[&["test", "-f", "a"], &["b"], &["fi"]]),
            ("echo $(ls | wc -l) x", &[&["echo", "$(ls | wc -l)", "x"]]),
            ("a >/dev/null 2>&1 & b", &[&["a", ">/dev/null", "2>&1"], &["b"]]),
            ("a\\\n  b", &[&["a", "b"]]),
            ("", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(commands(text), *expected, "{text}");
        }
    }

    #[test]
    fn options() {
        let words: Vec<String> =
            ["--bind", "0.0.0.0:8000", "--workers=4", "-k", "x"].map(str::to_owned).into();
        assert_eq!(option(&words, &["--bind", "-b"]), Some("0.0.0.0:8000"));
        assert_eq!(option(&words, &["--workers", "-w"]), Some("4"));
        assert_eq!(option(&words, &["--worker-class", "-k"]), Some("x"));
        assert_eq!(option(&words, &["--x"]), None);
    }
}

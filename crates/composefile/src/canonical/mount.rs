//! The short form of mounts: `[SOURCE:]TARGET[:OPTIONS]`.

/// What a short form says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) source: Option<String>,
    pub(super) target: String,
    pub(super) read_only: bool,
    pub(super) no_copy: bool,
    pub(super) propagation: Option<String>,
    pub(super) selinux: Option<String>,
}

impl Mount {
    /// Says whether the source is a path of the host and not a volume's name.
    pub(super) fn is_bind(&self) -> bool {
        self.source.as_deref().is_some_and(is_path)
    }
}

/// Reads a short form.
pub(super) fn parse(text: &str) -> Result<Mount, String> {
    let mut mount = Mount::default();
    if text.is_empty() {
        return Err("a mount has no target".to_owned());
    }
    if text.len() <= 2 {
        text.clone_into(&mut mount.target);
        return Ok(mount);
    }
    let sections = sections(text);
    if sections.iter().any(String::is_empty) {
        return Err(format!("`{text}` has an empty section between colons"));
    }
    match sections.as_slice() {
        [target] => target.clone_into(&mut mount.target),
        [source, target] => {
            mount.source = Some(source.clone());
            target.clone_into(&mut mount.target);
        }
        [source, target, options] => {
            mount.source = Some(source.clone());
            target.clone_into(&mut mount.target);
            for option in options.split(',') {
                match option {
                    "ro" => mount.read_only = true,
                    "rw" => mount.read_only = false,
                    "nocopy" => mount.no_copy = true,
                    "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                        mount.propagation = Some(option.to_owned());
                    }
                    "z" | "Z" => mount.selinux = Some(option.to_owned()),
                    // Docker Compose takes any other word and does nothing with it (`cached`, `delegated`).
                    _ => {}
                }
            }
        }
        _ => return Err(format!("`{text}` has too many colons")),
    }
    Ok(mount)
}

/// Splits at colons that are neither behind a drive's letter nor inside `${...}`.
fn sections(text: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    let mut braces = 0usize;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let section = sections.last_mut().expect("it begins with one");
        match character {
            '$' if characters.peek() == Some(&'{') => braces += 1,
            '}' if braces > 0 => braces -= 1,
            ':' if braces == 0 => {
                let mut inside = section.chars();
                let drive = inside.next().is_some_and(char::is_alphabetic) && inside.next().is_none();
                if !drive {
                    sections.push(String::new());
                    continue;
                }
            }
            _ => {}
        }
        section.push(character);
    }
    sections
}

fn is_path(source: &str) -> bool {
    if source.starts_with(['.', '/', '~']) || source.starts_with(r"\\") {
        return true;
    }
    let mut characters = source.chars();
    characters.next().is_some_and(char::is_alphabetic) && characters.next() == Some(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_read() {
        let show = |text: &str| match parse(text) {
            Ok(mount) => {
                let kind = if mount.is_bind() { "bind" } else { "volume" };
                format!("{kind} {} -> {}", mount.source.as_deref().unwrap_or("-"), mount.target)
            }
            Err(error) => error,
        };
        let table = [
            ("/data", "volume - -> /data"),
            ("data:/data", "volume data -> /data"),
            // A letter is a drive, as it is for Docker Compose.
            ("a:/data", "volume - -> a:/data"),
            ("./a:/data:ro", "bind ./a -> /data"),
            (r"C:\a:/data", r"bind C:\a -> /data"),
            ("${A:-x}:/data", "volume ${A:-x} -> /data"),
            ("aa::b", "`aa::b` has an empty section between colons"),
            ("aa:bb:cc:dd", "`aa:bb:cc:dd` has too many colons"),
        ];
        for (text, expected) in table {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}

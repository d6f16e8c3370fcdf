//! Platforms as people write them.

/// Returns operating system and architecture of `linux/amd64`, `linux`, `arm64`, `linux/x86_64/v2`; `None` for
/// anything else.
pub(crate) fn parse(text: &str, host: (&str, &str)) -> Option<(String, String)> {
    const SYSTEMS: [&str; 15] = [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "illumos",
        "ios",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "windows",
    ];
    const ARCHITECTURES: [&str; 15] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
        "ppc64le", "riscv64", "s390x", "wasm", "sparc64",
    ];
    let parts: Vec<String> = text.split('/').map(str::to_ascii_lowercase).collect();
    let legal = |part: &String| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '(' | ')'))
    };
    if parts.len() > 3 || !parts.iter().all(legal) {
        return None;
    }
    let architecture = |name: &str| match name {
        "x86_64" | "x86-64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        "i386" | "i686" => "386".to_owned(),
        "armhf" | "armel" => "arm".to_owned(),
        other => other.to_owned(),
    };
    let system = |name: &str| if name == "macos" { "darwin".to_owned() } else { name.to_owned() };
    match parts.as_slice() {
        [one] => {
            if SYSTEMS.contains(&system(one).as_str()) {
                return Some((system(one), host.1.to_owned()));
            }
            let architecture = architecture(one);
            ARCHITECTURES.contains(&architecture.as_str()).then(|| (host.0.to_owned(), architecture))
        }
        [os, arch, ..] => Some((system(os), architecture(arch))),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn platforms() {
        let parse = |text| super::parse(text, ("linux", "amd64")).map(|(os, arch)| format!("{os}/{arch}"));
        assert_eq!(parse("linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(parse("linux").as_deref(), Some("linux/amd64"));
        assert_eq!(parse("aarch64").as_deref(), Some("linux/arm64"));
        assert_eq!(parse("linux/arm/v7").as_deref(), Some("linux/arm"));
        assert_eq!(parse("nonsense"), None);
        assert_eq!(parse("linux/"), None);
        assert_eq!(parse("a b/c"), None);
    }
}

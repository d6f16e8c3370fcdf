//! Platforms as people write them: other names of architectures, variants that say nothing.

use crate::Platform;

impl Platform {
    /// Returns the same platform under the names that images use, as containerd does: `aarch64` is `arm64`, 64-bit ARM
    /// and x86 have no variant unless it is above the first, `arm` is `arm/v7`.
    pub fn normalized(self) -> Self {
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let variant = self.variant.unwrap_or_default().to_ascii_lowercase();
        let (architecture, variant) = match self.architecture.to_ascii_lowercase().as_str() {
            "i386" | "i686" | "x86" => ("386".to_owned(), String::new()),
            "x86_64" | "x86-64" | "amd64" => {
                ("amd64".to_owned(), if variant == "v1" { String::new() } else { variant })
            }
            "aarch64" | "arm64" => {
                let plain = matches!(variant.as_str(), "8" | "v8" | "v8.0");
                ("arm64".to_owned(), if plain { String::new() } else { variant })
            }
            "armhf" => ("arm".to_owned(), "v7".to_owned()),
            "armel" => ("arm".to_owned(), "v6".to_owned()),
            "arm" => {
                let variant = match variant.as_str() {
                    "" | "7" => "v7".to_owned(),
                    "5" | "6" | "8" => format!("v{variant}"),
                    _ => variant,
                };
                ("arm".to_owned(), variant)
            }
            other => (other.to_owned(), variant),
        };
        Self { os, architecture, variant: Some(variant).filter(|variant| !variant.is_empty()) }
    }

    /// Reads a platform as people write it: `linux/arm64`, `linux/arm/v7`, or an architecture alone.
    pub fn written(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let whole = if text.contains('/') { text.to_owned() } else { format!("linux/{text}") };
        if matches!(text, "linux" | "windows" | "darwin" | "macos") {
            return Err(format!("`{text}` names no architecture"));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
        if !whole.chars().all(legal) {
            return Err(format!("`{text}` is not a platform of the form os/architecture[/variant]"));
        }
        whole.parse().map(Self::normalized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_people_write_them() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("Linux/AArch64", "linux/arm64"),
            ("arm64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/i386", "linux/386"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(Platform::written(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["linux", "", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(Platform::written(text).is_err(), "{text}");
        }
    }
}

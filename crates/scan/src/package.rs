//! One installed package, and its package URL (purl specification).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Distribution;

/// Whose package it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ecosystem {
    /// Debian and its kin.
    Debian,
    /// Alpine.
    Alpine,
    /// Python.
    Python,
    /// Node.
    Node,
    /// Rust.
    Rust,
    /// Go.
    Go,
}

impl Ecosystem {
    /// Returns the type of its package URLs.
    pub fn purl_type(self) -> &'static str {
        match self {
            Self::Debian => "deb",
            Self::Alpine => "apk",
            Self::Python => "pypi",
            Self::Node => "npm",
            Self::Rust => "cargo",
            Self::Go => "golang",
        }
    }
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Whose it is.
    pub ecosystem: Ecosystem,
    /// Its name; of Node with its scope, of Go the module's path.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The architecture it was built for.
    pub architecture: Option<String>,
    /// The licences that it declares, as it writes them.
    pub licences: Vec<String>,
    /// Who supplies it.
    pub supplier: Option<String>,
    /// The source package that it was built from, when that has another name or version.
    pub source: Option<(String, String)>,
    /// A checksum that the package's own record gives: algorithm as in SPDX, and hexadecimal digits.
    pub checksum: Option<(&'static str, String)>,
    /// Names of packages of the same ecosystem that it needs.
    pub depends: Vec<String>,
    /// The file that says that it is there.
    pub found_in: String,
}

impl Package {
    pub(crate) fn new(ecosystem: Ecosystem, name: &str, version: &str, found_in: &str) -> Self {
        Self {
            ecosystem,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: None,
            licences: Vec::new(),
            supplier: None,
            source: None,
            checksum: None,
            depends: Vec::new(),
            found_in: found_in.to_owned(),
        }
    }

    /// Returns the package URL.
    pub fn purl(&self, distribution: Option<&Distribution>) -> String {
        let kind = self.ecosystem.purl_type();
        let name = match self.ecosystem {
            Ecosystem::Debian | Ecosystem::Alpine => {
                let vendor = distribution.map_or(
                    if self.ecosystem == Ecosystem::Debian { "debian" } else { "alpine" },
                    |distribution| distribution.id.as_str(),
                );
                format!("{}/{}", encode(vendor), encode(&self.name))
            }
            // "The name is lowercased and underscores are replaced by dashes."
            Ecosystem::Python => encode(&self.name.to_lowercase().replace('_', "-")),
            Ecosystem::Node | Ecosystem::Go => self.name.split('/').map(encode).collect::<Vec<_>>().join("/"),
            Ecosystem::Rust => encode(&self.name),
        };
        let mut qualifiers = Vec::new();
        if let Some(architecture) = &self.architecture {
            qualifiers.push(format!("arch={}", encode(architecture)));
        }
        if matches!(self.ecosystem, Ecosystem::Debian | Ecosystem::Alpine)
            && let Some(distribution) = distribution
        {
            qualifiers.push(format!("distro={}", encode(&distribution.tag())));
        }
        let qualifiers =
            if qualifiers.is_empty() { String::new() } else { format!("?{}", qualifiers.join("&")) };
        format!("pkg:{kind}/{name}@{}{qualifiers}", encode(&self.version))
    }
}

fn encode(text: &str) -> String {
    const PLAIN: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purls() {
        let debian = Distribution { id: "debian".into(), version: "12".into(), name: "Debian 12".into() };
        let mut package = Package::new(Ecosystem::Debian, "libstdc++6", "1:12.2.0-14+deb12u1", "x");
        package.architecture = Some("amd64".into());
        assert_eq!(
            package.purl(Some(&debian)),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
        let node = Package::new(Ecosystem::Node, "@babel/core", "7.1.0", "x");
        assert_eq!(node.purl(None), "pkg:npm/%40babel/core@7.1.0");
        let python = Package::new(Ecosystem::Python, "Typing_Extensions", "4", "x");
        assert_eq!(python.purl(None), "pkg:pypi/typing-extensions@4");
        let go = Package::new(Ecosystem::Go, "github.com/a/b", "v1.2.3", "x");
        assert_eq!(go.purl(None), "pkg:golang/github.com/a/b@v1.2.3");
    }
}

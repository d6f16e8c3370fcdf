//! Packages that a distribution no longer has, and which release an image is made of.
//!
//! Sources: the release notes of Debian 10 to 13 and Ubuntu 22.04 and 24.04, packages.debian.org, tracker.debian.org (for
//! example news 1579223 on software-properties), Alpine's release notes.

/// A distribution's release: 13 of Debian, 2404 of Ubuntu, 321 of Alpine (3.21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Debian, by number.
    Debian(u32),
    /// Ubuntu, by year and month: 2404.
    Ubuntu(u32),
    /// Alpine, by number times 100: 321 is 3.21.
    Alpine(u32),
}

impl Release {
    /// Returns what people call it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Debian(number) => format!("Debian {number}"),
            Self::Ubuntu(number) => format!("Ubuntu {}.{:02}", number / 100, number % 100),
            Self::Alpine(number) => format!("Alpine {}.{}", number / 100, number % 100),
        }
    }
}

const DEBIAN: [(&str, u32); 9] = [
    ("jessie", 8),
    ("stretch", 9),
    ("buster", 10),
    ("bullseye", 11),
    ("bookworm", 12),
    ("trixie", 13),
    ("forky", 14),
    ("oldstable", 12),
    ("stable", 13),
];

const UBUNTU: [(&str, u32); 5] =
    [("bionic", 1804), ("focal", 2004), ("jammy", 2204), ("noble", 2404), ("questing", 2510)];

/// Reads `/etc/os-release`.
pub(crate) fn release_of_text(text: &str) -> Option<Release> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    let version = value("VERSION_ID")?;
    release(&value("ID")?, &version)
}

/// Returns the release that an image's tag names: only where the tag says so, or where it is the images' own default.
pub(crate) fn release_of_image(image: &str) -> Option<Release> {
    let image = image.split('@').next().unwrap_or(image);
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let image = image.strip_prefix("library/").unwrap_or(image);
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    if name.contains(['/', '.', ':']) {
        return None;
    }
    let mut words = tag.split(['-', '.', '_']);
    if matches!(name, "debian" | "ubuntu" | "alpine") {
        let version = tag.split('-').next().unwrap_or(tag);
        if let Some(found) = release(name, version) {
            return Some(found);
        }
    }
    let named = words.find_map(|word| {
        let debian = DEBIAN.iter().find(|(own, _)| *own == word).map(|(_, number)| Release::Debian(*number));
        debian.or_else(|| {
            UBUNTU.iter().find(|(own, _)| *own == word).map(|(_, number)| Release::Ubuntu(*number))
        })
    });
    if named.is_some() || name == "debian" {
        return named;
    }
    if let Some(version) =
        tag.split('-').find_map(|word| word.strip_prefix("alpine")).filter(|text| !text.is_empty())
    {
        return release("alpine", version);
    }
    // Python's images rest on the stable Debian of their day: 13 since August 2025, for the versions still built then.
    let plain = tag.split('-').skip(1).all(|word| word == "slim");
    let version = tag.split('-').next().unwrap_or(tag);
    let minor = version.strip_prefix("3.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    let two = version.split('.').count() == 2;
    (name == "python" && plain && two && minor.is_some_and(|minor| (9..=14).contains(&minor)))
        .then_some(Release::Debian(13))
}

fn release(id: &str, version: &str) -> Option<Release> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let first = numbers.next()?.ok()?;
    let second = numbers.next().and_then(Result::ok);
    match id {
        "debian" if first < 100 => Some(Release::Debian(first)),
        "ubuntu" if first < 100 => Some(Release::Ubuntu(first * 100 + second?)),
        "alpine" if first < 100 => Some(Release::Alpine(first * 100 + second?)),
        _ => None,
    }
}

/// A package that is gone: from which release on, and what to install instead.
pub(crate) struct Gone {
    name: &'static str,
    debian: Option<u32>,
    ubuntu: Option<u32>,
    alpine: Option<u32>,
    /// What to do instead, as a hint.
    pub(crate) instead: &'static str,
}

const fn deb(name: &'static str, debian: Option<u32>, ubuntu: Option<u32>, instead: &'static str) -> Gone {
    Gone { name, debian, ubuntu, alpine: None, instead }
}

static GONE: &[Gone] = &[
    deb(
        "software-properties-common",
        Some(13),
        None,
        "leave it out; write repositories to /etc/apt/sources.list.d yourself",
    ),
    deb("libgl1-mesa-glx", Some(13), Some(2404), "write `libgl1`"),
    deb("libegl1-mesa", Some(13), Some(2404), "write `libegl1`"),
    deb("netcat", Some(12), Some(2404), "write `netcat-openbsd`"),
    deb("python-pip", Some(11), Some(2004), "write `python3-pip`"),
    deb("python-dev", Some(12), Some(2204), "write `python3-dev`"),
    deb(
        "python3-distutils",
        Some(13),
        Some(2404),
        "leave it out: `setuptools` has it for those who still need it",
    ),
    deb("libssl1.1", Some(12), Some(2204), "write `libssl3`"),
    deb("libncurses5", Some(13), Some(2404), "write `libncurses6`"),
    deb("libtinfo5", Some(13), Some(2404), "write `libtinfo6`"),
    deb("libpcre3", Some(13), None, "write `libpcre2-8-0`"),
    deb("libpcre3-dev", Some(13), None, "write `libpcre2-dev`"),
    deb("mysql-client", Some(10), None, "write `default-mysql-client`"),
    deb("mysql-server", Some(10), None, "write `default-mysql-server`"),
    deb("openjdk-8-jdk", Some(10), None, "take a Java image such as `eclipse-temurin:8-jdk`"),
    deb("openjdk-8-jre", Some(10), None, "take a Java image such as `eclipse-temurin:8-jre`"),
    deb("openjdk-11-jdk", Some(12), None, "take a Java image such as `eclipse-temurin:11-jdk`"),
    deb("openjdk-11-jre", Some(12), None, "take a Java image such as `eclipse-temurin:11-jre`"),
    deb("openjdk-11-jre-headless", Some(12), None, "take a Java image such as `eclipse-temurin:11-jre`"),
    deb("openjdk-17-jdk", Some(13), None, "write `openjdk-21-jdk`, or take a Java image"),
    deb("openjdk-17-jre", Some(13), None, "write `openjdk-21-jre`, or take a Java image"),
    deb("openjdk-17-jre-headless", Some(13), None, "write `openjdk-21-jre-headless`, or take a Java image"),
    Gone { alpine: Some(312), ..deb("python", None, None, "write `python3`") },
    Gone { alpine: Some(316), ..deb("python2", None, None, "write `python3`") },
];

/// Returns what is known of a package that a release no longer has.
pub(crate) fn gone(package: &str, release: Release) -> Option<&'static Gone> {
    GONE.iter().find(|gone| {
        gone.name == package
            && match release {
                Release::Debian(number) => gone.debian.is_some_and(|first| number >= first),
                Release::Ubuntu(number) => gone.ubuntu.is_some_and(|first| number >= first),
                Release::Alpine(number) => gone.alpine.is_some_and(|first| number >= first),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_releases() {
        let table = [
            ("python:3.11-slim", Some(Release::Debian(13))),
            ("python:3.11-slim-bookworm", Some(Release::Debian(12))),
            ("docker.io/library/python:3.12", Some(Release::Debian(13))),
            ("python:3.11.2-slim", None),
            ("python:3.6-slim", None),
            ("python:3.11-alpine3.20", Some(Release::Alpine(320))),
            ("python:3.11-alpine", None),
            ("debian:13-slim", Some(Release::Debian(13))),
            ("debian:bookworm-20250101-slim", Some(Release::Debian(12))),
            ("debian", None),
            ("debian:12.5", Some(Release::Debian(12))),
            ("ubuntu:24.04", Some(Release::Ubuntu(2404))),
            ("ubuntu:jammy", Some(Release::Ubuntu(2204))),
            ("alpine:3.21.3", Some(Release::Alpine(321))),
            ("node:22-bookworm-slim", Some(Release::Debian(12))),
            ("node:22-slim", None),
            ("example.org/python:3.11-slim", None),
            ("me/debian:13", None),
        ];
        for (image, expected) in table {
            assert_eq!(release_of_image(image), expected, "{image}");
        }
    }

    #[test]
    fn os_release_is_read() {
        assert_eq!(release_of_text("ID=debian\nVERSION_ID=\"13\"\n"), Some(Release::Debian(13)));
        assert_eq!(release_of_text("NAME=x\nID=alpine\nVERSION_ID=3.21.3\n"), Some(Release::Alpine(321)));
        assert_eq!(release_of_text("ID=ubuntu\nVERSION_ID=\"24.04\""), Some(Release::Ubuntu(2404)));
        assert_eq!(release_of_text("ID=arch"), None);
        assert_eq!(Release::Ubuntu(2404).name(), "Ubuntu 24.04");
        assert_eq!(Release::Alpine(321).name(), "Alpine 3.21");
    }

    #[test]
    fn packages_go() {
        assert!(gone("software-properties-common", Release::Debian(13)).is_some());
        assert!(gone("software-properties-common", Release::Debian(12)).is_none());
        assert!(gone("software-properties-common", Release::Ubuntu(2404)).is_none());
        assert!(gone("curl", Release::Debian(13)).is_none());
    }
}

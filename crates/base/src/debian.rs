//! Debian's part of a bake: the `mmdebstrap` command line with its hooks, and the list of packages it left.
//!
//! Pure but for reading the package list of a finished tree.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use coracle_oci::Digest;

use crate::plan::Plan;
use crate::recipe::{Suite, Variant};
use crate::stage::SCRATCH;

/// Packages with their versions, sorted by name.
pub type PackageList = Vec<(String, String)>;

/// Where everything is that one run of `mmdebstrap` needs.
pub(crate) struct Places<'a> {
    /// The tree to make.
    pub tree: &'a Path,
    /// The stage's tar.
    pub stage: &'a Path,
    /// A directory of `.deb` files, shared between bakes of one suite.
    pub packages: Option<&'a Path>,
}

/// Returns the apt sources of a suite at a mirror: releases get their updates and security fixes.
pub(crate) fn sources(suite: &Suite, mirror: &str) -> Vec<String> {
    let mirror = mirror.trim_end_matches('/');
    let mut lines = vec![format!("deb {mirror}/debian {suite} main")];
    // The suites that are not released yet have neither.
    if !matches!(suite.as_str(), "forky" | "sid" | "testing" | "unstable") {
        lines.push(format!("deb {mirror}/debian {suite}-updates main"));
        lines.push(format!("deb {mirror}/debian-security {suite}-security main"));
    }
    lines
}

/// Returns the arguments after `mmdebstrap`.
pub(crate) fn arguments(plan: &Plan, places: &Places<'_>, mirror: &str) -> Vec<OsString> {
    let variant = match plan.variant {
        Variant::None => "custom",
        Variant::Essential => "essential",
        Variant::Apt => "apt",
    };
    let mut arguments: Vec<OsString> = vec![
        "--mode=root".into(),
        "--format=directory".into(),
        format!("--variant={variant}").into(),
        // A mirror that lags (or a testing suite) may serve an index past its validity; its signature still counts.
        "--aptopt=Acquire::Check-Valid-Until \"false\"".into(),
    ];
    if plan.variant != Variant::None {
        // Kept in the image, where they make every later installation smaller and quicker.
        for option in [
            "path-exclude=/usr/share/man/*",
            "path-exclude=/usr/share/info/*",
            "path-exclude=/usr/share/locale/*",
            "path-exclude=/usr/share/doc/*",
            "path-include=/usr/share/doc/*/copyright",
            "path-exclude=/usr/share/lintian/*",
            "force-unsafe-io",
        ] {
            arguments.push(format!("--dpkgopt={option}").into());
        }
    }
    // Debian 12 reaches the merged /usr by a package that brings all of perl; mmdebstrap's own hook spares that.
    if plan.suite.as_str() == "bookworm" && plan.variant != Variant::None {
        arguments.push("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr".into());
    }
    if !plan.packages.is_empty() {
        arguments.push(format!("--include={}", plan.packages.join(",")).into());
    }
    for (hook, script) in hooks(plan, places) {
        arguments.push(format!("--{hook}-hook={script}").into());
    }
    if places.packages.is_some() {
        arguments.push("--skip=download/empty".into());
        arguments.push("--skip=essential/unlink".into());
    }
    arguments.push(plan.suite.as_str().into());
    arguments.push(places.tree.into());
    arguments.extend(sources(&plan.suite, mirror).into_iter().map(OsString::from));
    arguments
}

/// Returns the hooks in order. Each is a shell script run on the host with the tree as `$1`.
fn hooks(plan: &Plan, places: &Places<'_>) -> Vec<(&'static str, String)> {
    let mut hooks = Vec::new();
    if let Some(cache) = places.packages {
        let cache = quote(cache);
        hooks.push((
            "setup",
            format!(
                "set -eu; mkdir -p \"$1/var/cache/apt/archives\"; for deb in {cache}/*.deb; do \
             [ ! -f \"$deb\" ] || cp -l \"$deb\" \"$1/var/cache/apt/archives/\" 2>/dev/null || \
             cp \"$deb\" \"$1/var/cache/apt/archives/\"; done"
            ),
        ));
    }
    hooks.push(("customize", format!("mkdir -p \"$1/{SCRATCH}\"")));
    if let Some(unpack) = &plan.unpack {
        let cache = places.packages.map_or_else(|| "/nonexistent".to_owned(), quote);
        let apt = "APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get -q -o APT::Sandbox::User=root";
        hooks.push(("customize", format!(
            "set -eu; mkdir -p \"$1/{SCRATCH}/debs\" \"$1{into}\"; cd \"$1/{SCRATCH}/debs\"; \
             {apt} --print-uris download {packages} >../uris; missing=; \
             while read -r uri name size hash; do \
             if [ \"$(stat -c %s {cache}/\"$name\" 2>/dev/null)\" = \"$size\" ]; then cp {cache}/\"$name\" .; \
             else missing=\"$missing ${{name%%_*}}\"; fi; done <../uris; \
             [ -z \"$missing\" ] || {apt} download $missing; \
             for deb in *.deb; do dpkg-deb -x \"$deb\" \"$1{into}\"; done; ls >../unpacked",
            into = unpack.into.trim_end_matches('/'),
            packages = unpack.packages.join(" "),
        )));
    }
    if let Some(cache) = places.packages {
        let cache = quote(cache);
        hooks.push(("customize", format!(
            "set -eu; mkdir -p {cache}; for deb in \"$1\"/var/cache/apt/archives/*.deb \"$1/{SCRATCH}\"/debs/*.deb; do \
             name=${{deb##*/}}; [ ! -f \"$deb\" ] || [ -f {cache}/\"$name\" ] || ln \"$deb\" {cache}/ 2>/dev/null || \
             {{ cp \"$deb\" {cache}/.part.$$; mv {cache}/.part.$$ {cache}/\"$name\"; }}; done"
        )));
    }
    let options = "-xpf - --numeric-owner --no-overwrite-dir";
    let stage = quote(places.stage);
    hooks.push((
        "customize",
        match plan.variant {
            // There is nothing in the tree yet that could lead outside, and no tar either.
            Variant::None => format!("tar -C \"$1\" {options} <{stage}"),
            // Inside the tree, so that its absolute links lead into the tree.
            Variant::Essential | Variant::Apt => {
                format!("chroot \"$1\" tar -C / {options} --keep-directory-symlink <{stage}")
            }
        },
    ));
    hooks.push((
        "customize",
        format!(
            "env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
         SOURCE_DATE_EPOCH=\"$SOURCE_DATE_EPOCH\" DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root \
         chroot \"$1\" /bin/sh /{SCRATCH}/setup"
        ),
    ));
    hooks
}

/// Quotes a path for a shell.
fn quote(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Returns what a finished tree was made of: the packages installed in it, and those only unpacked.
pub(crate) fn package_list(tree: &Path) -> io::Result<PackageList> {
    let read = |path: &str| match fs::read_to_string(tree.join(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    };
    let mut packages = installed(&read("var/lib/dpkg/status")?);
    packages.extend(read(&format!("{SCRATCH}/unpacked"))?.lines().filter_map(file_name));
    packages.sort();
    packages.dedup();
    Ok(packages)
}

/// Reads the installed packages of a dpkg status file (deb822 paragraphs).
fn installed(status: &str) -> PackageList {
    let mut packages = Vec::new();
    for paragraph in status.split("\n\n") {
        let field = |name: &str| {
            let mut lines = paragraph.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::trim))
        };
        let installed = field("Status").is_some_and(|status| status.ends_with(" installed"));
        if let (true, Some(name), Some(version)) = (installed, field("Package"), field("Version")) {
            packages.push((name.to_owned(), version.to_owned()));
        }
    }
    packages
}

/// Reads name and version off the file name that apt gives a package: `name_1%3a2.0-1_amd64.deb`.
fn file_name(file: &str) -> Option<(String, String)> {
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some((name.to_owned(), version.replace("%3a", ":")))
}

/// Returns the digest of a package list, which a stand-in carries as a label.
pub(crate) fn digest_of(packages: &[(String, String)]) -> Digest {
    let lines: Vec<String> = packages.iter().map(|(name, version)| format!("{name} {version}\n")).collect();
    Digest::of(lines.concat())
}

/// Returns the upstream part of a Debian version: `1:2.42.0+ds-5+deb12u1` is `2.42.0`.
pub(crate) fn upstream_version(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
    version.split(['+', '~']).next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_versions() {
        for (version, expected) in [
            ("3.11.2-6+deb12u8", "3.11.2"),
            ("1:1.37.0-6+b9", "1.37.0"),
            ("2.53.3+ds1-2", "2.53.3"),
            ("18.20.4+dfsg-1~deb12u2", "18.20.4"),
            ("18.20.8", "18.20.8"),
        ] {
            assert_eq!(upstream_version(version), expected);
        }
    }

    #[test]
    fn only_installed_packages_are_listed() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1:2-3\nDescription: x\n y\n\n\
                      Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: c\nStatus: install ok installed\nVersion: 4\n";
        assert_eq!(
            installed(status),
            [("a".to_owned(), "1:2-3".to_owned()), ("c".to_owned(), "4".to_owned())]
        );
        let unpacked = file_name("busybox-static_1%3a1.37.0-6+b9_amd64.deb").unwrap();
        assert_eq!(unpacked, ("busybox-static".to_owned(), "1:1.37.0-6+b9".to_owned()));
    }

    #[test]
    fn unreleased_suites_have_no_security_archive() {
        let of = |suite: &str| sources(&suite.parse().unwrap(), "http://mirror/").len();
        assert_eq!((of("bookworm"), of("forky")), (3, 1));
    }
}

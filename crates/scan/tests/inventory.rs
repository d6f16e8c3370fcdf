//! Inventories of small trees: what is found, and that the documents say it, the same each time.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeMap;
use std::io::{self, Cursor};

use coracle_scan::{
    Ecosystem, FileEntry, FileTree, Inventory, Positioned, Subject, cyclonedx, inventory, spdx,
};

/// Files in memory.
struct Memory(BTreeMap<&'static str, Vec<u8>>);

impl FileTree for Memory {
    fn files(&self) -> io::Result<Vec<FileEntry>> {
        let entry = |(path, bytes): (&&str, &Vec<u8>)| FileEntry {
            path: (*path).to_owned(),
            size: bytes.len() as u64,
            executable: path.contains("bin/"),
        };
        Ok(self.0.iter().map(entry).collect())
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).filter(|bytes| bytes.len() as u64 <= limit).cloned())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Positioned + '_>> {
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes.as_slice())))
    }
}

fn tree(files: &[(&'static str, &str)]) -> Memory {
    Memory(files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect())
}

fn found(files: &[(&'static str, &str)]) -> Inventory {
    inventory(&tree(files)).unwrap()
}

fn subject() -> Subject {
    Subject {
        name: "docker.io/library/app:1".to_owned(),
        version: "sha256:00".to_owned(),
        created: "2023-11-14T22:13:20Z".to_owned(),
    }
}

/// Paragraphs as dpkg of Debian 12 writes them.
const STATUS: &str = "Package: libc6
Status: install ok installed
Priority: optional
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10
Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~)
Description: GNU C Library: Shared libraries
 Contains the standard libraries that are used by nearly all programs.

Package: libgcc-s1
Status: install ok installed
Architecture: amd64
Source: gcc-12 (12.2.0-14+deb12u1)
Version: 12.2.0-14+deb12u1
Depends: gcc-12-base (= 12.2.0-14+deb12u1), libc6 (>= 2.35)

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
";

const OS_RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";

#[test]
fn debian() {
    let files = [
        ("etc/os-release", OS_RELEASE),
        ("var/lib/dpkg/status", STATUS),
        ("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n"),
        ("var/lib/dpkg/status.d/tzdata.md5sums", "0 x\n"),
        (
            "usr/share/doc/libc6/copyright",
            "Format: https://www.debian.org/doc/x/\nFiles: *\nLicense: LGPL-2.1+\n\nFiles: a\nLicense: Odd-One\n",
        ),
    ];
    let found = found(&files);
    let names: Vec<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["libc6", "libgcc-s1", "tzdata"]);
    let libc = &found.packages[0];
    assert_eq!(libc.licences, ["LGPL-2.1+", "Odd-One"]);
    assert_eq!(libc.source, Some(("glibc".to_owned(), "2.36-9+deb12u10".to_owned())));
    assert_eq!(found.packages[1].source, Some(("gcc-12".to_owned(), "12.2.0-14+deb12u1".to_owned())));
    assert_eq!(found.dependencies(), [vec![1], vec![0], vec![]]);

    let document = spdx(&found, &subject());
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    let package = &document["packages"][1];
    assert_eq!(package["licenseDeclared"], "LGPL-2.1-or-later AND LicenseRef-Odd-One");
    assert_eq!(document["hasExtractedLicensingInfos"][0]["licenseId"], "LicenseRef-Odd-One");
    assert_eq!(
        package["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12"
    );
    // Ids are unique and of the letters that SPDX allows, and relationships name only them.
    let mut ids: Vec<&str> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["SPDXID"].as_str().unwrap())
        .collect();
    assert!(
        ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)))
    );
    for relation in document["relationships"].as_array().unwrap() {
        assert!(ids.contains(&relation["relatedSpdxElement"].as_str().unwrap()));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert_eq!(document, spdx(&found, &subject()), "equal trees give equal documents");
    let other = Subject { created: "2024-01-01T00:00:00Z".to_owned(), ..subject() };
    assert_ne!(document["documentNamespace"], spdx(&found, &other)["documentNamespace"]);

    let document = cyclonedx(&found, &subject());
    assert_eq!(document["specVersion"], "1.6");
    assert_eq!(document["components"][0]["type"], "operating-system");
    assert_eq!(document["components"].as_array().unwrap().len(), 4);
    let serial = document["serialNumber"].as_str().unwrap();
    assert_eq!((serial.len(), &serial[23..24]), ("urn:uuid:".len() + 36, "8"));
}

#[test]
fn alpine() {
    let found = found(&[
        ("etc/os-release", "ID=alpine\nVERSION_ID=3.20.1\n"),
        (
            "lib/apk/db/installed",
            "C:Q1SxfOkJvPIMjxjXNxDOGnXtKEBfk=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nm:A <a@b>\nF:lib\n\n\
             C:Q1aaaa\nP:busybox\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\no:busybox\nD:so:libc.musl musl>=1.2\n\n",
        ),
    ]);
    assert_eq!(found.packages.len(), 2);
    assert_eq!(found.dependencies(), [vec![1], vec![]]);
    let musl = &found.packages[1];
    assert_eq!(
        musl.purl(found.distribution.as_ref()),
        "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1"
    );
    assert_eq!(musl.checksum.as_ref().unwrap().0, "SHA1");
}

#[test]
fn languages() {
    let found = found(&[
        (
            "usr/lib/python3/dist-packages/requests-2.31.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: requests\nVersion: 2.31.0\nLicense: Apache 2.0\nAuthor: K\n\
             Requires-Dist: urllib3 (<3,>=1.21.1)\nRequires-Dist: PySocks ; extra == 'socks'\n\nName: not this\n",
        ),
        (
            "opt/urllib3-2.0.egg-info/PKG-INFO",
            "Name: urllib3\nVersion: 2.0\nClassifier: License :: OSI Approved :: MIT License\n",
        ),
        (
            "app/node_modules/@babel/core/package.json",
            r#"{"name":"@babel/core","version":"7.1.0","license":"MIT"}"#,
        ),
        (
            "app/node_modules/a/package.json",
            r#"{"name":"a","version":"1.0.0","licenses":[{"type":"ISC"}],"dependencies":{"@babel/core":"*"}}"#,
        ),
        ("app/node_modules/a/test/package.json", r#"{"name":"fixture","version":"0.0.0"}"#),
        ("app/node_modules/broken/package.json", "{"),
        (
            "app/package-lock.json",
            r#"{"lockfileVersion":3,"packages":{"":{"name":"app"},"node_modules/a":{"version":"1.0.0","integrity":"sha512-AAAA"},
               "node_modules/b":{"version":"2.0.0"},"node_modules/c":{"version":"3.0.0","dev":true}}}"#,
        ),
        ("var/lib/rpm/rpmdb.sqlite", "SQLite"),
    ]);
    let names: Vec<(Ecosystem, &str)> =
        found.packages.iter().map(|package| (package.ecosystem, package.name.as_str())).collect();
    use Ecosystem::{Node, Python};
    assert_eq!(
        names,
        [(Python, "requests"), (Python, "urllib3"), (Node, "@babel/core"), (Node, "a"), (Node, "b")]
    );
    assert_eq!(found.packages[0].licences, ["Apache 2.0"]);
    assert_eq!(found.packages[1].licences, ["MIT License"]);
    assert_eq!(
        found.packages[3].checksum,
        Some(("SHA512", "000000".to_owned())),
        "module and lock file are joined"
    );
    assert_eq!(found.dependencies()[0], [1]);
    assert_eq!(found.dependencies()[3], [2]);
    assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
}

#[test]
fn an_empty_tree_has_documents_too() {
    let found = found(&[]);
    assert!(found.packages.is_empty());
    assert_eq!(spdx(&found, &subject())["packages"].as_array().unwrap().len(), 1);
    assert_eq!(cyclonedx(&found, &subject())["bomFormat"], "CycloneDX");
}

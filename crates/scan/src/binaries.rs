//! What programs say about themselves: `cargo auditable` and Go's build information, in sections of ELF files.

use std::io::{self, Read, Seek, SeekFrom};

use serde::Deserialize;

use crate::{Ecosystem, FileEntry, FileTree, Package};

/// Largest section that is read.
const MAX_SECTION: u64 = 16 << 20;
/// Largest uncompressed list of `cargo auditable`.
const MAX_LIST: u64 = 8 << 20;

/// Reads what executables say of the packages that they were built from.
pub fn binaries(tree: &dyn FileTree, files: &[FileEntry]) -> io::Result<Vec<Package>> {
    let mut all = Vec::new();
    for file in files.iter().filter(|file| file.executable && file.size > 64) {
        let mut opened = tree.open(&file.path)?;
        // A file that is no ELF, or a broken one, says nothing.
        let Ok(Some(elf)) = Elf::open(&mut *opened) else { continue };
        if let Some(section) = elf.section(&mut *opened, ".dep-v0") {
            all.extend(rust(&section, &file.path));
        }
        if let Some(section) = elf.section(&mut *opened, ".go.buildinfo") {
            all.extend(go(&section, &file.path));
        }
    }
    Ok(all)
}

/// The section table of a 64-bit little-endian ELF file, the kind of all platforms that images run on here.
struct Elf {
    /// Name offset, file offset, size.
    sections: Vec<(u32, u64, u64)>,
    names: Vec<u8>,
}

impl Elf {
    fn open(file: &mut (impl Read + Seek + ?Sized)) -> io::Result<Option<Self>> {
        let mut header = [0; 64];
        if file.read_exact(&mut header).is_err() || &header[..6] != b"\x7fELF\x02\x01" {
            return Ok(None);
        }
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let table = u64::from_le_bytes(header[40..48].try_into().expect("eight bytes"));
        let (size, count, names) = (u16_at(58), u16_at(60), u16_at(62));
        if size != 64 || count == 0 || names >= count {
            return Ok(None);
        }
        let mut bytes = vec![0; 64 * usize::from(count)];
        file.seek(SeekFrom::Start(table))?;
        file.read_exact(&mut bytes)?;
        let u64_at = |section: &[u8], at: usize| {
            u64::from_le_bytes(section[at..at + 8].try_into().expect("eight bytes"))
        };
        let sections: Vec<(u32, u64, u64)> = bytes
            .chunks_exact(64)
            .map(|section| {
                let name = u32::from_le_bytes(section[..4].try_into().expect("four bytes"));
                (name, u64_at(section, 24), u64_at(section, 32))
            })
            .collect();
        let (_, offset, length) = sections[usize::from(names)];
        let names = part(file, offset, length.min(1 << 20))?;
        Ok(Some(Self { sections, names }))
    }

    fn section(&self, file: &mut (impl Read + Seek + ?Sized), wanted: &str) -> Option<Vec<u8>> {
        let named = |name: u32| {
            let rest = self.names.get(name as usize..)?;
            let end = rest.iter().position(|byte| *byte == 0)?;
            Some(&rest[..end])
        };
        let (_, offset, size) =
            self.sections.iter().find(|(name, _, _)| named(*name) == Some(wanted.as_bytes()))?;
        if *size > MAX_SECTION {
            return None;
        }
        part(file, *offset, *size).ok()
    }
}

fn part(file: &mut (impl Read + Seek + ?Sized), offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[derive(Deserialize)]
struct Auditable {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
struct Crate {
    name: String,
    version: String,
    source: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    dependencies: Vec<usize>,
}

/// Reads the list of `cargo auditable`: JSON, compressed by zlib.
fn rust(section: &[u8], path: &str) -> Vec<Package> {
    let mut text = Vec::new();
    let decoder = flate2::read::ZlibDecoder::new(section);
    if decoder.take(MAX_LIST).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    let Ok(list) = serde_json::from_slice::<Auditable>(&text) else { return Vec::new() };
    let named = |index: &usize| list.packages.get(*index).map(|package| package.name.clone());
    let runtime = list.packages.iter().filter(|package| package.kind != "build");
    runtime
        .map(|package| {
            let mut found = Package::new(Ecosystem::Rust, &package.name, &package.version, path);
            found.depends = package.dependencies.iter().filter_map(named).collect();
            found.supplier = (package.source != "crates.io").then(|| package.source.clone());
            found
        })
        .collect()
}

/// Reads Go's build information in the form of Go 1.18 and later: two strings after a head of 32 bytes.
fn go(section: &[u8], path: &str) -> Vec<Package> {
    const MAGIC: &[u8] = b"\xff Go buildinf:";
    if !section.starts_with(MAGIC) || section.get(15).is_none_or(|flags| flags & 2 == 0) {
        return Vec::new();
    }
    let mut rest = section.get(32..).unwrap_or_default();
    let (Some(version), Some(modules)) = (take_string(&mut rest), take_string(&mut rest)) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let version = String::from_utf8_lossy(version).into_owned();
    if let Some(version) = version.strip_prefix("go") {
        all.push(Package::new(Ecosystem::Go, "stdlib", version.split(' ').next().unwrap_or(version), path));
    }
    // The text lies between marks of 16 bytes.
    let modules = modules.get(16..modules.len().saturating_sub(16)).unwrap_or_default();
    let text = String::from_utf8_lossy(modules);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split('\t');
        let kind = words.next().unwrap_or_default();
        if kind != "dep" && kind != "mod" {
            continue;
        }
        let mut named = (words.next(), words.next());
        // A replacement follows what it replaces.
        if let Some(replaced) = lines.peek().and_then(|next| next.strip_prefix("=>\t")) {
            let mut words = replaced.split('\t');
            named = (words.next(), words.next());
        }
        if let (Some(name), Some(version)) = named
            && !name.is_empty()
        {
            let version = if version.is_empty() { "(devel)" } else { version };
            all.push(Package::new(Ecosystem::Go, name, version, path));
        }
    }
    all
}

/// Takes a string with its length before it (unsigned LEB128).
fn take_string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut length: u64 = 0;
    let mut shift = 0;
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            break;
        }
        shift += 7;
        if shift > 35 {
            return None;
        }
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len())?;
    let (text, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_build_information() {
        let text = "path\texample.com/app\nmod\texample.com/app\t(devel)\t\ndep\tgolang.org/x/sys\tv0.1.0\th1:x=\ndep\ta/b\tv1\n=>\tc/d\tv2\t\n";
        let framed = [&[0u8; 16][..], text.as_bytes(), &[0; 16]].concat();
        let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
        section.resize(32, 0);
        for part in [&b"go1.22.1"[..], &framed] {
            let mut length = part.len();
            while length >= 0x80 {
                section.push(length as u8 & 0x7f | 0x80);
                length >>= 7;
            }
            section.push(length as u8);
            section.extend_from_slice(part);
        }
        let found = go(&section, "app");
        let names: Vec<(&str, &str)> =
            found.iter().map(|package| (package.name.as_str(), package.version.as_str())).collect();
        assert_eq!(
            names,
            [
                ("stdlib", "1.22.1"),
                ("example.com/app", "(devel)"),
                ("golang.org/x/sys", "v0.1.0"),
                ("c/d", "v2")
            ]
        );
        for end in 0..section.len() {
            let _ = go(&section[..end], "app");
        }
    }

    #[test]
    fn reads_cargo_auditable() {
        use std::io::Write;
        let json = br#"{"packages":[{"name":"app","version":"1.0.0","source":"local","root":true,"dependencies":[1]},
            {"name":"serde","version":"1.0.1","source":"crates.io"},
            {"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"}]}"#;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(json).unwrap();
        let found = rust(&encoder.finish().unwrap(), "app");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].depends, ["serde"]);
        assert!(rust(b"no zlib", "app").is_empty());
    }

    #[test]
    fn broken_elf_files_say_nothing() {
        for bytes in [&b"#!/bin/sh"[..], &[0x7f; 64], &[b"\x7fELF\x02\x01".as_slice(), &[0xff; 58]].concat()]
        {
            let mut file = io::Cursor::new(bytes.to_vec());
            assert!(!matches!(Elf::open(&mut file), Ok(Some(_))));
        }
    }
}

//! Licences as SPDX expressions, from the words that packages use.

use std::collections::BTreeSet;

/// Identifiers of the SPDX licence list that packages of images use most.
const KNOWN: &[&str] = &[
    "0BSD",
    "AFL-2.1",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-1.0",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "bzip2-1.0.6",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "curl",
    "EPL-1.0",
    "EPL-2.0",
    "FSFAP",
    "FSFULLR",
    "FTL",
    "GFDL-1.1-or-later",
    "GFDL-1.2-or-later",
    "GFDL-1.3-or-later",
    "GPL-1.0-or-later",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "HPND",
    "ICU",
    "ISC",
    "JSON",
    "LGPL-2.0-only",
    "LGPL-2.0-or-later",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "Libpng",
    "MIT",
    "MIT-0",
    "MPL-1.1",
    "MPL-2.0",
    "NCSA",
    "OFL-1.1",
    "OLDAP-2.8",
    "OpenSSL",
    "PostgreSQL",
    "PSF-2.0",
    "Python-2.0",
    "Ruby",
    "SSPL-1.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "UPL-1.0",
    "Vim",
    "W3C",
    "WTFPL",
    "X11",
    "Zlib",
    "ZPL-2.1",
    "blessing",
];

/// Other words for them.
const WORDS: &[(&str, &str)] = &[
    ("apache 2.0", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("apache software license", "Apache-2.0"),
    ("apache-2", "Apache-2.0"),
    ("apache2", "Apache-2.0"),
    ("bsd license", "BSD-3-Clause"),
    ("bsd-2", "BSD-2-Clause"),
    ("bsd-3", "BSD-3-Clause"),
    ("3-clause bsd license", "BSD-3-Clause"),
    ("expat", "MIT"),
    ("mit license", "MIT"),
    ("the mit license", "MIT"),
    ("gpl-1+", "GPL-1.0-or-later"),
    ("gpl-2", "GPL-2.0-only"),
    ("gpl-2.0", "GPL-2.0-only"),
    ("gpl-2+", "GPL-2.0-or-later"),
    ("gpl-2.0+", "GPL-2.0-or-later"),
    ("gpl-3", "GPL-3.0-only"),
    ("gpl-3.0", "GPL-3.0-only"),
    ("gpl-3+", "GPL-3.0-or-later"),
    ("gpl-3.0+", "GPL-3.0-or-later"),
    ("lgpl-2", "LGPL-2.0-only"),
    ("lgpl-2+", "LGPL-2.0-or-later"),
    ("lgpl-2.0+", "LGPL-2.0-or-later"),
    ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-2.1+", "LGPL-2.1-or-later"),
    ("lgpl-3", "LGPL-3.0-only"),
    ("lgpl-3+", "LGPL-3.0-or-later"),
    ("gfdl-1.2+", "GFDL-1.2-or-later"),
    ("gfdl-1.3+", "GFDL-1.3-or-later"),
    ("mozilla public license 2.0 (mpl 2.0)", "MPL-2.0"),
    ("isc license (iscl)", "ISC"),
    ("artistic", "Artistic-1.0"),
    ("python software foundation license", "PSF-2.0"),
    ("psf", "PSF-2.0"),
    ("psfl", "PSF-2.0"),
    ("the unlicense (unlicense)", "Unlicense"),
    ("cc0", "CC0-1.0"),
    ("openldap-2.8", "OLDAP-2.8"),
    ("x11", "X11"),
];

/// A licence expression, and the parts of it that SPDX has no identifier for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expression {
    /// The expression; empty when nothing is declared.
    pub text: String,
    /// Identifiers made here (`LicenseRef-...`), with the words they stand for.
    pub other: BTreeSet<(String, String)>,
}

/// Joins what a package declares.
pub fn expression(declared: &[String]) -> Expression {
    let mut other = BTreeSet::new();
    let parts: BTreeSet<String> = declared
        .iter()
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
        .map(|text| one(text, declared.len() > 1, &mut other))
        .collect();
    Expression { text: parts.into_iter().collect::<Vec<_>>().join(" AND "), other }
}

fn one(text: &str, among_others: bool, other: &mut BTreeSet<(String, String)>) -> String {
    if let Some(id) = known(text) {
        return id.to_owned();
    }
    // An expression of identifiers, such as `MIT OR Apache-2.0`.
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let operator = |word: &str| matches!(word, "AND" | "OR" | "(" | ")");
    let expression = words.iter().any(|word| operator(word))
        && words.iter().all(|word| operator(word) || known(word).is_some());
    if expression {
        let joined: Vec<&str> = words
            .iter()
            .map(|word| if operator(word) { word } else { known(word).unwrap_or(word) })
            .collect();
        let joined = joined.join(" ").replace("( ", "(").replace(" )", ")");
        return if among_others && joined.contains(" OR ") { format!("({joined})") } else { joined };
    }
    let mut id = String::from("LicenseRef-");
    for letter in text.chars().take(80) {
        let plain = letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
        if plain || !id.ends_with('-') {
            id.push(if plain { letter } else { '-' });
        }
    }
    other.insert((id.clone(), text.to_owned()));
    id
}

fn known(word: &str) -> Option<&'static str> {
    let same = |id: &&&str| id.eq_ignore_ascii_case(word);
    KNOWN
        .iter()
        .find(same)
        .copied()
        .or_else(|| WORDS.iter().find(|(other, _)| other.eq_ignore_ascii_case(word)).map(|(_, id)| *id))
}

/// Returns the licences that a machine-readable copyright file names (Debian policy, "copyright-format 1.0"). Another
/// kind of file names none.
pub fn debian_copyright(text: &str) -> Vec<String> {
    if !text.trim_start().starts_with("Format") {
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let Some(value) = line.strip_prefix("License:") else { continue };
        for part in value.split(" and ").flat_map(|part| part.split(" or ")).flat_map(|part| part.split(','))
        {
            // "with ... exception" changes little for who counts licences.
            let part = part.split(" with ").next().unwrap_or_default().trim();
            if !part.is_empty() && part.len() < 80 {
                names.insert(part.to_owned());
            }
        }
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let text =
            |list: &[&str]| expression(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).text;
        assert_eq!(text(&["Expat", "GPL-2+"]), "GPL-2.0-or-later AND MIT");
        assert_eq!(text(&["MIT OR Apache-2.0"]), "MIT OR Apache-2.0");
        assert_eq!(text(&["(MIT OR Apache-2.0)", "ISC"]), "((MIT OR Apache-2.0)) AND ISC");
        assert_eq!(text(&["My Own, Licence!"]), "LicenseRef-My-Own-Licence-");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn copyright_files() {
        let text = "Format: https://x/\n\nFiles: *\nLicense: GPL-2+ with OpenSSL exception or Expat\n text\n";
        assert_eq!(debian_copyright(text), ["Expat", "GPL-2+"]);
        assert!(debian_copyright("This package is free\nLicense: MIT").is_empty());
    }
}

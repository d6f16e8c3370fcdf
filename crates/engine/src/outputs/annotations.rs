//! Annotations: which document of an image they go to, and to which platform's (buildx's `--annotation`).

use std::collections::BTreeMap;

use coracle_oci::Platform;
use coracle_report::Diagnostic;

/// The document that an annotation goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationKind {
    /// The manifest.
    Manifest,
    /// The descriptor of the manifest, in the index.
    ManifestDescriptor,
    /// The index.
    Index,
    /// The descriptor of the index, in the image layout.
    IndexDescriptor,
}

/// One annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Where it goes.
    pub kind: AnnotationKind,
    /// Only to this platform's; `None` is all.
    pub platform: Option<Platform>,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl AnnotationKind {
    /// Reads `kind` or `kind[platform]`.
    pub fn parse(text: &str) -> Result<(Self, Option<Platform>), String> {
        let (word, platform) = match text.split_once('[') {
            None => (text, None),
            Some((word, rest)) => {
                let platform =
                    rest.strip_suffix(']').ok_or_else(|| format!("`{text}` has no closing bracket"))?;
                (word, Some(platform.parse::<Platform>()?))
            }
        };
        let kind = match word {
            "manifest" => Self::Manifest,
            "manifest-descriptor" => Self::ManifestDescriptor,
            "index" => Self::Index,
            "index-descriptor" => Self::IndexDescriptor,
            _ => {
                return Err(format!(
                    "`{word}` takes no annotation; manifest, manifest-descriptor, index and index-descriptor do"
                ));
            }
        };
        if platform.is_some() && matches!(kind, Self::Index | Self::IndexDescriptor) && text.ends_with("[]") {
            return Err(format!("`{text}` names no platform"));
        }
        Ok((kind, platform))
    }
}

impl Annotation {
    /// Reads the text of `--annotation`: `[kind[platform],kind...:]key=value`. One for each kind is returned.
    pub fn parse(text: &str) -> Result<Vec<Self>, Diagnostic> {
        let bad = |why: String| {
            Diagnostic::error("bad-annotation", format!("cannot read the annotation `{text}`: {why}"))
                .with_hint("write `key=value`, or for example `index:key=value`")
        };
        let equals = text.find('=').ok_or_else(|| bad("it has no `=`".to_owned()))?;
        // A colon in the value belongs to the value.
        let (kinds, pair) = match text[..equals].split_once(':') {
            Some((kinds, _)) => (kinds, &text[kinds.len() + 1..]),
            None => ("manifest", text),
        };
        let (key, value) = pair.split_once('=').ok_or_else(|| bad("it has no `=`".to_owned()))?;
        if key.is_empty() {
            return Err(bad("it has no key".to_owned()));
        }
        let one = |kind: &str| {
            let (kind, platform) = AnnotationKind::parse(kind).map_err(&bad)?;
            Ok(Self { kind, platform, key: key.to_owned(), value: value.to_owned() })
        };
        kinds.split(',').map(one).collect()
    }
}

/// Returns the annotations of one document.
pub fn select(
    all: &[Annotation],
    kind: AnnotationKind,
    platform: Option<&Platform>,
) -> BTreeMap<String, String> {
    let meant = |annotation: &&Annotation| {
        annotation.kind == kind
            && annotation.platform.as_ref().is_none_or(|wanted| platform.is_none_or(|own| own == wanted))
    };
    all.iter().filter(meant).map(|annotation| (annotation.key.clone(), annotation.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kinds_and_platforms() {
        let parsed = Annotation::parse("manifest[linux/amd64],index:org.example.url=https://x/?a=b").unwrap();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0].kind, AnnotationKind::Manifest);
        assert_eq!(parsed[0].platform, Some("linux/amd64".parse().unwrap()));
        assert_eq!((parsed[1].kind, parsed[1].value.as_str()), (AnnotationKind::Index, "https://x/?a=b"));
        let plain = Annotation::parse("a=b:c").unwrap();
        assert_eq!((plain[0].key.as_str(), plain[0].value.as_str()), ("a", "b:c"));
        for text in ["a", "=b", "layer:a=b", "manifest[linux:a=b", "manifest[x]:a=b", "index[]:a=b"] {
            assert!(Annotation::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selects_by_platform() {
        let all = Annotation::parse("manifest[linux/arm64]:a=1").unwrap();
        let arm: Platform = "linux/arm64".parse().unwrap();
        assert_eq!(select(&all, AnnotationKind::Manifest, Some(&arm)).len(), 1);
        assert_eq!(
            select(&all, AnnotationKind::Manifest, Some(&Platform::host())).len(),
            usize::from(Platform::host() == arm)
        );
        assert!(select(&all, AnnotationKind::Index, None).is_empty());
    }
}

//! The inventory as an SPDX 2.3 document in JSON.

use std::collections::BTreeSet;

use coracle_oci::Digest;
use serde_json::{Value, json};

use crate::licences::expression;
use crate::{Inventory, Package, Subject};

/// Returns the document. Equal inventories and subjects give equal documents, their namespace and ids included.
pub fn spdx(inventory: &Inventory, subject: &Subject) -> Value {
    let distribution = inventory.distribution.as_ref();
    let ids: Vec<String> = inventory.packages.iter().map(|package| id(package, inventory)).collect();
    let mut others = BTreeSet::new();
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-Image",
        "name": subject.name,
        "versionInfo": subject.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "CONTAINER",
    })];
    let mut relationships = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")];
    for (package, id) in inventory.packages.iter().zip(&ids) {
        let licence = expression(&package.licences);
        others.extend(licence.other);
        let declared = if licence.text.is_empty() { "NOASSERTION".to_owned() } else { licence.text };
        let mut value = json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "sourceInfo": source(package),
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": declared,
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl(distribution),
            }],
        });
        if let Some(supplier) = &package.supplier {
            value["supplier"] = json!(format!("Organization: {supplier}"));
        }
        if let Some((algorithm, digits)) = &package.checksum {
            value["checksums"] = json!([{"algorithm": algorithm, "checksumValue": digits}]);
        }
        packages.push(value);
        relationships.push(relation("SPDXRef-Image", "CONTAINS", id));
    }
    for (id, needed) in ids.iter().zip(inventory.dependencies()) {
        relationships.extend(needed.into_iter().map(|other| relation(id, "DEPENDS_ON", &ids[other])));
    }
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        "creationInfo": {
            "created": subject.created,
            "creators": [concat!("Tool: coracle-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    });
    if !others.is_empty() {
        let list = others.iter().map(|(id, text)| {
            json!({"licenseId": id, "name": text, "extractedText": format!("The package says: {text}")})
        });
        document["hasExtractedLicensingInfos"] = list.collect();
    }
    let digest = Digest::of(document.to_string());
    document["documentNamespace"] = json!(format!("https://coracle.run/spdx/{}", digest.hex()));
    document
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn source(package: &Package) -> String {
    let from = package.source.as_ref().map(|(name, version)| format!(", built from {name} {version}"));
    format!("found in /{}{}", package.found_in, from.unwrap_or_default())
}

/// Returns an id made of what the package is, so that it is the same in every document.
fn id(package: &Package, inventory: &Inventory) -> String {
    let purl = package.purl(inventory.distribution.as_ref());
    let name: String = package
        .name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    format!("SPDXRef-{}-{name}-{}", package.ecosystem.purl_type(), Digest::of(purl).short())
}

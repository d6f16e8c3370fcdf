//! The inventory as a CycloneDX 1.6 document in JSON.

use coracle_oci::Digest;
use serde_json::{Value, json};

use crate::licences::expression;
use crate::{Inventory, Subject};

/// Returns the document. Equal inventories and subjects give equal documents, the serial number included.
pub fn cyclonedx(inventory: &Inventory, subject: &Subject) -> Value {
    let distribution = inventory.distribution.as_ref();
    let references: Vec<String> =
        inventory.packages.iter().map(|package| package.purl(distribution)).collect();
    let mut components = Vec::new();
    if let Some(distribution) = distribution {
        components.push(json!({
            "type": "operating-system",
            "bom-ref": format!("os:{}", distribution.tag()),
            "name": distribution.id,
            "version": distribution.version,
            "description": distribution.name,
        }));
    }
    for (package, purl) in inventory.packages.iter().zip(&references) {
        let mut component = json!({
            "type": "library",
            "bom-ref": purl,
            "name": package.name,
            "version": package.version,
        });
        if let Some(supplier) = &package.supplier {
            component["supplier"] = json!({"name": supplier});
        }
        if let Some((algorithm, digits)) = &package.checksum {
            let algorithm = algorithm.replace("SHA", "SHA-");
            component["hashes"] = json!([{"alg": algorithm, "content": digits}]);
        }
        let licence = expression(&package.licences);
        if !licence.text.is_empty() {
            component["licenses"] = json!([{"expression": licence.text}]);
        }
        component["purl"] = json!(purl);
        component["properties"] =
            json!([{"name": "coracle:found-in", "value": format!("/{}", package.found_in)}]);
        components.push(component);
    }
    let mut dependencies = vec![json!({"ref": "image", "dependsOn": references})];
    for (purl, needed) in references.iter().zip(inventory.dependencies()) {
        if !needed.is_empty() {
            let needed: Vec<&String> = needed.into_iter().map(|other| &references[other]).collect();
            dependencies.push(json!({"ref": purl, "dependsOn": needed}));
        }
    }
    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": subject.created,
            "tools": {"components": [
                {"type": "application", "name": "coracle", "version": env!("CARGO_PKG_VERSION")},
            ]},
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": subject.name,
                "version": subject.version,
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    document["serialNumber"] = json!(serial(&Digest::of(document.to_string())));
    document
}

/// Returns a UUID made of a digest (RFC 9562, version 8: of the maker's own choice).
fn serial(digest: &Digest) -> String {
    let mut bytes: [u8; 16] = digest.as_raw()[..16].try_into().expect("a digest has 32 bytes");
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    format!("urn:uuid:{}", parts.join("-"))
}

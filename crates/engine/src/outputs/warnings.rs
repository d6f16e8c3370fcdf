//! What build checks found, as the metadata file tells it (buildx's `buildx.build.warnings`).

use base64::Engine as _;
use coracle_check::{Finding, Report};
use serde_json::{Value, json};

/// Returns the warnings about a Dockerfile: its name and its lines are told with each, as BuildKit does.
pub fn warnings(report: &Report, filename: &str, lines: &[String]) -> Value {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let data = encode(&text);
    let warning = |finding: &Finding| {
        let (first, last) = (finding.lines.start.line, finding.lines.end.line);
        let short = format!("{}: {} (line {first})", finding.rule.id, finding.diagnostic.message);
        let mut warning = json!({
            "level": 1,
            "short": encode(&short),
            "detail": [encode(finding.rule.title)],
            "sourceInfo": {"filename": filename, "data": data, "language": "Dockerfile"},
            "range": [{"start": {"line": first}, "end": {"line": last}}],
        });
        if let Some(url) = finding.rule.url {
            warning["url"] = json!(url);
        }
        warning
    };
    report.findings.iter().map(warning).collect()
}

//! The keys that let go of a container's terminal: given, else those of Docker's configuration, else Docker's own.

use std::path::PathBuf;

use coracle_engine::{DetachKeys, Result};

use super::flag_error::bad_flag;

/// Reads `--detach-keys`.
pub fn detach_keys(text: &str) -> std::result::Result<DetachKeys, String> {
    text.parse()
}

/// Returns the keys that hold: `detachKeys` of Docker's `config.json` where none are given.
pub fn keys_or_configured(given: Option<DetachKeys>) -> Result<DetachKeys> {
    if let Some(keys) = given {
        return Ok(keys);
    }
    let directory = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    let text = directory.and_then(|directory| std::fs::read(directory.join("config.json")).ok());
    let config: Option<serde_json::Value> = text.and_then(|text| serde_json::from_slice(&text).ok());
    match config.as_ref().and_then(|config| config.get("detachKeys")?.as_str()) {
        Some(keys) => {
            keys.parse().map_err(|why: String| bad_flag("detachKeys of Docker's config.json", &why))
        }
        None => Ok(DetachKeys::default()),
    }
}

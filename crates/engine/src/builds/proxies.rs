//! The proxies of `~/.docker/config.json`, which `docker build` gives to every build as arguments.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    proxies: BTreeMap<String, Proxies>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Proxies {
    #[serde(rename = "httpProxy")]
    http: String,
    #[serde(rename = "httpsProxy")]
    https: String,
    #[serde(rename = "noProxy")]
    no: String,
    #[serde(rename = "ftpProxy")]
    ftp: String,
    #[serde(rename = "allProxy")]
    all: String,
}

/// Adds the proxies of a client's configuration to build arguments, in both spellings; what was given stays. A file that
/// cannot be read is as none.
pub(super) fn add(config: &[u8], arguments: &mut BTreeMap<String, String>) {
    let config: Config = serde_json::from_slice(config).unwrap_or_default();
    let Some(proxies) = config.proxies.get("default") else { return };
    for (name, value) in [
        ("HTTP_PROXY", &proxies.http),
        ("HTTPS_PROXY", &proxies.https),
        ("NO_PROXY", &proxies.no),
        ("FTP_PROXY", &proxies.ftp),
        ("ALL_PROXY", &proxies.all),
    ] {
        for name in [name.to_owned(), name.to_ascii_lowercase()] {
            if !value.is_empty() {
                arguments.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_arguments_win_over_the_clients_proxies() {
        let config = br#"{"auths":{},"proxies":{"default":{"httpProxy":"http://a:1","noProxy":"x,y"},"tcp://h":{"httpProxy":"no"}}}"#;
        let mut arguments = BTreeMap::from([("http_proxy".to_owned(), "http://mine".to_owned())]);
        add(config, &mut arguments);
        let list: Vec<_> = arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(list, ["HTTP_PROXY=http://a:1", "NO_PROXY=x,y", "http_proxy=http://mine", "no_proxy=x,y"]);
        add(b"nonsense", &mut arguments);
        assert_eq!(arguments.len(), 4);
    }
}

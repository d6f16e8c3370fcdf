//! Logins for git over https out of the build's secrets, under BuildKit's names: `GIT_AUTH_TOKEN` and
//! `GIT_AUTH_HEADER`, or those with `.HOST` for one host only.
//!
//! They reach git by variables that only it and its helpers see, never by a command line, and are sent by https only.

use std::process::Command;

use base64::Engine as _;

/// Says what a secret's value is; `None` when it was not given.
pub type SecretValue<'s> = &'s (dyn Fn(&str) -> Option<Vec<u8>> + Sync);

/// Who git says that it is.
#[derive(Clone, Default)]
pub struct GitAuth {
    /// A header's name and value.
    header: Option<String>,
    /// The beginning of the URLs that it is sent to.
    scope: String,
}

impl GitAuth {
    /// Returns the login for a repository; none for one that is not fetched by https.
    pub fn of(remote: &str, secret: SecretValue<'_>) -> Self {
        let Some(rest) = remote.strip_prefix("https://") else { return Self::default() };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let value = |name: &str| {
            let value = secret(&format!("{name}.{host}")).or_else(|| secret(name))?;
            let text = String::from_utf8(value).ok()?;
            let text = text.trim().to_owned();
            // A line end would begin another header.
            (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
        };
        let header = value("GIT_AUTH_HEADER").or_else(|| {
            let token = value("GIT_AUTH_TOKEN")?;
            let pair = format!("x-access-token:{token}");
            Some(format!("basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
        });
        let header = header.map(|value| format!("Authorization: {value}"));
        Self { header, scope: format!("https://{host}/") }
    }

    /// Gives the login to a command's environment.
    pub fn lend(&self, command: &mut Command) {
        let Some(header) = &self.header else { return };
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", format!("http.{}.extraHeader", self.scope))
            .env("GIT_CONFIG_VALUE_0", header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lent(remote: &str, secrets: &[(&str, &str)]) -> Option<(String, String)> {
        let find = |name: &str| {
            let found = secrets.iter().find(|(own, _)| *own == name)?;
            Some(found.1.as_bytes().to_vec())
        };
        let mut command = Command::new("git");
        GitAuth::of(remote, &find).lend(&mut command);
        assert_eq!(command.get_args().count(), 0, "nothing stands on a command line");
        let value = |name: &str| {
            let (_, value) = command.get_envs().find(|(own, _)| *own == name)?;
            Some(value?.to_str()?.to_owned())
        };
        Some((value("GIT_CONFIG_KEY_0")?, value("GIT_CONFIG_VALUE_0")?))
    }

    #[test]
    fn tokens_and_headers_are_sent_to_their_host() {
        let key = "http.https://h:8443/.extraHeader".to_owned();
        let token = "Authorization: basic eC1hY2Nlc3MtdG9rZW46YWJj".to_owned();
        let remote = "https://user@h:8443/a/b.git";
        assert_eq!(lent(remote, &[("GIT_AUTH_TOKEN", "abc\n")]), Some((key.clone(), token.clone())));
        let of_host = [("GIT_AUTH_TOKEN", "no"), ("GIT_AUTH_TOKEN.h:8443", "abc")];
        assert_eq!(lent(remote, &of_host), Some((key.clone(), token)));
        let header = [("GIT_AUTH_TOKEN", "abc"), ("GIT_AUTH_HEADER", "Bearer x")];
        assert_eq!(lent(remote, &header), Some((key, "Authorization: Bearer x".to_owned())));
    }

    #[test]
    fn others_get_nothing() {
        let secrets = [("GIT_AUTH_TOKEN", "abc")];
        for remote in ["http://h/r.git", "ssh://git@h/r", "git@h:r", "git://h/r"] {
            assert_eq!(lent(remote, &secrets), None, "{remote}");
        }
        assert_eq!(lent("https://h/r.git", &[("GIT_AUTH_HEADER", "a\nEvil: b")]), None);
        assert_eq!(lent("https://h/r.git", &[]), None);
    }
}

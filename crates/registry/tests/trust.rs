//! Whom a registry has to be: Debian's `docker-registry` with a certificate of an authority of our own.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on, and says why")]

use std::path::Path;
use std::process::Command;

use coracle_registry::{Client, CredentialStore, Hosts, Options, RegistryError};
use coracle_testkit::Registry;

/// Makes an authority, and a certificate of its for 127.0.0.1, in a directory.
fn certificates(directory: &Path) {
    let openssl = |words: &str| {
        let done = Command::new("openssl").args(words.split(' ')).current_dir(directory).output().unwrap();
        assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority");
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1");
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
    );
}

fn client(hosts: Hosts) -> Client {
    Client::new(CredentialStore::default(), Options { hosts, ..Options::default() })
}

#[test]
fn an_authority_of_its_own_is_trusted_for_one_registry_only() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let at = |name: &str| directory.path().join(name);
    let Some(registry) = Registry::start_tls(&at("server.crt"), &at("server.key")) else { return };
    let host = registry.host();
    let authority = std::fs::read(at("ca.crt")).unwrap();

    let mut trusting = Hosts::default();
    trusting.entry(host).authorities = authority.clone();
    client(trusting).ping(host).unwrap();

    let mut other = Hosts::default();
    other.entry(host).authorities = {
        let directory = tempfile::tempdir().unwrap();
        certificates(directory.path());
        std::fs::read(directory.path().join("ca.crt")).unwrap()
    };
    let error = client(other).ping(host).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");

    // Whoever is allowed to be insecure proves nothing, but is still spoken to with TLS.
    let mut insecure = Hosts::default();
    insecure.allow_insecure("127.0.0.0/8");
    client(insecure).ping(host).unwrap();
}

#[test]
fn an_insecure_registry_may_do_without_tls() {
    let Some(registry) = Registry::start() else { return };
    let mut hosts = Hosts::default();
    hosts.allow_insecure(registry.host());
    client(hosts).ping(registry.host()).unwrap();
}
